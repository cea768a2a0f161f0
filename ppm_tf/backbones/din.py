"""`DIN`: the history as the candidate makes it matter."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.attention_pooling import AttentionPooling
from ppm_tf.layers.fields import concat_fields, concat_request, concat_request_shape, concat_shape
from ppm_tf.layers.scoring_head import ScoringHead


class DIN(keras.layers.Layer):
    """The Deep Interest Network: dense layers over `[u(n), i_n, u(n) * i_n, user, context, other]` (Zhou et al., 2018, eq. 3).

    `u(n) = sum_t a(e_t, i_n) e_t`: the behaviors weighted by an activation unit with Dice, without a softmax, so that
    several behaviors of a kind weigh more than one. `e_t` and `i_n` are all fields of an item beside each other. The product
    `u(n) * i_n` is not in the paper, but in its authors' code. The dense layers behind have ReLU, as in the other backbones.

    A candidate whose item fields are all zero is padding: it does not count in the statistics of Dice.

    Args:
        num_tasks: int. Logits a candidate, K.
        attention_units: tuple of int. Widths of the activation unit. Defaults to `(64, 32)`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Zhou et al., 2018](https://arxiv.org/abs/1706.06978), section 4.3.
    """

    def __init__(self, num_tasks, attention_units=(64, 32), mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.attention_units = tuple(attention_units)
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        item = concat_shape(shapes.item)
        self.attention = AttentionPooling(self.attention_units, activation="dice", dtype=self.dtype_policy, name="attention")
        self.attention.build(item, concat_shape(shapes.history))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build(concat_request_shape(shapes), (*item[:2], 3 * item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        item = concat_fields(features.item)
        real = ops.any(ops.not_equal(item, 0), axis=-1)
        interest = self.attention(item, concat_fields(features.history), features.mask, real, training=training)
        request = concat_request(features)
        candidates = ops.concatenate([interest, item, interest * item, features.other], axis=-1)
        return self.head(request, candidates, training=training)
