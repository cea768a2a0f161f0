"""`DeepFM`: a factorisation machine beside dense layers, over the same embeddings."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.factorization import FactorizationMachine
from ppm_tf.layers.fields import concat_fields, concat_shape, request_fields, request_fields_shape
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.shared_logits import add_task_scale, scaled_by_task


class DeepFM(keras.layers.Layer):
    """DeepFM: `logits = y_FM + y_DNN` with `y_FM = first order + sum_(i<j) <v_i, v_j>` (Guo et al., 2017, eq. 1 and 2).

    The fields are those of the user, of the context and of the item, and each field of the history as the mean over its
    behaviors. The dense layers see the same fields and the other features. With several tasks `y_FM`, whose weights they
    share, is weighed by a number a task, 1 at the start; the paper has one task, where it says nothing new.

    Args:
        num_tasks: int. Logits a candidate, K.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Guo et al., 2017](https://arxiv.org/abs/1703.04247), section 2.1.
    """

    reads_first_order = True

    def __init__(self, num_tasks, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        # `first_order` is added to the logits as it is; the layers inside cast what they read.
        super().__init__(autocast=False, **kwargs)
        self.num_tasks = num_tasks
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        self.fm_scale = add_task_scale(self, self.num_tasks, "fm_scale")
        # Sums of squares of many fields, and differences of them: not in half precision.
        self.pairs = FactorizationMachine(dtype="float32", name="pairs")
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        request, item = request_fields_shape(shapes), concat_shape(shapes.item)
        self.pairs.build(request, shapes.item)
        self.head.build(concat_shape(request), (*item[:2], item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        request = request_fields(features)
        candidates = ops.concatenate([concat_fields(features.item), features.other], axis=-1)
        fm = ops.cast(features.first_order, "float32") + self.pairs(request, features.item)
        return scaled_by_task(fm, self.fm_scale) + self.head(concat_fields(request), candidates, training=training)
