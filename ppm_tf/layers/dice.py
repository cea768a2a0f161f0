"""`Dice`: an activation that bends where its inputs are."""

from __future__ import annotations

import keras
from keras import ops


class Dice(keras.layers.Layer):
    """The data adaptive activation of DIN, one slope a unit (DIN, eq. 9 and 10).

    `f(s) = p(s) s + (1 - p(s)) alpha s` with `p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + epsilon))` and a trained `alpha`. In
    training `E` and `Var` are taken over the batch, and moving averages of them are kept; else the moving averages are
    used, so that a score does not depend on what else is scored.

    The n-th batch moves the averages by `max(1 - momentum, 1/n)`: the first batches count alike, so that the averages hold
    after a few steps and not only after 1 / (1 - momentum) of them.

    Args:
        momentum: float. What the moving averages keep at a step, after the first steps. Defaults to `0.99`.
        epsilon: float. Defaults to `1e-8`, the paper's.

    Call arguments:
        inputs: tensor `[..., D]`.
        real: bool tensor that broadcasts to `[...]`, or `None`: what counts in the statistics; padding must not.
        training: bool. Whether the statistics of the batch are used, and kept.

    Returns:
        Tensor `[..., D]`.

    References:
        [Zhou et al., 2018](https://arxiv.org/abs/1706.06978), section 5.3.
    """

    def __init__(self, momentum=0.99, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.alpha = self.add_weight(name="alpha", shape=shape, initializer="zeros")
        # Replicas see different batches: their averages are averaged.
        kept = {"trainable": False, "autocast": False, "aggregation": "mean"}
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", **kept)
        self.variance = self.add_weight(name="variance", shape=shape, initializer="ones", **kept)
        self.batches = self.add_weight(name="batches", shape=(), initializer="zeros", **kept)

    def call(self, inputs, real=None, training=False):
        mean, variance = ops.convert_to_tensor(self.mean), ops.convert_to_tensor(self.variance)
        # In float32, and from the kept mean: a mean far from 0 does not eat the digits of what is around it.
        deviations = ops.cast(inputs, "float32") - mean
        if training:
            shift, variance = self._of_batch(deviations, real, mean, variance)
            deviations = deviations - shift
        share = ops.cast(ops.sigmoid(deviations * ops.rsqrt(variance + self.epsilon)), inputs.dtype)
        alpha = ops.cast(self.alpha, inputs.dtype)
        return inputs * (alpha + share * (1 - alpha))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = super().get_config()
        config.update(momentum=self.momentum, epsilon=self.epsilon)
        return config

    def _of_batch(self, deviations, real, mean, variance):
        """The batch's mean, less the kept one, and its variance, both over what is real; moves the kept ones."""
        rows = ops.reshape(deviations, (-1, deviations.shape[-1]))
        shape = ops.shape(deviations)[:-1]
        weights = ops.ones(shape, "float32") if real is None else ops.cast(ops.broadcast_to(real, shape), "float32")
        count = ops.sum(weights)
        weights, safe = ops.reshape(weights, (1, -1)), ops.maximum(count, 1.0)
        # Weighted sums as products with a matrix of one row: a fraction of the passes over what is a value a pair and unit.
        shift = ops.squeeze(ops.matmul(weights, rows), 0) / safe
        spread = ops.maximum(ops.squeeze(ops.matmul(weights, ops.square(rows)), 0) / safe - ops.square(shift), 0.0)
        # A batch of padding alone says nothing.
        some = count > 0
        rate = ops.where(some, ops.maximum(1 - self.momentum, 1 / (self.batches + 1)), 0.0)
        self.mean.assign(mean + rate * shift)
        self.variance.assign(variance + rate * (spread - variance))
        self.batches.assign(self.batches + ops.cast(some, "float32"))
        return shift, ops.where(some, spread, variance)
