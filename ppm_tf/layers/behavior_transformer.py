"""`BehaviorTransformer`: what a user wants, read from what the user did, seen from each candidate."""

from __future__ import annotations

import keras
import keras_nlp
import numpy as np
from keras import ops

from ppm_tf.layers.candidate_decoder import CandidateDecoder

NEUTRAL_SLOT = 0  # the position of a candidate that has none yet


class BehaviorTransformer(keras.layers.Layer):
    """Encoder over the behaviors, decoder from the candidates (PPM, sections 3.1.2 and 3.2.1).

    Each behavior enters as `E = E_item + E_position + E_recency` (eq. 3, 7, 8). `E_position` counts back from the newest
    behavior; `E_recency` is the bucket `1 + floor(log2(1 + seconds))`, 0 for an unknown time. The encoder blocks (eq. 4,
    5) see the history alone, so they run once a request whatever the number of candidates. In the decoder blocks each
    candidate is a query over the encoded history and never sees another candidate. A learned behavior stands at the end
    of every history, so that an empty one has a meaning and a finite score.

    Both kinds of block norm their inputs rather than their outputs (pre-norm): with PPM's small initial weights they learn
    sooner. The papers name both encoder and decoder layers (PPM, section 4.2.3) without saying how the target enters; this is the
    one reading that uses both and keeps the user side independent of the candidates.

    Args:
        num_encoder_layers: int. Self-attention blocks over the history. Defaults to `2`.
        num_decoder_layers: int. Cross-attention blocks. Defaults to `2`.
        num_heads: int. Attention heads. Defaults to `4`.
        feedforward_multiple: int. Hidden width of a block's feed-forward part, in multiples of its width. Defaults to `4`.
        width: int or `None`. Width of the blocks; `None` takes the width of the items, without a projection.
            Defaults to `None`.
        dropout: float. Defaults to `0.0`.
        max_positions: int. Longest history; `0` leaves positions out. Defaults to `50`.
        num_recency_buckets: int. Rows of `E_recency`. Defaults to `32`.
        num_slots: int. Display positions embedded on the candidates; `0` leaves them out. Defaults to `0`.
        initializer_stddev: float. Standard deviation of the Gaussian initial weights. Defaults to `0.01`.

    Call arguments:
        history: tensor `[R, T, D]`, newest behavior first.
        candidates: tensor `[R, N, D]`.
        mask: bool tensor `[R, T]`, true where a behavior is real.
        recency: tensor `[R, T]`, seconds before the request, negative = unknown; or `None`.
        slot: integer tensor `[R, N]`, display position from 0, negative = unknown; or `None`, where the page is not laid out yet, as
            in serving: then every candidate is scored as if it stood first.
        query: tensor `[R, N, width]` added to the candidates where they enter the decoder, or `None`.

    Returns:
        Two tensors `[R, N, width]`: `U`, the user as seen from each candidate, and `I`, the candidate itself.

    Example:

    >>> import numpy as np
    >>> history, candidates = np.ones((2, 5, 8), "float32"), np.ones((2, 3, 8), "float32")
    >>> user, item = BehaviorTransformer(num_heads=2)(history, candidates, np.ones((2, 5), bool), np.full((2, 5), 60))
    >>> user.shape, item.shape
    (TensorShape([2, 3, 8]), TensorShape([2, 3, 8]))

    References:
        [Gao et al., 2024](https://doi.org/10.1145/3589335.3648329), sections 3.1.2, 3.2.1 and 4.2.3.
    """

    def __init__(
        self,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        feedforward_multiple=4,
        width=None,
        dropout=0.0,
        max_positions=50,
        num_recency_buckets=32,
        num_slots=0,
        initializer_stddev=0.01,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_encoder_layers = num_encoder_layers
        self.num_decoder_layers = num_decoder_layers
        self.num_heads = num_heads
        self.feedforward_multiple = feedforward_multiple
        self.width = width
        self.dropout = dropout
        self.max_positions = max_positions
        self.num_recency_buckets = num_recency_buckets
        self.num_slots = num_slots
        self.initializer_stddev = initializer_stddev

    def build(self, history_shape, candidates_shape):
        width = self.width or history_shape[-1]
        if history_shape[-1] != candidates_shape[-1]:
            raise ValueError(f"History and candidates must have one width. Received: {history_shape[-1]} and {candidates_shape[-1]}.")
        if width % self.num_heads:
            raise ValueError(f"`num_heads` must divide the width of the transformer. Received: num_heads={self.num_heads}, width={width}.")
        hidden_shape = (*history_shape[:-1], width)
        self.projection = None
        if self.width is not None and self.width != history_shape[-1]:
            self.projection = keras.layers.Dense(width, dtype=self.dtype_policy, name="projection")
            self.projection.build(history_shape)
        self.no_more = self.add_weight(name="no_more", shape=(1, 1, width), initializer=self._initializer())
        if self.max_positions:
            self.positions = self.add_weight(name="positions", shape=(self.max_positions, width), initializer=self._initializer())
        self.recencies = self.add_weight(name="recencies", shape=(self.num_recency_buckets, width), initializer=self._initializer())
        if self.num_slots:
            # Row 0 stands for an unknown display position, as at serving time before the page is laid out.
            self.slots = self.add_weight(name="slots", shape=(self.num_slots + 1, width), initializer=self._initializer())
        self.encoder_layers = [
            keras_nlp.layers.TransformerEncoder(
                intermediate_dim=self.feedforward_multiple * width,
                num_heads=self.num_heads,
                dropout=self.dropout,
                activation="gelu",
                normalize_first=True,
                kernel_initializer=self._initializer(),
                dtype=self.dtype_policy,
                name=f"encoder_{i}",
            )
            for i in range(self.num_encoder_layers)
        ]
        self.decoder_layers = [
            CandidateDecoder(
                num_heads=self.num_heads,
                feedforward_dim=self.feedforward_multiple * width,
                dropout=self.dropout,
                kernel_initializer=self._initializer(),
                dtype=self.dtype_policy,
                name=f"decoder_{i}",
            )
            for i in range(self.num_decoder_layers)
        ]
        for layer in self.encoder_layers:
            layer.build(hidden_shape)
        for layer in self.decoder_layers:
            layer.build((*candidates_shape[:-1], width), hidden_shape)
        # Blocks that norm their inputs leave their sums unscaled; what is handed on is normed once.
        self.history_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="history_norm")
        self.history_norm.build(hidden_shape)
        self.user_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="user_norm")
        self.user_norm.build((*candidates_shape[:-1], width))
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, history, candidates, mask, recency=None, slot=None, query=None, training=False):
        encoded, mask = self.encode_history(history, mask, recency, training=training)
        item = self.project(candidates)
        if self.num_slots:
            # Nothing instead of a position would be an input that training never saw.
            rows = NEUTRAL_SLOT + 1 if slot is None else ops.where(slot < 0, 0, ops.minimum(slot, self.num_slots - 1) + 1)
            item = item + ops.cast(ops.take(self.slots, rows, axis=0), item.dtype)
        user = item if query is None else item + ops.cast(query, item.dtype)
        for layer in self.decoder_layers:
            user = layer(user, encoded, mask, training=training)
        return self.user_norm(user), item

    def encode_history(self, history, mask, recency=None, training=False):
        """The part that depends on the user alone: once a request.

        Returns:
            The encoded history `[R, T + 1, width]` and its mask `[R, T + 1]`; the last entry is the learned behavior.
        """
        length = history.shape[1]
        if self.max_positions and length is not None and length > self.max_positions:
            raise ValueError(
                f"The history must not be longer than `max_positions`. Received: {length} behaviors, max_positions={self.max_positions}."
            )
        mask = ops.cast(mask, "bool")
        x = self.project(history)
        if self.max_positions:
            x = x + ops.cast(self.positions[: ops.shape(history)[1]], self.compute_dtype)
        if recency is not None:
            x = x + ops.take(self.recencies, self.recency_bucket(recency), axis=0)
        # Padding is zeroed here: its position and recency must not reach the sums inside the blocks.
        x = ops.where(ops.expand_dims(mask, -1), x, ops.zeros_like(x))
        requests = ops.shape(history)[0]
        no_more = ops.broadcast_to(ops.cast(self.no_more, x.dtype), (requests, 1, x.shape[-1]))
        x = ops.concatenate([x, no_more], axis=1)
        mask = ops.concatenate([mask, ops.ones((requests, 1), "bool")], axis=1)
        x = self.dropout_layer(x, training=training)
        for layer in self.encoder_layers:
            x = layer(x, padding_mask=mask, training=training)
        return self.history_norm(x), mask

    def recency_bucket(self, recency):
        """`1 + floor(log2(1 + seconds))`, at most the last bucket; 0 where `recency` is negative (unknown)."""
        # The bits of an integer are counted exactly; a float32 logarithm would put 2^k - 1 into the wrong bucket.
        seconds = ops.cast(recency, "int64")
        edges = ops.convert_to_tensor(2 ** np.arange(self.num_recency_buckets - 1, dtype="int64") - 1)
        bucket = ops.sum(ops.cast(ops.expand_dims(seconds, -1) >= edges, "int32"), axis=-1)
        return ops.where(seconds < 0, 0, bucket)

    def compute_output_shape(self, history_shape, candidates_shape):
        shape = (*candidates_shape[:-1], self.width or candidates_shape[-1])
        return shape, shape

    def get_config(self):
        config = super().get_config()
        config.update(
            num_encoder_layers=self.num_encoder_layers,
            num_decoder_layers=self.num_decoder_layers,
            num_heads=self.num_heads,
            feedforward_multiple=self.feedforward_multiple,
            width=self.width,
            dropout=self.dropout,
            max_positions=self.max_positions,
            num_recency_buckets=self.num_recency_buckets,
            num_slots=self.num_slots,
            initializer_stddev=self.initializer_stddev,
        )
        return config

    def project(self, items):
        return items if self.projection is None else self.projection(items)

    def _initializer(self):
        return keras.initializers.RandomNormal(stddev=self.initializer_stddev)
