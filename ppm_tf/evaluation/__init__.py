"""Evaluation: from scored candidates to the figures of a report, by slice, with intervals; differences; files."""

from ppm_tf.evaluation.baselines import baselines
from ppm_tf.evaluation.content import ContentBaseline, content_of_splits, content_scores
from ppm_tf.evaluation.measures import (
    MEAN,
    MEASURES,
    MIN_USERS,
    Measure,
    Measures,
    compare,
    evaluate,
    load_measures,
    mean_of,
    mean_of_seeds,
    measure,
    minus,
    records_of,
    save_measures,
    subtract,
)
from ppm_tf.evaluation.records import Record, read_metrics, write_metrics
from ppm_tf.evaluation.scores import Scores, collect, load_scores, save_scores
from ppm_tf.evaluation.slices import ALL, BUCKET, HISTORY, NEVER_SEEN, USER, bucket_names, first_of, slices

__all__ = [
    "ALL",
    "BUCKET",
    "HISTORY",
    "MEAN",
    "MEASURES",
    "MIN_USERS",
    "NEVER_SEEN",
    "USER",
    "ContentBaseline",
    "Measure",
    "Measures",
    "Record",
    "Scores",
    "baselines",
    "bucket_names",
    "collect",
    "compare",
    "content_of_splits",
    "content_scores",
    "evaluate",
    "first_of",
    "load_measures",
    "load_scores",
    "mean_of",
    "mean_of_seeds",
    "measure",
    "minus",
    "read_metrics",
    "records_of",
    "save_measures",
    "save_scores",
    "slices",
    "subtract",
    "write_metrics",
]
