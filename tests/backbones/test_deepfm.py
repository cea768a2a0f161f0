from itertools import combinations

import numpy as np

from ppm_tf.backbones import DeepFM
from tests.backbones.reference import concat_request, every_candidate, example, flat, head, mean_of_real
from tests.battery import built, random_features


def test_equals_the_equation():
    """DeepFM, eq. 1 and 2, with the inner product of every pair of fields written out."""
    backbone, features, got = example(DeepFM)
    history = mean_of_real(features.history, features.mask)
    pairs = np.zeros((*got.shape[:2], 1))
    for r, n in np.ndindex(got.shape[:2]):
        fields = np.concatenate([features.user[r], features.context[r], history[r], features.item[r, n]])
        assert len(fields) == 2 + 1 + 3 + 3
        pairs[r, n] = sum(a @ b for a, b in combinations(fields, 2))
    x = every_candidate(concat_request(features, flat(history)), np.concatenate([flat(features.item), features.other], -1))
    expected = (features.first_order + pairs) * backbone.fm_scale.numpy() + head(x, backbone.head)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)


def test_a_field_of_zeros_is_in_no_pair():
    """A missing value, a zero vector, moves the dense layers only."""
    rng = np.random.default_rng(0)
    features = random_features(rng)
    absent = features._replace(user=np.zeros_like(features.user), context=np.zeros_like(features.context))
    none = random_features(rng, user_fields=0, context_fields=0)._replace(
        **{name: getattr(features, name) for name in ("history", "mask", "item", "other", "first_order")}
    )
    pairs = []
    for case in (absent, none):
        backbone = built(DeepFM, {"num_tasks": 1}, case)
        backbone.head.set_weights([weight * 0 for weight in backbone.head.get_weights()])
        pairs.append(np.asarray(backbone(case)))
    np.testing.assert_allclose(*pairs, atol=1e-5)
    assert np.abs(pairs[0] - features.first_order).max() > 1
