import numpy as np
import pytest

from ppm_tf.layers.bilinear_interaction import KINDS, BilinearInteraction
from ppm_tf.layers.products import field_pairs
from tests.battery import check_layer
from tests.layers.reference import four_fields, waves

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 2, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 3, 4)).astype("float32")


@pytest.mark.parametrize("kind", KINDS)
def test_contract(kind):
    check_layer(BilinearInteraction, {"kind": kind}, (REQUEST, CANDIDATES), [(3, 1, 4), (3, 5, 9, 4)], trainable_weights=1)


@pytest.mark.parametrize("fields", [(1, 1), (1, 3), (2, 1), (2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_equation(kind, fields):
    """FiBiNET: `(v_i W) * v_j`, pair by pair."""
    request, candidates = REQUEST[:, : fields[0]], CANDIDATES[:, :, : fields[1]]
    layer = BilinearInteraction(kind)
    within, others = (np.asarray(part) for part in layer(request, candidates))
    kernel, pairs = layer.kernel.numpy(), list(zip(*field_pairs(*fields), strict=True))
    assert len(kernel) == {"all": 1, "each": sum(fields) - 1, "interaction": len(pairs)}[kind]
    for r, n in np.ndindex(3, 5):
        every = np.concatenate([request[r], candidates[r, n]])
        expected = [(every[i] @ kernel[{"all": 0, "each": i, "interaction": p}[kind]]) * every[j] for p, (i, j) in enumerate(pairs)]
        np.testing.assert_allclose(np.concatenate([within[r], others[r, n]]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "sums"),
    [
        ("all", [0.198051, 0.049009, -0.247535, -0.367095, 0.120034, 0.126337]),
        ("each", [0.198051, 0.049009, -0.247535, 0.0849194, -0.734578, 0.952756]),
        ("interaction", [0.198051, 0.145393, -0.0300766, 0.410926, 0.640534, -1.02436]),
    ],
)
def test_equals_what_deepctr_gives(kind, sums):
    """DeepCTR 0.9.3, `BilinearInteraction` on the four fields, matrices `0.5 waves` from 2, 3, ...: the sums over D of its pairs."""
    request, candidates = four_fields()
    layer = BilinearInteraction(kind)
    layer.build(request.shape, candidates.shape)
    layer.set_weights([np.stack([0.5 * waves((3, 3), 2 + i) for i in range(layer.kernel.shape[0])])])
    within, others = layer(request, candidates)
    np.testing.assert_allclose(np.concatenate([within[0], others[0, 0]]).sum(-1), sums, rtol=2e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one of all, each, interaction. Received: kind='none'"):
        BilinearInteraction("none")
    with pytest.raises(ValueError, match="one width. Received: 3 and 4"):
        BilinearInteraction()(REQUEST[..., :3], CANDIDATES)
