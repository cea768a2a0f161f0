import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.backbones import DIEN
from tests.backbones.reference import concat_request, dense, every_candidate, example, flat, head, sigmoid
from tests.battery import built, random_features
from tests.layers.reference import softmax

SMALL = {"num_tasks": 1, "mlp_units": (7, 6), "auxiliary_units": (5, 4)}


def recurrent(inputs, weights, moves):
    """States of a GRU whose update gate is scaled, oldest input first."""
    kernel, own, bias = (np.split(weight.numpy(), 3, axis=-1) for weight in weights)
    h, states = np.zeros(own[0].shape[0]), []
    for x, move in zip(inputs, moves, strict=True):
        u, r = (sigmoid(x @ kernel[i] + h @ own[i] + bias[i]) for i in (0, 1))
        h = (1 - move * u) * h + move * u * np.tanh(x @ kernel[2] + (r * h) @ own[2] + bias[2])
        states.append(h)
    return np.array(states).reshape(-1, len(h))


def test_equals_the_equation():
    """Request by request, candidate by candidate, behaviors oldest first and without padding."""
    backbone, features, got = example(DIEN, auxiliary_units=(5, 4))
    item, history = flat(features.item), flat(features.history)
    final, total = np.zeros_like(item), np.zeros_like(history[:, 0])
    for r, real in enumerate(features.mask):
        behaviors = history[r][real][::-1]
        total[r] = behaviors.sum(0)
        interests = recurrent(behaviors, backbone.extractor.weights, np.ones(len(behaviors)))
        for n in range(item.shape[1] if real.any() else 0):
            weights = softmax(interests @ (item[r, n] @ backbone.query.kernel.numpy()))
            final[r, n] = recurrent(interests, backbone.evolution.weights, weights)[-1]
    x = every_candidate(concat_request(features, total), np.concatenate([item, item * total[:, None], final, features.other], -1))
    np.testing.assert_allclose(got, head(x, backbone.head), rtol=1e-4, atol=1e-4)


def two_requests():
    """Three behaviors, and one: what the first has for negatives is known, and the second has no step."""
    features = random_features(np.random.default_rng(0), requests=2)
    return features._replace(mask=np.arange(6) < np.array([[3], [1]]))


def auxiliary_loss(backbone, features):
    backbone(features, training=True)
    (loss,) = backbone.losses
    return loss


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_the_auxiliary_loss_by_hand(weight):
    features = two_requests()
    backbone = built(DIEN, {**SMALL, "auxiliary_weight": weight}, features)
    for variable in backbone.trainable_weights:
        variable.assign(0.5 * np.random.default_rng(1).normal(size=variable.shape))
    newest, middle, oldest = flat(features.history)[0, :3]
    negative = flat(features.history)[1, 0]
    states = recurrent([oldest, middle], backbone.extractor.weights, [1, 1])

    def probability(state, behavior):
        layer, x = backbone.auxiliary, np.concatenate([state, behavior])
        return sigmoid(dense(sigmoid(dense(sigmoid(dense(x, layer.first)), layer.hidden.dense_layers[0])), layer.logits))[0]

    steps = [-np.log(probability(h, e)) - np.log(1 - probability(h, negative)) for h, e in zip(states, (middle, newest), strict=True)]
    assert float(auxiliary_loss(backbone, features)) == pytest.approx(weight * np.mean(steps), rel=1e-5)


def test_a_step_whose_negative_is_its_positive_does_not_count():
    features = two_requests()
    backbone = built(DIEN, SMALL, features)
    history = features.history.copy()
    history[1, 0] = history[0, 0]  # what follows the middle behavior
    assert float(auxiliary_loss(backbone, features._replace(history=history))) > 0
    history[1, 0] = history[0, 1] = history[0, 0]
    assert float(auxiliary_loss(backbone, features._replace(history=history))) == 0


def test_padding_does_not_move_the_auxiliary_loss():
    features = two_requests()
    backbone = built(DIEN, SMALL, features)
    noise = np.where(features.mask[..., None, None], features.history, 7.0).astype("float32")
    assert float(auxiliary_loss(backbone, features)) == float(auxiliary_loss(backbone, features._replace(history=noise)))


def test_a_request_alone_has_no_negatives_and_no_loss():
    features = random_features(np.random.default_rng(0), requests=1)
    backbone = built(DIEN, SMALL, features)
    with tf.GradientTape() as tape:
        loss = auxiliary_loss(backbone, features)
    gradients = tape.gradient(loss, [weight.value for weight in backbone.trainable_weights], unconnected_gradients="zero")
    assert float(loss) == 0 and not any(np.asarray(gradient).any() for gradient in gradients)


def test_the_loss_is_for_training_alone_and_may_be_left_out():
    features = random_features(np.random.default_rng(0))
    backbone, without = built(DIEN, SMALL, features), built(DIEN, {**SMALL, "auxiliary_weight": 0.0}, features)
    backbone(features, training=True)
    backbone(features)
    without(features, training=True)
    assert not backbone.losses and not without.losses
    assert len(backbone.trainable_weights) - len(without.trainable_weights) == 6


def test_half_precision_hands_over_a_whole_loss_and_draws_from_a_state_that_is_saved():
    features = two_requests()
    whole, half = built(DIEN, SMALL, features), built(DIEN, SMALL, features, dtype="mixed_bfloat16")
    half.set_weights(whole.get_weights())
    losses = [auxiliary_loss(backbone, features) for backbone in (whole, half)]
    assert losses[1].dtype == tf.float32
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=0.02)
    assert any(variable is whole.seed_generator.state for variable in whole.variables)
