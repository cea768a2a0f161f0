"""What ranking models cost: `efficiency` of every backbone, and `candidates`, many a request against one."""

from __future__ import annotations

import json
from typing import Any

from pipelines.benchmark.timing import memory, show, timed
from pipelines.stage import make, stage_of
from ppm_tf.config import Config, from_dict
from ppm_tf.workspace import Workspace

_WARM_UP = 20  # steps that trace the graph and fill the caches, left out of the timing
_STEPS = 100
_ROUNDS = 5
_TABLE, _TABLE_WIDTH = "aligned", 384  # a table of texts as wide as a small sentence encoder's vectors
_HISTORY, _REQUESTS, _CANDIDATES = 50, 64, 32


def efficiency(config: Config, workspace: Workspace) -> None:
    """Weights, training speed and inference time of every backbone, alone, with PPM and with an item table as a field (CELA's MF2).

    PPM starts at random and the table, of width 384, holds random vectors: they cost what trained ones do, and nothing has to be trained
    first. Inference is as `export` leaves the model, its tables folded. The models take turns, round by round, so that other work on the
    machine slows each alike; the median round counts.
    """
    from dataclasses import replace

    import numpy as np
    import tensorflow as tf

    from ppm_tf import training as harness
    from ppm_tf.backbones import BACKBONES
    from ppm_tf.data import samples
    from ppm_tf.reports.efficiency import efficiency_table

    of_ids = [name for name in BACKBONES if name != "unisrec"]  # which is nothing without a table
    alone = {(name, ""): with_model(config, name, "none") for name in of_ids}
    plugged = {(name, "PPM"): with_model(config, name, "random") for name in of_ids}
    tabled = {(name, "table"): with_table(with_model(config, name, "none")) for name in BACKBONES}
    cells = {
        (name, more): of[name, more] for name in BACKBONES for of, more in ((alone, ""), (plugged, "PPM"), (tabled, "table")) if (name, more) in of
    }
    for name in dict.fromkeys(parent for cell in (alone | plugged).values() for parent in stage_of("models").parents(cell)):
        make(stage_of(name), config, workspace, asked=False)
    settings = config.model.train
    strategy = harness.prepare_backend(settings, config.seed)
    inputs, files, counts = training_inputs(
        config, workspace, tuple(dict.fromkeys(table for cell in (alone | plugged).values() for table in cell.ranking_tables))
    )
    inputs = replace(inputs, tables={**inputs.tables, _TABLE: random_table(inputs.catalog.num_rows, config.seed)})
    dataset = samples.read(files, inputs.schema, settings.batch_size, epochs=1000, shuffle_buffer=settings.shuffle_buffer, seed=config.seed)
    some = next(iter(dataset.unbatch().batch(_STEPS)))
    one_by_one = [{name: value[number : number + 1] for name, value in some.items()} for number in range(_STEPS)]
    models, trainers, predicts = {}, {}, {}
    for cell, its in cells.items():
        models[cell] = built(its, inputs, counts)
        trainers[cell] = _trainer(models[cell], its, dataset, strategy)
        trainers[cell].train(tf.constant(_WARM_UP))
        served = built(its, inputs, counts)
        served.embedding.fold_tables()
        predicts[cell] = tf.function(lambda batch, model=served: tf.sigmoid(model(batch, training=False)), reduce_retracing=True)
        for batch in one_by_one[:3]:
            predicts[cell](batch)
    rounds: dict[tuple[str, str], list[tuple[float, float]]] = {cell: [] for cell in cells}
    for _ in range(_ROUNDS):
        for cell, trainer in trainers.items():
            (seconds, _), output = timed(lambda trainer=trainer: trainer.train(tf.constant(_STEPS // _ROUNDS)))
            waits = [timed(lambda batch=batch, cell=cell: predicts[cell](batch).numpy())[0][0] for batch in one_by_one]
            rounds[cell].append((output["labels"] / len(inputs.schema.tasks) / seconds, float(np.median(waits))))
    lines = []
    for cell, model in models.items():
        rate, wait = np.median(rounds[cell], axis=0)
        tables = sum(table.shape.num_elements() for table in harness.id_tables(model))
        weights = sum(variable.shape.num_elements() for variable in model.trainable_variables)
        lines.append({
            "benchmark": "efficiency", "model": cell[0], "with": cell[1], "weights": weights, "id_table_weights": tables,
            "dense_weights": weights - tables,
            "train_candidates_per_second": float(rate), "inference_ms_per_request": 1000 * float(wait), "batch_size": settings.batch_size,
            "candidates": inputs.schema.num_candidates, "history": inputs.schema.history_length,
        })  # fmt: skip
        show(**lines[-1])
    show(benchmark="efficiency", memory_mib=memory())
    folder = workspace.folder / "benchmark" / "efficiency"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "table.md").write_text(efficiency_table(lines) + "\n", encoding="utf-8")
    print(f"\n{efficiency_table(lines)}\n\n{folder}")


def candidates(config: Config, workspace: Workspace) -> None:
    """A training step on the same candidates as 64 requests of 32 and as 2,048 requests of one, and the logits of both.

    The rows are drawn at random from the catalog and the histories are full. The two take turns; the median round counts.
    """
    import numpy as np
    import tensorflow as tf

    from ppm_tf import training as harness

    make(stage_of("data"), config, workspace, asked=False)
    for name in ("din", "urm"):
        its = with_model(config, name, "none")
        strategy = harness.prepare_backend(its.model.train, config.seed)
        inputs, _, counts = training_inputs(its, workspace)
        many = random_requests(inputs.schema, inputs.catalog.num_rows, counts.user_id, config.seed)
        batches = {"many": many, "one": one_candidate_each(many)}
        models = {kind: built(its, inputs, counts, _HISTORY, batch["item"].shape[1]) for kind, batch in batches.items()}
        for variable, same in zip(models["one"].variables, models["many"].variables, strict=True):
            variable.assign(same)
        logits = {kind: models[kind](_tensors(batch), training=False).numpy().reshape(_REQUESTS * _CANDIDATES, -1) for kind, batch in batches.items()}
        trainers = {
            kind: _trainer(models[kind], its, tf.data.Dataset.from_tensors(_tensors(batch)).repeat(), strategy) for kind, batch in batches.items()
        }
        for trainer in trainers.values():
            trainer.train(tf.constant(3))
        times: dict[str, list[float]] = {kind: [] for kind in trainers}
        for _ in range(_ROUNDS):
            for kind, trainer in trainers.items():
                times[kind].append(timed(lambda trainer=trainer: trainer.train(tf.constant(4)))[0][0] / 4)
        many_ms, one_ms = (1000 * float(np.median(times[kind])) for kind in ("many", "one"))
        show(
            benchmark="candidates", model=name, history=_HISTORY, requests=_REQUESTS, candidates=_CANDIDATES, ms_per_step=many_ms,
            ms_per_step_of_one_candidate_each=one_ms,
            ratio=many_ms / one_ms, largest_difference_of_logits=f"{np.abs(logits['many'] - logits['one']).max():.1e}",
            spread_of_logits=f"{logits['many'].std():.1e}",
        )  # fmt: skip


def training_inputs(config: Config, workspace: Workspace, tables: tuple[str, ...] | None = None):
    """The inputs of the ranking model, with its tables or those named; the shards of the train split; and what they count."""
    from ppm_tf.data import samples
    from ppm_tf.data.sample_counts import count_samples
    from ppm_tf.models.inputs import Inputs

    inputs = Inputs.read(workspace, config.ranking_tables if tables is None else tables)
    files = samples.find_shards(workspace.path("data") / "samples", ["train"], config.model.train.verify)
    return inputs, files, count_samples(files, inputs.schema, inputs.catalog.num_rows)


def with_model(config: Config, backbone: str, ppm: str) -> Config:
    """The settings with another backbone, at its defaults unless it is the one they have, and PPM so."""
    values = config.model_dump(mode="json")
    if values["model"]["backbone"]["name"] != backbone:
        values["model"]["backbone"] = {"name": backbone}
    values["model"]["ppm"] = ppm
    return from_dict(values)


def with_table(config: Config) -> Config:
    """The settings with a table of texts as an item field, for UniSRec through its adaptor."""
    how = {"tables": (_TABLE,), "fusion": "adaptor" if config.model.backbone.name == "unisrec" else config.model.fusion}
    return config.model_copy(update={"model": config.model.model_copy(update=how)})


def random_table(num_rows: int, seed: int):
    """An item table of random vectors, one for each item."""
    import numpy as np

    from ppm_tf.data.tables import EmbeddingTable
    from ppm_tf.rows import FIRST_ROW

    vectors = np.random.default_rng(seed).normal(size=(num_rows, _TABLE_WIDTH)).astype("float16")
    return EmbeddingTable(_TABLE, vectors, np.arange(num_rows) >= FIRST_ROW, "random")


def random_requests(schema, num_rows: int, users, seed: int) -> dict[str, Any]:
    """A batch of 64 requests of 32 candidates, histories of 50, every column of `samples.read` that the schema has."""
    import numpy as np

    from ppm_tf.rows import FIRST_ROW

    rng = np.random.default_rng(seed)
    batch = {
        "request": np.arange(_REQUESTS, dtype="int64"),
        "user_id": rng.choice(users, _REQUESTS).astype("int64"),
        "history": rng.integers(FIRST_ROW, num_rows, (_REQUESTS, _HISTORY)).astype("int32"),
        "item": rng.integers(FIRST_ROW, num_rows, (_REQUESTS, _CANDIDATES)).astype("int32"),
        "labels": rng.integers(0, 2, (_REQUESTS, _CANDIDATES, len(schema.tasks))).astype("float32"),
    }
    for side in ("user", "context"):
        fields = [rng.integers(0, field.num_rows, (_REQUESTS, field.num_values)) for field in schema.side(side)]
        if fields:
            batch[side] = np.concatenate(fields, axis=1).astype("int32")
    if schema.has_time:
        batch["time"] = np.full(_REQUESTS, 10**7, "int64")
        batch["history_time"] = -np.sort(-rng.integers(0, 10**7, (_REQUESTS, _HISTORY)), axis=1).astype("int64")
    if schema.has_slot:
        batch["slot"] = np.tile(np.arange(_CANDIDATES, dtype="int32"), (_REQUESTS, 1))
    return batch


def one_candidate_each(batch: dict[str, Any]) -> dict[str, Any]:
    """The same candidates, each as a request of its own with the whole history."""
    import numpy as np

    of_candidates = {"item", "labels", "slot"}
    size = batch["item"].shape[1]
    found = {
        name: values.reshape(-1, 1, *values.shape[2:]) if name in of_candidates else np.repeat(values, size, axis=0) for name, values in batch.items()
    }
    return {**found, "request": np.arange(len(found["item"]), dtype="int64")}


def built(config: Config, inputs, counts, history: int | None = None, num_candidates: int | None = None, table_dtype: str | None = None):
    """An untrained ranking model over the items of `inputs`, for histories and candidates of these numbers."""
    from dataclasses import replace

    from ppm_tf.models.build import build_ranking_model
    from ppm_tf.models.vocabularies import Vocabularies

    schema = replace(
        inputs.schema, history_length=history or inputs.schema.history_length, num_candidates=num_candidates or inputs.schema.num_candidates
    )
    return build_ranking_model(
        config, schema, inputs.catalog, inputs.tables, Vocabularies.of(config.model, schema, inputs.catalog, counts), table_dtype=table_dtype
    )


def _trainer(model, config: Config, dataset, strategy):
    from ppm_tf import training as harness
    from ppm_tf.losses import multi_task_cross_entropy
    from ppm_tf.training.optimizers import ranking_optimizer

    settings = config.model.train
    optimizer = ranking_optimizer(settings.learning_rate, harness.id_tables(model), settings.table_optimizer, settings.table_learning_rate)

    def loss(batch, logits):
        return multi_task_cross_entropy(batch["labels"], logits, (1.0,) * logits.shape[-1])

    return harness.Trainer(model, loss, harness.known_labels(), optimizer, dataset, strategy, settings.clip_norm)


def _tensors(batch: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.constant(values) for name, values in batch.items()}
