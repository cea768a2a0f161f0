import numpy as np
import pytest

from ppm_tf.layers.mlp import MLP
from tests.battery import check_layer


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
def test_contract(shape):
    inputs = np.random.default_rng(0).normal(size=shape).astype("float32")
    check_layer(MLP, {"units": (8, 5)}, (inputs,), (*shape[:-1], 5), trainable_weights=4)


def test_equals_the_equation():
    layer = MLP((2, 1))
    layer(np.ones((1, 2), "float32"))
    layer.set_weights([np.array([[1.0, -1.0], [2.0, 1.0]]), np.array([0.5, -3.0]), np.array([[2.0], [7.0]]), np.array([0.25])])
    # relu([1+4+.5, -1+2-3]) = [5.5, 0]; 2 * 5.5 + .25
    assert layer(np.array([[1.0, 2.0]], "float32")).numpy().tolist() == [[11.25]]


def test_initial_kernels_differ():
    layer = MLP((4, 4), kernel_initializer="glorot_uniform")
    layer(np.ones((1, 4), "float32"))
    assert not np.array_equal(layer.dense_layers[0].kernel, layer.dense_layers[1].kernel)


def test_no_units_are_refused():
    with pytest.raises(ValueError, match="must name at least one layer"):
        MLP(())
