"""`MMoE`: experts shared by all tasks, and a gate a task that mixes them."""

from __future__ import annotations

import keras
from keras import ops


class MMoE(keras.layers.Layer):
    """Multi-gate mixture of experts (PPM, eq. 9 and 10).

    `f_k(x) = sum_n g_kn f_n(x)` with `g_k = softmax(x W_k + b_k)` over the N experts. Each expert `f_n` is a stack of dense
    layers with ReLU. The paper writes the gate's kernel as N x N; since x is wider than N it is `dim(x) x N` here. The
    weights of all experts lie in one variable a layer; each expert is a chain of products of its own, so that experts can run
    beside each other.

    Args:
        num_tasks: int. K.
        num_experts: int. Defaults to `4`.
        units: tuple of int. Dense layers of an expert. Defaults to `(256, 128)`.
        dropout: float. After each of them. Defaults to `0.0`.

    Call arguments:
        inputs: tensor `[..., D]`.

    Returns:
        Tensor `[..., K, units[-1]]`: the mixture of each task.

    Example:

    >>> import numpy as np
    >>> MMoE(num_tasks=3, num_experts=2, units=(8, 4))(np.ones((2, 5, 6), "float32")).shape
    TensorShape([2, 5, 3, 4])

    References:
        Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018;
        [Gao et al., 2024](https://doi.org/10.1145/3589335.3648329), section 3.2.3.
    """

    def __init__(self, num_tasks, num_experts=4, units=(256, 128), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_experts = num_experts
        self.units = tuple(units)
        self.dropout = dropout
        if not self.units or num_experts < 1 or num_tasks < 1:
            raise ValueError(
                f"MMoE needs tasks, experts and at least one layer an expert. Received: num_tasks={num_tasks}, num_experts={num_experts},"
                f" units={self.units}."
            )

    def build(self, input_shape):
        width = input_shape[-1]
        self.kernels, self.biases = [], []
        for number, units in enumerate(self.units):
            # Each expert's own fan, not that of all experts together, sets the scale of its weights.
            scale = (6.0 / (width + units)) ** 0.5
            initializer = keras.initializers.RandomUniform(-scale, scale)
            self.kernels.append(self.add_weight(name=f"kernel_{number}", shape=(self.num_experts, width, units), initializer=initializer))
            self.biases.append(self.add_weight(name=f"bias_{number}", shape=(self.num_experts, units), initializer="zeros"))
            width = units
        self.gates = keras.layers.Dense(self.num_tasks * self.num_experts, dtype=self.dtype_policy, name="gates")
        self.gates.build(input_shape)
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, inputs, training=False):
        leading = ops.shape(inputs)[:-1]
        experts = [ops.reshape(inputs, (-1, inputs.shape[-1]))] * self.num_experts
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            # Unstacked, not indexed: the gradient of an index is a table of zeros around one expert's.
            weights = zip(ops.unstack(kernel), ops.unstack(bias), strict=True)
            experts = [self._dense(x, *pair, training) for x, pair in zip(experts, weights, strict=True)]
        gates = ops.reshape(self.gate(inputs), (-1, self.num_tasks, self.num_experts))
        mixed = ops.matmul(gates, ops.stack(experts, axis=1))
        return ops.reshape(mixed, (*leading, self.num_tasks, self.units[-1]))

    def gate(self, inputs):
        """How much each task takes from each expert: `[..., K, N]`, each row sums to one."""
        logits = ops.reshape(self.gates(inputs), (*ops.shape(inputs)[:-1], self.num_tasks, self.num_experts))
        return ops.softmax(logits, axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_tasks, self.units[-1])

    def get_config(self):
        config = super().get_config()
        config.update(num_tasks=self.num_tasks, num_experts=self.num_experts, units=self.units, dropout=self.dropout)
        return config

    def _dense(self, x, kernel, bias, training):
        return self.dropout_layer(ops.relu(ops.matmul(x, ops.cast(kernel, x.dtype)) + ops.cast(bias, x.dtype)), training=training)
