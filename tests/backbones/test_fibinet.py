from itertools import combinations

import numpy as np
import pytest

from ppm_tf.backbones import FiBiNET
from ppm_tf.layers.products import field_pairs
from tests.backbones.reference import every_field, example, flat, head, relu
from tests.battery import check_backbone


@pytest.mark.parametrize("bilinear", ["all", "each"])
def test_contract(bilinear):
    """The variants that the battery of all backbones does not take."""
    check_backbone(FiBiNET, {"num_tasks": 2, "mlp_units": (16, 8), "bilinear": bilinear})


@pytest.mark.parametrize("bilinear", ["all", "each", "interaction"])
def test_equals_the_equation(bilinear):
    """FiBiNET: bilinear pairs of the fields, and of the fields that SENET weighed before."""
    backbone, features, got = example(FiBiNET, bilinear=bilinear)
    fields, pairs = every_field(features), list(zip(*field_pairs(6, 3), strict=True))
    assert sorted(pairs) == list(combinations(range(9), 2))
    squeeze, excite = backbone.importance.get_weights()
    weights = relu(relu(fields.mean(-1) @ squeeze) @ excite)
    inputs = []
    for x, layer in ((fields, backbone.raw_pairs), (fields * weights[..., None], backbone.weighed_pairs)):
        kernel = layer.kernel.numpy()
        of_pair = lambda p, i, kernel=kernel: kernel[{"all": 0, "each": i, "interaction": p}[bilinear]]
        inputs.append([(x[:, :, i] @ of_pair(p, i)) * x[:, :, j] for p, (i, j) in enumerate(pairs)])
    # The head has the pairs of the request's six fields first, then those a candidate has a say in, by raw and weighed.
    (raw, weighed), within = inputs, 15
    x = np.concatenate([*raw[:within], *raw[within:], *weighed, features.other], -1)
    expected = features.first_order * backbone.linear_scale.numpy() + head(x, backbone.head)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-4 * np.abs(expected).max())
    assert flat(fields).shape[-1] == 72 and weights.min() == 0 < weights.max()
