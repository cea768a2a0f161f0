import numpy as np
import pytest

from ppm_tf.backbones import XDeepFM
from tests.backbones.reference import every_field, example, flat, head


@pytest.mark.parametrize("split_half", [False, True])
def test_equals_the_equation(split_half):
    """xDeepFM: the outer products of all rows and all fields, compressed; dense layers; own weights."""
    backbone, features, got = example(XDeepFM, cin_units=(6, 4), split_half=split_half)
    fields = x = every_field(features)
    pooled = []
    for kernel, rows in zip(backbone.interaction.get_weights(), (6, 4), strict=True):
        x = np.einsum("rnid,rnjd,ijh->rnhd", x, fields, kernel.reshape(x.shape[2], 9, rows))
        half = 3 if split_half and rows == 6 else 0
        pooled.append(x[:, :, half:].sum(-1))
        x = x[:, :, :half] if half else x
    expected = features.first_order * backbone.linear_scale.numpy() + np.concatenate(pooled, -1) @ backbone.logits.kernel.numpy()
    expected = expected + head(np.concatenate([flat(fields), features.other], -1), backbone.head)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_one_layer_is_a_factorisation_machine():
    """With a weight of a half for every pair of two fields, and none for a field with itself, the first layer is DeepFM's second order."""
    backbone, features, _ = example(XDeepFM, cin_units=(1,))
    backbone.interaction.set_weights([(0.5 * (1 - np.eye(9))).reshape(81, 1)])
    backbone.logits.kernel.assign([[1.0, 2.0]])
    backbone.head.set_weights([weight * 0 for weight in backbone.head.get_weights()])
    fields = every_field(features)
    pairs = 0.5 * (fields.sum(2) ** 2 - (fields**2).sum(2)).sum(-1, keepdims=True)
    got = np.asarray(backbone(features)) - features.first_order * backbone.linear_scale.numpy()
    np.testing.assert_allclose(got, pairs * [1, 2], rtol=1e-4, atol=1e-3)
