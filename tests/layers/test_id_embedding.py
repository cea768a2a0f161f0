import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.layers.id_embedding import IdEmbedding
from tests.battery import check_layer

ROWS = np.array([[0, 1, 2], [3, 4, 2]], "int32")


def loaded(table=((9, 9), (1, 2), (3, 4), (5, 8)), **arguments):
    layer = IdEmbedding(len(table), len(table[0]), **arguments)
    layer.table.assign(np.array(table, "float32"))
    return layer


def test_contract():
    check_layer(IdEmbedding, {"num_rows": 5, "dim": 3}, (ROWS,), (2, 3, 3), trainable_weights=1)


def test_rows_are_looked_up_and_padding_is_zero():
    assert loaded()(np.array([[3, 0], [1, 1]])).numpy().tolist() == [[[5, 8], [0, 0]], [[1, 2], [1, 2]]]
    assert loaded()(np.array(2, "int64")).numpy().tolist() == [3, 4]


def test_pooling_takes_the_mean_of_the_rows_that_are_there():
    rows = np.array([[[1, 2, 3], [0, 3, 0]], [[0, 0, 0], [2, 2, 1]]])
    np.testing.assert_allclose(loaded().pooled(rows), [[[3, 14 / 3], [5, 8]], [[0, 0], [7 / 3, 10 / 3]]], rtol=1e-6)


def test_pooling_is_done_before_the_cast():
    layer = loaded([[0], [256], [1], [2]], dtype="mixed_bfloat16")
    pooled = layer.pooled(np.array([[1, 2, 2, 3]]))
    assert pooled.dtype == layer(np.array([1])).dtype == tf.bfloat16
    assert float(pooled[0, 0]) == 65.0  # in bfloat16 256 + 1 is 256


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_gradient_holds_the_rows_of_the_batch_only_and_nothing_for_padding(policy):
    layer = loaded(dtype=policy)

    @tf.function
    def gradient(rows):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(rows), tf.float32)) + tf.reduce_sum(tf.cast(layer.pooled(rows), tf.float32))
        return tape.gradient(loss, layer.table.value)

    found = gradient(tf.constant([[0, 2], [3, 2]]))
    assert isinstance(found, tf.IndexedSlices)
    assert found.values.shape[0] == 8  # 4 looked up twice
    dense = tf.convert_to_tensor(found).numpy()
    # Row 2: twice on its own, once alone in a mean, once half of a mean.
    np.testing.assert_array_equal(dense, [[0, 0], [0, 0], [3.5, 3.5], [1.5, 1.5]])


def test_nothing_reads_the_table_as_a_whole():
    layer = loaded()
    graph = tf.function(lambda rows: layer(rows) + layer.pooled(rows[..., None])).get_concrete_function(tf.TensorSpec([None], tf.int32)).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "ResourceGather" in kinds
    assert "ReadVariableOp" not in kinds


def test_weights_are_saved_and_loaded(tmp_path):
    model, again = keras.Sequential([IdEmbedding(5, 3)]), keras.Sequential([IdEmbedding(5, 3)])
    one, other = model(ROWS), again(ROWS)
    assert not np.array_equal(one, other)
    model.save_weights(tmp_path / "a.weights.h5")
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(again(ROWS), one)


def test_initial_values_have_the_asked_deviation():
    assert np.std(IdEmbedding(4000, 8, initializer_stddev=0.05).table) == pytest.approx(0.05, rel=0.02)
