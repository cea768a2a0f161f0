"""`CandidateDecoder`: a transformer block in which candidates attend to an encoded history."""

from __future__ import annotations

import keras
from keras import ops


class CandidateDecoder(keras.layers.Layer):
    """One decoder block without self-attention, so that no candidate sees another.

    With candidates `q` and encoded history `h`:

    `x = q + MultiHead(LayerNorm(q), h, h)`, `y = x + W2 gelu(W1 LayerNorm(x) + b1) + b2`

    The norms stand before the parts they feed, not after the sums, so that the sums carry the signal through from the start
    even where the initial weights are as small as PPM's N(0, 0.01).

    Args:
        num_heads: int. Attention heads; must divide the width of the candidates.
        feedforward_dim: int. Hidden width of the feed-forward part.
        dropout: float. Defaults to `0.0`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.

    Call arguments:
        candidates: tensor `[R, N, D]`.
        history: tensor `[R, T, D]`.
        mask: bool tensor `[R, T]`, true where a behavior is real; each row needs at least one.

    Returns:
        Tensor `[R, N, D]`.

    References:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.1, the decoder's encoder-decoder attention;
        [Xiong et al., 2020](https://arxiv.org/abs/2002.04745) for the place of the norms.
    """

    def __init__(self, num_heads, feedforward_dim, dropout=0.0, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.feedforward_dim = feedforward_dim
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, candidates_shape, history_shape):
        dim = candidates_shape[-1]
        if dim % self.num_heads:
            raise ValueError(f"`num_heads` must divide the width of the candidates. Received: num_heads={self.num_heads}, width={dim}.")
        dense = {"kernel_initializer": self._initializer(), "dtype": self.dtype_policy}
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads,
            dim // self.num_heads,
            dropout=self.dropout,
            kernel_initializer=self._initializer(),
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build(candidates_shape, history_shape, history_shape)
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="attention_norm")
        self.feedforward_in = keras.layers.Dense(self.feedforward_dim, activation="gelu", name="feedforward_in", **dense)
        self.feedforward_out = keras.layers.Dense(dim, name="feedforward_out", **{**dense, "kernel_initializer": self._initializer()})
        self.feedforward_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="feedforward_norm")
        self.attention_norm.build(candidates_shape)
        self.feedforward_in.build(candidates_shape)
        self.feedforward_out.build((*candidates_shape[:-1], self.feedforward_dim))
        self.feedforward_norm.build(candidates_shape)
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, candidates, history, mask, training=False):
        attended = self.attention(self.attention_norm(candidates), history, history, attention_mask=ops.expand_dims(mask, 1), training=training)
        x = candidates + self.dropout_layer(attended, training=training)
        hidden = self.feedforward_out(self.feedforward_in(self.feedforward_norm(x)))
        return x + self.dropout_layer(hidden, training=training)

    def compute_output_shape(self, candidates_shape, history_shape):
        return candidates_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            num_heads=self.num_heads,
            feedforward_dim=self.feedforward_dim,
            dropout=self.dropout,
            kernel_initializer=keras.initializers.serialize(self.kernel_initializer),
        )
        return config

    def _initializer(self):
        return self.kernel_initializer.clone()
