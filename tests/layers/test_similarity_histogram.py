import numpy as np
import pytest

from ppm_tf.layers.similarity_histogram import SimilarityHistogram
from tests.battery import check_layer

rng = np.random.default_rng(0)
HISTORY, CANDIDATES = rng.normal(size=(3, 5, 4)).astype("float32"), rng.normal(size=(3, 2, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)


def test_contract():
    check_layer(SimilarityHistogram, {"num_bins": 4}, (HISTORY, CANDIDATES, MASK), (3, 2, 4), trainable_weights=0)


def test_equals_numpys_histogram():
    got = SimilarityHistogram(5)(HISTORY, CANDIDATES, MASK).numpy()
    for r in range(3):
        for n in range(2):
            real = HISTORY[r, MASK[r]]
            cosines = real @ CANDIDATES[r, n] / np.linalg.norm(real, axis=1) / np.linalg.norm(CANDIDATES[r, n])
            np.testing.assert_allclose(got[r, n], np.histogram(cosines, 5, (-1, 1))[0] / max(len(real), 1), atol=1e-6)


def test_equal_vectors_fall_into_the_last_bin_and_opposite_ones_into_the_first():
    history = np.stack([CANDIDATES[:, 0], -CANDIDATES[:, 0]], axis=1)
    got = SimilarityHistogram(3)(history, CANDIDATES[:, :1], np.ones((3, 2), bool))
    np.testing.assert_allclose(got, np.tile([0.5, 0.0, 0.5], (3, 1, 1)))


def test_one_bin_says_nothing():
    with pytest.raises(ValueError, match="at least 2. Received: 1"):
        SimilarityHistogram(1)
