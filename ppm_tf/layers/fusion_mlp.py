"""`FusionMLP`: a cached item vector to the width of a field (MF2)."""

from __future__ import annotations

import keras


class FusionMLP(keras.layers.Layer):
    """`dropout -> dense -> ReLU -> dropout -> dense -> ReLU -> LayerNorm`, one for candidates and behaviors alike.

    Args:
        dim: int. Width of a field.
        hidden: int. Width between the dense layers. Defaults to `64`.
        dropout: float. Defaults to `0.2`.

    Call arguments:
        vectors: tensor `[..., D]`.
        training: bool.

    Returns:
        Tensor `[..., dim]`.

    References:
        CELA, 2024, section 4.3, eq. 13: "processed using an MLP to ensure dimensional consistency"; its layers are those of the
        authors' code.
    """

    def __init__(self, dim, hidden=64, dropout=0.2, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.hidden = hidden
        self.dropout = dropout

    def build(self, vectors_shape):
        self.first = keras.layers.Dense(self.hidden, activation="relu", dtype=self.dtype_policy, name="first")
        self.first.build(vectors_shape)
        self.second = keras.layers.Dense(self.dim, activation="relu", dtype=self.dtype_policy, name="second")
        self.second.build((*vectors_shape[:-1], self.hidden))
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="norm")
        self.norm.build((*vectors_shape[:-1], self.dim))
        self.drop_vectors, self.drop_hidden = (keras.layers.Dropout(self.dropout, dtype=self.dtype_policy) for _ in range(2))

    def call(self, vectors, training=False):
        hidden = self.first(self.drop_vectors(vectors, training=training))
        return self.norm(self.second(self.drop_hidden(hidden, training=training)))

    def compute_output_shape(self, vectors_shape):
        return (*vectors_shape[:-1], self.dim)

    def get_config(self):
        config = super().get_config()
        config.update(dim=self.dim, hidden=self.hidden, dropout=self.dropout)
        return config
