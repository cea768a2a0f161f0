import numpy as np
import pytest

from ppm_tf.layers.global_interaction import GlobalInteraction
from tests.battery import check_layer
from tests.layers.reference import softmax

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 5)).astype("float32")
CANDIDATES = rng.normal(size=(3, 2, 7)).astype("float32")
SMALL = {"request_dims": (2, 3), "candidate_dims": (3, 4), "units": (6,)}


def test_contract():
    check_layer(GlobalInteraction, SMALL, (REQUEST, CANDIDATES), (3, 2, 12), trainable_weights=4)


def test_equals_the_equation():
    layer = GlobalInteraction(**SMALL)
    got = layer(REQUEST, CANDIDATES).numpy()
    first, last = layer.scores.first, layer.scores.logits
    for r, n in np.ndindex(3, 2):
        parts = [REQUEST[r, :2], REQUEST[r, 2:], CANDIDATES[r, n, :3], CANDIDATES[r, n, 3:]]
        hidden = np.maximum(np.concatenate(parts) @ first.kernel.numpy() + first.bias.numpy(), 0)
        weights = 4 * softmax(hidden @ last.kernel.numpy() + last.bias.numpy())
        np.testing.assert_allclose(got[r, n], np.concatenate([w * part for w, part in zip(weights, parts, strict=True)]), atol=1e-5)


def test_equal_weights_leave_the_parts_as_they_are():
    layer = GlobalInteraction(**SMALL)
    layer.build(REQUEST.shape, CANDIDATES.shape)
    layer.set_weights([weight * 0 for weight in layer.get_weights()])
    np.testing.assert_allclose(layer(REQUEST, CANDIDATES), np.concatenate([np.repeat(REQUEST[:, None], 2, 1), CANDIDATES], -1), atol=1e-6)


def test_parts_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"parts of \(4, 7\) columns, inputs of \(5, 7\)"):
        GlobalInteraction((2, 2), (3, 4))(REQUEST, CANDIDATES)
