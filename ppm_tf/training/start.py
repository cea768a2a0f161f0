"""Before the first step: devices, precision, seeds."""

from __future__ import annotations

import logging
import os

import keras
import tensorflow as tf

from ppm_tf.config import EncoderFitSettings, FitSettings
from ppm_tf.private_apis import cached_variables

logger = logging.getLogger(__name__)


def prepare_backend(settings: FitSettings, seed: int) -> tf.distribute.Strategy:
    """Seeds everything, makes ops deterministic, sets the precision and picks the devices. Call before building a model."""
    keras.utils.set_random_seed(seed)
    # Scatters into id tables have every row once; the deterministic kernel would copy whole tables to the host on a GPU.
    os.environ.setdefault("TF_DISABLE_SCATTER_OP_DETERMINISM", "1")
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_logical_devices("GPU")
    precision = settings.precision if settings.precision != "auto" else ("mixed_bfloat16" if gpus else "float32")
    keras.mixed_precision.set_global_policy(precision)
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
    logger.info("devices: %s; precision: %s", f"{len(gpus)} GPU" if gpus else f"CPU, {os.cpu_count()} cores", precision)
    return strategy


def starting_rate(settings: EncoderFitSettings, pretrained: bool) -> EncoderFitSettings:
    """The settings with a learning rate: where none is set, 1e-3 for an encoder that starts from nothing, 5e-5 for a pretrained one."""
    return settings if settings.learning_rate else settings.model_copy(update={"learning_rate": 5e-5 if pretrained else 1e-3})


def state_variables(model: keras.Model) -> list[tf.Variable]:
    """The variables a checkpoint needs: weights, statistics and random states, without cached item tables."""
    cached = {id(variable) for variable in cached_variables(model)}
    return [variable.value for variable in model.variables if id(variable) not in cached]
