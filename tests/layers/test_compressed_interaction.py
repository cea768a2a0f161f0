import numpy as np
import pytest

from ppm_tf.layers.compressed_interaction import CompressedInteraction
from tests.battery import check_layer
from tests.layers.reference import four_fields, waves

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 2, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 3, 4)).astype("float32")


@pytest.mark.parametrize(("init", "rows"), [({"units": (6, 4, 3)}, 3 + 2 + 3), ({"units": (5, 3), "split_half": False}, 8), ({"units": (3,)}, 3)])
def test_contract(init, rows):
    check_layer(CompressedInteraction, init, (REQUEST, CANDIDATES), (3, 5, rows), trainable_weights=len(init["units"]))


@pytest.mark.parametrize("split_half", [False, True])
def test_equals_the_equation(split_half):
    """CIN: every row from every pair of a row and a field."""
    layer = CompressedInteraction((4, 3), split_half)
    got = layer(REQUEST, CANDIDATES).numpy()
    for r, n in np.ndindex(3, 5):
        fields = x = np.concatenate([REQUEST[r], CANDIDATES[r, n]])
        pooled = []
        for kernel, rows in zip(layer.get_weights(), (4, 3), strict=True):
            kernel = kernel.reshape(len(x), len(fields), rows)
            x = np.stack([sum(kernel[i, j, h] * x[i] * fields[j] for i in range(len(x)) for j in range(len(fields))) for h in range(rows)])
            half = 2 if split_half and rows == 4 else 0
            pooled.append(x[half:].sum(-1))
            x = x[:half] if half else x
        np.testing.assert_allclose(got[r, n], np.concatenate(pooled), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("split_half", "expected"),
    [
        (True, [-2.04254, -0.247035, 2.12609, 0.723659, -1.01912]),
        (False, [-2.35898, -2.87741, -2.04254, -0.247035, 0.483043, 0.00299396, -0.478463]),
    ],
)
def test_equals_what_deepctr_gives(split_half, expected):
    """DeepCTR 0.9.3, `CIN((4, 3), "linear")` on the four fields, filters `0.5 waves` from 2 and 4, biases 0; its filters have the field first."""
    request, candidates = four_fields()
    layer = CompressedInteraction((4, 3), split_half)
    layer.build(request.shape, candidates.shape)
    rows = 2 if split_half else 4
    filters = (0.5 * waves((4, 4, 4), 2)), (0.5 * waves((4, rows, 3), 4))
    layer.set_weights([each.swapaxes(0, 1).reshape(-1, each.shape[-1]) for each in filters])
    np.testing.assert_allclose(layer(request, candidates)[0, 0], expected, rtol=2e-5, atol=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"even numbers before the last. Received: units=\(5, 3\)"):
        CompressedInteraction((5, 3))
    with pytest.raises(ValueError, match="one width. Received: 3 and 4"):
        CompressedInteraction()(REQUEST[..., :3], CANDIDATES)
