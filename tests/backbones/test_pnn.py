from itertools import combinations

import numpy as np
import pytest

from ppm_tf.backbones import PNN
from ppm_tf.layers.products import field_pairs
from tests.backbones.reference import every_field, example, flat, head
from tests.battery import check_backbone


@pytest.mark.parametrize("products", ["outer", "both"])
def test_contract(products):
    """The variants that the battery of all backbones does not take."""
    check_backbone(PNN, {"num_tasks": 2, "mlp_units": (16, 8), "products": products})


@pytest.mark.parametrize("products", ["inner", "outer", "both"])
def test_equals_the_equation(products):
    """PNN: dense layers over all fields, the inner products of their pairs, and the outer product of their sum."""
    backbone, features, got = example(PNN, products=products)
    fields = every_field(features)
    pairs = [(fields[:, :, i] * fields[:, :, j]).sum(-1, keepdims=True) for i, j in zip(*field_pairs(6, 3), strict=True)]
    assert len(pairs) == len(list(combinations(range(9), 2)))
    total = fields.sum(2)
    outer = np.stack([total[..., i] * total[..., j] for i in range(8) for j in range(i, 8)], -1)
    inner = products != "outer"
    # The head has what belongs to the request first: its six fields and their pairs.
    parts = [flat(fields[:, :, :6]), *(pairs[:15] if inner else []), flat(features.item), features.other, *(pairs[15:] if inner else [])]
    x = np.concatenate([*parts, *([outer] if products != "inner" else [])], -1)
    np.testing.assert_allclose(got, head(x, backbone.head), rtol=1e-3, atol=1e-3)


def test_wrong_products_are_refused():
    with pytest.raises(ValueError, match="one of inner, outer, both. Received: products='cross'"):
        PNN(1, products="cross")
