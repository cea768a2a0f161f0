"""`BilinearInteraction`: every pair of fields, through a matrix and element by element."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

KINDS = ("all", "each", "interaction")


class BilinearInteraction(keras.layers.Layer):
    """`p_ij = (v_i W) * v_j` of every pair of fields, `i < j` (Huang et al., 2019).

    `W` is one matrix for all pairs, one for each field on the left, or one for each pair. The pairs come in the order of
    `ppm_tf.layers.products.field_pairs`. Those of two of the request's fields are computed once, and so is `v_i W` where the
    candidate's field is on the right alone.

    Args:
        kind: `"all"`, `"each"` or `"interaction"`. Defaults to `"interaction"`.

    Call arguments:
        request: tensor `[R, Fr, D]`, the fields that all candidates share. Fr must not be 0.
        candidates: tensor `[R, N, Fi, D]`.

    Returns:
        Two tensors: `[R, Fr (Fr - 1) / 2, D]`, the pairs of the request, once for all candidates; and
        `[R, N, Fr Fi + Fi (Fi - 1) / 2, D]`.

    References:
        [Huang et al., 2019](https://arxiv.org/abs/1905.09433), the bilinear-interaction layer.
    """

    def __init__(self, kind="interaction", **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: kind={kind!r}.")

    def build(self, request_shape, candidates_shape):
        fields, dim = request_shape[1] + candidates_shape[2], candidates_shape[3]
        if request_shape[-1] != dim:
            raise ValueError(f"All fields must have one width. Received: {request_shape[-1]} and {dim}.")
        # The last field is never on the left.
        matrices = {"all": 1, "each": fields - 1, "interaction": fields * (fields - 1) // 2}[self.kind]
        # Each matrix's own fan, not that of all together, sets the scale of its weights.
        scale = (3.0 / dim) ** 0.5
        self.kernel = self.add_weight(name="kernel", shape=(matrices, dim, dim), initializer=keras.initializers.RandomUniform(-scale, scale))

    def call(self, request, candidates):
        mine, theirs = request.shape[1], candidates.shape[2]
        within, among = np.triu_indices(mine, 1), np.triu_indices(theirs, 1)
        kernel = ops.convert_to_tensor(self.kernel)
        # `v_i W` of the left fields: of the pairs of the request, of the mixed ones, and of the pairs of the candidate.
        if self.kind == "interaction":
            kernels = ops.split(kernel, [len(within[0]), len(within[0]) + mine * theirs])
            left = _project(ops.take(request, within[0], axis=1), kernels[0])
            left_mixed = ops.einsum("rid,ijde->rije", request, ops.reshape(kernels[1], (mine, theirs, *kernel.shape[1:])))
            left_among = _project(ops.take(candidates, among[0], axis=2), kernels[2])
        else:
            each = self.kind == "each"
            projected = _project(request, kernel[:mine] if each else kernel)
            left, left_mixed = ops.take(projected, within[0], axis=1), ops.expand_dims(projected, 2)
            left_among = ops.take(_project(candidates[:, :, :-1], kernel[mine:] if each else kernel), among[0], axis=2)
        mixed = ops.expand_dims(left_mixed, 1) * ops.expand_dims(candidates, 2)
        mixed = ops.reshape(mixed, (*ops.shape(mixed)[:2], mine * theirs, mixed.shape[-1]))
        others = ops.concatenate([mixed, left_among * ops.take(candidates, among[1], axis=2)], axis=2)
        return left * ops.take(request, within[1], axis=1), others

    def compute_output_shape(self, request_shape, candidates_shape):
        mine, theirs, dim = request_shape[1], candidates_shape[2], candidates_shape[3]
        return (request_shape[0], mine * (mine - 1) // 2, dim), (*candidates_shape[:2], mine * theirs + theirs * (theirs - 1) // 2, dim)

    def get_config(self):
        config = super().get_config()
        config.update(kind=self.kind)
        return config


def _project(fields, kernel):
    """`[..., F, D]` through a matrix a field, `[F, D, D]`, or through one, `[1, D, D]`."""
    return ops.matmul(fields, kernel[0]) if kernel.shape[0] == 1 else ops.einsum("...fd,fde->...fe", fields, kernel)
