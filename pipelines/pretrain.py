"""Pre-trains PPM: an ID-free click model over cached item vectors (PPM, section 3.1).

Reads the samples and the embedding tables; what is missing is made first, by default an embedded synthetic shop. Trains a
transformer over each user's history and the candidates' title and image vectors under three dense layers, then scores the
test split once, beside the trivial answers (an item's mean click rate, its popularity) and, where the data is simulated,
beside the best that any model could do.

Writes <run>/ppm (weights, summary.json, training log, TensorBoard events) and <run>/reports/ppm (metrics.jsonl, learning_curve.png,
bucket_auc.png). A run that was killed goes on where its last checkpoint was. With ppm.warm_start the training begins with the weights of an
earlier PPM, with ppm.warm_start_optimizer with its optimiser too.

  python -m pipelines.pretrain                                             # the embedded shop
  python -m pipelines.pretrain configs/movielens.yaml data.path=<folder>   # MovieLens
  python -m pipelines.pretrain ppm.warm_start=<earlier run>/ppm            # go on from an earlier PPM, on newer data
  tensorboard --logdir <run>                                               # while it runs
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.continuation import check_start, files_of, without_unused, work_of
from pipelines.stage import Stage, check_encoders, main, peak_memory
from ppm_tf.config import Config
from ppm_tf.data.contents import check_contents
from ppm_tf.models.provenance import PPM_START_ANEW
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)

REPORT = "reports/ppm"


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Trains PPM and commits `ppm/`."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.data.label_check import tasks_to_validate
    from ppm_tf.evaluation import collect
    from ppm_tf.metrics import auc, log_loss
    from ppm_tf.models.build import build_pretraining_model
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ppm import click_loss
    from ppm_tf.models.ppm_files import PPM_WEIGHTS, warm_start_ppm
    from ppm_tf.models.predict import Predictor
    from ppm_tf.models.provenance import Provenance
    from ppm_tf.storage import save_weights

    settings = config.train
    start = Path(config.ppm.warm_start) if config.ppm.warm_start else None
    strategy = training.prepare_backend(settings, config.seed)
    inputs = Inputs.read(workspace, config.ppm.tables)
    schema, tables = inputs.schema, inputs.tables
    tasks_to_validate(workspace.path("data"), schema.tasks[:1])
    folder = workspace.path("data") / "samples"
    train = samples.find_shards(folder, config.ppm_splits, settings.verify, settings.max_bad_share)
    valid = samples.find_shards(folder, ["valid"], settings.verify)
    dataset = samples.read(train, schema, settings.batch_size, epochs=None, shuffle_buffer=settings.shuffle_buffer, seed=config.seed)
    with strategy.scope():
        model = build_pretraining_model(config, schema, tables)
        if start:
            warm_start_ppm(start, model, config, schema, inputs.versions)
            logger.info("going on from %s", start)
    logger.info(
        "PPM: %s trainable weights, tables %s; %s requests with %s candidates to train on, %s requests to validate on",
        f"{sum(variable.shape.num_elements() for variable in model.trainable_variables):,}",
        " + ".join(f"{name} {tables[name].dim} ({tables[name].encoder_version})" for name in config.ppm.tables),
        f"{train.records:,}", f"{train.candidates:,}", f"{valid.records:,}",
    )  # fmt: skip
    predictor = Predictor(model, samples.read(valid, schema, config.evaluate.batch_size))

    def validate(_) -> dict[str, float]:
        scores = collect(predictor, schema.tasks)
        known = scores.labels[:, 0] >= 0
        labels, probabilities = scores.labels[known, 0], scores.scores[known, 0]
        return {"auc": float(auc(labels, probabilities)), "log_loss": float(log_loss(labels, probabilities))}

    work = work_of("ppm", "train", settings, train.records, workspace, recipe)
    with samples.reading(train, valid):
        result = training.fit(
            model,
            click_loss,
            dataset,
            train.records,
            validate,
            settings,
            work,
            strategy=strategy,
            weight=training.known_labels(1),
            title="pretrain",
            criterion=settings.criterion,
            minimize=settings.minimizes,
            start=training.OptimizerStart(start, "ppm") if start and config.ppm.warm_start_optimizer else None,
            keep_optimizer=settings.keep_optimizer,
        )
    logger.info("%s; %s", result.line(settings.criterion), peak_memory())
    with workspace.commit("ppm", recipe) as made:
        save_weights(model, made / PPM_WEIGHTS)
        Provenance.of(tables).write(made)
        result.write(made, valid_auc=result.figures["auc"], requests=train.records, seed=config.seed)
        schema.write(made / "schema.json")
        training.keep_logs(work, made)
        training.keep_trunk(work, made, settings)
        training.keep_best_optimizer(work, made, settings)
    workspace.clear_work("ppm")


def show(config: Config, workspace: Workspace) -> None:
    """Makes the report, if it is not there for these weights and settings, and prints its table."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports import metrics_table
    from ppm_tf.training import standing_line

    recipe = Recipe(settings={"evaluate": config.evaluate.model_dump(mode="json")}, parents={"ppm": workspace.id("ppm")})
    if not workspace.is_current(REPORT, recipe):
        with workspace.commit(REPORT, recipe) as folder:
            _evaluate(config, workspace, folder)
    path = workspace.path(REPORT)
    print(metrics_table(read_metrics(path / "metrics.jsonl"), config.evaluate.confidence))
    print(f"\nThe training of PPM is {standing_line(workspace.path('ppm'), config.train, 'train')}.")
    print(f"\nmetrics, plots: {path}")


def _evaluate(config: Config, workspace: Workspace, folder: Path) -> None:
    """Scores the test split once, with the baselines on the same candidates."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.evaluation import collect, content_of_splits
    from ppm_tf.models.build import build_pretraining_model
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ppm_files import PPM_WEIGHTS
    from ppm_tf.models.predict import AS_SERVED, Predictor, without_slots
    from ppm_tf.models.provenance import PPM_ANEW, Provenance, precision_of
    from ppm_tf.reports.model_report import write_model_report

    training.prepare_backend(config.train, config.seed)
    inputs, provenance = Inputs.read(workspace, config.ppm.tables), Provenance.read(workspace.path("ppm"))
    schema, tables = inputs.schema, inputs.tables
    provenance.require(inputs.versions, workspace.path("ppm"), PPM_ANEW)
    with precision_of(provenance):
        model = build_pretraining_model(config, schema, tables)
    model.load_weights(workspace.path("ppm") / PPM_WEIGHTS)
    test = samples.find_shards(workspace.path("data") / "samples", ["test"], config.train.verify)
    logger.info("scoring the test split: %s requests, %s candidates", f"{test.records:,}", f"{test.candidates:,}")
    with samples.reading(test):
        scores = collect(Predictor(model, samples.read(test, schema, config.evaluate.batch_size, with_truth=True)), schema.tasks)
        unplaced = samples.read(test, schema, config.evaluate.batch_size).map(without_slots)
        others = {f"ppm{AS_SERVED}": collect(Predictor(model, unplaced), schema.tasks)} if config.ppm.slots else {}
    content = None
    if config.evaluate.baselines:
        train = samples.find_shards(workspace.path("data") / "samples", config.ppm_splits, config.train.verify, config.train.max_bad_share)
        content = content_of_splits(tables, schema, train, test, config.evaluate.batch_size)
    counts = inputs.catalog.counts
    exposures, positives = (sum(counts[f"{what}_{split}"] for split in config.ppm_splits) for what in ("exposures", "positives"))
    title = f"PPM on {config.data.source} data ({workspace.folder})"
    write_model_report(
        folder, "ppm", scores, exposures, positives, config.evaluate, config.seed, title, workspace.path("ppm"), against=others, content=content
    )


def needs(config: Config) -> Iterator[str]:
    """The data and the tables that PPM reads; the contents of all tables are looked at before the first is made.

    Raises:
        ValueError: the data has no log to learn from, no item has the content of a table, or ppm.warm_start was trained on vectors of other
            encoders than the run has, or without keeping its optimiser where that is to go on.
    """
    if not config.has_log:
        raise ValueError(
            "PPM is trained on an interaction log. Received: data.log=null. Remedy: set data.log to the log's files and columns; "
            "without one, `python -m pipelines.finetune` and `python -m pipelines.embed` are what this data serves."
        )
    check_contents(config, config.ppm.tables)
    if config.ppm.warm_start:
        check_encoders(Path(config.ppm.warm_start), config.ppm.tables, config, PPM_START_ANEW)
        check_start(config.ppm.warm_start, config.ppm.warm_start_optimizer, "ppm")
    yield "data"
    check_contents(config, config.ppm.tables, Workspace(config.run).path("data"))  # which was made by now, where the caller makes it
    yield from (f"tables/{name}" for name in config.ppm.tables)


def settings(config: Config) -> dict[str, Any]:
    """What shapes PPM: its section and that of its training."""
    found = {name: value for name, value in config.model_dump(mode="json").items() if name in ("seed", "ppm", "train")}
    without_unused(found["ppm"], found["train"])
    return found


STAGE = Stage(
    module="pipelines.pretrain",
    makes="ppm",
    needs=needs,
    sections=("seed", "ppm", "train"),
    also_uses=("data", "text", "image", "embed", "evaluate", "beam"),
    run=run,
    show=show,
    settings=settings,
    inputs=lambda config: files_of(config.ppm.warm_start),
    sticky=True,
)

if __name__ == "__main__":
    main(STAGE)
