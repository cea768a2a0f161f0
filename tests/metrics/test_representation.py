import numpy as np
import pytest

from ppm_tf.metrics.representation import alignment, uniformity


def test_alignment_by_hand():
    assert alignment([[3.0, 4.0]], [[6.0, 8.0]]) == pytest.approx(0.0)  # one direction
    assert alignment([[1.0, 0.0]], [[0.0, 5.0]]) == pytest.approx(2.0)  # a right angle
    assert alignment([[1.0, 0.0]], [[-1.0, 0.0]]) == pytest.approx(4.0)  # opposite


def test_uniformity_by_hand():
    # Three corners of a square: two pairs at distance^2 2, one at 4.
    vectors = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    assert uniformity(vectors) == pytest.approx(np.log((2 * np.exp(-4) + np.exp(-8)) / 3))


def test_uniformity_in_blocks_is_that_of_all_pairs():
    vectors = np.random.default_rng(0).normal(size=(1500, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = ((unit[:, None] - unit[None]) ** 2).sum(-1)[np.triu_indices(1500, 1)]
    assert uniformity(vectors) == pytest.approx(np.log(np.exp(-2 * distances).mean()), rel=1e-6)


def test_spreading_vectors_lowers_it():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(size=(100, 8)) + 5, rng.normal(size=(100, 8))
    assert uniformity(wide) < uniformity(narrow) < 0


def test_one_vector_has_no_uniformity():
    with pytest.raises(ValueError, match="at least two vectors"):
        uniformity([[1.0]])
