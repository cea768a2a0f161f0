from dataclasses import replace

import keras
import numpy as np
import pytest

from ppm_tf.config import load
from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.models.build import build_ppm, build_pretraining_model
from ppm_tf.models.ppm import PPM, recency
from ppm_tf.models.predict import Predictor
from tests.shards import SCHEMA

SMALL = ["ppm.num_heads=2", "ppm.mlp_units=[8]", "ppm.initializer_stddev=0.3", "ppm.dropout=0"]


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    present = np.array([0, 0, 1, 1, 0, 1, 1], bool)
    return {name: EmbeddingTable(name, rng.normal(size=(7, 4)).astype("float16"), present, "v1") for name in ("title", "image")}


@pytest.fixture
def model(tables):
    keras.utils.set_random_seed(0)
    return build_pretraining_model(load(SMALL), SCHEMA, tables)


def three(requests):
    """The requests with a third, padding candidate."""
    pad = {"item": 0, "slot": -1}
    return {name: np.pad(value, ((0, 0), (0, 1)), constant_values=pad[name]) if name in pad else value for name, value in requests.items()}


def test_logits_a_candidate(model, requests):
    assert model(three(requests)).shape == (2, 3, 1)


def test_nothing_of_the_model_knows_an_id(model, requests, tables):
    """Items with equal vectors score alike: row 6 is given the vectors of row 5."""
    for layer in model.ppm.tables.values():
        table = layer.table.numpy()
        table[6] = table[5]
        layer.table.assign(table)
    logits = model(requests).numpy()
    assert logits[0, 0] == logits[0, 1]


def test_padding_candidates_and_histories_change_nothing(model, requests):
    short = {**requests, "history": requests["history"][:, :3], "history_time": requests["history_time"][:, :3]}
    np.testing.assert_allclose(model(three(requests)).numpy()[:, :2], model(requests).numpy(), atol=1e-6)
    np.testing.assert_allclose(model(short), model(requests), atol=1e-6)


def test_the_user_and_the_time_matter(model, requests):
    before = model(requests).numpy()
    other = {**requests, "history": np.array([[6, 3, 2, 0], [0, 0, 0, 0]], "int32")}
    later = {**requests, "time": requests["time"] + 10**6}
    assert np.abs(model(other).numpy() - before)[0].max() > 1e-4
    assert np.abs(model(later).numpy() - before)[0].max() > 1e-4
    np.testing.assert_allclose(model(later).numpy()[1], before[1], atol=1e-7)  # nothing behind it to be recent


def test_a_display_slot_is_used_when_asked_for(tables, requests):
    plain, slotted = (build_pretraining_model(load([*SMALL, f"ppm.slots={slots}"]), SCHEMA, tables) for slots in (0, 2))
    moved = {**requests, "slot": requests["slot"][:, ::-1].copy()}
    np.testing.assert_array_equal(plain(requests), plain(moved))
    assert np.abs(slotted(requests).numpy() - slotted(moved).numpy()).max() > 1e-4


def test_recency_by_hand(requests):
    assert np.asarray(recency(requests)).tolist() == [[10, 40, 90, -1], [-1, -1, -1, -1]]
    assert recency({"history": requests["history"]}) is None


def test_weights_reload_equal(model, tables, requests, tmp_path):
    model.save_weights(tmp_path / "ppm.weights.h5")
    other = build_pretraining_model(load(SMALL), SCHEMA, tables)
    assert np.abs(other(requests).numpy() - model(requests).numpy()).max() > 1e-4
    other.load_weights(tmp_path / "ppm.weights.h5")
    np.testing.assert_array_equal(other(requests), model(requests))


def test_predictor_gives_probabilities_of_every_batch_with_one_trace(model, requests):
    import tensorflow as tf

    repeated = {name: np.concatenate([value] * 3) for name, value in requests.items()}
    dataset = tf.data.Dataset.from_tensor_slices(repeated).batch(4)
    predictor = Predictor(model, dataset)
    expected = 1 / (1 + np.exp(-model(repeated).numpy()))
    for _ in range(2):
        np.testing.assert_allclose(np.concatenate([scores for _, scores in predictor]), expected, atol=1e-6)
    assert predictor._probabilities.experimental_get_tracing_count() == 1


def test_the_learned_missing_vector_moves(model, requests):
    """An item without text or image (row 4) stands for itself through a vector that is trained."""
    before = model({**requests, "item": np.array([[4, 5], [4, 5]], "int32")}).numpy()
    model.ppm.tables["title"].missing.assign(np.ones(4))
    after = model({**requests, "item": np.array([[4, 5], [4, 5]], "int32")}).numpy()
    assert np.abs(after - before)[1, 0] > 1e-4
    np.testing.assert_allclose(after[1, 1], before[1, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["ppm.tables=[title,image]"], "names image, and the run has title"),
        (["ppm.tables=[title]", "ppm.num_heads=3"], "num_heads must divide width. Received: num_heads: 3, width: 64"),
        (["ppm.tables=[title]", "ppm.width=null", "ppm.num_heads=3"], "ppm.num_heads=3, width 4"),
    ],
)
def test_settings_that_do_not_fit_are_named(tables, settings, message):
    with pytest.raises(ValueError, match=message):
        build_ppm(load(settings), SCHEMA, {"title": tables["title"]})


def test_slots_without_slots_in_the_data(tables):
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"ppm\.slots=4, and data\.log\.slot is not set"):
        build_ppm(load(["ppm.slots=4"]), replace(SCHEMA, has_slot=False), tables)


def test_a_ppm_without_tables_is_refused():
    with pytest.raises(ValueError, match="at least one item table"):
        PPM({}, None)


def test_a_table_without_a_vector_is_no_input(tables):
    nothing = {name: replace(table, present=np.zeros_like(table.present)) for name, table in tables.items()}
    with pytest.raises(ValueError, match="A table of ppm.tables must hold a vector of some item. Received: none in title, image"):
        build_ppm(load(SMALL), SCHEMA, nothing)
