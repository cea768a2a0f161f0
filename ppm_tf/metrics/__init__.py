"""Metrics of ranking models: pure functions on NumPy arrays, confidence intervals."""

from ppm_tf.metrics.bootstrap import Interval, bootstrap_interval, draw_users, percentile_interval, resampled_auc, resampled_ratio
from ppm_tf.metrics.delong import DeLong, delong_test
from ppm_tf.metrics.groups import PerGroup
from ppm_tf.metrics.probability import calibration, expected_calibration_error, log_loss, row_log_loss
from ppm_tf.metrics.ranked import (
    ndcg_by_group,
    precision_by_group,
    ranked_by_group,
    reciprocal_rank_by_group,
)
from ppm_tf.metrics.retrieval import metrics_by_query, metrics_of_ranking, nearest
from ppm_tf.metrics.roc import auc, auc_by_group, group_auc
from ppm_tf.metrics.student import MeanInterval, joint_freedom, mean_interval, t_quantile
from ppm_tf.metrics.tf_idf import tf_idf_ranking
from ppm_tf.metrics.value import Value

__all__ = [
    "DeLong",
    "Interval",
    "MeanInterval",
    "PerGroup",
    "Value",
    "auc",
    "auc_by_group",
    "bootstrap_interval",
    "calibration",
    "delong_test",
    "draw_users",
    "expected_calibration_error",
    "group_auc",
    "joint_freedom",
    "log_loss",
    "mean_interval",
    "metrics_by_query",
    "metrics_of_ranking",
    "ndcg_by_group",
    "nearest",
    "percentile_interval",
    "precision_by_group",
    "ranked_by_group",
    "reciprocal_rank_by_group",
    "resampled_auc",
    "resampled_ratio",
    "row_log_loss",
    "t_quantile",
    "tf_idf_ranking",
]
