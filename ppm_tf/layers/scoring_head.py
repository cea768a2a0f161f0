"""`ScoringHead`: the dense layers between what a backbone found and its logits."""

from __future__ import annotations

import keras

from ppm_tf.layers.candidate_dense import CandidateDense
from ppm_tf.layers.mlp import MLP


class ScoringHead(keras.layers.Layer):
    """Dense layers over `[request ; candidate_n]` and a logit a task.

    `x_1 = dropout(activation([request ; candidate_n] W_1 + b_1))`, `x_i = dropout(activation(x_(i-1) W_i + b_i))`,
    `logits = x W + b`. The first layer sees the request once (`CandidateDense`). The logits are float32 whatever the
    precision of the layer: near 0 a bfloat16 logit would put many candidates on one score.

    Args:
        num_tasks: int. Logits a candidate, K.
        units: tuple of int. Widths of the hidden layers; may be empty.
        dropout: float. Dropout rate after every hidden layer. Defaults to `0.0`.
        activation: string. Activation of every hidden layer. Defaults to `"relu"`.

    Call arguments:
        request: tensor `[R, A]`, or `None`.
        candidates: tensor `[R, N, B]`.

    Returns:
        Tensor `[R, N, K]`, float32.
    """

    def __init__(self, num_tasks, units, dropout=0.0, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.units = tuple(units)
        self.dropout = dropout
        self.activation = activation

    def build(self, request_shape, candidates_shape):
        shape = (*candidates_shape[:-1], self.units[0] if self.units else None)
        self.first = self.hidden = None
        if self.units:
            self.first = CandidateDense(self.units[0], self.activation, dtype=self.dtype_policy, name="first")
            self.first.build(request_shape, candidates_shape)
        if self.units[1:]:
            self.hidden = MLP(self.units[1:], self.activation, self.dropout, dtype=self.dtype_policy, name="hidden")
            self.hidden.build(shape)
            shape = (*shape[:-1], self.units[-1])
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        if self.units:
            self.logits = keras.layers.Dense(self.num_tasks, dtype="float32", name="logits")
            self.logits.build(shape)
        else:
            self.logits = CandidateDense(self.num_tasks, dtype="float32", name="logits")
            self.logits.build(request_shape, candidates_shape)

    def call(self, request, candidates, training=False):
        if not self.units:
            return self.logits(request, candidates)
        x = self.dropout_layer(self.first(request, candidates), training=training)
        return self.logits(x if self.hidden is None else self.hidden(x, training=training))

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:-1], self.num_tasks)

    def get_config(self):
        config = super().get_config()
        config.update(num_tasks=self.num_tasks, units=self.units, dropout=self.dropout, activation=self.activation)
        return config
