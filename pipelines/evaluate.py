"""Scores the test split with a trained ranking model, once, and judges the scores.

Metrics: AUC, group AUC (by user), Precision@N (by request), NDCG, MRR, log loss and calibration of each task, and the mean of
AUC and Precision@N over the tasks; on all candidates and by how often the training held the target item, by the length of the
history and by how often the training held the user; with bootstrap intervals over users. Beside them the trivial answers (an
item's mean rate, its popularity) and, where the data is simulated, the best that any model could do. With evaluate.against the
differences to other models of the run, in pairs.

Writes <run>/reports/<name>: metrics.jsonl (one figure a line), scores.npz (one entry a candidate: scores and labels by task, item_id,
user and time as in the log, to join it; see ppm_tf/evaluation/scores.py), bucket_auc.png and learning_curve.png. A missing model is
trained first.

  python -m pipelines.evaluate                                              # URM with PPM on the embedded shop
  python -m pipelines.evaluate model.backbone.name=din model.ppm=none
  python -m pipelines.evaluate evaluate.against=[urm]                        # beside the model without PPM, evaluated before
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pipelines.stage import Stage, check_encoders, main, stage_of
from ppm_tf.config import Config
from ppm_tf.models.provenance import MODEL_ANEW
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)

SCORES = "scores.npz"


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Scores the test split and commits `reports/<name>`."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.data.sample_counts import SampleCounts
    from ppm_tf.evaluation import collect, content_of_splits, load_scores, save_scores
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.predict import AS_SERVED, Predictor, without_slots
    from ppm_tf.models.ranking_files import check_requests
    from ppm_tf.reports.model_report import write_model_report
    from ppm_tf.text_models.files import load_model

    settings = config.model.train
    training.prepare_backend(settings, config.seed)
    inputs, folder = Inputs.read(workspace, config.ranking_tables), workspace.path(f"models/{config.model.folder}")
    check_requests(inputs, folder)
    model = load_model(config, inputs, folder)
    test = samples.find_shards(workspace.path("data") / "samples", ["test"], settings.verify)
    logger.info("scoring the test split: %s requests, %s candidates", f"{test.records:,}", f"{test.candidates:,}")
    with samples.reading(test):
        predictor = Predictor(model, samples.read(test, inputs.schema, config.scored_together, with_truth=True))
        scores = collect(predictor, inputs.schema.tasks, inputs.catalog.ids.to_numpy(zero_copy_only=False))
        others = {name: load_scores(workspace.path(f"reports/{name}") / SCORES) for name in config.evaluate.against}
        if config.model.ppm != "none" and config.ppm.slots:
            unplaced = samples.read(test, inputs.schema, config.evaluate.batch_size).map(without_slots)
            others[f"{config.model.folder}{AS_SERVED}"] = collect(Predictor(model, unplaced), inputs.schema.tasks)
    content = None
    if inputs.tables and config.evaluate.baselines:
        train = samples.find_shards(workspace.path("data") / "samples", config.model.splits, settings.verify, settings.max_bad_share)
        content = content_of_splits(inputs.tables, inputs.schema, train, test, config.evaluate.batch_size)
    counts = SampleCounts.read(folder)
    with workspace.commit(STAGE.artifact(config), recipe) as made:
        save_scores(scores, made / SCORES)
        write_model_report(
            made,
            config.model.folder,
            scores,
            counts.exposures,
            counts.positives,
            config.evaluate,
            config.seed,
            f"{config.model.folder} on {config.data.source} data ({workspace.folder})",
            folder,
            counts.requests_of(scores.user),
            others,
            content,
        )


def show(config: Config, workspace: Workspace) -> None:
    """Prints the table of the report."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports import metrics_table
    from ppm_tf.training import standing_line

    folder = workspace.path(STAGE.artifact(config))
    print(metrics_table(read_metrics(folder / "metrics.jsonl"), config.evaluate.confidence))
    model = config.model.folder
    print(f"\nThe training of {model} is {standing_line(workspace.path(f'models/{model}'), config.model.train, config.ranking_places)}.")
    print(f"\nmetrics, scores, plots: {folder}")


def needs(config: Config) -> Iterator[str]:
    """What the model is built from, the model, and the reports of the models that it is compared with.

    Raises:
        ValueError: `evaluate.against` names the model itself, or the model was trained on vectors of other encoders than the run has.
        FileNotFoundError: it names one that was not evaluated.
    """
    if config.model.folder in config.evaluate.against:
        raise ValueError(f"evaluate.against must name other models. Received: {config.model.folder}, the model that is evaluated.")
    compared(config)
    check_encoders(Workspace(config.run).path(f"models/{config.model.folder}"), config.ranking_tables, config, MODEL_ANEW)
    # One by one: the model's stage looks at the data that the caller has made by then, before the first table is.
    yield from (name for name in stage_of("models").parents(config) if name != "ppm")
    yield f"models/{config.model.folder}"


def compared(config: Config) -> dict[str, str]:
    """The reports of the models that this one is compared with, by when they were made.

    Raises:
        FileNotFoundError: one is not there.
    """
    workspace, found = Workspace(config.run), {}
    for name in config.evaluate.against:
        if not workspace.exists(f"reports/{name}"):
            raise FileNotFoundError(
                f"evaluate.against names {name}, and {workspace.path(f'reports/{name}')} is not there. Evaluate that model first, in the same run"
                " folder."
            )
        found[f"reports/{name}"] = workspace.id(f"reports/{name}")
    return found


STAGE = Stage(
    module="pipelines.evaluate",
    makes=lambda config: f"reports/{config.model.folder}",
    needs=needs,
    sections=("evaluate",),
    also_uses=("seed", "data", "text", "image", "embed", "ppm", "model", "train", "beam"),
    run=run,
    show=show,
    inputs=compared,
)

if __name__ == "__main__":
    main(STAGE)
