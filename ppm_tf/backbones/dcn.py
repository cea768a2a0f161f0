"""`DCN`: crosses of a bounded degree beside dense layers."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import task_logits
from ppm_tf.layers.vector_cross import VectorCross


class DCN(keras.layers.Layer):
    """The Deep & Cross Network: `logits = W [x_L ; h] + b`, a cross network beside dense layers (Wang et al., 2017).

    `x_L` is what L layers make of `x_0`, all fields beside each other: the user's, the context's, the history's by their mean
    and the candidate's (`VectorCross`). The dense layers see the same and the other features, numbers and PPM's vectors, which
    the paper would cross too; here, as in every backbone, they enter the dense layers. The tasks share both networks; each has
    its own row of `W`. There is no linear part: `x_L` holds `x_0`.

    Args:
        num_tasks: int. Logits a candidate, K.
        num_cross_layers: int. L. Defaults to `6`, the paper's on Criteo; CELA has 2.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`; CELA has `(128, 64, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Wang et al., 2017](https://arxiv.org/abs/1708.05123), section 2.
    """

    def __init__(self, num_tasks, num_cross_layers=6, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_cross_layers = num_cross_layers
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        request, item = concat_shape(request_fields_shape(shapes)), concat_shape(shapes.item)
        # A product of L factors: not in half precision.
        self.cross = VectorCross(self.num_cross_layers, dtype="float32", name="cross")
        self.cross.build(request, item)
        # The rows of W that read `x_L`; those that read `h`, and `b`, are the head's.
        self.logits = task_logits(self.num_tasks, self.cross.compute_output_shape(request, item))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build(request, (*item[:2], item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        request, item = concat_fields(request_fields(features)), concat_fields(features.item)
        deep = self.head(request, ops.concatenate([item, features.other], axis=-1), training=training)
        return self.logits(self.cross(request, item)) + deep
