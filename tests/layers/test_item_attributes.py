import numpy as np
import pytest

from ppm_tf.layers.item_attributes import ItemAttributes

FIELDS = {"brand": np.array([[0], [1], [2], [3]]), "tags": np.array([[0, 0], [1, 0], [2, 3], [3, 0]])}
PRICE = np.array([np.nan, np.nan, np.e - 1, np.e**3 - 1])  # log1p: 1 and 3, mean 2, deviation 1


def loaded(**arguments):
    layer = ItemAttributes(4, {"brand": 1, "tags": 2}, num_numbers=1, **arguments)
    layer.load_catalog(FIELDS, [PRICE])
    return layer


def test_fields_by_row():
    found = loaded()(np.array([[3, 0], [2, 1]]))
    assert found["brand"].numpy().tolist() == [[[3], [0]], [[2], [1]]]
    assert found["tags"].numpy().tolist() == [[[3, 0], [0, 0]], [[2, 3], [1, 0]]]


def test_numbers_are_logarithms_on_a_common_scale_beside_a_flag():
    np.testing.assert_allclose(loaded().numbers(np.array([2, 3, 1])), [[-1, 0], [1, 0], [0, 1]], atol=1e-6)


def test_outliers_are_cut():
    layer = loaded()
    layer.load_catalog(FIELDS, [np.array([np.nan, np.nan, 1e30, -1e30])], keep_scale=True)
    assert layer.numbers(np.array([2, 3]))[:, 0].numpy().tolist() == [5, -5]


def test_no_numbers():
    layer = ItemAttributes(4, {"brand": 1})
    layer.load_catalog({"brand": FIELDS["brand"]})
    assert layer.numbers(np.array([[1, 2, 3]])).shape == (1, 3, 0)


def test_a_column_without_a_number_is_all_missing():
    layer = ItemAttributes(4, {}, num_numbers=1)
    layer.load_catalog({}, [np.full(4, np.nan)])
    assert layer.numbers(np.array([2])).numpy().tolist() == [[0, 1]]


def test_the_catalog_takes_no_gradient_and_only_the_scale_is_saved():
    layer = loaded()
    assert not layer.trainable_weights
    store = {}
    layer.save_own_variables(store)
    assert set(store) == {"mean", "scale"}
    other = ItemAttributes(4, {"brand": 1, "tags": 2}, num_numbers=1)
    other.load_own_variables(store)
    np.testing.assert_allclose(other.mean, [2.0], rtol=1e-6)
    assert len(layer.cached_variables) == 3


def test_a_field_of_another_shape_is_refused():
    layer = ItemAttributes(4, {"brand": 1, "tags": 2})
    with pytest.raises(ValueError, match=r"Item field tags must have shape \[4, 2\]. Received: \[4, 1\]"):
        layer.load_catalog({"brand": FIELDS["brand"], "tags": FIELDS["brand"]})
    with pytest.raises(ValueError, match=r"Item field tags must have shape \[4, 2\]. Received: None"):
        layer.load_catalog({"brand": FIELDS["brand"]})
    with pytest.raises(ValueError, match=r"numbers must have shape \[4, 0\]. Received: \[4, 1\]"):
        layer.load_catalog(FIELDS, [PRICE])
