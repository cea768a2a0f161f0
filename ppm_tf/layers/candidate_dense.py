"""`CandidateDense`: a dense layer over what belongs to the request and what belongs to each candidate."""

from __future__ import annotations

import keras
from keras import ops


class CandidateDense(keras.layers.Layer):
    """`y_n = activation([request ; candidate_n] W + b)`, with the request's share computed once.

    The product with the concatenation is the sum of two products, `request W_r + candidate_n W_c`: the first is computed on
    `[R, A]` and meets the candidates by broadcasting, whatever their number. Weights and start are those of a
    `keras.layers.Dense` over the concatenation.

    Args:
        units: int. Width of the output.
        activation: string or `None`. Defaults to `None`.
        kernel_initializer: initializer of the kernel. Defaults to `"glorot_uniform"`.
        use_bias: bool. Whether there is `b`. Defaults to `True`.

    Call arguments:
        request: tensor `[R, A]`, or `None` where nothing depends on the request alone. A may be 0.
        candidates: tensor `[R, N, B]`. B may be 0 where A is not.

    Returns:
        Tensor `[R, N, units]`.

    Example:

    >>> import numpy as np
    >>> CandidateDense(4)(np.ones((2, 5), "float32"), np.ones((2, 3, 6), "float32")).shape
    TensorShape([2, 3, 4])
    """

    def __init__(self, units, activation=None, kernel_initializer="glorot_uniform", use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.use_bias = use_bias

    def build(self, request_shape, candidates_shape):
        self.request_dim = 0 if request_shape is None else request_shape[-1]
        dim = self.request_dim + candidates_shape[-1]
        if not dim:
            raise ValueError("Request and candidates must have a column between them. Received: none.")
        self.kernel = self.add_weight(name="kernel", shape=(dim, self.units), initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros") if self.use_bias else None

    def call(self, request, candidates):
        kernel, outputs = ops.convert_to_tensor(self.kernel), self.bias if self.use_bias else 0.0
        if self.request_dim:
            outputs = ops.expand_dims(ops.matmul(request, kernel[: self.request_dim]) + outputs, 1)
        outputs = outputs + ops.matmul(candidates, kernel[self.request_dim :])
        return self.activation(outputs)

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:-1], self.units)

    def get_config(self):
        config = super().get_config()
        config.update(
            units=self.units,
            activation=keras.activations.serialize(self.activation),
            kernel_initializer=keras.initializers.serialize(self.kernel_initializer),
            use_bias=self.use_bias,
        )
        return config
