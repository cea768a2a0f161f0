import keras
import numpy as np
import pytest

from ppm_tf.layers.moe_adaptor import MoEAdaptor
from tests.battery import check_layer
from tests.layers.reference import softmax

rng = np.random.default_rng(0)
VECTORS = rng.normal(size=(3, 5, 8)).astype("float32")


def test_contract():
    check_layer(MoEAdaptor, {"dim": 4, "num_experts": 3, "dropout": 0.0}, (VECTORS,), (3, 5, 4), trainable_weights=4)


def example(num_experts=3, **arguments):
    layer = MoEAdaptor(4, num_experts, **arguments)
    layer.build(VECTORS.shape)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_equals_the_equation():
    layer = example()
    kernels, shifts, gate = (weight.numpy() for weight in (layer.kernels, layer.shifts, layer.gate))
    experts = np.stack([(VECTORS - shifts[k]) @ kernels[k] for k in range(3)], -1)
    np.testing.assert_allclose(np.asarray(layer(VECTORS)), (experts * softmax(VECTORS @ gate)[..., None, :]).sum(-1), atol=1e-5)


def test_equal_gates_and_one_kernel_are_the_plain_affine_map():
    layer, dense = example(), keras.layers.Dense(4)
    layer.gate.assign(np.zeros((8, 3)))
    for weight in (layer.kernels, layer.shifts):
        weight.assign(np.repeat(weight.numpy()[:1], 3, 0))
    dense.build(VECTORS.shape)
    dense.set_weights([layer.kernels.numpy()[0], -layer.shifts.numpy()[0] @ layer.kernels.numpy()[0]])
    np.testing.assert_allclose(np.asarray(layer(VECTORS)), np.asarray(dense(VECTORS)), atol=1e-5)


def test_at_the_start_each_expert_counts_alike_and_differs():
    layer = MoEAdaptor(4, 3)
    got = np.asarray(layer(VECTORS))
    kernels = layer.kernels.numpy()
    np.testing.assert_allclose(got, VECTORS @ kernels.mean(0), atol=1e-5)
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1
    assert np.abs(kernels).max() <= np.sqrt(6 / (8 + 4))  # the bound of Glorot's uniform for one expert


@pytest.mark.parametrize(("kernel", "deviation"), [(0.0, np.log(2) + 0.01), (2.0, np.log1p(np.exp(2)) + 0.01)])
def test_the_noise_of_the_gate_is_for_training_alone_and_has_the_deviation_that_is_learnt(kernel, deviation):
    """Two experts whose outputs are (1, 0) and (0, 1): the output is the gate, and its log odds are the difference of two noises."""
    layer = MoEAdaptor(2, 2, dropout=0.0)
    layer.build((None, 1))
    layer.kernels.assign(np.eye(2)[:, None])
    layer.noise.assign(np.full((1, 2), kernel))
    ones = np.ones((8000, 1), "float32")
    np.testing.assert_allclose(layer(ones), 0.5, atol=1e-6)
    gates = np.asarray(layer(ones, training=True), "float64")
    odds = np.log(gates[:, 0] / gates[:, 1])
    assert abs(odds.mean()) < 0.1
    assert odds.std() == pytest.approx(np.sqrt(2) * deviation, rel=0.05)


def test_dropout_is_for_training_alone():
    layer = example(num_experts=1, dropout=0.5)  # one gate is 1, whatever its noise
    np.testing.assert_array_equal(layer(VECTORS), layer(VECTORS))
    assert np.abs(np.asarray(layer(VECTORS, training=True)) - np.asarray(layer(VECTORS, training=True))).max() > 0.1
