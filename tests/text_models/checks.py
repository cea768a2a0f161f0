"""What every text model must do, whichever it is."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ppm_tf.losses import multi_task_cross_entropy
from tests.text_models.tiny_text import batch


def logits_of(model, batch, training=False):
    return np.asarray(model({name: tf.constant(value) for name, value in batch.items()}, training=training))


def check_contract(model):
    """Logits `[R, N, K]`, in which neither padding nor other candidates nor other requests have a say."""
    one = batch()
    logits = logits_of(model, one)
    assert logits.shape == (2, 3, 2) and logits.dtype == np.float32
    real = one["item"] != 0
    assert np.all(logits[~real] == 0)
    assert np.ptp(logits[real], axis=0).min() > 1e-3, "all candidates score alike"
    padded = {**one, "history": np.pad(one["history"], ((0, 0), (0, 2))), "item": np.pad(one["item"], ((0, 0), (0, 1)))}
    np.testing.assert_allclose(logits_of(model, padded)[:, :3], logits, atol=1e-5)
    order = [2, 0, 1]
    np.testing.assert_allclose(logits_of(model, {**one, "item": one["item"][:, order]}), logits[:, order], atol=1e-5)
    for request in range(2):
        for place in np.flatnonzero(real[request]):
            alone = {name: value[request : request + 1] for name, value in one.items()}
            alone["item"] = alone["item"][:, place : place + 1]
            np.testing.assert_allclose(logits_of(model, alone)[0, 0], logits[request, place], atol=1e-5)
    for name, other in (("user", [[3], [0]]), ("context", [[2], [1]]), ("history", [[3, 0, 0, 0], [0, 0, 0, 0]])):
        moved = np.abs(logits_of(model, {**one, name: np.array(other, "int32")}) - logits)
        assert moved[0].max() > 1e-4 and moved[1].max() == 0, f"{name} does not move the score of its request alone"


def check_training(model, rate=1e-2, steps=40):
    """Every weight that trains gets a gradient, and a toy that the candidates' fields tell apart is learnt."""
    rng = np.random.default_rng(0)
    toy = {
        "history": rng.integers(0, 7, (16, 4)),
        "item": rng.choice([2, 3, 4, 6], (16, 3)),
        "user": rng.integers(2, 4, (16, 1)),
        "context": rng.integers(2, 4, (16, 1)),
    }
    toy = {name: tf.constant(value, tf.int32) for name, value in toy.items()}
    labels = tf.cast(tf.stack([toy["item"] == 2, toy["item"] == 3], -1), tf.float32)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = multi_task_cross_entropy(labels, model(toy, training=True), (1.0, 1.0))
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
        missing = [weight.path for weight, gradient in zip(model.trainable_variables, gradients, strict=True) if gradient is None]
        assert not missing, f"no gradient reaches {missing}"
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        return loss, [tf.reduce_max(tf.abs(gradient)) for gradient in gradients]

    first, sizes = step()
    for weight, size in zip(model.trainable_variables, sizes, strict=True):
        if "/key/bias" not in weight.path:  # it moves all scores of a query alike, which softmax does not see
            assert float(size) > 0, f"the gradient of {weight.path} is zero"
    for _ in range(steps):
        last, _ = step()
    scored = multi_task_cross_entropy(labels, model(toy, training=False), (1.0, 1.0))
    assert float(last) < 0.5 * float(first) and float(scored) < 0.5 * float(first), (float(first), float(last), float(scored))


def check_reload(model, make, folder):
    """Weights that were saved are the model, in a fresh one too."""
    model.save_weights(folder / "one.weights.h5")
    fresh = make()
    before = logits_of(model, batch())
    assert np.abs(logits_of(fresh, batch()) - before).max() > 1e-3
    fresh.load_weights(folder / "one.weights.h5")
    np.testing.assert_allclose(logits_of(fresh, batch()), before, atol=1e-6)
