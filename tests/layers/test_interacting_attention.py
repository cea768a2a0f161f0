import numpy as np
import pytest

from ppm_tf.layers.interacting_attention import InteractingAttention
from tests.battery import check_layer
from tests.layers.reference import four_fields, softmax, waves

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 2, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 3, 4)).astype("float32")


@pytest.mark.parametrize("num_heads", [1, 3])
def test_contract(num_heads):
    init = {"num_heads": num_heads, "head_dim": 2}
    check_layer(InteractingAttention, init, (REQUEST, CANDIDATES), (3, 5, 5, 2 * num_heads), trainable_weights=4)


def test_equals_the_equation():
    """AutoInt: head by head, field by field."""
    layer = InteractingAttention(num_heads=2, head_dim=3)
    got = layer(REQUEST, CANDIDATES).numpy()
    query, key, value, residual = (weight.reshape(4, 2, 3) for weight in layer.get_weights())
    for r, n in np.ndindex(3, 5):
        fields = np.concatenate([REQUEST[r], CANDIDATES[r, n]])
        for m, field in enumerate(fields):
            heads = []
            for h in range(2):
                weights = softmax(np.array([(field @ query[:, h]) @ (other @ key[:, h]) for other in fields]))
                heads.append(sum(w * (other @ value[:, h]) for w, other in zip(weights, fields, strict=True)))
            expected = np.maximum(np.concatenate(heads) + field @ residual.reshape(4, 6), 0)
            np.testing.assert_allclose(got[r, n, m], expected, rtol=1e-4, atol=1e-5)


def test_equals_what_deepctr_gives():
    """DeepCTR 0.9.3, `InteractingLayer(2, 2)` on the four fields, its weights `0.5 waves` from 2, 3, 4 and 5."""
    request, candidates = four_fields()
    layer = InteractingAttention(num_heads=2, head_dim=2)
    layer.build(request.shape, candidates.shape)
    layer.set_weights([0.5 * waves((3, 4), start) for start in (2, 3, 4, 5)])
    expected = [0, 0, 0, 0.101794, 0.0869783, 0.15476, 0.142729, 0.0679033, 0.0606681, 0, 0, 0, 0, 0, 0, 0.104718]
    np.testing.assert_allclose(np.ravel(layer(request, candidates)[0]), expected, atol=1e-6)


def test_without_a_request_all_fields_are_a_candidates():
    whole = np.concatenate([np.repeat(REQUEST[:, None], 5, 1), CANDIDATES], 2)
    layers = [InteractingAttention(2, 3) for _ in range(2)]
    layers[0].build(REQUEST.shape, CANDIDATES.shape)
    layers[1].build(None, whole.shape)
    layers[1].set_weights(layers[0].get_weights())
    np.testing.assert_allclose(layers[1](None, whole), layers[0](REQUEST, CANDIDATES), atol=1e-5)


def test_fields_of_two_widths_are_refused():
    with pytest.raises(ValueError, match="one width. Received: 3 and 4"):
        InteractingAttention()(REQUEST[..., :3], CANDIDATES)
