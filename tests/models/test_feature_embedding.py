import keras
import numpy as np
import pytest

from tests.models.tiny_ranking import DIN, SCHEMA, Catalog, batch, model


@pytest.fixture(scope="module")
def embedding():
    keras.utils.set_random_seed(0)
    return model(*DIN, "model.ppm=none", "model.tables=[title]").embedding


@pytest.fixture(scope="module")
def features(embedding):
    return embedding(batch())


def table(embedding, name):
    return np.array(embedding.embeddings[name].table)


def test_the_shapes_are_those_that_a_backbone_is_built_with(embedding, features):
    shapes = embedding.shapes(4, 3)
    for name, value in features._asdict().items():
        assert tuple(value.shape)[1:] == getattr(shapes, name)[1:], name


def test_an_item_is_its_id_its_fields_and_its_tables(embedding, features):
    """Candidate 0 of the first request is row 5: item 40, without an id of its own, brand 3, tags 3 and 4."""
    from ppm_tf.data.id_vocabulary import mixed

    hashed = 1 + int(mixed(np.array([40]))[0] % 2)
    tags = table(embedding, "item.tags")
    expected = [table(embedding, "item.item_id")[hashed], table(embedding, "item.brand")[3], (tags[3] + tags[4]) / 2]
    np.testing.assert_allclose(features.item[0, 0, :3], expected, rtol=1e-5)
    kernel, bias = embedding.projections["title"].get_weights()
    np.testing.assert_allclose(features.item[0, 0, 3], np.asarray(embedding.frozen["title"](np.array([5])))[0] @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_a_field_of_a_table_starts_at_the_scale_of_the_ids_beside_it():
    """The cached vectors have unit variance in each dimension; Glorot's weights would make the field many times as large as the ids'."""
    keras.utils.set_random_seed(0)
    wide = model(*DIN, "model.ppm=none", "model.tables=[title]", "model.initializer_stddev=0.03", "model.dim=256").embedding
    frozen, field = wide.frozen["title"], wide.projections["title"]
    vectors = np.random.default_rng(0).normal(size=(500, frozen.dim)).astype("float32")
    assert np.asarray(field(vectors)).std() == pytest.approx(0.03, rel=0.1)
    assert table(wide, "item.item_id").std() == pytest.approx(0.03, rel=0.1)


def test_ids_with_rows_of_their_own(embedding, features):
    """Row 2 is item 10, the first id behind padding and two unknown rows; user 7 likewise."""
    np.testing.assert_array_equal(features.history[0, 0, 0], table(embedding, "item.item_id")[3])
    np.testing.assert_array_equal(features.user[0], [table(embedding, "user.gender")[2], table(embedding, "user.user_id")[3]])


def test_history_and_candidates_share_their_tables(features):
    np.testing.assert_array_equal(features.history[0, 2], features.item[0, 2])  # row 4 in both


def test_padding_is_zero(features):
    assert not np.asarray(features.item)[1, 2].any() and not np.asarray(features.history)[2].any()
    assert np.asarray(features.mask).tolist() == [[True] * 4, [True, True, False, False], [False] * 4]


def test_recency_counts_back_from_the_request(features):
    assert np.asarray(features.recency).tolist() == [[10, 50, 80, 90], [120, 190, -1, -1], [-1] * 4]


def test_numbers_are_other_features(features):
    other = np.asarray(features.other)
    assert other.shape == (3, 3, 2)
    assert other[0, 0].tolist() == [0, 1]  # row 5 has no price


def test_first_order_sums_the_weights_of_all_fields():
    wide = model("model.backbone={name: wide_deep, mlp_units: [4]}", "model.ppm=none").embedding
    one = {name: np.array(layer.table)[:, 0] for name, layer in wide.linear.items()}
    tags = one["item.tags"]
    expected = (
        one["item.item_id"][3]
        + one["item.brand"][2]
        + (tags[2] + tags[3]) / 2
        + one["user.user_id"][4]
        + one["user.gender"][0] * 0
        + one["context.device"][3]
    )
    np.testing.assert_allclose(wide(batch()).first_order[2, 2, 0], expected, rtol=1e-4)


def test_without_any_field_it_is_refused():
    from dataclasses import replace

    bare = replace(SCHEMA, fields=tuple(field for field in SCHEMA.fields if field.side != "item"))
    from ppm_tf.models.vocabularies import Vocabularies

    with pytest.raises(ValueError, match="at least one item field. Received: model.item_id=false"):
        model(*DIN, "model.ppm=none", schema=bare, catalog=Catalog(), ids=Vocabularies(None, None))


@pytest.mark.parametrize("backbone", [DIN, ["model.backbone={name: deepfm, mlp_units: [8]}"]])
def test_a_value_that_training_never_met_is_the_mean_of_those_it_met(backbone):
    """A new brand of the next day, or one whose items no request showed: not the random vector that its row began with."""
    embedding = model(*backbone, "model.ppm=none").embedding
    before = embedding.initial_values()
    brand, tags = embedding.embeddings["item.brand"].table, embedding.embeddings["item.tags"].table
    trained = np.array(tags)
    trained[[1, 2, 4]] += 1.0  # unknown, and two of three values
    tags.assign(trained)
    ids = embedding.embeddings["item.item_id"].table
    own = np.array(ids)
    own[[2, 3, 4]] += 1.0  # one of two hashed rows (1, 2) and both ids with rows of their own (3, 4)
    ids.assign(own)
    settled = embedding.settle_strangers(before)
    expected = trained.copy()
    expected[3] = trained[[2, 4]].mean(axis=0)
    np.testing.assert_allclose(np.array(tags), expected, atol=1e-7)
    np.testing.assert_array_equal(np.array(brand), before["item.brand"])  # nothing of it was learnt
    expected = own.copy()
    expected[1] = own[2:].mean(axis=0)
    np.testing.assert_allclose(np.array(ids), expected, atol=1e-7)
    users = embedding.embeddings["user.user_id"].table
    np.testing.assert_allclose(
        np.array(users)[1:3], np.tile(np.array(users)[3:].mean(axis=0), (2, 1)), atol=1e-7
    )  # a row of one's own is for an id that was met
    rows = {name: rows.tolist() for name, rows in settled.items() if not name.endswith(".linear")}
    assert rows == {"item.tags": [3], "item.item_id": [1], "user.user_id": [1, 2]}


def test_tables_are_projected_once_for_each_different_item_and_histograms_enter():
    keras.utils.set_random_seed(0)
    both = model(*DIN, "model.ppm=none", "model.tables=[title,image]", "model.fusion=mlp", "model.similarity_bins=4").embedding
    seen, call = [], both.projections["title"].call
    both.projections["title"].call = lambda vectors, training=False: (seen.append(tuple(vectors.shape)), call(vectors, training=training))[1]
    requests = batch()
    found = both(requests)
    rows = np.concatenate([requests["history"].ravel(), requests["item"].ravel()])
    assert seen == [(len(np.unique(rows)), both.frozen["title"].dim)]
    for group, values in ((requests["history"], found.history), (requests["item"], found.item)):
        projected = np.asarray(both.projections["title"](both.frozen["title"](group))) * (np.asarray(group) != 0)[..., None]
        np.testing.assert_allclose(values[:, :, -2], projected, atol=1e-5)
    histograms = np.asarray(found.other)[..., -8:].reshape(*requests["item"].shape, 2, 4)
    np.testing.assert_allclose(histograms.sum(-1)[:2], 1.0, atol=1e-5)  # of the first two requests, whose histories are not empty
    assert not histograms[2].any()
    trained = [np.asarray(both(requests, training=True).item)[..., -2:, :] for _ in range(2)]
    assert not np.array_equal(*trained)  # dropout


def test_a_trainable_table_enters_as_tables_do_and_has_the_rows_of_item_ids():
    """CELA's Scaled: row 5 is item 40, whose id shares a hashed row; row 2 is item 10, in row 3."""
    from ppm_tf.training.trainer import id_tables

    keras.utils.set_random_seed(0)
    scaled = model(*DIN, "model.ppm=none", "model.trainable_width=6")
    embedding, requests = scaled.embedding, batch()
    found, wide = embedding(requests), embedding.frozen["trainable"]
    assert wide.table.shape == (5, 6) and any(table is wide.table for table in id_tables(scaled))
    kernel, bias = embedding.projections["trainable"].get_weights()
    np.testing.assert_allclose(found.history[0, 0, -1], np.array(wide.table)[3] @ kernel + bias, rtol=1e-5)
    assert not np.asarray(found.item)[1, 2].any()  # padding
    assert embedding.id_vectors(np.array([2])).shape == (1, 3 * 4)  # nothing of it
    before = embedding.initial_values()
    learnt = np.array(wide.table)
    learnt[2:] += 1.0
    wide.table.assign(learnt)
    embedding.settle_strangers(before)
    np.testing.assert_allclose(np.array(wide.table)[1], learnt[2:].mean(axis=0), rtol=1e-6)
    trained = np.asarray(embedding(requests).item)
    embedding.fold_tables()
    np.testing.assert_allclose(embedding(requests).item, trained, atol=1e-6)


def test_a_trainable_table_needs_item_ids():
    with pytest.raises(ValueError, match="trainable_width needs item_id: true"):
        model(*DIN, "model.ppm=none", "model.trainable_width=6", "model.item_id=false")
