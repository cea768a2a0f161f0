import numpy as np
import pytest

from ppm_tf.layers.vector_cross import VectorCross
from tests.battery import check_layer
from tests.layers.reference import four_fields, waves

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 6)).astype("float32")


def test_contract():
    check_layer(VectorCross, {"num_layers": 3}, (REQUEST, CANDIDATES), (3, 5, 10), trainable_weights=2)


@pytest.mark.parametrize("num_layers", [1, 4])
def test_equals_the_equation(num_layers):
    """The cross network of DCN, layer upon layer, as it stands there."""
    layer = VectorCross(num_layers)
    layer.build(REQUEST.shape, CANDIDATES.shape)
    bias, kernel = (0.3 * rng.normal(size=weight.shape) for weight in layer.get_weights())
    layer.set_weights([bias, kernel])
    x0 = x = np.concatenate([np.repeat(REQUEST[:, None], 5, 1), CANDIDATES], -1)
    for i in range(num_layers):
        x = x0 * (x @ kernel[:, i])[..., None] + bias[i] + x
    np.testing.assert_allclose(layer(REQUEST, CANDIDATES), x, rtol=1e-4, atol=1e-5)


def test_equals_what_deepctr_gives():
    """DeepCTR 0.9.3, `CrossNet(3, "vector")` on the four fields, kernels `0.5 waves` from 2, 3 and 4, biases from 5, 6 and 7."""
    request, candidates = four_fields()
    request, candidates = request.reshape(2, 6), candidates.reshape(2, 1, 6)
    layer = VectorCross(3)
    layer.build(request.shape, candidates.shape)
    kernels, biases = ([0.5 * waves(12, start) for start in starts] for starts in ((2, 3, 4), (5, 6, 7)))
    layer.set_weights([np.stack(biases), np.stack(kernels, axis=1)])
    expected = [3.20678, 4.54288, 3.7424, 1.1818, -1.93461, -4.14115, -4.40004, -2.58952, 0.438888, 3.26088, 4.54923, 3.69801]
    np.testing.assert_allclose(layer(request, candidates)[0, 0], expected, rtol=2e-5)
