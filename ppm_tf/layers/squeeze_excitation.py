"""`SqueezeExcitation`: a weight a field, by what all fields say (SENET)."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.candidate_dense import CandidateDense


class SqueezeExcitation(keras.layers.Layer):
    """`a = ReLU(W_2 ReLU(W_1 z))`, `z_f = mean_d e_fd` (Huang et al., 2019), without biases as in the paper.

    The re-weighted fields are `a_f e_f`, which are left to whoever reads the weights: what is linear in each field can
    be weighed after it was computed. The request's share of `W_1 z` is computed once.

    Args:
        reduction: int. `W_1` gives `F / reduction` columns, but one at least. Defaults to `3`.

    Call arguments:
        request: tensor `[R, Fr, D]`, the fields that all candidates share.
        candidates: tensor `[R, N, Fi, D]`.

    Returns:
        Tensor `[R, N, Fr + Fi]`, the weights, those of the request's fields first.

    References:
        [Huang et al., 2019](https://arxiv.org/abs/1905.09433), the SENET layer.
    """

    def __init__(self, reduction=3, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, request_shape, candidates_shape):
        fields = request_shape[1] + candidates_shape[2]
        reduced = max(fields // self.reduction, 1)
        self.squeeze = CandidateDense(reduced, "relu", use_bias=False, dtype=self.dtype_policy, name="squeeze")
        self.squeeze.build(request_shape[:-1], candidates_shape[:-1])
        self.excite = keras.layers.Dense(fields, "relu", use_bias=False, dtype=self.dtype_policy, name="excite")
        self.excite.build((*candidates_shape[:2], reduced))

    def call(self, request, candidates):
        return self.excite(self.squeeze(ops.mean(request, axis=-1), ops.mean(candidates, axis=-1)))

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:2], request_shape[1] + candidates_shape[2])

    def get_config(self):
        config = super().get_config()
        config.update(reduction=self.reduction)
        return config
