"""`DSIN`: interests by session, and how they evolve."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.attention_pooling import AttentionPooling
from ppm_tf.layers.fields import concat_fields, concat_request, concat_request_shape, concat_shape
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.layers.session_interest import SessionInterest


class DSIN(keras.layers.Layer):
    """The Deep Session Interest Network: dense layers over `[U^I(n), U^H(n), i_n, user, context, other]` (Feng et al., 2019).

    The history is cut into sessions; each has an interest `I_k` and, from a bidirectional LSTM over the sessions, an evolved
    interest `H_k` (`SessionInterest`). Two activation units weigh them by the candidate: `U^I(n) = sum_k a_k I_k`,
    `U^H(n) = sum_k b_k H_k`, both weights a softmax over the sessions that are not empty (eq. 8 and 9). The paper scores a pair
    by `I_k W i_n`; here dense layers score it, as in DIN, whose unit the paper names.

    Args:
        num_tasks: int. Logits a candidate, K.
        num_sessions: int. Sessions kept, the newest ones. Defaults to `5`.
        gap: int. Seconds between two behaviors that begin a new session. Defaults to `1800`.
        num_heads: int. Heads of the self-attention inside a session. Defaults to `4`.
        attention_units: tuple of int. Widths of the activation units. Defaults to `(64, 32)`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate in the transformer block and after the dense layers. Defaults to `0.0`.

    Call arguments:
        features: `Features`; `recency` in whole seconds.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Feng et al., 2019](https://arxiv.org/abs/1905.06482), section 3.2.
    """

    def __init__(self, num_tasks, num_sessions=5, gap=1800, num_heads=4, attention_units=(64, 32), mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_sessions = num_sessions
        self.gap = gap
        self.num_heads = num_heads
        self.attention_units = tuple(attention_units)
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        item = concat_shape(shapes.item)
        self.interest = SessionInterest(self.num_sessions, self.gap, self.num_heads, self.dropout, dtype=self.dtype_policy, name="interest")
        self.interest.build(concat_shape(shapes.history))
        unit = {"normalize": True, "dtype": self.dtype_policy}
        self.interest_attention = AttentionPooling(self.attention_units, name="interest_attention", **unit)
        self.evolved_attention = AttentionPooling(self.attention_units, name="evolved_attention", **unit)
        for layer in (self.interest_attention, self.evolved_attention):
            layer.build(item, (item[0], self.num_sessions, item[-1]))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build(concat_request_shape(shapes), (*item[:2], 3 * item[-1] + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        item = concat_fields(features.item)
        interests, evolved, some = self.interest(concat_fields(features.history), features.mask, features.recency, training=training)
        wanted = self.interest_attention(item, interests, some)
        evolving = self.evolved_attention(item, evolved, some)
        request = concat_request(features)
        return self.head(request, ops.concatenate([wanted, evolving, item, features.other], axis=-1), training=training)
