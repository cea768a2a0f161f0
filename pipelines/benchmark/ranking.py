"""What ranking models cost: `efficiency` of every backbone, and `candidates`, many a request against one."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

from pipelines.benchmark.served import as_served, median_wait
from pipelines.benchmark.timing import in_turns, memory, show, timed
from pipelines.stage import make, stage_of
from ppm_tf.config import Config, TextModel, from_dict, named_contents
from ppm_tf.workspace import Workspace

_WARM_UP = 20  # steps that trace the graph and fill the caches, left out of the timing
_STEPS = 100
_ROUNDS = 5
_SHARE_OF_TEXT = 0.1  # of the training steps, for models that read texts
_TABLE, _TABLE_WIDTH = "aligned", 384  # a table of texts as wide as a small sentence encoder's vectors
TEXT_MODELS = tuple(one.model_fields["name"].default for one in get_args(TextModel))
_HISTORY, _REQUESTS, _CANDIDATES = 50, 64, 32


def efficiency(config: Config, workspace: Workspace) -> None:
    """Weights, training speed and inference time of every backbone, alone, with PPM and with an item table as a field (CELA's MF2), and of the
    models that read texts.

    PPM starts at random and the table, of width 384, holds random vectors: they cost what trained ones do, and nothing has to be trained
    first. Inference is as `export` leaves the model, its tables folded; a model that reads texts meets its whole prompt at each request. The
    models take turns, round by round, so that other work on the machine slows each alike; the median round counts. Models that read texts
    take a tenth of the training steps.
    """
    from dataclasses import replace

    import numpy as np
    import tensorflow as tf

    from ppm_tf import training as harness
    from ppm_tf.backbones import BACKBONES
    from ppm_tf.data import samples
    from ppm_tf.encoders.text_backbone import trained_weights
    from ppm_tf.reports.efficiency import efficiency_table
    from ppm_tf.text_models.build import build_text_model, language_of

    of_ids = [name for name in BACKBONES if name != "unisrec"]  # which is nothing without a table
    of_text = {(name, ""): with_model(config, name, "none") for name in text_models(config)}
    alone = {(name, ""): with_model(config, name, "none") for name in of_ids}
    plugged = {(name, "PPM"): with_model(config, name, "random") for name in of_ids}
    tabled = {(name, "table"): with_table(with_model(config, name, "none")) for name in BACKBONES}
    cells = {
        (name, more): of[name, more] for name in BACKBONES for of, more in ((alone, ""), (plugged, "PPM"), (tabled, "table")) if (name, more) in of
    } | of_text
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
    models, turns = {}, {}
    for cell, its in cells.items():
        share = _SHARE_OF_TEXT if cell in of_text else 1.0
        steps = math.ceil(share * _STEPS / _ROUNDS)
        if cell in of_text:
            models[cell], _ = build_text_model(its, inputs)
        else:
            models[cell] = built(its, inputs, counts)
        trainer = trainer_of(models[cell], its, dataset, strategy)
        trainer.train(tf.constant(math.ceil(share * _WARM_UP)))
        predict = as_served(models[cell] if cell in of_text else built(its, inputs, counts)).predict  # one that was folded trains no more
        for batch in one_by_one[:3]:
            predict(batch)

        def turn(trainer=trainer, predict=predict, steps=steps):
            (seconds, _), output = timed(lambda: trainer.train(tf.constant(steps)))
            return output["labels"] / len(inputs.schema.tasks) / seconds, median_wait(predict, one_by_one)

        turns[cell] = turn
    rounds = in_turns(turns, _ROUNDS)
    lines = []
    for cell, model in models.items():
        rate, wait = np.median(rounds[cell], axis=0)
        tables = sum(table.shape.num_elements() for table in harness.id_tables(model))
        weights = sum(variable.shape.num_elements() for variable in model.trainable_variables)
        language = trained_weights(language_of(model)) if cell in of_text else 0
        lines.append({
            "benchmark": "efficiency", "model": cell[0], "with": cell[1], "weights": weights, "id_table_weights": tables,
            "dense_weights": weights - tables - language, "language_weights": language,
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
            kind: trainer_of(models[kind], its, tf.data.Dataset.from_tensors(_tensors(batch)).repeat(), strategy) for kind, batch in batches.items()
        }
        for trainer in trainers.values():
            trainer.train(tf.constant(3))
        turns = {kind: lambda trainer=trainer: timed(lambda: trainer.train(tf.constant(4)))[0][0] / 4 for kind, trainer in trainers.items()}
        times = in_turns(turns, _ROUNDS)
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
    """The settings with another backbone, at its defaults unless it is the one they have, and PPM so; one that reads texts has no more than these."""
    values = config.model_dump(mode="json")
    if values["model"]["backbone"]["name"] != backbone:
        values["model"]["backbone"] = {"name": backbone}
    values["model"]["ppm"] = ppm
    if backbone in TEXT_MODELS:
        values["model"] |= {"tables": [], "similarity_bins": 0, "trainable_width": 0, "warm_start": None}
    return from_dict(values)


def text_models(config: Config) -> tuple[str, ...]:
    """The models that read texts, of those that data and text encoder allow."""
    unfit = TEXT_MODELS if config.text.encoder == "bag_of_words" or not named_contents(config)["text"] else ()
    return tuple(name for name in TEXT_MODELS if name not in unfit and not (name == "p5" and config.text.encoder in ("saved", "preset")))


def with_table(config: Config) -> Config:
    """The settings with a table of texts as an item field, for UniSRec through its adaptor."""
    how = {"tables": (_TABLE,), "fusion": "adaptor" if config.model.backbone.name == "unisrec" else config.model.fusion}
    return config.model_copy(update={"model": config.model.model_copy(update=how)})


def random_table(num_rows: int, seed: int, width: int = _TABLE_WIDTH):
    """An item table of random vectors of this width, one for each item."""
    import numpy as np

    from ppm_tf.data.tables import EmbeddingTable
    from ppm_tf.rows import FIRST_ROW

    vectors = np.random.default_rng(seed).normal(size=(num_rows, width)).astype("float16")
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


def trainer_of(model, config: Config, dataset, strategy):
    """What trains a ranking model under its settings: all tasks weigh alike."""
    from ppm_tf import training as harness
    from ppm_tf.losses import multi_task_cross_entropy
    from ppm_tf.training.optimizers import ranking_optimizer

    settings = config.ranking_fit
    optimizer = ranking_optimizer(settings.learning_rate, harness.id_tables(model), settings.table_optimizer, settings.table_learning_rate)

    def loss(batch, logits):
        return multi_task_cross_entropy(batch["labels"], logits, (1.0,) * logits.shape[-1])

    return harness.Trainer(model, loss, harness.known_labels(), optimizer, dataset, strategy, settings.clip_norm)


def _tensors(batch: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.constant(values) for name, values in batch.items()}
