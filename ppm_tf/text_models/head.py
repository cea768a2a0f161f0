"""`TextHead`: from a language model's vector to a logit a task."""

from __future__ import annotations

import keras


class TextHead(keras.layers.Layer):
    """`logits = W2 dropout(tanh(W1 x + b1)) + b2`.

    Args:
        num_tasks: int. K.
        units: int. Width of the dense layer. Defaults to `128`.
        dropout: float. After that layer. Defaults to `0.2`.

    Call arguments:
        vectors: float tensor `[B, H]`.
        training: bool. Whether dropout is on.

    Returns:
        Logits `[B, K]`.
    """

    def __init__(self, num_tasks, units=128, dropout=0.2, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(units, activation="tanh", name="hidden")
        self.dropout = keras.layers.Dropout(dropout)
        self.logits = keras.layers.Dense(num_tasks, dtype="float32", name="logits")

    def build(self, vectors_shape):
        self.hidden.build(vectors_shape)
        self.logits.build((None, self.hidden.units))
        self.built = True

    def call(self, vectors, training=False):
        return self.logits(self.dropout(self.hidden(vectors), training=training))
