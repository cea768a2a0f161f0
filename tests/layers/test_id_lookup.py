import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.data.id_vocabulary import IdVocabulary
from ppm_tf.layers.id_lookup import IdLookup
from tests.data.test_id_vocabulary import random_ids


def loaded(ids, unknown_rows):
    layer = IdLookup(len(ids), unknown_rows)
    layer.load_ids(ids)
    return layer


@pytest.mark.parametrize(("known", "unknown_rows"), [(0, 1), (1, 1), (1000, 16), (2005, 7)])
def test_the_graph_finds_the_rows_that_numpy_finds(known, unknown_rows):
    ids = random_ids()
    vocabulary = IdVocabulary(ids[:known], unknown_rows)
    layer = loaded(vocabulary.ids, unknown_rows)
    asked = ids.reshape(5, 401)
    for look_up in (layer, tf.function(layer)):
        rows = look_up(tf.constant(asked))
        assert rows.dtype == tf.int32
        np.testing.assert_array_equal(rows, vocabulary.rows_of(asked))


def test_ids_are_saved_with_the_weights(tmp_path):
    model = keras.Sequential([loaded([70, 50, 60], 2)])
    model(np.array([50]))
    model.save_weights(tmp_path / "a.weights.h5")
    again = keras.Sequential([IdLookup(3, 2)])
    again(np.array([50]))
    again.load_weights(tmp_path / "a.weights.h5")
    assert again(np.array([70, 50, 60])).numpy().tolist() == [3, 4, 5]
    assert not again.trainable_variables


def test_a_layer_from_the_config_is_the_same():
    layer = IdLookup(3, 2, name="users")
    assert IdLookup.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("ids", [[1, 2], [1, 2, 2]])
def test_other_ids_than_promised_are_refused(ids):
    with pytest.raises(ValueError, match=r"There must be 3 different ids. Received: 2 in an array of shape"):
        IdLookup(3, 1).load_ids(ids)
