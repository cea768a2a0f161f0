"""Logits that tasks share: what a backbone finds once for all tasks, and each task weighs by itself."""

from __future__ import annotations

import keras
from keras import ops


def add_task_scale(layer, num_tasks, name="linear_scale"):
    """A weight `[K]` of `layer`, 1 at the start: by how much each task weighs one number a candidate that the tasks share.

    It is a weight of the backbone and no layer of its own, so that weights that were saved keep their places.
    """
    return layer.add_weight(name=name, shape=(num_tasks,), initializer="ones")


def scaled_by_task(values, scale):
    """Logits `[R, N, K]`, float32, of one number a candidate `[R, N, 1]`, such as the sum of its fields' own weights, and a scale a task `[K]`."""
    return ops.cast(values, "float32") * ops.cast(scale, "float32")


def task_logits(num_tasks, interactions_shape):
    """A built layer from interactions that the tasks share, `[R, N, I]`, to logits `[R, N, K]`, float32 whatever the precision.

    It has no bias: that is the dense layers', beside which it stands.
    """
    layer = keras.layers.Dense(num_tasks, use_bias=False, dtype="float32", name="logits")
    layer.build(interactions_shape)
    return layer
