"""`VectorCross`: the cross network of DCN, a vector a layer."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.candidate_dense import CandidateDense
from ppm_tf.layers.fields import join_request


class VectorCross(keras.layers.Layer):
    """`x_(l+1) = x_0 (x_l^T w_l) + b_l + x_l` for `l < L`, `x_0 = [request ; candidate_n]` (Wang et al., 2017).

    Every `x_l` is `s_l x_0 + c_l` with a number a candidate, `s_(l+1) = s_l (1 + x_0^T w_l) + c_l^T w_l`, and a vector that is
    the same for all, `c_(l+1) = c_l + b_l`. So all that L layers read of the features is L numbers, `x_0^T w_l`, of which the
    request's share is computed once; `x_0` itself meets the candidates in the end.

    Args:
        num_layers: int. L. Defaults to `2`.

    Call arguments:
        request: tensor `[R, A]`.
        candidates: tensor `[R, N, B]`.

    Returns:
        Tensor `[R, N, A + B]`, `x_L`.

    References:
        [Wang et al., 2017](https://arxiv.org/abs/1708.05123), the cross network.
    """

    def __init__(self, num_layers=2, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.products = CandidateDense(num_layers, use_bias=False, dtype=self.dtype_policy, name="products")

    def build(self, request_shape, candidates_shape):
        self.products.build(request_shape, candidates_shape)
        self.bias = self.add_weight(name="bias", shape=(self.num_layers, request_shape[-1] + candidates_shape[-1]), initializer="zeros")

    def call(self, request, candidates):
        products = ops.split(self.products(request, candidates), self.num_layers, axis=-1)
        kernels, biases = ops.unstack(self.products.kernel, axis=1), ops.unstack(self.bias)
        scale, offset = ops.ones_like(products[0]), ops.zeros_like(biases[0])
        for product, kernel, bias in zip(products, kernels, biases, strict=True):
            scale = scale * (1 + product) + ops.sum(offset * kernel)
            offset = offset + bias
        return scale * join_request(request, candidates) + offset

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:-1], request_shape[-1] + candidates_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.update(num_layers=self.num_layers)
        return config
