import numpy as np
import pytest

from ppm_tf.backbones import DCNv2
from tests.backbones.reference import dense, every_field, example, flat, head
from tests.battery import check_backbone


@pytest.mark.parametrize("init", [{}, {"rank": 4, "structure": "stacked"}])
def test_contract(init):
    """The variants that the battery of all backbones does not take: a full matrix, and dense layers on top."""
    check_backbone(DCNv2, {"num_tasks": 2, "mlp_units": (16, 8), **init})


@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_equals_the_equation(structure, rank):
    """DCN-V2, with matrices that are full and of low rank, in both structures."""
    backbone, features, got = example(DCNv2, structure=structure, rank=rank)
    x0 = x = flat(every_field(features))
    for i, inner in enumerate(backbone.cross.inner):
        x = x0 * (dense(x @ inner.kernel.numpy(), backbone.cross.outer[i]) if rank else dense(x, inner)) + x
    if structure == "stacked":
        expected = head(np.concatenate([x, features.other], -1), backbone.head)
    else:
        expected = x @ backbone.logits.kernel.numpy() + head(np.concatenate([x0, features.other], -1), backbone.head)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-4 * np.abs(expected).max())


def test_a_low_rank_saves_weights():
    width = 9 * 8
    full, low, mixed = (
        sum(np.size(weight) for weight in example(DCNv2, num_cross_layers=1, **arguments)[0].cross.get_weights())
        for arguments in ({}, {"rank": 18}, {"rank": 9, "num_experts": 2})
    )
    assert full == width * width + width
    assert low == 2 * 18 * width + width
    assert mixed == 2 * 18 * width + width + 2 * width + 2 * 9 * 9  # and a gate, and a core an expert


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="'parallel' or 'stacked'. Received: structure='serial'"):
        DCNv2(1, structure="serial")
