import numpy as np

from ppm_tf.backbones import WideDeep
from tests.backbones.reference import concat_request, every_candidate, example, flat, head, mean_of_real
from tests.battery import built, random_features


def test_equals_the_equation():
    """Wide&Deep, eq. 3, without crossed features: the sum of the fields' own weights and dense layers over all fields."""
    backbone, features, got = example(WideDeep)
    x = every_candidate(
        concat_request(features, flat(mean_of_real(features.history, features.mask))), np.concatenate([flat(features.item), features.other], -1)
    )
    np.testing.assert_allclose(got, features.first_order * backbone.wide_scale.numpy() + head(x, backbone.head), atol=1e-5)


def test_the_wide_part_adds_up_beside_the_deep_one():
    features = random_features(np.random.default_rng(0))
    backbone = built(WideDeep, {"num_tasks": 2}, features)
    backbone.wide_scale.assign([1.0, 0.5])
    moved = np.asarray(backbone(features._replace(first_order=features.first_order + 3))) - np.asarray(backbone(features))
    np.testing.assert_allclose(moved, np.broadcast_to([3.0, 1.5], moved.shape), atol=1e-5)


def test_no_dense_layers_leave_a_linear_model():
    features = random_features(np.random.default_rng(0))
    backbone = built(WideDeep, {"num_tasks": 1, "mlp_units": ()}, features)
    score = lambda item: np.asarray(backbone(features._replace(item=item)))
    np.testing.assert_allclose(score(features.item * 3) - score(features.item * 2), score(features.item) - score(features.item * 0), atol=1e-5)
