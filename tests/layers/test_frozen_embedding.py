import keras
import numpy as np
import pytest

from ppm_tf.layers.frozen_embedding import FrozenEmbedding
from tests.battery import check_layer

ROWS = np.array([[0, 1, 2], [3, 4, 2]], "int32")


def loaded(**arguments):
    layer = FrozenEmbedding(num_rows=5, dim=2, **arguments)
    vectors = np.array([[9, 9], [9, 9], [1, 10], [3, 30], [9, 9]], "float32")
    layer.load_table(vectors, np.array([False, False, True, True, False]))
    return layer


def test_contract():
    check_layer(FrozenEmbedding, {"num_rows": 5, "dim": 3}, (ROWS,), (2, 3, 3), trainable_weights=1)


def test_vectors_are_centred_and_scaled_over_the_present_rows():
    # mean [2, 20], standard deviation [1, 10]
    assert loaded()(np.array([2, 3])).numpy().tolist() == [[-1, -1], [1, 1]]


def test_without_standardizing_the_vectors_stay_as_they_are():
    assert loaded(standardize=False)(np.array([2, 3])).numpy().tolist() == [[1, 10], [3, 30]]


def test_padding_is_zero_and_missing_items_share_the_learned_vector():
    layer = loaded()
    layer.missing.assign([5.0, 6.0])
    assert layer(np.array([0, 1, 4])).numpy().tolist() == [[0, 0], [5, 6], [5, 6]]


def test_a_constant_dimension_does_not_divide_by_zero():
    layer = FrozenEmbedding(num_rows=4, dim=1)
    layer.load_table(np.full((4, 1), 7.0), np.array([False, False, True, True]))
    assert layer(np.array([2, 3])).numpy().tolist() == [[0], [0]]


def test_a_longer_table_keeps_the_scale_it_was_trained_with():
    old, new = loaded(), FrozenEmbedding(num_rows=6, dim=2)
    new.mean.assign(old.mean)
    new.scale.assign(old.scale)
    new.load_table(np.array([[0, 0], [0, 0], [1, 10], [3, 30], [0, 0], [100, 0]], "float32"), np.array([0, 0, 1, 1, 0, 1], bool), keep_scale=True)
    np.testing.assert_array_equal(new(np.array([2, 3])), old(np.array([2, 3])))


def test_saved_weights_leave_the_table_out(tmp_path):
    model = keras.Sequential([loaded()])
    model(ROWS)
    model.layers[0].missing.assign([1.0, 2.0])
    model.save_weights(tmp_path / "a.weights.h5")
    other = FrozenEmbedding(num_rows=5, dim=2)
    again = keras.Sequential([other])
    again(ROWS)
    again.load_weights(tmp_path / "a.weights.h5")
    assert other.missing.numpy().tolist() == [1.0, 2.0]
    assert other.mean.numpy().tolist() == [2.0, 20.0]
    assert not other.table.numpy().any()


@pytest.mark.parametrize(
    ("vectors", "present", "message"),
    [
        (np.zeros((4, 2)), np.ones(4, bool), r"must have shape \[5, 2\]"),
        (np.full((5, 2), np.nan), np.ones(5, bool), "must be finite.*5 rows, the first is row 0"),
    ],
)
def test_a_wrong_table_is_refused(vectors, present, message):
    with pytest.raises(ValueError, match=message):
        FrozenEmbedding(num_rows=5, dim=2).load_table(vectors, present)


def test_eight_bits_a_number_stay_within_half_a_step_of_the_row():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(50, 16)) * rng.uniform(0.01, 100, size=(50, 1))).astype("float32")
    present = np.arange(50) >= 2
    layers = {dtype: FrozenEmbedding(50, 16, standardize=False, table_dtype=dtype) for dtype in ("int8", "float32")}
    for layer in layers.values():
        layer.load_table(vectors, present)
    rows = np.arange(2, 50)
    step = np.abs(vectors[2:]).max(axis=1, keepdims=True) / 127
    assert (np.abs(layers["int8"](rows).numpy() - layers["float32"](rows).numpy()) <= 0.5001 * step).all()
    assert layers["int8"].table.dtype == "int8" and len(layers["int8"].cached_variables) == 3


def test_a_row_of_zeros_in_eight_bits_is_zeros():
    layer = FrozenEmbedding(4, 2, standardize=False, table_dtype="int8")
    layer.load_table(np.zeros((4, 2)), np.array([False, False, True, True]))
    assert layer(np.array([2, 3])).numpy().tolist() == [[0, 0], [0, 0]]


def test_in_half_precision_large_means_do_not_round_the_vectors_away():
    """Values around 100 with a deviation of 1: a bfloat16 of 100 has steps of a half."""
    vectors = np.random.default_rng(0).normal(100.0, 1.0, (400, 8)).astype("float32")
    layers = [FrozenEmbedding(num_rows=400, dim=8, table_dtype="float32", dtype=policy) for policy in ("mixed_bfloat16", "float32")]
    for layer in layers:
        layer.load_table(vectors, np.arange(400) >= 2)
    half, whole = (np.asarray(keras.ops.cast(layer(np.arange(2, 400)), "float32")) for layer in layers)
    assert keras.backend.standardize_dtype(layers[0](np.arange(2, 4)).dtype) == "bfloat16"
    np.testing.assert_allclose(half, whole, atol=0.02)
    assert np.corrcoef(half.ravel(), whole.ravel())[0, 1] > 0.9999
