"""Metrics of ranking models: pure functions on NumPy arrays, streams over batches, confidence intervals."""

from ppm_tf.metrics.bootstrap import Difference, Interval, MetricOfWeights, bootstrap_interval, paired_bootstrap, ratio_of_weights
from ppm_tf.metrics.delong import DeLong, delong_test
from ppm_tf.metrics.groups import PerGroup
from ppm_tf.metrics.probability import calibration, expected_calibration_error, log_loss, row_log_loss
from ppm_tf.metrics.ranked import (
    mrr,
    ndcg_at,
    ndcg_by_group,
    precision_at,
    precision_by_group,
    rank_in_group,
    ranked_by_group,
    reciprocal_rank_by_group,
)
from ppm_tf.metrics.retrieval import metrics_by_query, metrics_of_ranking, nearest, retrieval_metrics
from ppm_tf.metrics.roc import auc, auc_by_group, auc_of_weights, group_auc
from ppm_tf.metrics.streaming import StreamingAUC, StreamingCalibration, StreamingLogLoss, StreamingMean
from ppm_tf.metrics.streaming_groups import StreamingGroupAUC, StreamingPrecisionAt
from ppm_tf.metrics.student import MeanInterval, joint_freedom, mean_interval, t_quantile
from ppm_tf.metrics.tf_idf import tf_idf_ranking
from ppm_tf.metrics.value import Value

__all__ = [
    "DeLong",
    "Difference",
    "Interval",
    "MeanInterval",
    "MetricOfWeights",
    "PerGroup",
    "StreamingAUC",
    "StreamingCalibration",
    "StreamingGroupAUC",
    "StreamingLogLoss",
    "StreamingMean",
    "StreamingPrecisionAt",
    "Value",
    "auc",
    "auc_by_group",
    "auc_of_weights",
    "bootstrap_interval",
    "calibration",
    "delong_test",
    "expected_calibration_error",
    "group_auc",
    "joint_freedom",
    "log_loss",
    "mean_interval",
    "metrics_by_query",
    "metrics_of_ranking",
    "mrr",
    "ndcg_at",
    "ndcg_by_group",
    "nearest",
    "paired_bootstrap",
    "precision_at",
    "precision_by_group",
    "rank_in_group",
    "ranked_by_group",
    "ratio_of_weights",
    "reciprocal_rank_by_group",
    "retrieval_metrics",
    "row_log_loss",
    "t_quantile",
    "tf_idf_ranking",
]
