"""`InteractingAttention`: every field of a request and its candidate, as the other fields make it matter."""

from __future__ import annotations

import keras
from keras import ops


class InteractingAttention(keras.layers.Layer):
    """The interacting layer of AutoInt: multi-head self-attention over fields (Song et al., 2019).

    A head gives field m `sum_k a_mk W_V e_k` with `a_m = softmax_k(<W_Q e_m, W_K e_k>)`, without a scale and without biases as
    in the paper; the heads stand beside each other, `output_m = ReLU(heads_m + W_R e_m)`. What the request's fields are
    projected to, and how they go together, is computed once a request; only the softmax and what it weighs are a candidate's.

    Args:
        num_heads: int. Defaults to `2`.
        head_dim: int. Width of a head. Defaults to `8`.

    Call arguments:
        request: tensor `[R, Fr, D]`, the fields that all candidates share, or `None`. Fr must not be 0.
        candidates: tensor `[R, N, Fi, D]`.

    Returns:
        Tensor `[R, N, Fr + Fi, num_heads * head_dim]`, the request's fields first.

    References:
        [Song et al., 2019](https://arxiv.org/abs/1810.11921), the interacting layer.
    """

    def __init__(self, num_heads=2, head_dim=8, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.head_dim = head_dim
        width = num_heads * head_dim
        self.query, self.key, self.value, self.residual = (
            keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name=name) for name in ("query", "key", "value", "residual")
        )

    def build(self, request_shape, candidates_shape):
        if request_shape is not None and request_shape[-1] != candidates_shape[-1]:
            raise ValueError(f"All fields must have one width. Received: {request_shape[-1]} and {candidates_shape[-1]}.")
        for layer in (self.query, self.key, self.value, self.residual):
            layer.build(candidates_shape)

    def call(self, request, candidates):
        sides = [candidates] if request is None else [ops.expand_dims(request, 1), candidates]
        keys = [ops.swapaxes(self._heads(self.key(fields)), -1, -2) for fields in sides]
        values = [self._heads(self.value(fields)) for fields in sides]
        leading = ops.shape(candidates)[:2]
        outputs = []
        for fields in sides:
            query = self._heads(self.query(fields))
            scores = [ops.matmul(query, key) for key in keys]  # [R, 1 or N, heads, F of the side, F of the other]
            scores = ops.concatenate([ops.broadcast_to(score, (*leading, *score.shape[2:])) for score in scores], axis=-1)
            weights = ops.cast(ops.softmax(ops.cast(scores, "float32")), candidates.dtype)
            first = keys[0].shape[-1]
            found = ops.matmul(weights[..., :first], values[0])
            if request is not None:
                found = found + ops.matmul(weights[..., first:], values[1])
            found = ops.reshape(ops.swapaxes(found, 2, 3), (*leading, fields.shape[-2], self.num_heads * self.head_dim))
            outputs.append(ops.relu(found + self.residual(fields)))
        return ops.concatenate(outputs, axis=2)

    def compute_output_shape(self, request_shape, candidates_shape):
        fields = candidates_shape[2] + (0 if request_shape is None else request_shape[1])
        return (*candidates_shape[:2], fields, self.num_heads * self.head_dim)

    def get_config(self):
        config = super().get_config()
        config.update(num_heads=self.num_heads, head_dim=self.head_dim)
        return config

    def _heads(self, x):
        """`[R, n, F, heads * width]` to `[R, n, heads, F, width]`."""
        return ops.swapaxes(ops.reshape(x, (*ops.shape(x)[:3], self.num_heads, self.head_dim)), 2, 3)
