"""`SimilarityPooling`: how like its behaviors a candidate is, in several respects, as soft histograms of cosines."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from ppm_tf.layers.cosines import unit

FIRST, LAST = -0.8, 1.0  # centres of the outermost kernels
FLOOR = 0.01  # least mass in a kernel, so that the logarithm of nothing is finite
SCALE = 0.3  # brings logarithms of masses between the floor and 1 to the size of other inputs


class SimilarityPooling(keras.layers.Layer):
    """Kernel pooling over the cosines between a candidate and the behaviors.

    A transformer reads similarity out of content vectors by products of learnt projections; from small initial weights that takes
    millions of examples. Here it is an input from the first step on. In each respect `h` with its projection `P_h`,

    `c_nt = cos(P_h candidate_n, P_h behavior_t)`, `phi_nk = sum_t w_t exp(-(c_nt - mu_k)^2 / (2 sigma^2))`, `f_nk = 0.3 log(phi_nk + 0.01)`

    for centres `mu_1 .. mu_K` evenly from -0.8 to 1 and `sigma` their distance. The respects are `num_heads` learnt projections and,
    without a projection, each part of the vectors on its own. Two weights `w`, each summing to 1 over the real behaviors: equal ones, and
    `softmax(a[position] + b[recency])`. All `f` and the logarithm of the number of behaviors go through one dense layer.

    Args:
        width: int. Width of the output.
        parts: tuple of int. Widths of the vectors' parts, one a table; their sum is the width of the vectors.
        num_heads: int. Learnt respects. Defaults to `8`.
        head_dim: int. Width of a learnt projection. Defaults to `16`.
        num_kernels: int. Bins of a histogram, at least 2. Defaults to `6`.
        max_positions: int. Longest history. Defaults to `50`.
        num_recency_buckets: int. Defaults to `32`.

    Call arguments:
        history: tensor `[R, T, D]`, newest behavior first.
        candidates: tensor `[R, N, D]`.
        mask: bool tensor `[R, T]`, true where a behavior is real.
        bucket: integer tensor `[R, T]`, recency bucket (`BehaviorTransformer.recency_bucket`), or `None`.

    Returns:
        Tensor `[R, N, width]`.

    Example:

    >>> import numpy as np
    >>> history, candidates = np.ones((2, 5, 8), "float32"), np.ones((2, 3, 8), "float32")
    >>> SimilarityPooling(16, parts=(4, 4))(history, candidates, np.ones((2, 5), bool), np.zeros((2, 5), int)).shape
    TensorShape([2, 3, 16])

    References:
        Not in PPM's paper. Kernel pooling: [Xiong et al., 2017](https://arxiv.org/abs/1706.06613), eq. 3-5.
    """

    def __init__(self, width, parts, num_heads=8, head_dim=16, num_kernels=6, max_positions=50, num_recency_buckets=32, **kwargs):
        super().__init__(**kwargs)
        if num_kernels < 2:
            raise ValueError(f"`num_kernels` must be at least 2. Received: {num_kernels}.")
        self.width = width
        self.parts = tuple(parts)
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.num_kernels = num_kernels
        self.max_positions = max_positions
        self.num_recency_buckets = num_recency_buckets

    def build(self, history_shape, candidates_shape, *_):
        dim = history_shape[-1]
        if not dim == candidates_shape[-1] == sum(self.parts):
            raise ValueError(
                f"History and candidates must have the width of all parts together. Received: {dim} and {candidates_shape[-1]}, parts {self.parts}."
            )
        if self.num_heads:
            self.heads = keras.layers.Dense(
                self.num_heads * self.head_dim,
                use_bias=False,
                kernel_initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),
                dtype=self.dtype_policy,
                name="heads",
            )
            self.heads.build(history_shape)
        self.positions = self.add_weight(name="positions", shape=(self.max_positions,), initializer="zeros")
        self.recencies = self.add_weight(name="recencies", shape=(self.num_recency_buckets,), initializer="zeros")
        self.out = keras.layers.Dense(self.width, kernel_initializer=keras.initializers.RandomNormal(stddev=0.3), dtype=self.dtype_policy, name="out")
        self.out.build((*candidates_shape[:-1], 2 * (len(self.parts) + self.num_heads) * self.num_kernels + 1))

    def call(self, history, candidates, mask, bucket=None):
        cosines = self._cosines(history, candidates)  # [R, H, N, T]
        requests, respects, candidate_count, behaviors = ops.shape(cosines)
        # Kernel by kernel: an axis of kernels inside would be moved past that of the behaviors and back.
        scale = 0.5**0.5 * (self.num_kernels - 1) / (LAST - FIRST)
        scaled = ops.reshape(cosines * scale, (requests, respects * candidate_count, behaviors))
        weights = self._weights(mask, bucket)
        centres = np.linspace(FIRST, LAST, self.num_kernels) * scale
        masses = [ops.matmul(ops.exp(-ops.square(scaled - float(centre))), weights) for centre in centres]
        found = SCALE * ops.log(ops.reshape(ops.stack(masses, axis=2), (requests, respects, candidate_count, self.num_kernels, 2)) + FLOOR)
        found = ops.reshape(ops.transpose(found, (0, 2, 1, 3, 4)), (requests, candidate_count, self.out.kernel.shape[0] - 1))
        length = ops.log1p(ops.sum(ops.cast(mask, "float32"), axis=1)) - 2.0
        length = ops.broadcast_to(ops.reshape(length, (requests, 1, 1)), (requests, candidate_count, 1))
        return self.out(ops.cast(ops.concatenate([found, length], axis=-1), self.compute_dtype))

    def _cosines(self, history, candidates):
        """In float32, `[R, H, N, T]`: of each part, then of each learnt projection."""
        found, start = [], 0
        for dim in self.parts:
            mine, theirs = (unit(vectors[..., start : start + dim]) for vectors in (candidates, history))
            found.append(ops.expand_dims(ops.einsum("rnd,rtd->rnt", mine, theirs), 1))
            start += dim
        if self.num_heads:
            mine, theirs = (
                unit(ops.reshape(self.heads(vectors), (*ops.shape(vectors)[:2], self.num_heads, self.head_dim))) for vectors in (candidates, history)
            )
            found.append(ops.einsum("rnhd,rthd->rhnt", mine, theirs))
        return ops.concatenate(found, axis=1)

    def _weights(self, mask, bucket):
        """`[R, T, 2]`: equal and learnt, each summing to 1 over the real behaviors, or 0 where there is none."""
        real = ops.cast(mask, "float32")
        logits = ops.cast(self.positions, "float32")[: ops.shape(mask)[1]]
        if bucket is not None:
            logits = logits + ops.take(ops.cast(self.recencies, "float32"), bucket, axis=0)
        learnt = real * ops.exp(ops.broadcast_to(logits, ops.shape(real)))
        both = ops.stack([real, learnt], axis=-1)
        return both / ops.maximum(ops.sum(both, axis=1, keepdims=True), 1e-9)

    def compute_output_shape(self, history_shape, candidates_shape, *_):
        return (*candidates_shape[:-1], self.width)

    def get_config(self):
        config = super().get_config()
        config.update(
            width=self.width,
            parts=self.parts,
            num_heads=self.num_heads,
            head_dim=self.head_dim,
            num_kernels=self.num_kernels,
            max_positions=self.max_positions,
            num_recency_buckets=self.num_recency_buckets,
        )
        return config
