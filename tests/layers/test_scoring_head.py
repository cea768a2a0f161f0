import keras
import numpy as np
import pytest

from ppm_tf.layers.scoring_head import ScoringHead

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 6)).astype("float32")
JOINED = np.concatenate([np.repeat(REQUEST[:, None], 5, 1), CANDIDATES], -1)


@pytest.mark.parametrize("units", [(), (8,), (8, 4, 3)])
def test_equals_dense_layers_over_the_concatenation(units):
    layer = ScoringHead(2, units)
    got = layer(REQUEST, CANDIDATES)
    plain = keras.Sequential([*[keras.layers.Dense(width, "relu") for width in units], keras.layers.Dense(2)])
    plain.build(JOINED.shape)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(got, plain(JOINED), atol=1e-6)


@pytest.mark.parametrize("units", [(), (8, 4)])
def test_logits_are_float32(units):
    layer = ScoringHead(2, units, dtype="mixed_bfloat16")
    assert layer(REQUEST, CANDIDATES).dtype == "float32"
    assert ScoringHead.from_config(layer.get_config()).units == units


def test_dropout_after_every_hidden_layer():
    """With nearly everything dropped, what is left of the hidden layers is their bias: zeros, and so are the logits."""
    keras.utils.set_random_seed(0)
    layer = ScoringHead(1, (8, 4), dropout=0.9999)
    assert not np.asarray(layer(REQUEST, CANDIDATES, training=True)).any()
    assert np.asarray(layer(REQUEST, CANDIDATES)).any()
