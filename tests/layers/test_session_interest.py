import numpy as np
import pytest

from ppm_tf.layers.session_interest import SessionInterest, session_of
from tests.battery import check_layer
from tests.layers.reference import layer_norm, multi_head_attention

rng = np.random.default_rng(0)
HISTORY = rng.normal(size=(4, 6, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]], bool)
RECENCY = np.array([[5, 9, 4000, 4100, 9000, 99000], [7, 8, 9, 5000, -1, -1], [-1] * 6, [-1] * 6])
SMALL = {"num_sessions": 3, "gap": 1800, "num_heads": 2}
SESSIONS = [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1], [], [0, 0, 1, 1, 2]]  # by hand; the last without times: ceil(5 / 3) = 2 each


def divide(mask, recency, num_sessions, gap):
    """The sessions of one request as lists of places in the history, behavior by behavior."""
    places = [t for t in range(len(mask)) if mask[t]]
    found, newest = [], None
    if recency is None or all(recency[t] < 0 for t in places):
        length = -(-len(places) // num_sessions) or 1
        return [places[start : start + length] for start in range(0, len(places), length)]
    for t in places:
        if not found or (newest is not None and 0 <= newest < recency[t] - gap and len(found) < num_sessions):
            found.append([])
        found[-1].append(t)
        newest = recency[t] if recency[t] >= 0 else newest
    return found


def interests_by_session(layer, history, mask, recency):
    """DSIN, eq. 2 to 6, one session at a time with nothing masked. Returns `[R, S, D]` and which sessions there are."""
    requests, _, dim = history.shape
    interests, some = np.zeros((requests, layer.num_sessions, dim)), np.zeros((requests, layer.num_sessions), bool)
    block = layer.block
    for r in range(requests):
        for k, places in enumerate(divide(mask[r], None if recency is None else recency[r], layer.num_sessions, layer.gap)):
            biases = layer.session_bias.numpy()[k] + layer.place_bias.numpy()[: len(places), None] + layer.unit_bias.numpy()
            x = (history[r, places] + biases)[None]
            x = layer_norm(x + multi_head_attention(x, x, np.ones((1, 1, 1), bool), block._self_attention_layer))
            hidden = np.maximum(x @ block._feedforward_intermediate_dense.kernel.numpy() + block._feedforward_intermediate_dense.bias.numpy(), 0)
            x = layer_norm(x + hidden @ block._feedforward_output_dense.kernel.numpy() + block._feedforward_output_dense.bias.numpy())
            interests[r, k], some[r, k] = x[0].mean(0), True
    return interests, some


def evolved_interests(layer, interests, some):
    """DSIN, eq. 7: one LSTM from the oldest session to the newest, one back, and their sum."""
    evolved = np.zeros_like(interests)
    for r in range(len(interests)):
        oldest_first = np.flatnonzero(some[r])[::-1]
        for order, cell in ((oldest_first, layer.cells[0]), (oldest_first[::-1], layer.cells[1])):
            kernel, recurrent, bias = (weight.numpy() for weight in cell.weights)
            hidden = memory = np.zeros(interests.shape[-1])
            for k in order:
                i, f, c, o = np.split(interests[r, k] @ kernel + hidden @ recurrent + bias, 4)
                i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
                memory = f * memory + i * np.tanh(c)
                hidden = o * np.tanh(memory)
                evolved[r, k] += hidden
    return evolved


def test_sessions_by_hand():
    found = session_of(RECENCY, MASK, 3, 1800).numpy()
    for row, mask, expected in zip(found, MASK, SESSIONS, strict=True):
        assert row[mask].tolist() == expected


@pytest.mark.parametrize(
    ("recency", "expected"),
    [
        ([10, 1810, 3610, 5411], [0, 0, 0, 1]),  # a gap of just 1,800 seconds is none
        ([10, -1, 9000, 9001], [0, 0, 1, 1]),  # the unknown time hides no gap
        ([-1, -1, 10, 9000], [0, 0, 0, 1]),
        ([0, 10**6, 2 * 10**6, 3 * 10**6], [0, 1, 2, 2]),  # the fourth joins the oldest that is kept
        ([-1, -1, -1, -1], [0, 0, 1, 1]),
    ],
)
def test_sessions_of_one_request(recency, expected):
    assert session_of([recency], [[True] * 4], 3, 1800).numpy().tolist() == [expected]


def test_no_times_are_as_unknown_times():
    np.testing.assert_array_equal(session_of(None, MASK, 3, 1800), session_of(np.full((4, 6), -1), MASK, 3, 1800))


class WithoutMask(SessionInterest):
    """The battery takes gradients of every output, and a mask has none."""

    def call(self, history, mask, recency=None, training=False):
        return super().call(history, mask, recency, training=training)[:2]


def test_contract():
    # three biases; the block's attention 8, dense layers 4, norms 4; two LSTMs of three weights
    check_layer(WithoutMask, SMALL, (HISTORY, MASK, RECENCY), [(4, 3, 8), (4, 3, 8)], 3 + 16 + 6)


def test_equals_the_equation():
    layer = SessionInterest(**SMALL)
    layer.build(HISTORY.shape)
    for weight in (layer.session_bias, layer.place_bias, layer.unit_bias):
        weight.assign(rng.normal(size=weight.shape))
    interests, evolved, some = (np.asarray(output) for output in layer(HISTORY, MASK, RECENCY))
    expected, filled = interests_by_session(layer, HISTORY, MASK, RECENCY)
    np.testing.assert_array_equal(some, filled)
    np.testing.assert_allclose(interests, expected, atol=2e-5)
    np.testing.assert_allclose(evolved[some], evolved_interests(layer, expected, filled)[some], atol=2e-5)


def test_a_session_does_not_see_another():
    layer = SessionInterest(**SMALL)
    before = np.asarray(layer(HISTORY, MASK, RECENCY)[0])
    changed = HISTORY.copy()
    changed[0, 2:4] += 1
    moved = np.abs(np.asarray(layer(changed, MASK, RECENCY)[0]) - before).max(axis=-1)
    assert moved[0, 1] > 1e-2 and np.delete(moved.ravel(), 1).max() == 0


def test_a_longer_history_than_built_for():
    layer = SessionInterest(**SMALL)
    layer.build((None, 4, 8))
    with pytest.raises(ValueError, match="6 behaviors, built for 4"):
        layer(HISTORY, MASK)


def test_an_unknown_length():
    with pytest.raises(ValueError, match="must have a known length"):
        SessionInterest(**SMALL).build((None, None, 8))
