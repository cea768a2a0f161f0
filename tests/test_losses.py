import math

import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.losses import binary_cross_entropy, info_nce, masked_language_model, symmetric_info_nce

rng = np.random.default_rng(0)


def test_binary_cross_entropy_by_hand():
    # p = sigmoid(ln 3) = 3/4: -ln(3/4) and -ln(1/4)
    loss = binary_cross_entropy(np.array([[1.0], [0.0]]), np.full((2, 1), math.log(3), "float32"))
    assert float(loss) == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, abs=1e-6)


def test_missing_labels_weigh_nothing():
    labels, logits = rng.integers(0, 2, 20).astype("float32"), rng.normal(size=20).astype("float32")
    kept = labels.copy()
    kept[5:] = -1
    assert float(binary_cross_entropy(kept, logits)) == pytest.approx(float(binary_cross_entropy(labels[:5], logits[:5])), abs=1e-6)
    assert float(binary_cross_entropy(np.full(3, -1.0), np.ones(3, "float32"))) == 0.0


def test_binary_cross_entropy_has_finite_gradients_far_out():
    logits = tf.Variable([1e4, -1e4, 0.0])
    with tf.GradientTape() as tape:
        loss = binary_cross_entropy(tf.constant([0.0, 1.0, -1.0]), logits)
    assert float(loss) == pytest.approx(1e4)
    np.testing.assert_allclose(tape.gradient(loss, logits), [0.5, -0.5, 0.0])


def test_a_nan_label_is_not_hidden():
    assert math.isnan(float(binary_cross_entropy(np.array([np.nan, 1.0], "float32"), np.zeros(2, "float32"))))


def reference_info_nce(queries, keys, temperature, same=None):
    """PPM, eq. 1, row by row."""
    total = 0.0
    for i in range(len(queries)):
        terms = [queries[i] @ keys[j] / temperature for j in range(len(keys)) if j == i or same is None or not same[i, j]]
        total -= queries[i] @ keys[i] / temperature - math.log(sum(math.exp(term) for term in terms))
    return total / len(queries)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_info_nce_equals_the_equation():
    queries, keys = rng.normal(size=(2, 6, 4))
    assert float(info_nce(queries, keys, 0.5)) == pytest.approx(reference_info_nce(unit(queries), unit(keys), 0.5), abs=1e-5)
    assert float(info_nce(queries, keys, 2.0, cosine=False)) == pytest.approx(reference_info_nce(queries, keys, 2.0), abs=1e-5)


def test_info_nce_of_equal_rows_is_the_logarithm_of_the_batch():
    assert float(info_nce(np.ones((8, 3)), np.ones((8, 3)))) == pytest.approx(math.log(8), abs=1e-5)


def test_duplicates_of_an_item_are_no_negatives():
    queries, keys, ids = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), np.array([3, 7, 3, 1, 7])
    same = ids[:, None] == ids[None]
    assert float(info_nce(queries, keys, 0.5, ids=ids)) == pytest.approx(reference_info_nce(unit(queries), unit(keys), 0.5, same), abs=1e-5)


def test_info_nce_falls_when_positives_move_closer():
    queries, keys = rng.normal(size=(2, 6, 4))
    assert float(info_nce(queries, keys)) > float(info_nce(queries, 0.5 * keys + 0.5 * queries)) > float(info_nce(queries, queries))


def test_symmetric_info_nce_is_both_directions():
    left, right = rng.normal(size=(2, 6, 4))
    expected = reference_info_nce(left, right, 1.0) + reference_info_nce(right, left, 1.0)
    assert float(symmetric_info_nce(left, right)) == pytest.approx(expected, abs=1e-4)
    assert float(symmetric_info_nce(left, right)) == pytest.approx(float(symmetric_info_nce(right, left)), abs=1e-5)


def test_masked_language_model_by_hand():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]]], "float32"))
    loss = masked_language_model(np.array([[1, 2, 0]]), logits, np.array([[1, 1, 0]]))
    assert float(loss) == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2, abs=1e-6)
    assert float(masked_language_model(np.array([[1, 2, 0]]), logits, np.zeros((1, 3)))) == 0.0
