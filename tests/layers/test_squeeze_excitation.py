import numpy as np
import pytest

from ppm_tf.layers.squeeze_excitation import SqueezeExcitation
from tests.battery import check_layer
from tests.layers.reference import four_fields, waves

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 4, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 3, 4)).astype("float32")


def test_contract():
    check_layer(SqueezeExcitation, {"reduction": 2}, (REQUEST, CANDIDATES), (3, 5, 7), trainable_weights=2)


@pytest.mark.parametrize(("reduction", "units"), [(3, 2), (7, 1), (20, 1)])
def test_equals_the_equation(reduction, units):
    """SENET: a mean a field, two dense layers without biases."""
    layer = SqueezeExcitation(reduction)
    got = layer(REQUEST, CANDIDATES).numpy()
    first, second = layer.get_weights()
    assert first.shape == (7, units) and second.shape == (units, 7)
    means = np.concatenate([np.repeat(REQUEST[:, None], 5, 1), CANDIDATES], 2).mean(-1)
    np.testing.assert_allclose(got, np.maximum(np.maximum(means @ first, 0) @ second, 0), atol=1e-6)


def test_equals_what_deepctr_gives():
    """DeepCTR 0.9.3, `SENETLayer(2)` on the four fields, weights `0.5 waves` from 2 and 3: its outputs over its inputs."""
    request, candidates = four_fields()
    layer = SqueezeExcitation(2)
    layer.build(request.shape, candidates.shape)
    layer.set_weights([0.5 * waves((4, 2), 2), 0.5 * waves((2, 4), 3)])
    np.testing.assert_allclose(layer(request, candidates)[0, 0], [0, 0, 0.0240829, 0.107597], rtol=2e-5, atol=1e-7)
