"""`FactorizationMachine`: how well the fields of user and candidate go together, in pairs."""

from __future__ import annotations

import keras
from keras import ops


class FactorizationMachine(keras.layers.Layer):
    """The second order of a factorisation machine: the sum of `<v_i, v_j>` over all pairs of fields.

    `sum_(i<j) <v_i, v_j> = 1/2 sum_d ((sum_i v_id)^2 - sum_i v_id^2)`, which costs O(F D) instead of O(F^2 D) (Rendle, 2010,
    lemma 3.1). Both sums split into the request's fields and the candidate's; those of the request are computed once.

    Call arguments:
        request: tensor `[R, Fr, D]`, the fields that all candidates share. Fr may be 0.
        candidates: tensor `[R, N, Fi, D]`.

    Returns:
        Tensor `[R, N, 1]`.

    Example:

    >>> import numpy as np
    >>> request = np.array([[[1.0, 2.0], [3.0, 4.0]]], "float32")
    >>> float(FactorizationMachine()(request, np.array([[[[5.0, 6.0]]]], "float32"))[0, 0, 0])  # 11 + 17 + 39
    67.0

    References:
        [Rendle, 2010](https://doi.org/10.1109/ICDM.2010.127);
        [Guo et al., 2017](https://arxiv.org/abs/1703.04247), eq. 2.
    """

    def build(self, request_shape, candidates_shape):
        if request_shape[-1] != candidates_shape[-1]:
            raise ValueError(f"All fields must have one width. Received: {request_shape[-1]} and {candidates_shape[-1]}.")

    def call(self, request, candidates):
        total = ops.expand_dims(ops.sum(request, axis=1), 1) + ops.sum(candidates, axis=2)
        squares = ops.expand_dims(ops.sum(ops.square(request), axis=(1, 2)), 1) + ops.sum(ops.square(candidates), axis=(2, 3))
        return 0.5 * ops.expand_dims(ops.sum(ops.square(total), axis=-1) - squares, -1)

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:2], 1)
