import keras
import numpy as np
import pytest

from ppm_tf.layers.augru import AUGRU
from tests.battery import check_layer

rng = np.random.default_rng(0)
INPUTS = rng.normal(size=(3, 4, 6)).astype("float32")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
ATTENTION = rng.uniform(size=(3, 2, 4)).astype("float32")
ALL = np.ones((3, 4), bool)


@pytest.mark.parametrize(("sequences", "shape"), [(False, (3, 2, 5)), (True, (3, 2, 4, 5))])
def test_contract(sequences, shape):
    check_layer(AUGRU, {"units": 5, "return_sequences": sequences}, (INPUTS, MASK, ATTENTION), shape, trainable_weights=3)


def example(**arguments):
    layer = AUGRU(5, **arguments)
    layer.build(INPUTS.shape)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_fully_open_it_is_a_gru_whose_update_gate_is_negated():
    """Keras' `z` says what is kept, the paper's `u` what moves: `z = 1 - u = sigmoid(-(...))`."""
    layer, gru = example(return_sequences=True), keras.layers.GRU(5, reset_after=False, return_sequences=True)
    gru.build(INPUTS.shape)
    gru.set_weights([np.concatenate([-weight[..., :5], weight[..., 5:]], -1) for weight in layer.get_weights()])
    expected = np.asarray(gru(INPUTS[:, ::-1]))[:, ::-1]  # from the oldest to the newest
    np.testing.assert_allclose(np.asarray(layer(INPUTS, ALL, np.ones((3, 2, 4), "float32"))), np.repeat(expected[:, None], 2, 1), atol=1e-6)


def test_closed_it_stands_still():
    layer, closed = example(), np.zeros((3, 2, 4), "float32")
    assert not np.asarray(layer(INPUTS, ALL, closed)).any()
    closed[:, :, 2:] = ATTENTION[:, :, 2:]  # the two oldest alone
    np.testing.assert_array_equal(layer(INPUTS, ALL, closed), layer(INPUTS[:, 2:], ALL[:, 2:], ATTENTION[:, :, 2:]))


def test_equals_the_equation():
    layer = example(return_sequences=True)
    kernel, recurrent, bias = (np.split(weight.astype("float64"), 3, axis=-1) for weight in layer.get_weights())
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    expected = np.zeros((3, 2, 4, 5))
    for r, n in np.ndindex(3, 2):
        h = np.zeros(5)
        for t in reversed(range(4)):
            if MASK[r, t]:
                u, reset = (sigmoid(INPUTS[r, t] @ kernel[i] + h @ recurrent[i] + bias[i]) for i in (0, 1))
                c = np.tanh(INPUTS[r, t] @ kernel[2] + (reset * h) @ recurrent[2] + bias[2])
                moved = ATTENTION[r, n, t] * u
                h = (1 - moved) * h + moved * c
            expected[r, n, t] = h
    np.testing.assert_allclose(np.asarray(layer(INPUTS, MASK, ATTENTION)), expected, atol=1e-6)


def test_half_precision_keeps_small_moves():
    """Weights of 1/200 in 200 steps: a bfloat16 state, of 8 bits, would take up few of them."""
    inputs = np.repeat(INPUTS[:, :1], 200, 1)
    half, whole = example(dtype="mixed_bfloat16"), AUGRU(5)
    whole.build(inputs.shape)
    whole.set_weights(half.get_weights())
    arguments = inputs, np.ones((3, 200), bool), np.full((3, 2, 200), 1 / 200, "float32")
    exact = np.asarray(whole(*arguments))
    assert np.abs(np.asarray(half(*arguments), "float32") - exact).max() < 0.02 < np.abs(exact).max()
