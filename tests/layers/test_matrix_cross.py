import os

import numpy as np
import pytest

from ppm_tf.layers.matrix_cross import MatrixCross
from tests.battery import check_layer
from tests.layers.reference import four_fields, softmax, waves

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 6)).astype("float32")
JOINED = np.concatenate([np.repeat(REQUEST[:, None], 5, 1), CANDIDATES], -1)


def weighed(**arguments):
    """A layer all of whose weights, biases too, differ from their start."""
    layer = MatrixCross(**arguments)
    layer.build(REQUEST.shape, CANDIDATES.shape)
    layer.set_weights([0.3 * rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize(("init", "weights"), [({}, 4), ({"rank": 3}, 6), ({"rank": 3, "num_experts": 2}, 10)])
def test_contract(init, weights):
    check_layer(MatrixCross, init, (REQUEST, CANDIDATES), (3, 5, 10), weights)


@pytest.mark.parametrize("rank", [None, 3])
def test_equals_tensorflow_recommenders_with_copied_weights(rank):
    """Three layers of `Cross`, full and of low rank: the authors' own code."""
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"
    from tensorflow_recommenders.layers.feature_interaction import Cross

    layer, x = weighed(num_layers=3, rank=rank), JOINED
    for i in range(3):
        theirs = Cross(projection_dim=rank)
        theirs(JOINED, x)
        theirs.set_weights(layer.inner[i].get_weights() + (layer.outer[i].get_weights() if rank else []))
        x = theirs(JOINED, x)
    np.testing.assert_allclose(layer(REQUEST, CANDIDATES), x, rtol=1e-4, atol=1e-5)


def test_the_mixture_equals_the_equation():
    """DCN-Mix, expert by expert."""
    layer = weighed(rank=3, num_experts=2)
    x = JOINED
    for inner, core, gate, outer in zip(layer.inner, layer.cores, layer.gates, layer.outer, strict=True):
        weights, update = softmax(x @ gate.kernel.numpy()), 0
        for e in range(2):
            columns = slice(3 * e, 3 * e + 3)
            low = np.tanh(np.tanh(x @ inner.kernel.numpy()[:, columns]) @ core.numpy()[e])
            update = update + weights[..., e : e + 1] * JOINED * (low @ outer.kernel.numpy()[columns] + outer.bias.numpy())
        x = update + x
    np.testing.assert_allclose(layer(REQUEST, CANDIDATES), x, rtol=1e-4, atol=1e-5)


def test_the_mixture_equals_what_deepctr_gives():
    """DeepCTR 0.9.3, `CrossNetMix(low_rank=2, num_experts=3)` on the four fields, weights `0.5 waves` in the order of its list, from 2.

    U from 2 and 3, V from 4 and 5, C from 6 and 7, biases from 8 and 9; its one gate from 10, 11 and 12, an expert each.
    """
    request, candidates = four_fields()
    request, candidates = request.reshape(2, 6), candidates.reshape(2, 1, 6)
    layer = MatrixCross(num_layers=2, rank=2, num_experts=3)
    layer.build(request.shape, candidates.shape)
    gate = np.stack([0.5 * waves(12, start) for start in (10, 11, 12)], axis=1)
    for i in range(2):
        outer, inner, core = (0.5 * waves(shape, start + i) for shape, start in (((3, 12, 2), 2), ((3, 12, 2), 4), ((3, 2, 2), 6)))
        layer.inner[i].set_weights([inner.transpose(1, 0, 2).reshape(12, 6)])
        layer.cores[i].assign(core.transpose(0, 2, 1))
        layer.outer[i].set_weights([outer.transpose(0, 2, 1).reshape(6, 12), 0.5 * waves(12, 8 + i)])
        layer.gates[i].set_weights([gate])
    expected = [1.23069, 1.56182, 0.652236, -0.00267567, 0.177986, -0.615291, -1.41767, -0.641284, 0.439732, 1.24846, 1.55393, 0.624204]
    np.testing.assert_allclose(layer(request, candidates)[0, 0], expected, rtol=2e-5, atol=1e-6)


def test_experts_without_a_rank_are_refused():
    with pytest.raises(ValueError, match="needs a rank. Received: num_experts=2, rank=None"):
        MatrixCross(num_experts=2)
