import numpy as np
import pytest

from ppm_tf.backbones import DSIN
from tests.backbones.reference import activation_unit, concat_request, every_candidate, example, flat, head, sigmoid
from tests.battery import built, random_features
from tests.layers.test_session_interest import evolved_interests, interests_by_session

ARGUMENTS = {"num_sessions": 3, "gap": 1800, "num_heads": 2, "attention_units": (6, 5)}


def test_equals_the_equation():
    """DSIN, section 3.2: sessions taken apart one by one, an LSTM in each direction, two activation units."""
    backbone, features, got = example(DSIN, **ARGUMENTS)
    interests, some = interests_by_session(backbone.interest, flat(features.history), features.mask, features.recency)
    evolved = evolved_interests(backbone.interest, interests, some)
    item = flat(features.item)
    units = [
        activation_unit(item, keys, some, layer, [sigmoid, sigmoid])
        for keys, layer in ((interests, backbone.interest_attention), (evolved, backbone.evolved_attention))
    ]
    x = every_candidate(concat_request(features), np.concatenate([*units, item, features.other], -1))
    np.testing.assert_allclose(got, head(x, backbone.head), rtol=1e-4, atol=5e-5)


def test_a_gap_in_time_moves_the_score():
    features = random_features(np.random.default_rng(0))
    backbone = built(DSIN, {"num_tasks": 1, **ARGUMENTS}, features)
    dense, sparse = (features._replace(recency=np.where(features.mask, step * np.arange(1, 7), -1)) for step in (1799, 1801))
    # Far below any gap, and all of it above: the hidden behaviors are one session, or three.
    moved = np.abs(np.asarray(backbone(dense)) - np.asarray(backbone(sparse))).max(axis=(1, 2))
    assert moved[0] > 1e-3 and moved[2] == 0


def test_times_need_not_be_known_to_the_second():
    """Only the gaps count: a request that comes an hour later has the same sessions."""
    features = random_features(np.random.default_rng(0))
    backbone = built(DSIN, {"num_tasks": 1, **ARGUMENTS}, features)
    later = features._replace(recency=np.where(features.mask, features.recency + 3600, -1))
    np.testing.assert_array_equal(backbone(features), backbone(later))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=5, width=24"):
        built(DSIN, {"num_tasks": 1, "num_heads": 5}, random_features(np.random.default_rng(0)))
