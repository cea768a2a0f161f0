"""`DCNv2`: crosses through a matrix, beside or below dense layers."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.matrix_cross import MatrixCross
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import task_logits


class DCNv2(keras.layers.Layer):
    """DCN-V2: a cross network with a matrix a layer, and dense layers (Wang et al., 2021).

    `x_L` is what L cross layers (`MatrixCross`) make of `x_0`, all fields beside each other: the user's, the context's, the
    history's by their mean and the candidate's. `"parallel"`: `logits = W [x_L ; h] + b`, the dense layers give `h` from
    `[x_0 ; other]`. `"stacked"`: the dense layers read `[x_L ; other]`, and `logits = W h + b`. The other features, numbers and
    PPM's vectors, are not crossed, though the paper would: they enter the dense layers, as in every backbone. The tasks share
    both networks; each has its own row of `W`. There is no linear part: `x_L` holds `x_0`.

    Args:
        num_tasks: int. Logits a candidate, K.
        num_cross_layers: int. L. Defaults to `2`, as in CELA.
        rank: int or `None`. Rank of the matrices; `None` leaves them full. The paper finds a quarter of the width enough.
            Defaults to `None`.
        num_experts: int. Experts of that rank that a gate mixes (DCN-Mix); 1 for none. Defaults to `1`; public code has 4.
        structure: `"parallel"` or `"stacked"`. Defaults to `"parallel"`, as in CELA.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`; CELA has `(128, 64, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Wang et al., 2021](https://arxiv.org/abs/2008.13535), section 3.
    """

    def __init__(
        self,
        num_tasks,
        num_cross_layers=2,
        rank=None,
        num_experts=1,
        structure="parallel",
        mlp_units=(256, 128, 64),
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_cross_layers = num_cross_layers
        self.rank = rank
        self.num_experts = num_experts
        self.structure = structure
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout
        if structure not in ("parallel", "stacked"):
            raise ValueError(f"`structure` must be 'parallel' or 'stacked'. Received: structure={structure!r}.")

    def build(self, shapes):
        request, item = concat_shape(request_fields_shape(shapes)), concat_shape(shapes.item)
        self.cross = MatrixCross(self.num_cross_layers, self.rank, self.num_experts, dtype=self.dtype_policy, name="cross")
        self.cross.build(request, item)
        crossed = self.cross.compute_output_shape(request, item)
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        if self.structure == "stacked":
            self.head.build(None, (*crossed[:2], crossed[-1] + shapes.other[-1]))
        else:
            # The rows of W that read `x_L`; those that read `h`, and `b`, are the head's.
            self.logits = task_logits(self.num_tasks, crossed)
            self.head.build(request, (*item[:2], item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        request, item = concat_fields(request_fields(features)), concat_fields(features.item)
        crossed = self.cross(request, item)
        if self.structure == "stacked":
            return self.head(None, ops.concatenate([crossed, features.other], axis=-1), training=training)
        deep = self.head(request, ops.concatenate([item, features.other], axis=-1), training=training)
        return self.logits(crossed) + deep
