"""`AutoInt`: fields that attend to each other, beside dense layers."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.interacting_attention import InteractingAttention
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import add_task_scale, scaled_by_task, task_logits


class AutoInt(keras.layers.Layer):
    """AutoInt+: `logits = first order + w^T [e_1; ...; e_F] + y_DNN`, `e_f` after L layers of attention (Song et al., 2019).

    The fields are those of the user, of the context and of the item, and each field of the history as the mean over its
    behaviors; the dense layers of AutoInt+ see the same fields and the other features. The sum of the fields'
    own weights is not in the paper, whose residuals carry what a field says alone; CELA and others add it. The tasks share
    the attention, and each has its own `w`, its own logit of the dense layers, and a number that weighs the first order, 1
    at the start.

    The first layer computes once a request what concerns its fields alone. From the second layer on every field has seen the
    candidate.

    Args:
        num_tasks: int. Logits a candidate, K.
        num_attention_layers: int. L. Defaults to `3`.
        num_heads: int. Defaults to `2`.
        head_dim: int. Width of a head. Defaults to `8`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`; CELA has `(128, 64, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Song et al., 2019](https://arxiv.org/abs/1810.11921), section 4.
    """

    reads_first_order = True

    def __init__(self, num_tasks, num_attention_layers=3, num_heads=2, head_dim=8, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        # `first_order` is added to the logits as it is; the layers inside cast what they read.
        super().__init__(autocast=False, **kwargs)
        self.num_tasks = num_tasks
        self.num_attention_layers = num_attention_layers
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        self.linear_scale = add_task_scale(self, self.num_tasks)
        self.attention_layers = [
            InteractingAttention(self.num_heads, self.head_dim, dtype=self.dtype_policy, name=f"attention_{i}")
            for i in range(self.num_attention_layers)
        ]
        request, candidates = request_fields_shape(shapes), shapes.item
        for layer in self.attention_layers:
            layer.build(request, candidates)
            request, candidates = None, layer.compute_output_shape(request, candidates)
        self.logits = task_logits(self.num_tasks, concat_shape(candidates))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        item = concat_shape(shapes.item)
        self.head.build(concat_shape(request_fields_shape(shapes)), (*item[:2], item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        request = request_fields(features)
        fields = self.attention_layers[0](request, features.item)
        for layer in self.attention_layers[1:]:
            fields = layer(None, fields)
        candidates = ops.concatenate([concat_fields(features.item), features.other], axis=-1)
        linear = scaled_by_task(features.first_order, self.linear_scale)
        return linear + self.logits(concat_fields(fields)) + self.head(concat_fields(request), candidates, training=training)
