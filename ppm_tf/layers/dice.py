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
        # Copies: tensors, as a gradient of one's own wants them, and no variables.
        mean, variance, alpha = (ops.cast(ops.copy(weight), "float32") for weight in (self.mean, self.variance, self.alpha))
        if training:
            shape = ops.shape(inputs)[:-1]
            weights = ops.ones(shape, "float32") if real is None else ops.cast(ops.broadcast_to(real, shape), "float32")
            outputs, shift, spread = _over_batch(inputs, alpha, weights, mean, variance, self.epsilon)
            self._keep(weights, mean, variance, shift, spread)
            return outputs
        # In float32, and from the kept mean: a mean far from 0 does not eat the digits of what is around it.
        share = ops.cast(ops.sigmoid((ops.cast(inputs, "float32") - mean) * ops.rsqrt(variance + self.epsilon)), inputs.dtype)
        alpha = ops.cast(alpha, inputs.dtype)
        return inputs * (alpha + share * (1 - alpha))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = super().get_config()
        config.update(momentum=self.momentum, epsilon=self.epsilon)
        return config

    def _keep(self, weights, mean, variance, shift, spread):
        """Moves the kept mean and variance by those of a batch; a batch of padding alone says nothing."""
        some = ops.sum(weights) > 0
        rate = ops.where(some, ops.maximum(1 - self.momentum, 1 / (self.batches + 1)), 0.0)
        self.mean.assign(mean + rate * shift)
        self.variance.assign(variance + rate * (spread - variance))
        self.batches.assign(self.batches + ops.cast(some, "float32"))


def _over_batch(inputs, alpha, weights, mean, variance, epsilon):
    """The activation by the statistics of the batch, with its gradient written by hand: that of the statistics too, in half the passes.

    Args:
        inputs: tensor `[..., D]`.
        alpha: float32 `[D]`.
        weights: float32 `[...]`, 1 where a row counts in the statistics, 0 elsewhere.
        mean, variance: float32 `[D]`, the kept ones. Deviations are from the kept mean, so that a mean far from 0 does not eat the digits
            of what is around it; the variance is used where no row counts.
        epsilon: float.

    Returns:
        `[..., D]`, the batch's mean less the kept one, and its variance; no gradient flows through the latter two.
    """
    dim, dtype = inputs.shape[-1], inputs.dtype

    def sums(row, values):
        # Weighted sums as products with a matrix of one row: a fraction of the passes over what is a value a row and unit.
        return ops.squeeze(ops.matmul(row, ops.reshape(values, (-1, dim))), 0)

    @ops.custom_gradient
    def activation(inputs, alpha):
        deviations, row = ops.cast(inputs, "float32") - mean, ops.reshape(weights, (1, -1))
        count = ops.sum(weights)
        safe = ops.maximum(count, 1.0)
        shift = sums(row, deviations) / safe
        spread = ops.maximum(sums(row, ops.square(deviations)) / safe - ops.square(shift), 0.0)
        spread = ops.where(count > 0, spread, variance)
        scale = ops.rsqrt(spread + epsilon)
        normal = (deviations - shift) * scale
        share = ops.sigmoid(normal)
        slope = alpha + share * (1 - alpha)
        outputs = (inputs * ops.cast(slope, dtype), shift, spread)

        def gradient(*args, upstream=None):
            above = ops.cast((args if upstream is None else upstream)[0], "float32")
            ones = ops.ones_like(row)
            moved = above * ops.cast(inputs, "float32")
            shared = moved * share
            bent = shared - shared * share  # by `normal`, but for the factor 1 - alpha
            factor = (1 - alpha) * scale
            # Of a batch norm: what counts in the mean and the variance takes its part of all that these move.
            through_mean, through_spread = sums(ones, bent) / safe, sums(ones, bent * normal) / safe
            statistics = ops.expand_dims(weights, -1) * (through_mean + normal * through_spread)
            return ops.cast(above * slope + (bent - statistics) * factor, dtype), sums(ones, moved) - sums(ones, shared)

        return outputs, gradient

    return activation(inputs, alpha)
