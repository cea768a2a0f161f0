import os

import keras
import numpy as np
import pytest

from ppm_tf.layers.behavior_transformer import BehaviorTransformer
from tests.battery import check_layer

rng = np.random.default_rng(0)
HISTORY = rng.normal(size=(3, 5, 8)).astype("float32")
CANDIDATES = rng.normal(size=(3, 2, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
RECENCY = np.where(MASK, [[5, 60, 3600, 0, 0], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]], -1).astype("int64")
SLOT = np.array([[0, 1], [1, -1], [7, 0]], "int32")
SMALL = {"num_heads": 2, "feedforward_multiple": 2, "max_positions": 5, "initializer_stddev": 0.3}


def make(**arguments):
    layer = BehaviorTransformer(**{**SMALL, **arguments})
    layer(HISTORY, CANDIDATES, MASK, RECENCY, SLOT)
    return layer


@pytest.mark.parametrize(
    ("extra", "width", "weights"),
    [
        # an encoder and a decoder block have 16 weights each; two norms 4; no_more, positions, recencies; projection 2; slots 1
        ({}, 8, 4 * 16 + 4 + 3),
        ({"width": 4, "num_slots": 3, "num_encoder_layers": 1, "num_decoder_layers": 1}, 4, 2 * 16 + 4 + 3 + 2 + 1),
    ],
)
def test_contract(extra, width, weights):
    check_layer(BehaviorTransformer, {**SMALL, **extra}, (HISTORY, CANDIDATES, MASK, RECENCY, SLOT), [(3, 2, width)] * 2, weights)


def test_padding_does_not_change_the_output():
    layer = make()
    changed = np.where(MASK[..., None], HISTORY, 77.0).astype("float32")
    for mine, theirs in zip(layer(HISTORY, CANDIDATES, MASK, RECENCY), layer(changed, CANDIDATES, MASK, np.where(MASK, RECENCY, 999)), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_more_padding_does_not_change_the_output():
    layer = make(max_positions=9)
    wide = [np.pad(value, [(0, 0), (0, 4)] + [(0, 0)] * (value.ndim - 2)) for value in (HISTORY, MASK, RECENCY)]
    short, long = layer(HISTORY, CANDIDATES, MASK, RECENCY), layer(wide[0], CANDIDATES, wide[1], wide[2])
    np.testing.assert_allclose(short[0], long[0], atol=1e-5)


def test_n_candidates_score_as_n_requests_with_one():
    layer = make()
    together, _ = layer(HISTORY, CANDIDATES, MASK, RECENCY)
    for n in range(2):
        alone, _ = layer(HISTORY, CANDIDATES[:, n : n + 1], MASK, RECENCY)
        np.testing.assert_allclose(np.asarray(together)[:, n : n + 1], alone, atol=1e-5)


def test_an_empty_history_gives_a_finite_answer_of_its_own():
    user, _ = make()(HISTORY, CANDIDATES, MASK, RECENCY)
    other, _ = make()(HISTORY, CANDIDATES, np.zeros_like(MASK), RECENCY)
    assert np.isfinite(user[1]).all()
    assert np.isfinite(other).all()


@pytest.mark.parametrize("change", ["history", "order", "recency"])
def test_history_order_and_recency_matter(change):
    layer = make()
    history, recency = HISTORY.copy(), RECENCY.copy()
    if change == "history":
        history[0, 0] += np.arange(8)
    elif change == "order":
        history[0, [0, 1]] = history[0, [1, 0]]
    else:
        recency[0, 0] = 10**6
    before, after = layer(HISTORY, CANDIDATES, MASK, RECENCY)[0], layer(history, CANDIDATES, MASK, recency)[0]
    assert np.abs(np.asarray(before)[0] - np.asarray(after)[0]).max() > 1e-3
    np.testing.assert_allclose(np.asarray(before)[2], np.asarray(after)[2], atol=1e-6)


def test_the_history_is_encoded_once_a_request():
    """The cost of the encoder does not grow with the number of candidates: its calls see [R, T], never [R * N, T]."""
    layer, shapes = make(), []
    original = layer.encoder_layers[0].call
    layer.encoder_layers[0].call = lambda x, **rest: shapes.append(tuple(x.shape)) or original(x, **rest)
    layer(HISTORY, np.repeat(CANDIDATES, 50, axis=1), MASK, RECENCY)
    assert shapes == [(3, 6, 8)]


@pytest.mark.parametrize(("seconds", "bucket"), [(-1, 0), (0, 1), (1, 2), (2, 2), (3, 3), (6, 3), (7, 4), (3600, 12), (10**8, 27), (2**40, 31)])
def test_recency_buckets(seconds, bucket):
    # 1 + floor(log2(1 + seconds)), by hand: log2(3601) = 11.8; log2(1e8) = 26.6; the last of 32 buckets is 31
    assert int(make().recency_bucket(np.array([[seconds]]))[0, 0]) == bucket


def test_without_a_page_every_candidate_stands_first():
    """As in serving: an input that training knows, not none at all."""
    layer = make(num_slots=3)
    history, candidates, mask = (
        np.ones((2, 3, 8), "float32"),
        np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32"),
        np.ones((2, 3), bool),
    )
    for found, expected in zip(layer(history, candidates, mask), layer(history, candidates, mask, slot=np.zeros((2, 5), "int32")), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_unknown_and_far_slots_have_rows():
    layer = make(num_slots=3)
    item = np.asarray(layer(HISTORY, CANDIDATES, MASK, RECENCY, SLOT)[1]) - CANDIDATES
    slots = layer.slots.numpy()
    np.testing.assert_allclose(item[:, :], slots[np.array([[1, 2], [2, 0], [3, 1]])], atol=1e-6)


def test_encoder_block_equals_tf_models_official_with_copied_weights():
    """An independent implementation of the same block: tf-models-official's `TransformerEncoderBlock`."""
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"
    from official.nlp.modeling.layers import TransformerEncoderBlock

    block = make(initializer_stddev=0.5).encoder_layers[0]
    mask = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    mine = block(HISTORY, padding_mask=mask).numpy()
    theirs = TransformerEncoderBlock(num_attention_heads=2, inner_dim=16, inner_activation="gelu", norm_epsilon=1e-5, norm_first=True)
    attention_mask = np.repeat(mask[:, None, :], 5, axis=1).astype("float32")
    theirs([HISTORY, attention_mask])
    weights = block.get_weights()
    # Both list the attention (8) and its norm (2) first; then ours has the last norm before the two dense layers.
    theirs.set_weights(weights[:10] + weights[12:] + weights[10:12])
    np.testing.assert_allclose(mine, theirs([HISTORY, attention_mask]).numpy(), atol=2e-5)


def test_a_history_longer_than_its_positions_is_refused():
    with pytest.raises(ValueError, match="5 behaviors, max_positions=4"):
        BehaviorTransformer(num_heads=2, max_positions=4)(HISTORY, CANDIDATES, MASK, RECENCY)


def test_wrong_widths_are_refused():
    with pytest.raises(ValueError, match="one width. Received: 8 and 6"):
        BehaviorTransformer(num_heads=2)(HISTORY, CANDIDATES[..., :6], MASK, RECENCY)
    with pytest.raises(ValueError, match="num_heads=3, width=8"):
        BehaviorTransformer(num_heads=3)(HISTORY, CANDIDATES, MASK, RECENCY)


def test_gaussian_initial_weights():
    """PPM, section 4.2.3: mean 0, standard deviation 0.01."""
    keras.utils.set_random_seed(0)
    layer = BehaviorTransformer(num_heads=2, max_positions=50)
    layer.build((None, 5, 64), (None, 2, 64))
    kernels = np.concatenate(
        [weight.numpy().ravel() for weight in layer.trainable_weights if weight.path.endswith(("kernel", "positions", "recencies"))]
    )
    assert abs(kernels.mean()) < 1e-4
    assert abs(kernels.std() - 0.01) < 1e-4
