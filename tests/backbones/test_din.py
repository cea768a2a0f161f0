import numpy as np

from ppm_tf.backbones import DIN
from tests.backbones.reference import activation_unit, concat_request, dice, every_candidate, example, flat, head
from tests.battery import built, random_features


def test_equals_the_equation():
    """DIN, eq. 3, the activation unit with Dice (eq. 9 and 10) on each pair."""
    backbone, features, _ = example(DIN, attention_units=(6, 5))
    for layer in backbone.attention.activations:
        layer.mean.assign(np.linspace(-1, 1, layer.mean.shape[0]))
        layer.variance.assign(np.linspace(0.5, 2, layer.mean.shape[0]))
    got = np.asarray(backbone(features))
    item = flat(features.item)
    activations = [lambda x, layer=layer: dice(x, layer) for layer in backbone.attention.activations]
    interest = activation_unit(item, flat(features.history), features.mask, backbone.attention, activations)
    x = every_candidate(concat_request(features), np.concatenate([interest, item, interest * item, features.other], -1))
    np.testing.assert_allclose(got, head(x, backbone.head), rtol=1e-4, atol=1e-4)


def test_two_behaviors_of_a_kind_weigh_twice():
    """No softmax: the strength of an interest is kept (DIN, section 4.3)."""
    features = random_features(np.random.default_rng(0))
    backbone = built(DIN, {"num_tasks": 1}, features)
    once, twice = features.history[:1, :1], np.repeat(features.history[:1, :1], 2, axis=1)
    interests = [
        np.asarray(backbone.attention(flat(features.item[:1]), flat(history), np.ones(history.shape[:2], bool))) for history in (once, twice)
    ]
    np.testing.assert_allclose(interests[1], 2 * interests[0], rtol=1e-5, atol=1e-6)


def test_padding_candidates_do_not_count_in_the_statistics():
    features = random_features(np.random.default_rng(0))
    wide = features._replace(
        **{
            name: np.pad(getattr(features, name), [(0, 0), (0, 3)] + [(0, 0)] * (getattr(features, name).ndim - 2))
            for name in ("item", "other", "first_order")
        }
    )
    short, long = built(DIN, {"num_tasks": 1}, features), built(DIN, {"num_tasks": 1}, features)
    long.set_weights(short.get_weights())
    trained = [np.asarray(backbone(case, training=True))[:, :4] for backbone, case in ((short, features), (long, wide))]
    np.testing.assert_allclose(*trained, atol=1e-5)
    for mine, theirs in zip(short.non_trainable_weights, long.non_trainable_weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
