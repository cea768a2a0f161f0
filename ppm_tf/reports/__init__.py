"""What a person reads of a run: tables for the terminal, plots (PNG) and sheets (HTML)."""

from ppm_tf.reports.ranking import metrics_table, plot_bucket_auc, plot_learning_curve

__all__ = ["metrics_table", "plot_bucket_auc", "plot_learning_curve"]
