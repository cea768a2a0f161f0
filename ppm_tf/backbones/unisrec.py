"""`UniSRec`: a transformer over what the behaviors are, their newest state as the user."""

from __future__ import annotations

import keras
import keras_nlp
from keras import ops

from ppm_tf.layers.fields import concat_fields, concat_request, concat_request_shape, concat_shape
from ppm_tf.layers.scoring_head import ScoringHead


class UniSRec(keras.layers.Layer):
    """The universal sequence representation of Hou et al. (2022), for click models: dense layers over `[s, v_n, s * v_n, user, context, other]`.

    An item is the sum of its fields, `v = text + id + ...`: its text alone in the paper's inductive setting, with its id in the
    transductive one (eq. 10). How a text vector becomes a field is the matter of `MoEAdaptor`, before any backbone. The history enters
    as `LayerNorm(v_t + p_t)`; in each of the L post-norm blocks a behavior sees itself and older ones; the state of the newest behavior
    is the user, s, zeros without a history.

    The paper ranks by the cosine of s and `v_n`; here, as in the other backbones, dense layers score a candidate, by all its
    fields and by `s * v_n`, of which that cosine is a sum. Its pre-training over several domains is not there: the model learns from
    the log's labels. Places count back from the newest behavior, so that the length of the history moves none.

    Args:
        num_tasks: int. Logits a candidate, K.
        num_layers: int. Transformer blocks, L. Defaults to `2`.
        num_heads: int. Heads of the self-attention; must divide the width of a field. Defaults to `2`.
        intermediate_dim: int. Hidden width of a block's dense layers, with GELU. Defaults to `256`.
        transformer_dropout: float. Dropout rate in front of the blocks and in them. Defaults to `0.5`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Hou et al., 2022](https://arxiv.org/abs/2206.05941), section 2.
    """

    def __init__(
        self,
        num_tasks,
        num_layers=2,
        num_heads=2,
        intermediate_dim=256,
        transformer_dropout=0.5,
        mlp_units=(256, 128, 64),
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.transformer_dropout = transformer_dropout
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        requests, length, dim = shapes.history[0], shapes.history[1], shapes.history[-1]
        if length is None:
            raise ValueError(f"The history must have a known length, one place a behavior. Received: shape {tuple(shapes.history)}.")
        if dim % self.num_heads:
            raise ValueError(f"`num_heads` must divide the width of a field. Received: num_heads={self.num_heads}, width={dim}.")
        self.places = self.add_weight(name="places", shape=(length, dim), initializer=keras.initializers.RandomNormal(stddev=0.02))
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="norm")
        self.norm.build((requests, length, dim))
        self.drop = keras.layers.Dropout(self.transformer_dropout, dtype=self.dtype_policy)
        self.blocks = [
            keras_nlp.layers.TransformerEncoder(
                self.intermediate_dim, self.num_heads, self.transformer_dropout, activation="gelu", dtype=self.dtype_policy, name=f"block_{i}"
            )
            for i in range(self.num_layers)
        ]
        for block in self.blocks:
            block.build((requests, length, dim))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        request, item = concat_request_shape(shapes), concat_shape(shapes.item)
        self.head.build((requests, request[-1] + dim), (*item[:2], item[-1] + dim + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        user = self._user(ops.sum(features.history, axis=-2), ops.cast(features.mask, "bool"), training)
        matched = ops.expand_dims(user, 1) * ops.sum(features.item, axis=-2)
        request = ops.concatenate([concat_request(features), user], axis=-1)
        return self.head(request, ops.concatenate([concat_fields(features.item), matched, features.other], axis=-1), training=training)

    def _user(self, history, mask, training):
        """The state of the newest behavior `[R, D]`, once a request."""
        if history.shape[1] is not None and history.shape[1] > self.places.shape[0]:
            raise ValueError(
                f"The history must not be longer than it was built for. Received: {history.shape[1]} behaviors, built for {self.places.shape[0]}."
            )
        length = ops.shape(history)[1]
        place = ops.arange(length)
        x = self.drop(self.norm(history + ops.cast(self.places, history.dtype)[:length]), training=training)
        # Newest first: the older ones stand behind.
        seen = ops.logical_and(ops.expand_dims(place, 0) >= ops.expand_dims(place, 1), ops.expand_dims(mask, 1))
        for block in self.blocks:
            x = block(x, attention_mask=seen, training=training)
        # A sum of one, because a history may have no place at all.
        newest = ops.expand_dims(ops.logical_and(mask, place == 0), -1)
        return ops.sum(ops.where(newest, x, ops.zeros_like(x)), axis=1)
