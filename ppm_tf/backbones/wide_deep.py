"""`WideDeep`: a linear model that remembers beside dense layers that generalise."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.fields import concat_fields, concat_request, concat_request_shape, concat_shape, mean_history
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import add_task_scale, scaled_by_task


class WideDeep(keras.layers.Layer):
    """Wide&Deep: `logits = wide + deep` (Cheng et al., 2016, eq. 3).

    `deep` are dense layers over all fields, the history as the mean of its behaviors, field by field, and the other
    features. `wide` is `w_k first_order`, the sum of the fields' own weights: those are shared by the tasks, and each task
    weighs the sum by a number of its own, 1 at the start. The paper has one task, where that number says nothing new; and its
    wide part has crossed features that an expert named, of which there are none here.

    Args:
        num_tasks: int. Logits a candidate, K.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Cheng et al., 2016](https://arxiv.org/abs/1606.07792), section 3.
    """

    reads_first_order = True

    def __init__(self, num_tasks, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        # `first_order` is added to the logits as it is; the layers inside cast what they read.
        super().__init__(autocast=False, **kwargs)
        self.num_tasks = num_tasks
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        self.wide_scale = add_task_scale(self, self.num_tasks, "wide_scale")
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        history_dim = concat_shape(shapes.item)[-1]
        request_shape = concat_request_shape(shapes)
        self.head.build((request_shape[0], request_shape[1] + history_dim), (*shapes.item[:2], history_dim + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        history = concat_fields(mean_history(features.history, features.mask))
        request = ops.concatenate([concat_request(features), history], axis=-1)
        candidates = ops.concatenate([concat_fields(features.item), features.other], axis=-1)
        return scaled_by_task(features.first_order, self.wide_scale) + self.head(request, candidates, training=training)
