"""`SimilarityHistogram`: how the cosines between a candidate and the behaviors are distributed (SimTier)."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.cosines import unit


class SimilarityHistogram(keras.layers.Layer):
    """The share of the behaviors whose cosine to the candidate falls into each of B equal bins of [-1, 1].

    Nothing is learnt, and no gradient passes: the vectors are cached ones.

    Args:
        num_bins: int.

    Call arguments:
        history: tensor `[R, T, D]`.
        candidates: tensor `[R, N, D]`.
        mask: bool tensor `[R, T]`, true where a behavior is real.

    Returns:
        Tensor `[R, N, num_bins]`; its rows sum to 1, and to 0 where no behavior is real.

    Example:

    >>> import numpy as np
    >>> history = np.array([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]], "float32")
    >>> SimilarityHistogram(2)(history, history[:, :1], np.array([[True, True, False]])).numpy().round(2).tolist()
    [[[0.0, 1.0]]]

    References:
        Sheng et al., *Enhancing Taobao Display Advertising with Multimodal Representations*, 2024, SimTier.
    """

    def __init__(self, num_bins, **kwargs):
        super().__init__(**kwargs)
        if num_bins < 2:
            raise ValueError(f"`num_bins` must be at least 2. Received: {num_bins}.")
        self.num_bins = num_bins

    def call(self, history, candidates, mask):
        cosines = ops.einsum("rnd,rtd->rnt", unit(candidates), unit(history))
        bins = ops.clip(ops.floor((cosines + 1.0) * (0.5 * self.num_bins)), 0, self.num_bins - 1)
        weights = ops.cast(mask, "float32")
        weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
        hits = ops.cast(ops.equal(ops.expand_dims(bins, -1), ops.arange(self.num_bins, dtype="float32")), "float32")
        return ops.cast(ops.einsum("rntb,rt->rnb", hits, weights), self.compute_dtype)

    def compute_output_shape(self, history_shape, candidates_shape, mask_shape=None):
        return (*candidates_shape[:-1], self.num_bins)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins}
