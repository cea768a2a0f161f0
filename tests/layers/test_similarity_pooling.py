import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.layers.similarity_pooling import SimilarityPooling
from tests.battery import check_layer

rng = np.random.default_rng(0)
HISTORY = rng.normal(size=(3, 5, 8)).astype("float32")
CANDIDATES = rng.normal(size=(3, 2, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)
BUCKET = rng.integers(0, 6, (3, 5))
SMALL = {"width": 4, "parts": (5, 3), "num_heads": 2, "head_dim": 3, "num_kernels": 4, "max_positions": 7, "num_recency_buckets": 6}


def build(**arguments):
    layer = SimilarityPooling(**{**SMALL, **arguments})
    layer(HISTORY, CANDIDATES, MASK, BUCKET)
    for weight in (layer.positions, layer.recencies):
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_contract():
    # heads 1, positions 1, recencies 1, dense 2
    check_layer(SimilarityPooling, SMALL, (HISTORY, CANDIDATES, MASK, BUCKET), (3, 2, 4), trainable_weights=5)


def test_equals_the_equation():
    layer = build()
    heads = layer.heads.kernel.numpy().reshape(8, 2, 3)
    projections = [np.eye(8)[:, :5], np.eye(8)[:, 5:], heads[:, 0], heads[:, 1]]
    centres, sigma = np.array([-0.8, -0.2, 0.4, 1.0]), 0.6
    expected = np.zeros((3, 2, 4 * 4 * 2 + 1))
    for r in range(3):
        real = np.flatnonzero(MASK[r])
        logits = layer.positions.numpy()[real] + layer.recencies.numpy()[BUCKET[r, real]]
        weights = np.stack([np.full(len(real), 1 / len(real)), np.exp(logits) / np.exp(logits).sum()])
        for n in range(2):
            found = []
            for projection in projections:
                mine, theirs = CANDIDATES[r, n] @ projection, HISTORY[r, real] @ projection
                cosines = theirs @ mine / np.linalg.norm(mine) / np.linalg.norm(theirs, axis=1)
                for centre in centres:
                    near = np.exp(-((cosines - centre) ** 2) / (2 * sigma**2))
                    found += [0.3 * np.log(weight @ near + 0.01) for weight in weights]
            expected[r, n] = [*found, np.log(1 + len(real)) - 2]
    expected = expected @ layer.out.kernel.numpy() + layer.out.bias.numpy()
    np.testing.assert_allclose(layer(HISTORY, CANDIDATES, MASK, BUCKET), expected, atol=2e-5)


def test_masked_behaviors_are_not_seen_and_candidates_do_not_see_each_other():
    layer = build()
    got = layer(HISTORY, CANDIDATES, MASK, BUCKET).numpy()
    changed = np.where(MASK[..., None], HISTORY, 1e3).astype("float32")
    np.testing.assert_array_equal(layer(changed, CANDIDATES, MASK, BUCKET), got)
    np.testing.assert_allclose(layer(HISTORY, CANDIDATES[:, 1:], MASK, BUCKET), got[:, 1:], atol=1e-6)
    np.testing.assert_allclose(layer(HISTORY * 7, CANDIDATES * 0.1, MASK, BUCKET), got, atol=1e-5)  # cosines know no length


def test_an_item_without_a_vector_and_an_empty_history_have_finite_gradients():
    layer, vectors = build(), tf.Variable(np.zeros((3, 2, 8), "float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(HISTORY, vectors, np.zeros((3, 5), bool)) ** 2)
    assert np.isfinite(tape.gradient(loss, vectors)).all() and np.isfinite(loss)


def test_alone_without_learnt_heads():
    assert SimilarityPooling(**{**SMALL, "num_heads": 0})(HISTORY, CANDIDATES, MASK).shape == (3, 2, 4)


def test_widths_and_kernels_must_fit():
    with pytest.raises(ValueError, match=r"Received: 8 and 8, parts \(4, 3\)"):
        SimilarityPooling(**{**SMALL, "parts": (4, 3)})(HISTORY, CANDIDATES, MASK)
    with pytest.raises(ValueError, match="at least 2. Received: 1"):
        SimilarityPooling(**{**SMALL, "num_kernels": 1})
