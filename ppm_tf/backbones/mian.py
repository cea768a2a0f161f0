"""`MIAN`: the candidate meets behaviors, user and context one by one, and all of them together."""

from __future__ import annotations

import keras
import keras_nlp
from keras import ops

from ppm_tf.layers.attention_pooling import AttentionPooling
from ppm_tf.layers.fields import concat_fields, concat_shape, mean_history
from ppm_tf.layers.global_interaction import GlobalInteraction
from ppm_tf.layers.scoring_head import ScoringHead


class MIAN(keras.layers.Layer):
    """The Multi-Interactive Attention Network (Zhang et al., 2021).

    Three local modules, each an attention of the candidate `i_n`:

    - item-behaviors: `sum_t a(i_n, h_t) h_t` with `h = LayerNorm(Block(e + p))`, a place embedding `p_t` and a pre-norm
      transformer block, once a request; the weights are a softmax over the real behaviors.
    - item-user: `sum_f a(W i_n, u_f) u_f` over the user's fields, one by one. No softmax: it would say nothing of a single
      field, and fields do not compete.
    - item-context: the same over the fields of the context.

    The global module (`GlobalInteraction`) weighs the seven parts, four as they came (candidate, mean history, user, context)
    and the three of the local modules, by an attention over them; dense layers on the weighted parts and `features.other`
    give the logits. A side without fields has no module and no parts.

    The modules, the pre-norm block, the attention to single fields and the seven parts with a weight each are the paper's,
    as its abstract and accounts of it describe them. The text with its equations was not at hand, so these are ours: pairs
    are scored by dense layers over `[q, k, q * k, q - k]` with ReLU, where the softmax stands, one transformer block with a
    hidden layer of four times its width, learned places counted back from the newest, a norm behind the block (Xiong et al.,
    2020), the global weights by a softmax behind dense layers over all parts, and the history as a part by its mean.

    Args:
        num_tasks: int. Logits a candidate, K.
        num_heads: int. Heads of the self-attention over the behaviors; must divide the width of an item. Defaults to `4`.
        attention_units: tuple of int. Widths of the dense layers of each attention. Defaults to `(64, 32)`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate in the transformer block and after the dense layers. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Zhang et al., 2021](https://arxiv.org/abs/2012.06968); [Xiong et al., 2020](https://arxiv.org/abs/2002.04745).
    """

    def __init__(self, num_tasks, num_heads=4, attention_units=(64, 32), mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_heads = num_heads
        self.attention_units = tuple(attention_units)
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout

    def build(self, shapes):
        item, history = concat_shape(shapes.item), concat_shape(shapes.history)
        length, width = history[1:]
        dim = shapes.item[-1]
        if length is None:
            raise ValueError(f"The history must have a known length, one place a behavior. Received: shape {tuple(shapes.history)}.")
        if width % self.num_heads:
            raise ValueError(f"`num_heads` must divide the width of an item. Received: num_heads={self.num_heads}, width={width}.")
        self.places = self.add_weight(name="places", shape=(length, width), initializer=keras.initializers.RandomNormal(stddev=0.01))
        self.block = keras_nlp.layers.TransformerEncoder(
            4 * width, self.num_heads, self.dropout, activation="relu", normalize_first=True, dtype=self.dtype_policy, name="block"
        )
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="norm")
        self.block.build(history)
        self.norm.build(history)
        self.behaviors = self._attention("behaviors", item, history, normalize=True)
        # A module a side that has fields: the projection of the candidate, and its attention.
        self.field_modules = {}
        for side in ("user", "context"):
            fields = getattr(shapes, side)
            if fields[1]:
                query = keras.layers.Dense(dim, dtype=self.dtype_policy, name=f"{side}_query")
                query.build(item)
                self.field_modules[side] = (query, self._attention(side, (*item[:2], dim), fields, normalize=False))
        sides = [concat_shape(getattr(shapes, side))[-1] for side in self.field_modules]
        request_dims, candidate_dims = (width, *sides), (width, width, *(dim for _ in sides))
        self.interaction = GlobalInteraction(request_dims, candidate_dims, self.attention_units, dtype=self.dtype_policy, name="interaction")
        self.interaction.build((item[0], sum(request_dims)), (*item[:2], sum(candidate_dims)))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        self.head.build(None, (*item[:2], sum(request_dims) + sum(candidate_dims) + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        item, history = concat_fields(features.item), concat_fields(features.history)
        if history.shape[1] is not None and history.shape[1] > self.places.shape[0]:
            raise ValueError(
                f"The history must not be longer than it was built for. Received: {history.shape[1]} behaviors, built for {self.places.shape[0]}."
            )
        mask = ops.cast(features.mask, "bool")
        places = ops.cast(self.places, history.dtype)[: ops.shape(history)[1]]
        x = ops.where(ops.expand_dims(mask, -1), history + places, ops.zeros_like(history))
        x = self.norm(self.block(x, padding_mask=mask, training=training))
        request, candidates = [mean_history(history, mask)], [item, self.behaviors(item, x, mask)]
        for side, (query, attention) in self.field_modules.items():
            fields = getattr(features, side)
            request.append(concat_fields(fields))
            candidates.append(attention(query(item), fields, ops.ones(ops.shape(fields)[:2], "bool")))
        weighed = self.interaction(ops.concatenate(request, axis=-1), ops.concatenate(candidates, axis=-1))
        return self.head(None, ops.concatenate([weighed, features.other], axis=-1), training=training)

    def _attention(self, name, queries_shape, keys_shape, normalize):
        attention = AttentionPooling(self.attention_units, activation="relu", normalize=normalize, dtype=self.dtype_policy, name=name)
        attention.build(queries_shape, keys_shape)
        return attention
