"""`SessionInterest`: a history in sessions, the interest of each, and how interests evolve."""

from __future__ import annotations

import keras
import keras_nlp
from keras import ops


def session_of(recency, mask, num_sessions, gap):
    """The session of each behavior, 0 = the newest (DSIN, section 3.2).

    A session begins where more than `gap` seconds lie between a behavior and the one after it. At most `num_sessions` are
    kept: older behaviors join the oldest of them, where the paper drops them. A request without any known time is cut
    into sessions of equal length, `ceil(behaviors / num_sessions)`. A behavior whose own time is unknown stays with the newer
    ones before it.

    Args:
        recency: integer tensor `[R, T]`, seconds before the request, negative = unknown; or `None`. Newest first.
        mask: bool tensor `[R, T]`, true where a behavior is real.
        num_sessions: int. How many are kept.
        gap: int. Seconds.

    Returns:
        int32 tensor `[R, T]`, below `num_sessions`; without meaning at padding.

    Example:

    >>> session_of([[5, 60, 9000, 9010]], [[True] * 4], num_sessions=3, gap=1800).numpy().tolist()
    [[0, 0, 1, 1]]
    """
    mask = ops.cast(mask, "bool")
    real = ops.cast(mask, "int32")
    rank = ops.cumsum(real, axis=1) - real
    length = ops.maximum((ops.sum(real, axis=1, keepdims=True) + num_sessions - 1) // num_sessions, 1)
    equal = ops.minimum(rank // length, num_sessions - 1)
    if recency is None:
        return equal
    recency = ops.where(mask, ops.cast(recency, "int64"), -1)
    steps = ops.arange(recency.shape[1] or ops.shape(recency)[1])
    newer = ops.expand_dims(steps, 0) < ops.expand_dims(steps, 1)
    # The oldest time known so far: a behavior without a time hides no gap between its neighbours.
    last = ops.max(ops.where(newer, ops.expand_dims(recency, 1), ops.cast(-1, "int64")), axis=-1)
    begins = ops.logical_and(ops.logical_and(last >= 0, recency >= 0), recency - last > gap)
    by_time = ops.minimum(ops.cumsum(ops.cast(begins, "int32"), axis=1), num_sessions - 1)
    return ops.where(ops.any(recency >= 0, axis=1, keepdims=True), by_time, equal)


class SessionInterest(keras.layers.Layer):
    """Session division, interest extractor and interest interacting layer (DSIN, sections 3.2.1 to 3.2.3).

    Behavior t of session k enters as `q_tc + w_k + w_t' + w_c` (bias encoding, eq. 2) with a bias a session, a place t' in
    the session and a unit c. A post-norm transformer block, self-attention within the session and dense layers with ReLU
    (eq. 3 to 5), gives hidden behaviors; their mean is the interest of the session (eq. 6). A bidirectional LSTM runs over
    the sessions from the oldest to the newest and gives the evolved interests (eq. 7).

    The sessions are never taken apart: one self-attention over the whole history, masked to the own session, and one
    product with the membership matrix `[T, S]` for the means. Sessions and places count from the newest, so that neither
    padding nor the length of the history moves them. Where the paper is silent or leaves a choice: each head sees all units,
    as in Vaswani et al.; the hidden dense layer has four times the width; `⊕` of the two directions of the LSTM is read as
    their sum, which keeps the width of an item.

    Args:
        num_sessions: int. Sessions kept, S.
        gap: int. Seconds without a behavior after which a new session begins.
        num_heads: int. Heads of the self-attention; must divide the width of the history.
        dropout: float. In the transformer block. Defaults to `0.0`.

    Call arguments:
        history: tensor `[R, T, D]`, newest behavior first.
        mask: bool tensor `[R, T]`, true where a behavior is real.
        recency: integer tensor `[R, T]`, seconds before the request, negative = unknown; or `None`.

    Returns:
        Tensors `[R, S, D]` of the interests and of the evolved ones, and their mask `[R, S]`, false where a session is empty.

    References:
        [Feng et al., 2019](https://arxiv.org/abs/1905.06482).
    """

    def __init__(self, num_sessions, gap, num_heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_sessions = num_sessions
        self.gap = gap
        self.num_heads = num_heads
        self.dropout = dropout

    def build(self, history_shape):
        length, dim = history_shape[1:]
        if length is None:
            raise ValueError(f"The history must have a known length, one place bias a behavior. Received: shape {tuple(history_shape)}.")
        if dim % self.num_heads:
            raise ValueError(f"`num_heads` must divide the width of the history. Received: num_heads={self.num_heads}, width={dim}.")
        self.session_bias = self.add_weight(name="session_bias", shape=(self.num_sessions,), initializer="zeros")
        self.place_bias = self.add_weight(name="place_bias", shape=(length,), initializer="zeros")
        self.unit_bias = self.add_weight(name="unit_bias", shape=(dim,), initializer="zeros")
        self.block = keras_nlp.layers.TransformerEncoder(
            4 * dim, self.num_heads, self.dropout, activation="relu", dtype=self.dtype_policy, name="block"
        )
        self.block.build(history_shape)
        self.cells = [keras.layers.LSTMCell(dim, dtype=self.dtype_policy, name=name) for name in ("forward_lstm", "backward_lstm")]
        for cell in self.cells:
            cell.build((history_shape[0], dim))

    def call(self, history, mask, recency=None, training=False):
        length = history.shape[1]
        if length is not None and length > self.place_bias.shape[0]:
            raise ValueError(
                f"The history must not be longer than it was built for. Received: {length} behaviors, built for {self.place_bias.shape[0]}."
            )
        session = session_of(recency, mask, self.num_sessions, self.gap)
        real = ops.cast(mask, "int32")
        member = ops.one_hot(session, self.num_sessions, dtype="int32") * ops.expand_dims(real, -1)
        counts = ops.sum(member, axis=1)
        # How many newer behaviors there are, less those of newer sessions.
        place = ops.cumsum(real, axis=1) - real - ops.sum(member * ops.expand_dims(ops.cumsum(counts, axis=1) - counts, 1), axis=-1)
        biases = [ops.take(weight, rows, axis=0) for weight, rows in ((self.session_bias, session), (self.place_bias, place))]
        x = history + ops.cast(ops.expand_dims(biases[0] + biases[1], -1) + self.unit_bias, history.dtype)
        member = ops.cast(member, x.dtype)
        together = ops.matmul(member, ops.swapaxes(member, 1, 2)) > 0
        hidden = self.block(x, attention_mask=together, training=training)
        some = counts > 0
        interests = ops.matmul(ops.swapaxes(member, 1, 2), hidden) / ops.cast(ops.expand_dims(ops.maximum(counts, 1), -1), hidden.dtype)
        oldest_first = range(self.num_sessions - 1, -1, -1)
        forward, backward = self._run(self.cells[0], interests, some, oldest_first), self._run(self.cells[1], interests, some, oldest_first[::-1])
        return interests, forward + backward, some

    def compute_output_shape(self, history_shape):
        shape = (history_shape[0], self.num_sessions, history_shape[-1])
        return shape, shape, shape[:-1]

    def get_config(self):
        config = super().get_config()
        config.update(num_sessions=self.num_sessions, gap=self.gap, num_heads=self.num_heads, dropout=self.dropout)
        return config

    def _run(self, cell, interests, some, order):
        """The hidden state of an LSTM at each session; an empty session leaves the states as they are."""
        # Step by step, for a handful of num_sessions: Keras 3.15's unrolled `Bidirectional` mistakes the mask on its way back,
        # and its loop costs more than the steps.
        states = [ops.zeros_like(interests[:, 0])] * 2
        hidden = [None] * self.num_sessions
        for k in order:
            _, new = cell(interests[:, k], states)
            states = [ops.where(some[:, k : k + 1], after, before) for after, before in zip(new, states, strict=True)]
            hidden[k] = states[0]
        return ops.stack(hidden, axis=1)
