"""Exports a trained ranking model for TF Serving: raw ids in, probabilities out, vocabularies and item tables inside.

Reads the model, the catalog, the tables and a few requests of the test split; what is missing is made first. Writes a
SavedModel with the signatures `serving_default` (one row a user, many candidates) and `embed` (what the model knows of items),
warm-up requests and golden answers; loads it in a fresh process the way the server does, replays the warm-up, compares its
scores with the trainer's to 1e-5; and only then publishes it under the next version number. Requests give the history newest first.

Writes <run>/exports/<model>/<version> (or serve.base). The newest serve.keep versions stay, and those that serve.server_config names or
serve.status serves; see `python -m serving.publish`.

  python -m pipelines.export
  python -m pipelines.export model.backbone.name=din model.ppm=none serve.table_dtype=int8
  python -m pipelines.export --tables-only     # new items, same weights: after `prepare` and `embed` on the new catalog
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.stage import check_encoders, check_first, explained, help_of, make, prepare_process, settings_of, stage_of
from ppm_tf.config import Config, ConfigError, load
from ppm_tf.models.provenance import MODEL_ANEW
from ppm_tf.shared_run import is_url
from ppm_tf.storage import write_json, writing
from ppm_tf.terminal import printing
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)

TABLES_ONLY = "--tables-only"
SECTIONS = ("run", "serve", "model", "data", "text", "image", "embed", "ppm", "train", "beam")


def export(
    config: Config,
    workspace: Workspace,
    tables_only: bool = False,
    judge: Callable[[Path], None] | None = None,
    more: dict[str, Any] | None = None,
) -> Path:
    """Exports and publishes the model of `config.model`; returns the version's folder.

    Args:
        config: the settings.
        workspace: the run folder.
        tables_only: keep the graph and the weights of the newest version, and take the items and tables of the run.
        judge: called with the verified version before it goes live; what it raises ends the publication.
        more: what else `export.json` is to say.

    Raises:
        ValueError: the export does not answer as the trainer does, or `tables_only` and the weights are others.
    """
    from serving.pins import Pins

    settings = config.serve
    base = Path(settings.base) if settings.base else workspace.folder / "exports"
    pins = Pins.read(base, settings.model or config.model.folder, Path(settings.server_config) if settings.server_config else None, settings.status)
    train = stage_of("models")
    check_encoders(workspace.path(f"models/{config.model.folder}"), config.ranking_tables, config, MODEL_ANEW)
    for name in train.parents(config) if not tables_only else [name for name in train.parents(config) if name != "ppm"]:
        make(stage_of(name), config, workspace, asked=False)
    trained = workspace.path(f"models/{config.model.folder}")
    if not tables_only:
        make(train, config, workspace, asked=False)
    elif not workspace.exists(f"models/{config.model.folder}"):
        raise FileNotFoundError(f"{TABLES_ONLY} needs a trained model. Received: none in {trained}. Run `python -m pipelines.export` first.")
    import tensorflow as tf

    from ppm_tf.data.schema import Schema
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ranking_files import SCHEMA, load_ranking_model
    from ppm_tf.models.request_rows import RequestRows
    from serving.export import keep_graph, write_extras, write_saved_model
    from serving.publish import publish, versions
    from serving.requests import raw_requests, sample_batches
    from serving.signature import Limits, ServingModule
    from serving.verify import verify_afresh

    begun, name = time.monotonic(), settings.model or config.model.folder
    logger.info("exporting %s to %s", trained, base / name)
    inputs, schema = Inputs.read(workspace, config.ranking_tables), Schema.read(trained / SCHEMA)
    dtype = None if settings.table_dtype == "stored" else settings.table_dtype
    model = load_ranking_model(config, inputs, trained, dtype)
    rows_of_training = RequestRows(inputs.schema, schema)
    change = _change(config, workspace, inputs, trained, model, rows_of_training) if dtype else {}
    batches = sample_batches(workspace, inputs, settings.requests, settings.max_candidates)
    answers = [_answers(model, rows_of_training(batch), schema.tasks) for batch in batches]
    requests = [raw_requests(batch, inputs, schema, settings.pad_id, model.embedding.users is not None) for batch in batches]
    model.embedding.fold_tables()
    module = ServingModule(model, schema, inputs.catalog, Limits(settings.max_candidates, settings.pad_id))
    staged = workspace.folder / ".state" / f"export-{name}"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with writing(base / name, staging=staged):
            write_saved_model(module, staged)
        if tables_only:
            keep_graph(staged, base / name / str(max(versions(base, name), default=0)), module.catalog_keys)
        about = {
            "model": name, "backbone": config.model.backbone.name, "ppm": config.model.ppm, "tasks": list(schema.tasks),
            "items": inputs.catalog.num_items,
            **_tables(model),
            "inputs": {key: [str(spec.dtype.name), list(spec.shape)] for key, spec in module.inputs().items()},
            "pad_id": settings.pad_id if schema.item_id_type == "int" else "",
            "max_candidates": settings.max_candidates, "max_history": schema.history_length, **_times(schema), "tables_only": tables_only,
            "auc_of_tables": change,
            "trained": workspace.id(f"models/{config.model.folder}"), "tensorflow": tf.__version__, **(more or {}),
        }  # fmt: skip
        write_extras(staged, requests, answers, name, settings.warmup_batches, about)
        figures: dict[str, float] = {}

        def verified(version: Path) -> None:
            figures.update(verify_afresh(version))
            logger.info("verified in a fresh process: %s", ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
            _note(version, {**about, "verified": figures})
            if judge is not None:
                judge(version)

        folder = publish(staged, base, name, keep=settings.keep, pins=pins, judge=verified)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    logger.info(
        "pipelines.export: done in %.1f s, wrote %s (%s items, %.1f MiB)",
        time.monotonic() - begun,
        folder,
        f"{inputs.catalog.num_items:,}",
        figures["megabytes"],
    )
    return folder


def _tables(model) -> dict[str, Any]:
    """The item tables inside the export, as they are served: those that PPM reads, and those that were folded into item fields."""
    read = model.ppm.tables if model.ppm is not None else {}
    served = {"tables": read, "folded_tables": model.embedding.frozen}
    return {kind: {name: {"dim": table.dim, "dtype": table.table_dtype} for name, table in layers.items()} for kind, layers in served.items()}


def _times(schema) -> dict[str, Any]:
    """What times count in a request, and between which a request must lie."""
    from serving.times import UNIT_NAMES, window

    return {"times": UNIT_NAMES[schema.time_unit], "time_window": window(schema)} if schema.has_time else {}


def _answers(model, batch: dict, tasks: tuple[str, ...]) -> dict[str, Any]:
    """The trainer's probabilities of a batch, by task."""
    import tensorflow as tf

    probabilities = tf.sigmoid(tf.cast(model(batch, training=False), tf.float32)).numpy()
    return {task: probabilities[:, :, place] for place, task in enumerate(tasks)}


def _change(config: Config, workspace: Workspace, inputs, trained: Path, model, rows_of_training) -> dict[str, Any]:
    """AUC of each task on requests of the valid split, with the tables as written and as exported."""
    from ppm_tf.data import samples
    from ppm_tf.evaluation import collect
    from ppm_tf.metrics import auc
    from ppm_tf.models.predict import Predictor
    from ppm_tf.models.ranking_files import load_ranking_model

    files = samples.find_shards(workspace.path("data") / "samples", ["valid"], config.model.train.verify)
    size = config.evaluate.batch_size
    found: dict[str, Any] = {"requests": min(config.serve.check_requests, files.records)}
    for name, one in (("stored", load_ranking_model(config, inputs, trained)), (config.serve.table_dtype, model)):
        dataset = samples.read(files, inputs.schema, size).take(-(-config.serve.check_requests // size)).map(rows_of_training)
        with samples.reading(files):
            scores = collect(Predictor(one, dataset), inputs.schema.tasks)
        for place, task in enumerate(inputs.schema.tasks):
            known = scores.labels[:, place] >= 0
            found.setdefault(task, {})[name] = float(auc(scores.labels[known, place], scores.scores[known, place]))
    logger.info("AUC with tables as stored and as %s: %s", config.serve.table_dtype, found)
    return found


def _note(staged: Path, about: dict[str, Any]) -> None:
    from serving.layout import ABOUT, EXTRA

    write_json(staged / EXTRA / ABOUT, about)


def _check_first(config: Config, tables_only: bool) -> None:
    """Refuses what no export can come of, before anything is made."""
    if config.model.reads_text:
        raise ConfigError(
            f"A served model must answer requests of ids. Received: model.backbone.name={config.model.backbone.name}, which reads texts in the"
            " request and cannot be served by id. Remedy: judge it with `python -m pipelines.evaluate`; what brings texts to a served model is"
            " model.tables=[aligned] on a backbone over ids."
        )
    most = 1 if config.data.requests == "single" else config.data.candidates
    if config.serve.max_candidates < most:
        raise ConfigError(
            f"serve.max_candidates must be at least the candidates of a request in the data. Received: {config.serve.max_candidates} and"
            f" data.candidates={most}."
        )
    if is_url(config.run) and config.serve.base is None:
        raise ConfigError(
            f"Setting serve.base: the server polls a folder, in which a version appears by a rename. Received: none, and run={config.run}. Remedy:"
            " serve.base=<folder> on a disk that the server reads."
        )
    if not tables_only:
        check_first([stage_of("models")], config)


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on a wrong setting, 1 on a failure the user can mend."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if {"-h", "--help"} & set(arguments):
            print(help_of(__name__ if __name__ != "__main__" else "pipelines.export", f" [{TABLES_ONLY}]", SECTIONS))
            return
        config = settings_of(lambda: load([argument for argument in arguments if argument != TABLES_ONLY]))
        prepare_process()
        with explained("pipelines.export", config.run):
            _check_first(config, TABLES_ONLY in arguments)
            print(export(config, Workspace(config.run), TABLES_ONLY in arguments))


if __name__ == "__main__":
    main()
