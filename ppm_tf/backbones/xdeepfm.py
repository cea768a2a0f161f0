"""`XDeepFM`: a compressed interaction network and a linear model beside dense layers."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.compressed_interaction import CompressedInteraction
from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import add_task_scale, scaled_by_task, task_logits


class XDeepFM(keras.layers.Layer):
    """xDeepFM: `logits = first order + w^T p + y_DNN` (Lian et al., 2018), `p` of the `CompressedInteraction` of the fields.

    The fields are those of the user, of the context and of the item, and each field of the history as the mean over its
    behaviors. The dense layers see the same fields and the other features. The tasks share the interactions; each has its own
    `w`, its own logit of the dense layers, and a number that weighs the first order, 1 at the start.

    Args:
        num_tasks: int. Logits a candidate, K.
        cin_units: tuple of int. Rows of the layers of the interaction network. Defaults to `(100, 100, 50)`, as the authors'
            code has them; CELA has `(64, 64, 64)`, with a ReLU after each.
        split_half: bool. Whether only half the rows of a layer enter the next one, and only the others `p`. Defaults to `True`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`; CELA has `(128, 64, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Lian et al., 2018](https://arxiv.org/abs/1803.05170), section 3.
    """

    reads_first_order = True

    def __init__(self, num_tasks, cin_units=(100, 100, 50), split_half=True, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        # `first_order` is added to the logits as it is; the layers inside cast what they read.
        super().__init__(autocast=False, **kwargs)
        self.num_tasks = num_tasks
        self.cin_units = tuple(cin_units)
        self.split_half = split_half
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        request, item = request_fields_shape(shapes), concat_shape(shapes.item)
        self.linear_scale = add_task_scale(self, self.num_tasks)
        self.interaction = CompressedInteraction(self.cin_units, self.split_half, dtype=self.dtype_policy, name="interaction")
        self.interaction.build(request, shapes.item)
        self.logits = task_logits(self.num_tasks, self.interaction.compute_output_shape(request, shapes.item))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build(concat_shape(request), (*item[:2], item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        request = request_fields(features)
        candidates = ops.concatenate([concat_fields(features.item), features.other], axis=-1)
        linear = scaled_by_task(features.first_order, self.linear_scale)
        return linear + self.logits(self.interaction(request, features.item)) + self.head(concat_fields(request), candidates, training=training)
