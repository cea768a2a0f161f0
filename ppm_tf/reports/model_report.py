"""The report of one model: its figures on the test split beside the trivial answers and other models, and their plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from numpy.typing import ArrayLike

from ppm_tf.config import EvaluateSettings
from ppm_tf.evaluation import MEASURES, Measures, Scores, baselines, compare, measure, read_metrics, records_of, save_measures, write_metrics
from ppm_tf.reports.ranking import CONTENT, REFERENCE, plot_bucket_auc, plot_learning_curve
from ppm_tf.training import LOG, read_log


def write_model_report(
    folder: Path,
    name: str,
    scores: Scores,
    exposures: ArrayLike,
    positives: ArrayLike,
    settings: EvaluateSettings,
    seed: int,
    title: str,
    model_folder: Path,
    user_frequency: ArrayLike | None = None,
    against: Mapping[str, Scores] | None = None,
    content: Scores | None = None,
) -> None:
    """Writes `metrics.jsonl`, `measures.npz` (the model's figures in every resample), `bucket_auc.png` and `learning_curve.png`.

    Args:
        folder: where to.
        name: name of the model.
        scores: its scores of the test split.
        exposures: `[V]`, times each item row was a candidate in its training data.
        positives: `[V, K]`, positive labels of each item row there.
        settings: how to judge.
        seed: of the resamples.
        title: of the plots.
        model_folder: the trained model's folder, for its training log.
        user_frequency: `[n]`, requests of each candidate's user in the training data.
        against: scores of other models, with which it is compared in pairs.
        content: the same candidates under `ContentBaseline`, where the run has embedding tables.
    """

    def measured(one: Scores) -> Measures:
        return measure(one, exposures, settings, seed, user_frequency)

    trivial = baselines(scores, exposures, positives, content=content) if settings.baselines else {}
    others = {**trivial, **{other: replace(theirs, truth=None) for other, theirs in (against or {}).items()}}
    mine, theirs, path = measured(scores), {other: measured(one) for other, one in others.items()}, folder / "metrics.jsonl"
    save_measures(mine, folder / MEASURES)
    records = list(records_of(mine, settings.confidence))
    for other, found in theirs.items():
        if other not in trivial or other in (REFERENCE, CONTENT):
            records += compare(scores, others[other], other, exposures, settings, seed, user_frequency, (mine, found))
    write_metrics(records, path, name, seed)
    for other, found in theirs.items():
        write_metrics(records_of(found, settings.confidence), path, other, seed)
    plot_bucket_auc(read_metrics(path), folder / "bucket_auc.png", title)
    plot_learning_curve(read_log(model_folder / LOG), folder / "learning_curve.png", title)
