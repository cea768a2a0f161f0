import numpy as np

from ppm_tf.layers.fusion_mlp import FusionMLP
from tests.battery import check_layer
from tests.layers.reference import layer_norm

VECTORS = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")


def test_contract():
    check_layer(FusionMLP, {"dim": 4, "hidden": 6, "dropout": 0.0}, (VECTORS,), (3, 5, 4), trainable_weights=6)


def test_equals_the_equation():
    layer = FusionMLP(4, 6)
    got = layer(VECTORS).numpy()
    for bias in (layer.first.bias, layer.second.bias):
        bias.assign(np.linspace(-0.3, 0.3, bias.shape[0]))
    got = layer(VECTORS).numpy()
    hidden = np.maximum(VECTORS @ layer.first.kernel.numpy() + layer.first.bias.numpy(), 0)
    np.testing.assert_allclose(got, layer_norm(np.maximum(hidden @ layer.second.kernel.numpy() + layer.second.bias.numpy(), 0)), atol=2e-5)


def test_dropout_is_for_training_alone_and_reaches_vectors_and_hidden_units():
    layer = FusionMLP(4, 6, dropout=0.5)
    np.testing.assert_array_equal(layer(VECTORS), layer(VECTORS))
    assert np.abs(layer(VECTORS, training=True).numpy() - layer(VECTORS, training=True).numpy()).max() > 0.1


def test_the_paper_counts_its_weights():
    """CELA's table 2: 0.63M - 0.58M for BERT's 768 to 16; here with LayerNorm's own 32."""
    layer = FusionMLP(16)
    layer.build((None, 768))
    assert layer.count_params() == 768 * 64 + 64 + 64 * 16 + 16 + 32
