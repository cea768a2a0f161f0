import numpy as np
import pytest

from ppm_tf.layers.candidate_decoder import CandidateDecoder
from tests.battery import check_layer
from tests.layers.reference import gelu, layer_norm, multi_head_attention

rng = np.random.default_rng(0)
CANDIDATES = rng.normal(size=(3, 2, 8)).astype("float32")
HISTORY = rng.normal(size=(3, 5, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)


def test_contract():
    # attention 8 (four kernels and biases), two dense layers 4, two norms 4
    check_layer(CandidateDecoder, {"num_heads": 2, "feedforward_dim": 16}, (CANDIDATES, HISTORY, MASK), (3, 2, 8), trainable_weights=16)


def test_equals_the_equation():
    layer = CandidateDecoder(num_heads=2, feedforward_dim=16)
    got = layer(CANDIDATES, HISTORY, MASK).numpy()
    x = CANDIDATES + multi_head_attention(layer_norm(CANDIDATES), HISTORY, MASK[:, None, :], layer.attention)
    hidden = gelu(layer_norm(x) @ layer.feedforward_in.kernel.numpy() + layer.feedforward_in.bias.numpy())
    expected = x + hidden @ layer.feedforward_out.kernel.numpy() + layer.feedforward_out.bias.numpy()
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_candidates_do_not_see_each_other():
    layer = CandidateDecoder(num_heads=2, feedforward_dim=16)
    together = layer(CANDIDATES, HISTORY, MASK).numpy()
    alone = layer(CANDIDATES[:, 1:], HISTORY, MASK).numpy()
    np.testing.assert_allclose(together[:, 1:], alone, atol=1e-6)


def test_masked_behaviors_are_not_seen():
    layer = CandidateDecoder(num_heads=2, feedforward_dim=16)
    changed = np.where(MASK[..., None], HISTORY, 1e3).astype("float32")
    np.testing.assert_array_equal(layer(CANDIDATES, HISTORY, MASK), layer(CANDIDATES, changed, MASK))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3, width=8"):
        CandidateDecoder(num_heads=3, feedforward_dim=16)(CANDIDATES, HISTORY, MASK)
