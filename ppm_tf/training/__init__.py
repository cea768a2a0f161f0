"""Training: the loop, one step over replicas, the optimisers, the log."""

from ppm_tf.training.log import LOG, keep_logs, read_log, standing_line
from ppm_tf.training.loop import NonFiniteLossError, TrainingResult, UndefinedCriterionError, fit
from ppm_tf.training.optimizer_state import OptimizerStart
from ppm_tf.training.rates import RiseHoldFall, total_steps
from ppm_tf.training.start import prepare_backend, starting_rate, state_variables
from ppm_tf.training.trainer import Trainer, id_tables, known_labels
from ppm_tf.training.trunk import TRUNK, keep_best_optimizer, keep_trunk, step_of_trunk, take_up

__all__ = [
    "LOG",
    "TRUNK",
    "NonFiniteLossError",
    "OptimizerStart",
    "RiseHoldFall",
    "Trainer",
    "TrainingResult",
    "UndefinedCriterionError",
    "fit",
    "id_tables",
    "keep_best_optimizer",
    "keep_logs",
    "keep_trunk",
    "known_labels",
    "prepare_backend",
    "read_log",
    "standing_line",
    "starting_rate",
    "state_variables",
    "step_of_trunk",
    "take_up",
    "total_steps",
]
