"""`AUGRU`: a recurrent layer whose update gate an attention opens and closes."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops


class AUGRU(keras.layers.Layer):
    """The GRU with attentional update gate of DIEN, for N candidates over one history.

    `u = sigmoid(x_t W_u + h U_u + b_u)`, `r = sigmoid(x_t W_r + h U_r + b_r)`, `c = tanh(x_t W_c + (r * h) U_c + b_c)`,
    `u' = a_t u`, `h <- (1 - u') * h + u' * c`: where `a_t` is 0 the state stands still, where it is 1 this is a plain GRU. (The code of
    the paper's authors scales what is kept of the state instead, and overwrites it where `a_t` is 1.)

    It runs from the oldest behavior to the newest. What a behavior brings, `x_t W + b`, is computed once a request; only the
    state is one a candidate. The state is kept in float32: in half precision a gate that opens by 1/T would be rounded away.

    Args:
        units: int. Width of the state, H.
        return_sequences: bool. Whether the state at each behavior is returned, else the last one. Defaults to `False`.

    Call arguments:
        inputs: tensor `[R, T, D]`, newest behavior first.
        mask: bool tensor `[R, T]`, true where a behavior is real; padding leaves the state as it is.
        attention: tensor `[R, N, T]` in [0, 1].

    Returns:
        Tensor `[R, N, H]`, the state behind the newest behavior, zeros for an empty history; with `return_sequences` `[R, N, T, H]`, that
        behind each behavior, in the order of `inputs`.

    References:
        [Zhou et al., 2019](https://arxiv.org/abs/1809.03672), section 4.3.
    """

    def __init__(self, units, return_sequences=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.return_sequences = return_sequences

    def build(self, inputs_shape):
        # Update gate, reset gate and candidate state beside each other, as in `keras.layers.GRU`.
        self.kernel = self.add_weight(name="kernel", shape=(inputs_shape[-1], 3 * self.units), initializer="glorot_uniform")
        self.recurrent_kernel = self.add_weight(name="recurrent_kernel", shape=(self.units, 3 * self.units), initializer="orthogonal")
        self.bias = self.add_weight(name="bias", shape=(3 * self.units,), initializer="zeros")

    def call(self, inputs, mask, attention):
        moves = ops.where(ops.expand_dims(ops.cast(mask, "bool"), 1), ops.cast(attention, "float32"), 0.0)
        inputs = ops.transpose(ops.matmul(inputs, self.kernel) + self.bias, (1, 0, 2))
        recurrent = ops.convert_to_tensor(self.recurrent_kernel)
        gates_kernel, state_kernel = recurrent[:, : 2 * self.units], recurrent[:, 2 * self.units :]

        def step(state, of_input, move):
            update_input, reset_input, state_input = ops.split(ops.expand_dims(of_input, 1), 3, axis=-1)
            low = ops.cast(state, self.compute_dtype)
            update_state, reset_state = ops.split(ops.matmul(low, gates_kernel), 2, axis=-1)
            update = ops.expand_dims(move, -1) * ops.cast(ops.sigmoid(update_input + update_state), "float32")
            reset = ops.sigmoid(reset_input + reset_state)
            new = ops.cast(ops.tanh(state_input + ops.matmul(reset * low, state_kernel)), "float32")
            return (1.0 - update) * state + update * new

        start, length = ops.zeros((*ops.shape(moves)[:2], self.units), "float32"), tf.shape(inputs)[0]
        # `ops.scan` wants a known length, which a served graph has not. One place more, for the start: no array is empty.
        inputs, moves = (tf.TensorArray(x.dtype, length).unstack(x) for x in (inputs, ops.transpose(moves, (2, 0, 1))))
        states = tf.TensorArray("float32", length + 1).write(length, start)

        def body(t, state, states):
            state = step(state, inputs.read(t), moves.read(t))
            return t - 1, state, states.write(t, state) if self.return_sequences else states

        _, last, states = tf.while_loop(lambda t, *_: t >= 0, body, (length - 1, start, states))
        return ops.cast(ops.transpose(states.stack()[:-1], (1, 2, 0, 3)) if self.return_sequences else last, self.compute_dtype)

    def compute_output_shape(self, inputs_shape, mask_shape=None, attention_shape=None):
        num_candidates = attention_shape[1] if attention_shape else None
        return (inputs_shape[0], num_candidates, *([inputs_shape[1]] if self.return_sequences else []), self.units)

    def get_config(self):
        config = super().get_config()
        config.update(units=self.units, return_sequences=self.return_sequences)
        return config
