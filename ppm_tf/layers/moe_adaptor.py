"""`MoEAdaptor`: a cached text vector to the width of a field, by experts that a gate mixes (UniSRec)."""

from __future__ import annotations

import keras
from keras import ops


class MoEAdaptor(keras.layers.Layer):
    """Parametric whitening in a mixture of experts: `v = sum_k g_k W_k (dropout(x) - b_k)` (Hou et al., 2022, eq. 1 to 3).

    `g = softmax(x W_g + delta)`; in training `delta = n * (softplus(x W_n) + .01)` with n from a standard Gaussian, else 0. Both gate
    kernels start at 0, so that each expert counts alike at first. The affine map of each expert moves what a language model's
    vectors have in common (`b_k`) and turns and scales the rest; where x comes centred, `b_k` starts at its mean, 0. "Parametric" says that this
    map is learnt with the rest: no covariance of the vectors is inverted, as whitening by PCA or ZCA does.

    One dropout mask serves all experts, and the products with their kernels are one.

    Args:
        dim: int. Width of a field.
        num_experts: int. Defaults to `8`.
        dropout: float. Defaults to `0.2`.

    Call arguments:
        vectors: tensor `[..., D]`.
        training: bool. Whether there are dropout and noise.

    Returns:
        Tensor `[..., dim]`.

    References:
        [Hou et al., 2022](https://arxiv.org/abs/2206.05941), section 2.1; .01 and the start of the gate are those of its authors' code.
    """

    def __init__(self, dim, num_experts=8, dropout=0.2, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.num_experts = num_experts
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, vectors_shape):
        width = vectors_shape[-1]
        # By expert on the first axis, so that each kernel is initialised by its own width.
        self.kernels = self.add_weight(name="kernels", shape=(self.num_experts, width, self.dim), initializer=self._one_by_one)
        self.shifts = self.add_weight(name="shifts", shape=(self.num_experts, width), initializer="zeros")
        self.gate = self.add_weight(name="gate", shape=(width, self.num_experts), initializer="zeros")
        self.noise = self.add_weight(name="noise", shape=(width, self.num_experts), initializer="zeros")
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, vectors, training=False):
        scores = ops.cast(ops.matmul(vectors, self.gate), "float32")
        if training:
            deviation = ops.softplus(ops.cast(ops.matmul(vectors, self.noise), "float32")) + 0.01
            scores = scores + deviation * keras.random.normal(ops.shape(scores), seed=self.seed_generator)
        # By its logarithm: `ops.softmax` warns of an axis of size 1, and there may be one expert.
        gates = ops.cast(ops.exp(ops.log_softmax(scores, axis=-1)), self.compute_dtype)
        # W (x - b) = W x - W b, the latter once a call.
        kernels, shifts = ops.convert_to_tensor(self.kernels), ops.convert_to_tensor(self.shifts)
        moved = ops.squeeze(ops.matmul(ops.expand_dims(shifts, 1), kernels), 1)
        flat = ops.reshape(ops.transpose(kernels, (1, 0, 2)), (-1, self.num_experts * self.dim))
        experts = ops.matmul(self.drop(vectors, training=training), flat)
        experts = ops.reshape(experts, (*ops.shape(vectors)[:-1], self.num_experts, self.dim)) - moved
        return ops.squeeze(ops.matmul(ops.expand_dims(gates, -2), experts), -2)

    def compute_output_shape(self, vectors_shape):
        return (*vectors_shape[:-1], self.dim)

    def get_config(self):
        config = super().get_config()
        config.update(dim=self.dim, num_experts=self.num_experts, dropout=self.dropout)
        return config

    @staticmethod
    def _one_by_one(shape, dtype=None):
        return ops.stack([keras.initializers.GlorotUniform()(shape[1:], dtype) for _ in range(shape[0])])
