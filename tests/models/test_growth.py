from dataclasses import replace

import keras
import numpy as np
import pytest

from ppm_tf.data.schema import Field
from ppm_tf.models.growth import carry_over
from tests.models.tiny_ranking import DIN, SCHEMA, URM, Catalog, batch, model, vocabularies

# A later day: a new brand that sorts first, and new ids behind the old ones.
LATER = replace(SCHEMA, fields=(Field("brand", "item", ("aaa", "acme", "bolt")), *SCHEMA.fields[1:]))


class LaterCatalog(Catalog):
    def __init__(self):
        super().__init__()
        brand = self.fields["brand"]
        self.fields["brand"] = np.where(brand >= 2, brand + 1, brand)


def pair(backbone, ppm="random"):
    keras.utils.set_random_seed(0)
    old = model(*backbone, f"model.ppm={ppm}")
    keras.utils.set_random_seed(1)
    later = vocabularies(items=(10, 30, 50), users=(7, 8, 9))
    return old, model(*backbone, f"model.ppm={ppm}", schema=LATER, catalog=LaterCatalog(), ids=later), later


@pytest.mark.parametrize("backbone", [DIN, URM])
def test_what_was_learnt_scores_as_before(backbone):
    """Requests without new ids and values: the grown model gives the old scores."""
    old, new, later = pair(backbone)
    same = {
        **batch(),
        "user_id": np.array([7, 7, 8]),
        "history": np.array([[2, 3, 4, 2], [5, 4, 0, 0], [0, 0, 0, 0]], "int32"),
        "item": np.array([[5, 3, 4], [2, 3, 0], [4, 5, 2]], "int32"),
    }
    assert np.abs(old(same).numpy() - new(same).numpy()).max() > 1e-3
    fresh = carry_over(old, new, SCHEMA, LATER, vocabularies(), later)
    np.testing.assert_allclose(new(same), old(same), atol=1e-6)
    assert fresh == 3  # one brand, one item, one user


def test_a_new_row_begins_as_what_was_read_in_its_place():
    """So that no score jumps on the day on which an id or a word gets a row of its own."""
    old, new, later = pair(DIN)
    carry_over(old, new, SCHEMA, LATER, vocabularies(), later)
    before, grown = ({name: np.array(layer.table) for name, layer in one.embedding.id_tables().items()} for one in (old, new))
    for name, id_, row in (("item.item_id", 50, -1), ("user.user_id", 9, -1)):
        np.testing.assert_array_equal(grown[name][:-1], before[name])
        hashed = vocabularies().items if name.startswith("item") else vocabularies().users
        np.testing.assert_array_equal(grown[name][row], before[name][hashed.rows_of(np.array([id_]))[0]])
    np.testing.assert_array_equal(grown["item.brand"][2], before["item.brand"][1])  # "aaa" sorts first; row 1 is of unknown words
    np.testing.assert_array_equal(grown["item.brand"][3:], before["item.brand"][2:])


@pytest.mark.parametrize("backbone", [DIN, URM])
def test_requests_with_new_ids_score_as_before(backbone):
    old, new, later = pair(backbone)
    carry_over(old, new, SCHEMA, LATER, vocabularies(), later)
    np.testing.assert_allclose(new(batch()), old(batch()), atol=1e-6)


def test_other_settings_are_refused():
    old, _, later = pair(DIN)
    wider = model(
        "model.backbone={name: din, mlp_units: [16], attention_units: [4]}", "model.ppm=random", schema=LATER, catalog=LaterCatalog(), ids=later
    )
    with pytest.raises(ValueError, match="model.warm_start must be a model of the same settings. Received: one whose weights have other shapes"):
        carry_over(old, wider, SCHEMA, LATER, vocabularies(), later)
    fewer = replace(LATER, fields=LATER.fields[1:])
    with pytest.raises(ValueError, match="model.warm_start must have the same fields"):
        carry_over(old, model(*DIN, "model.ppm=random", schema=fewer, ids=later), SCHEMA, fewer, vocabularies(), later)


def test_ids_alone_go_into_another_network_that_starts_anew():
    keras.utils.set_random_seed(0)
    old = model(*DIN, "model.ppm=none")
    keras.utils.set_random_seed(1)
    new = model(*URM, "model.ppm=none", "model.tables=[title]", "model.trainable_width=6")
    before, ids = {variable.path: np.array(variable) for variable in new.variables}, {id(layer.table) for layer in new.embedding.embeddings.values()}
    assert carry_over(old, new, SCHEMA, SCHEMA, vocabularies(), vocabularies(), ids_alone=True) == 0
    for name, layer in new.embedding.embeddings.items():
        np.testing.assert_array_equal(np.array(layer.table), np.array(old.embedding.embeddings[name].table))
    for variable in new.variables:
        if id(variable) not in ids:
            np.testing.assert_array_equal(np.array(variable), before[variable.path])


def test_a_trainable_table_is_carried_over_too():
    scaled = (*DIN, "model.ppm=none", "model.trainable_width=6")
    old, new = model(*scaled), model(*scaled)
    carry_over(old, new, SCHEMA, SCHEMA, vocabularies(), vocabularies())
    np.testing.assert_array_equal(np.array(new.embedding.frozen["trainable"].table), np.array(old.embedding.frozen["trainable"].table))
    np.testing.assert_allclose(new(batch()), old(batch()), atol=1e-6)
