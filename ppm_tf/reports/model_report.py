"""The report of one model: its figures on the test split beside the trivial answers and other models, and their plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from numpy.typing import ArrayLike

from ppm_tf.config import EvaluateSettings
from ppm_tf.evaluation import Scores, baselines, compare, evaluate, read_metrics, write_metrics
from ppm_tf.reports.ranking import REFERENCE, plot_bucket_auc, plot_learning_curve
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
) -> None:
    """Writes `metrics.jsonl`, `bucket_auc.png` and `learning_curve.png`.

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
    """
    trivial = baselines(scores, exposures, positives)
    records = list(evaluate(scores, exposures, settings, seed, user_frequency))
    for other, theirs in {REFERENCE: trivial[REFERENCE], **(against or {})}.items():
        records += compare(scores, theirs, other, exposures, settings, seed, user_frequency)
    write_metrics(records, folder / "metrics.jsonl", name, seed)
    for other, theirs in trivial.items():
        write_metrics(evaluate(theirs, exposures, settings, seed, user_frequency), folder / "metrics.jsonl", other, seed)
    for other, theirs in (against or {}).items():
        write_metrics(evaluate(replace(theirs, truth=None), exposures, settings, seed, user_frequency), folder / "metrics.jsonl", other, seed)
    plot_bucket_auc(read_metrics(folder / "metrics.jsonl"), folder / "bucket_auc.png", title)
    plot_learning_curve(read_log(model_folder / LOG), folder / "learning_curve.png", title)
