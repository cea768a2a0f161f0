import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.encoders.image import ImageEncoder
from ppm_tf.objectives.entity_prediction import EntityPrediction, entity_cross_entropy, top_k_hits

RNG = np.random.default_rng(0)


def squares(count, seed=0):
    """Red ones are class 0, blue ones class 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    pixels = rng.integers(0, 60, (count, 8, 8, 3))
    pixels[np.arange(count), :, :, 2 * labels] += 150
    return {"pixels": pixels.astype("uint8"), "labels": labels[:, None].astype("int32"), "row": np.arange(2, count + 2, dtype="int32")}


def objective(num_classes=2, label_smoothing=0.1):
    keras.utils.set_random_seed(1)
    encoder = ImageEncoder(keras_nlp.models.ResNetBackbone([8], [3], [64], [1], [1], "basic_block_vd"), size=8, dim=4)
    return EntityPrediction(encoder, num_classes, label_smoothing)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_cross_entropy_by_hand():
    """Three classes, P = (1/2, 1/3, 1/6): -log P of the second is log 3; smoothing by 0.3 moves 0.1 to each class."""
    logits = np.log([[3.0, 2.0, 1.0]])
    assert float(entity_cross_entropy(np.array([[1]]), logits)) == pytest.approx(np.log(3))
    assert float(entity_cross_entropy(np.array([[1]]), logits, 0.3)) == pytest.approx(0.1 * np.log(2) + 0.8 * np.log(3) + 0.1 * np.log(6))
    assert float(entity_cross_entropy(np.array([[1, 2]]), logits)) == pytest.approx(
        0.5 * np.log(3) + 0.5 * np.log(6)
    )  # two entities share the target


def test_cross_entropy_is_that_of_equation_2():
    logits, labels = RNG.normal(size=(5, 7)), np.array([[0, -1], [6, 2], [-1, 3], [3, 4], [5, -1]], "int32")
    target = np.zeros((5, 7))
    for item, found in enumerate(labels):
        for label in found[found >= 0]:
            target[item, label] = 1 / np.sum(found >= 0)
    expected = -np.mean(np.sum((0.9 * target + 0.1 / 7) * np.log(softmax(logits)), axis=1))
    np.testing.assert_allclose(float(entity_cross_entropy(labels, logits, 0.1)), expected, rtol=1e-6)
    keras_says = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)(target, logits)
    np.testing.assert_allclose(float(keras_says), expected, rtol=1e-6)


def test_cross_entropy_is_finite_for_any_logits():
    assert np.isfinite(float(entity_cross_entropy(np.array([[0]]), np.array([[-1e9, 1e9]]))))


def test_top_k_by_hand():
    scores = np.array([[0.1, 0.4, 0.3, 0.2], [0.1, 0.4, 0.3, 0.2], [0.0, 0.0, 0.0, 0.0]])
    hits = top_k_hits(np.array([[3, -1], [3, 2], [2, -1]]), scores, ks=(1, 2, 3, 4))
    assert hits.tolist() == [[False, False, True, True], [False, True, True, True], [False, False, True, True]]


def test_top_k_against_sklearn():
    from sklearn.metrics import top_k_accuracy_score

    scores, labels = RNG.normal(size=(200, 9)), RNG.integers(0, 9, 200)
    found = top_k_hits(labels[:, None], scores).mean(0)
    assert found.tolist() == [top_k_accuracy_score(labels, scores, k=k, labels=np.arange(9)) for k in (1, 5)]


def test_an_item_without_a_class_is_never_hit():
    assert not top_k_hits(np.array([[-1, -1]]), np.zeros((1, 3)), ks=(1, 5)).any()


def test_logits_are_a_linear_map_of_the_encoders_vector():
    model, batch = objective(num_classes=3), squares(4)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(model(batch), model.encoder(batch["pixels"]) @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(float(model.loss_of(batch, model(batch))), float(entity_cross_entropy(batch["labels"], model(batch), 0.1)))
    assert int(model.weight(batch)) == 4
    assert model.identify(batch, model(batch)).tolist() == [2, 3, 4, 5]


def test_every_trainable_weight_gets_a_gradient_and_the_loss_falls():
    """Red and blue squares are told apart within some steps, also those that were not trained on."""
    model, batch, others = objective(), squares(32), squares(32, seed=1)
    hits, before = model.judge([others])
    optimizer = keras.optimizers.Adam(1e-2)
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = model.loss_of(batch, model(batch, training=True))
        gradients = tape.gradient(loss, variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradients

    losses = []
    for number in range(60):
        loss, gradients = step()
        losses.append(float(loss))
        if number == 0:
            for variable, gradient in zip(variables, gradients, strict=True):
                assert gradient is not None and np.any(gradient.numpy()), f"{variable.name} gets no gradient"
    entropy = -(0.95 * np.log(0.95) + 0.05 * np.log(0.05))  # no loss is lower with a smoothing of 0.1 over two classes
    assert entropy < losses[-1] < entropy + 0.02 < losses[0]
    hits, after = model.judge([others])
    assert hits[:, 0].all() and after < before


def test_judging_is_the_mean_over_images_not_batches():
    model = objective()
    whole = squares(10)
    parts = [{name: values[start:stop] for name, values in whole.items()} for start, stop in ((0, 7), (7, 10))]
    (hits, loss), (hits_in_parts, loss_in_parts) = model.judge([whole]), model.judge(parts)
    np.testing.assert_array_equal(hits, hits_in_parts)
    assert loss == pytest.approx(loss_in_parts)
