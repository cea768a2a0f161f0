import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.layers.attention_pooling import AttentionPooling
from tests.battery import check_layer
from tests.layers.reference import softmax

rng = np.random.default_rng(0)
QUERIES = rng.normal(size=(3, 2, 4)).astype("float32")
KEYS = rng.normal(size=(3, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)


@pytest.mark.parametrize(("units", "weights"), [((6,), 6), ((6, 3), 8)])
def test_contract(units, weights):
    check_layer(AttentionPooling, {"units": units}, (QUERIES, KEYS, MASK), (3, 2, 4), weights)


@pytest.mark.parametrize("normalize", [False, True])
def test_equals_the_equation(normalize):
    """DIN, section 4.3: an MLP over [q, k, q * k, q - k] scores each pair; written with one kernel of four blocks."""
    layer = AttentionPooling(units=(6,), normalize=normalize)
    got = layer(QUERIES, KEYS, MASK).numpy()
    query, key, product = layer.query_layer.kernel.numpy(), layer.key_layer.kernel.numpy(), layer.product_kernel.numpy()
    difference = rng.normal(size=query.shape)  # any split of query = Wq + Wd, key = Wk - Wd says the same
    kernel = np.concatenate([query - difference, key + difference, product, difference])
    expected = np.zeros_like(got)
    for r in range(3):
        for n in range(2):
            pairs = np.stack([np.concatenate([q, k, q * k, q - k]) for q, k in ((QUERIES[r, n], KEYS[r, t]) for t in range(5))])
            hidden = 1 / (1 + np.exp(-(pairs @ kernel + layer.query_layer.bias.numpy())))
            scores = (hidden @ layer.score.kernel.numpy())[:, 0]  # its bias is still 0, and a softmax has none
            if normalize and MASK[r].any():
                scores = softmax(np.where(MASK[r], scores / 2, -1e9))  # sqrt(D) = 2
            expected[r, n] = np.where(MASK[r], scores, 0) @ KEYS[r]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("length", [5, 40])
def test_both_ways_through_the_first_layer_give_the_same(length):
    """A product a pair for short histories, a kernel a candidate for long ones: values and gradients."""
    rng = np.random.default_rng(length)
    keys, mask = rng.normal(size=(3, length, 4)).astype("float32"), rng.random((3, length)) < 0.8
    layer = AttentionPooling(units=(6, 3), activation="dice")
    layer.build(QUERIES.shape, keys.shape)

    def found(keys_shape_known):
        given = tf.constant(keys)

        @tf.function(input_signature=[tf.TensorSpec([3, length if keys_shape_known else None, 4])])
        def both(keys):
            with tf.GradientTape() as tape:
                tape.watch(keys)
                pooled = layer(QUERIES, keys, mask)
            return [pooled, *tape.gradient(pooled, [keys, layer.product_kernel.value, layer.key_layer.kernel.value, layer.query_layer.kernel.value])]

        products = [op for op in both.get_concrete_function().graph.get_operations() if op.type == "BatchMatMulV2"]
        return both(given), len(products)

    (by_length, own), (by_pair, pairs) = found(True), found(False)
    assert (own > pairs) == (length == 40)  # 40 (2 * 4 + 6) > 3 * 4 * 6: a kernel a candidate
    for mine, theirs in zip(by_length, by_pair, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_an_empty_history_gives_zeros():
    assert not AttentionPooling()(QUERIES, KEYS, MASK).numpy()[1].any()


def test_wrong_widths_are_refused():
    with pytest.raises(ValueError, match="one width. Received: 4 and 3"):
        AttentionPooling()(QUERIES, KEYS[..., :3], MASK)


def test_dice_takes_its_statistics_over_real_pairs():
    """Neither padding behaviors nor padding candidates count in them, and a kept score is that of the kept statistics."""
    layer, candidates = AttentionPooling(units=(6, 3), activation="dice"), np.array([[True, False]] * 3)
    changed = np.where(candidates[..., None], QUERIES, 50.0).astype("float32"), np.where(MASK[..., None], KEYS, 50.0).astype("float32")
    trained = np.asarray(layer(QUERIES, KEYS, MASK, candidates, training=True))[:, 0]
    assert len(layer.trainable_weights) == 8 + 2
    other = AttentionPooling.from_config(layer.get_config())
    other.build(QUERIES.shape, KEYS.shape)
    other.set_weights(
        [
            weight if "dice" not in variable.path else start
            for weight, variable, start in zip(layer.get_weights(), layer.weights, other.get_weights(), strict=True)
        ]
    )
    np.testing.assert_allclose(np.asarray(other(*changed, MASK, candidates, training=True))[:, 0], trained, atol=1e-4)
    for mine, theirs in zip(layer.non_trainable_weights, other.non_trainable_weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    kept = np.asarray(layer(QUERIES, KEYS, MASK))
    np.testing.assert_allclose(kept[:1], layer(QUERIES[:1], KEYS[:1], MASK[:1]), atol=1e-6)
