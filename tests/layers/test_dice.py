import numpy as np
import tensorflow as tf

from ppm_tf.layers.dice import Dice

rng = np.random.default_rng(0)
X = rng.normal(2.0, 3.0, size=(5, 4, 3)).astype("float32")
REAL = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]], bool)


def equation(x, mean, variance, alpha):
    p = 1 / (1 + np.exp(-(x - mean) / np.sqrt(variance + 1e-8)))
    return p * x + (1 - p) * alpha * x


def test_contract():
    """As `check_layer`, but for rows in training, which share the statistics of their batch."""
    layer = Dice(momentum=0.5)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(X, training=True))
    assert np.all(tape.gradient(total, layer.alpha.value).numpy() != 0) and len(layer.trainable_weights) == 1
    copy = Dice.from_config(layer.get_config())
    copy.build(X.shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(X), layer(X))
    np.testing.assert_allclose(np.asarray(layer(X[::-1].copy()))[::-1], layer(X), atol=1e-6)


def test_equals_the_equation():
    """DIN, eq. 9 and 10: with the statistics of the batch in training, with those that were kept else."""
    layer = Dice()
    layer.build(X.shape)
    alpha = np.array([0.5, -1.0, 0.0])
    layer.alpha.assign(alpha)
    np.testing.assert_allclose(layer(X), equation(X, 0.0, 1.0, alpha), rtol=1e-4, atol=1e-5)
    real = X[REAL].astype("float64")
    np.testing.assert_allclose(layer(X, REAL, training=True), equation(X, real.mean(0), real.var(0), alpha), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(X), equation(X, real.mean(0), real.var(0), alpha), rtol=1e-4, atol=1e-5)


def test_the_gradient_goes_through_the_statistics_of_the_batch():
    layer, x, real = Dice(), tf.constant(X), tf.boolean_mask(X, REAL)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, real])
        got = tf.reduce_sum(tf.square(layer(x, REAL, training=True)[REAL]))
        mean, variance = tf.nn.moments(real, 0)
        expected = tf.reduce_sum(tf.square(real * tf.sigmoid((real - mean) / tf.sqrt(variance))))
    np.testing.assert_allclose(tf.boolean_mask(tape.gradient(got, x), REAL), tape.gradient(expected, real), rtol=1e-3, atol=1e-4)


def test_the_gradient_is_that_of_the_equation_for_rows_that_count_and_for_others():
    """Written by hand in the layer; here TensorFlow's own, of the equation in float64."""
    layer, above = Dice(), rng.normal(size=X.shape)
    layer.build(X.shape)
    layer.alpha.assign([0.5, -1.0, 0.1])
    layer.mean.assign([1.0, -2.0, 0.5])
    x, x64, alpha = tf.constant(X), tf.constant(X, tf.float64), tf.constant([0.5, -1.0, 0.1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x, REAL, training=True) * tf.constant(above, tf.float32))
    got = tape.gradient(total, [x, layer.alpha.value])
    with tf.GradientTape() as tape:
        tape.watch([x64, alpha])
        mean, variance = tf.nn.moments(tf.boolean_mask(x64, REAL), 0)
        share = tf.sigmoid((x64 - mean) / tf.sqrt(variance + 1e-8))
        total = tf.reduce_sum((share * x64 + (1 - share) * alpha * x64) * above)
    for mine, theirs in zip(got, tape.gradient(total, [x64, alpha]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_padding_does_not_count():
    mine, theirs = Dice(), Dice()
    changed = np.where(REAL[..., None], X, 1e3).astype("float32")
    np.testing.assert_allclose(np.asarray(mine(X, REAL, training=True))[REAL], np.asarray(theirs(changed, REAL, training=True))[REAL], atol=1e-5)
    np.testing.assert_allclose(mine.variance, theirs.variance, rtol=1e-5)


def test_the_first_batches_count_alike_and_later_ones_by_the_momentum():
    layer = Dice(momentum=0.75)
    expected = []
    for n in range(1, 7):
        layer(np.full((2, 1), n, "float32"), training=True)
        expected.append(n if n == 1 else expected[-1] + max(0.25, 1 / n) * (n - expected[-1]))
        np.testing.assert_allclose(layer.mean, [expected[-1]], rtol=1e-6)
    assert expected[:4] == [1, 1.5, 2, 2.5] and expected[4] == 3.125


def test_a_batch_of_padding_moves_nothing():
    layer = Dice()
    layer(X, REAL, training=True)
    before = [np.array(weight) for weight in layer.weights]
    assert np.isfinite(np.asarray(layer(X, np.zeros_like(REAL), training=True))).all()
    for mine, theirs in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_statistics_are_float32():
    """A sum of ones in half precision stops at 256."""
    layer = Dice(dtype="mixed_bfloat16")
    assert layer(np.ones((10_000, 2), "float32"), training=True).dtype == "bfloat16"
    np.testing.assert_allclose(layer.mean, [1.0, 1.0], rtol=1e-5)
    assert all(weight.dtype == "float32" for weight in layer.weights)
