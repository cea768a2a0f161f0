"""`MLP`: dense layers on the last axis."""

from __future__ import annotations

import keras


class MLP(keras.layers.Layer):
    """Dense layers, each followed by an activation and dropout: `x <- dropout(activation(x W + b))`.

    Unlike `keras.Sequential` it takes inputs of any rank, so one instance serves `[R, D]` and `[R, N, D]`.

    Args:
        units: tuple of int. Width of each layer.
        activation: string. Activation after every layer. Defaults to `"relu"`.
        dropout: float. Dropout rate after every layer. Defaults to `0.0`.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.

    Call arguments:
        inputs: tensor `[..., D]`.

    Returns:
        Tensor `[..., units[-1]]`.

    Example:

    >>> import numpy as np
    >>> MLP((8, 4))(np.ones((2, 3, 5), "float32")).shape
    TensorShape([2, 3, 4])
    """

    def __init__(self, units, activation="relu", dropout=0.0, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.activation = activation
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if not self.units:
            raise ValueError("`units` must name at least one layer. Received: units=().")
        self.dense_layers = [
            keras.layers.Dense(
                width, activation=activation, kernel_initializer=_copy(self.kernel_initializer), dtype=self.dtype_policy, name=f"dense_{i}"
            )
            for i, width in enumerate(self.units)
        ]
        self.dropout_layer = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        for layer in self.dense_layers:
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], layer.units)

    def call(self, inputs, training=False):
        outputs = inputs
        for layer in self.dense_layers:
            outputs = self.dropout_layer(layer(outputs), training=training)
        return outputs

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units[-1])

    def get_config(self):
        config = super().get_config()
        config.update(
            units=self.units,
            activation=self.activation,
            dropout=self.dropout,
            kernel_initializer=keras.initializers.serialize(self.kernel_initializer),
        )
        return config


def _copy(initializer):
    """A fresh initializer of the same kind: one shared instance with a seed would give every kernel the same numbers."""
    return initializer.clone() if hasattr(initializer, "clone") else initializer
