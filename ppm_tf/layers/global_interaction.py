"""`GlobalInteraction`: parts of an input, each weighed by what all of them say."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from ppm_tf.layers.scoring_head import ScoringHead


class GlobalInteraction(keras.layers.Layer):
    """The global interaction module of MIAN: attention over the P parts of an input.

    `a = P softmax(MLP([e_1; ...; e_P]))`, `output = [a_1 e_1; ...; a_P e_P]`. Times P, so that equal weights leave the parts as
    they are. The share of the request in the first dense layer is computed once.

    Args:
        request_dims: tuple of int. Widths of the parts that all candidates share.
        candidate_dims: tuple of int. Widths of the parts of a candidate.
        units: tuple of int. Hidden widths of the scoring MLP. Defaults to `(64,)`.

    Call arguments:
        request: tensor `[R, sum(request_dims)]`, the parts beside each other.
        candidates: tensor `[R, N, sum(candidate_dims)]`.

    Returns:
        Tensor `[R, N, sum(request_dims) + sum(candidate_dims)]`, parts of the request first.

    References:
        [Zhang et al., 2021](https://arxiv.org/abs/2012.06968), the global interaction module.
    """

    def __init__(self, request_dims, candidate_dims, units=(64,), **kwargs):
        super().__init__(**kwargs)
        self.request_dims = tuple(request_dims)
        self.candidate_dims = tuple(candidate_dims)
        self.units = tuple(units)

    def build(self, request_shape, candidates_shape):
        widths = sum(self.request_dims), sum(self.candidate_dims)
        if widths != (request_shape[-1], candidates_shape[-1]):
            raise ValueError(
                f"The parts must add up to the inputs. Received: parts of {widths} columns, inputs of {(request_shape[-1], candidates_shape[-1])}."
            )
        dims = self.request_dims + self.candidate_dims
        self.part_of_column = np.repeat(np.arange(len(dims)), dims)
        self.scores = ScoringHead(len(dims), self.units, dtype=self.dtype_policy, name="scores")
        self.scores.build(request_shape, candidates_shape)

    def call(self, request, candidates):
        parts = len(self.request_dims) + len(self.candidate_dims)
        weights = ops.cast(parts * ops.softmax(self.scores(request, candidates), axis=-1), candidates.dtype)
        columns = ops.take(weights, self.part_of_column, axis=-1)
        width = sum(self.request_dims)
        return ops.concatenate([ops.expand_dims(request, 1) * columns[..., :width], candidates * columns[..., width:]], axis=-1)

    def compute_output_shape(self, request_shape, candidates_shape):
        return (*candidates_shape[:-1], request_shape[-1] + candidates_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.update(request_dims=self.request_dims, candidate_dims=self.candidate_dims, units=self.units)
        return config
