from itertools import combinations

import numpy as np
import pytest

from ppm_tf.layers.factorization import FactorizationMachine
from tests.battery import check_layer

rng = np.random.default_rng(0)
REQUEST = rng.normal(size=(3, 2, 4)).astype("float32")
CANDIDATES = rng.normal(size=(3, 5, 3, 4)).astype("float32")


def test_contract():
    check_layer(FactorizationMachine, {}, (REQUEST, CANDIDATES), (3, 5, 1), trainable_weights=0)


@pytest.mark.parametrize("fields", [0, 1, 2])
def test_equals_the_sum_over_all_pairs(fields):
    """Rendle, eq. 1: the double sum that the two squares stand for."""
    got = FactorizationMachine()(REQUEST[:, :fields], CANDIDATES).numpy()
    for r, n in np.ndindex(3, 5):
        pairs = combinations([*REQUEST[r, :fields], *CANDIDATES[r, n]], 2)
        np.testing.assert_allclose(got[r, n, 0], sum(a @ b for a, b in pairs), rtol=1e-4, atol=1e-5)


def test_fields_of_two_widths_are_refused():
    with pytest.raises(ValueError, match="one width. Received: 3 and 4"):
        FactorizationMachine()(REQUEST[..., :3], CANDIDATES)
