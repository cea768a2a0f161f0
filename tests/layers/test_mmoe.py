import numpy as np
import pytest

from ppm_tf.layers.mmoe import MMoE
from tests.battery import check_layer
from tests.layers.reference import softmax

INPUTS = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")


def test_contract():
    check_layer(MMoE, {"num_tasks": 3, "num_experts": 2, "units": (8, 4)}, (INPUTS,), (2, 5, 3, 4), trainable_weights=6)


def test_equals_the_equations():
    """PPM, eq. 9 and 10, expert by expert."""
    layer = MMoE(num_tasks=3, num_experts=2, units=(8, 4))
    layer(INPUTS)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    kernels, biases = [np.array(kernel) for kernel in layer.kernels], [np.array(bias) for bias in layer.biases]
    gate_kernel, gate_bias = layer.gates.get_weights()
    gate_kernel, gate_bias = gate_kernel.reshape(6, 3, 2), gate_bias.reshape(3, 2)
    experts = []
    for n in range(2):
        x = INPUTS
        for kernel, bias in zip(kernels, biases, strict=True):
            x = np.maximum(x @ kernel[n] + bias[n], 0)
        experts.append(x)
    for task in range(3):
        gate = softmax(INPUTS @ gate_kernel[:, task] + gate_bias[task])
        expected = sum(gate[..., n : n + 1] * experts[n] for n in range(2))
        np.testing.assert_allclose(layer(INPUTS)[:, :, task], expected, rtol=1e-4, atol=1e-4)


def test_each_gate_sums_to_one():
    layer = MMoE(num_tasks=3, num_experts=4)
    layer(INPUTS)
    np.testing.assert_allclose(np.asarray(layer.gate(INPUTS)).sum(-1), np.ones((2, 5, 3)), rtol=1e-6)


def test_an_input_without_a_second_axis():
    layer = MMoE(num_tasks=2, num_experts=3, units=(4,))
    np.testing.assert_allclose(layer(INPUTS[:, 0]), layer(INPUTS)[:, 0], rtol=1e-5)


def test_experts_are_needed():
    with pytest.raises(ValueError, match=r"at least one layer an expert. Received: num_tasks=2, num_experts=4, units=\(\)"):
        MMoE(num_tasks=2, units=())
