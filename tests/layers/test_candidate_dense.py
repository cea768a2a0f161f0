import keras
import numpy as np
import pytest

from ppm_tf.layers.candidate_dense import CandidateDense
from tests.battery import check_layer

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 6)).astype("float32")
JOINED = np.concatenate([np.repeat(REQUEST[:, None], 5, 1), CANDIDATES], -1)


def test_contract():
    check_layer(CandidateDense, {"units": 7, "activation": "relu"}, (REQUEST, CANDIDATES), (3, 5, 7), trainable_weights=2)


@pytest.mark.parametrize(
    ("request_part", "candidates", "joined"),
    [
        (REQUEST, CANDIDATES, JOINED),
        (REQUEST[:, :0], CANDIDATES, CANDIDATES),
        (None, CANDIDATES, CANDIDATES),
        (REQUEST, CANDIDATES[..., :0], JOINED[..., :4]),
    ],
)
def test_equals_a_dense_layer_over_the_concatenation(request_part, candidates, joined):
    layer, dense = CandidateDense(7, "tanh"), keras.layers.Dense(7, "tanh")
    layer.build(None if request_part is None else request_part.shape, candidates.shape)
    dense.build(joined.shape)
    weights = [weight + rng.normal(size=weight.shape) for weight in dense.get_weights()]
    for each in (layer, dense):
        each.set_weights(weights)
    np.testing.assert_allclose(layer(request_part, candidates), dense(joined), atol=1e-6)


@pytest.mark.parametrize("request_part", [REQUEST, None])
def test_without_a_bias(request_part):
    layer = CandidateDense(7, use_bias=False)
    layer.build(None if request_part is None else request_part.shape, CANDIDATES.shape)
    got = layer(request_part, CANDIDATES)
    assert len(layer.weights) == 1 and not layer.get_config()["use_bias"]
    np.testing.assert_allclose(got, (CANDIDATES if request_part is None else JOINED) @ layer.get_weights()[0], atol=1e-6)


def test_starts_as_a_dense_layer_over_the_concatenation():
    """Glorot's bound is that of the whole width, not of either part."""
    kernels = []
    for cls, shapes in ((CandidateDense, (REQUEST.shape, CANDIDATES.shape)), (keras.layers.Dense, (JOINED.shape,))):
        keras.utils.set_random_seed(0)
        layer = cls(7)
        layer.build(*shapes)
        kernels.append(np.asarray(layer.kernel))
    np.testing.assert_array_equal(*kernels)


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match="must have a column between them"):
        CandidateDense(7).build(None, (3, 5, 0))
