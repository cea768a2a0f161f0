from itertools import combinations

import numpy as np
import pytest

from ppm_tf.layers.products import field_pairs, inner_products, outer_product
from tests.layers.reference import four_fields

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 2, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 3, 4)).astype("float32")


@pytest.mark.parametrize(("mine", "theirs"), [(1, 1), (1, 3), (3, 2)])
def test_every_pair_stands_once_on_its_side(mine, theirs):
    pairs = list(zip(*(places.tolist() for places in field_pairs(mine, theirs)), strict=True))
    assert sorted(pairs) == list(combinations(range(mine + theirs), 2))
    within, mixed = mine * (mine - 1) // 2, mine * theirs
    assert all(right < mine for _, right in pairs[:within])
    assert all(left < mine <= right for left, right in pairs[within : within + mixed])
    assert all(left >= mine for left, _ in pairs[within + mixed :])


@pytest.mark.parametrize("fields", [1, 2])
def test_inner_products_of_every_pair(fields):
    """PNN: `<f_i, f_j>`, pair by pair."""
    within, others = inner_products(REQUEST[:, :fields], CANDIDATES)
    assert within.shape == (3, fields - 1) and others.shape == (3, 5, 3 * fields + 3)
    for r, n in np.ndindex(3, 5):
        every = np.concatenate([REQUEST[r, :fields], CANDIDATES[r, n]])
        expected = [every[i] @ every[j] for i, j in zip(*field_pairs(fields, 3), strict=True)]
        np.testing.assert_allclose(np.concatenate([within[r], others[r, n]]), expected, rtol=1e-4, atol=1e-5)


def test_inner_products_equal_what_deepctr_gives():
    """DeepCTR 0.9.3, `InnerProductLayer()` on the four fields."""
    within, others = inner_products(*four_fields())
    expected = [-1.23205, -0.903727, 2.14454, -0.112516, -1.21806, -0.914678]
    np.testing.assert_allclose(np.concatenate([within[0], others[0, 0]]), expected, rtol=2e-5)


def test_the_outer_product_is_the_sum_over_all_pairs():
    """PNN: the sum of `f_i f_j^T` over all i and j; what is the same on both sides of the diagonal stands once."""
    got = outer_product(REQUEST, CANDIDATES).numpy()
    for r, n in np.ndindex(3, 5):
        every = np.concatenate([REQUEST[r], CANDIDATES[r, n]])
        square = sum(np.outer(a, b) for a in every for b in every)
        np.testing.assert_allclose(got[r, n], [square[i, j] for i in range(4) for j in range(i, 4)], rtol=1e-4, atol=1e-5)
