"""`FiBiNET`: bilinear pairs of fields, as they are and as their importance weighs them."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.bilinear_interaction import BilinearInteraction
from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.products import field_pairs
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import add_task_scale, scaled_by_task
from ppm_tf.layers.squeeze_excitation import SqueezeExcitation


class FiBiNET(keras.layers.Layer):
    """FiBiNET: `logits = first order + DNN([p ; q ; other])` (Huang et al., 2019).

    `p_ij = (e_i W) * e_j` are the pairs of fields, `q_ij = (v_i W') * v_j` those of the fields as SENET weighs them,
    `v_i = a_i e_i`, with matrices of their own. Since `q_ij = a_i a_j (e_i W') * e_j`, the weights, which the candidate has a
    say in, come last: pairs of the request's fields are computed once a request. The fields are those of the user, of the
    context and of the item, and each field of the history as the mean over its behaviors. The tasks share all but the last
    layer, and each weighs the first order by a number of its own, 1 at the start.

    Args:
        num_tasks: int. Logits a candidate, K.
        bilinear: `"all"`, `"each"` or `"interaction"`: one matrix, one a field, or one a pair. Defaults to `"interaction"`.
        reduction: int. SENET has `F / reduction` columns inside. Defaults to `3`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`; CELA has `(128, 64, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Huang et al., 2019](https://arxiv.org/abs/1905.09433), section 3.
    """

    reads_first_order = True

    def __init__(self, num_tasks, bilinear="interaction", reduction=3, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        # `first_order` is added to the logits as it is; the layers inside cast what they read.
        super().__init__(autocast=False, **kwargs)
        self.num_tasks = num_tasks
        self.bilinear = bilinear
        self.reduction = reduction
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        request, item = request_fields_shape(shapes), shapes.item
        self.linear_scale = add_task_scale(self, self.num_tasks)
        self.importance = SqueezeExcitation(self.reduction, dtype=self.dtype_policy, name="importance")
        self.raw_pairs = BilinearInteraction(self.bilinear, dtype=self.dtype_policy, name="raw_pairs")
        self.weighed_pairs = BilinearInteraction(self.bilinear, dtype=self.dtype_policy, name="weighed_pairs")
        for layer in (self.importance, self.raw_pairs, self.weighed_pairs):
            layer.build(request, item)
        within, others = (concat_shape(shape) for shape in self.raw_pairs.compute_output_shape(request, item))
        self.left, self.right = field_pairs(request[1], item[2])
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build(within, (*others[:2], 2 * others[-1] + within[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        request, item = request_fields(features), features.item
        within, others = self.raw_pairs(request, item)
        importance = self.importance(request, item)
        weights = ops.take(importance, self.left, axis=-1) * ops.take(importance, self.right, axis=-1)
        weights = ops.split(ops.expand_dims(weights, -1), [within.shape[1]], axis=2)
        weighed = self.weighed_pairs(request, item)
        weighed = [ops.expand_dims(weighed[0], 1) * weights[0], weighed[1] * weights[1]]
        candidates = ops.concatenate([*(concat_fields(pairs) for pairs in (others, *weighed)), features.other], axis=-1)
        linear = scaled_by_task(features.first_order, self.linear_scale)
        return linear + self.head(concat_fields(within), candidates, training=training)
