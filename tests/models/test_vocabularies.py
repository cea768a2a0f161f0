import numpy as np

from ppm_tf.config import load
from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.models.vocabularies import Vocabularies
from tests.models.tiny_ranking import SCHEMA, Catalog

# rows 2 to 6 are items 10 to 50
COUNTS = SampleCounts(9, np.array([0, 5, 2, 0, 1, 9, 0]), np.zeros((7, 2), int), np.array([0, 0, 0, 2, 0, 1, 1]), np.array([7, 8]), np.array([1, 8]))


def test_ids_seen_often_enough_as_candidates_or_behaviors():
    made = Vocabularies.of(load([]).model, SCHEMA, Catalog(), COUNTS)
    assert made.items.ids.tolist() == [40, 10, 20]  # seen 10, 2 and 2 times
    assert made.users.ids.tolist() == [8]
    assert made.item_rows(SCHEMA, Catalog())[:2].tolist() == [0, 1]
    assert made.item_rows(SCHEMA, Catalog())[5] == 17  # item 40, the first behind 16 unknown rows


def test_an_id_that_is_no_field_has_no_vocabulary():
    made = Vocabularies.of(load(["model.item_id=false", "model.user_id=false"]).model, SCHEMA, Catalog(), COUNTS)
    assert made == Vocabularies(None, None)


def test_a_later_day_appends(tmp_path):
    first = Vocabularies.of(load([]).model, SCHEMA, Catalog(), COUNTS)
    later = SampleCounts(9, np.array([0, 0, 9, 0, 9, 0, 9]), np.zeros((7, 2), int), np.zeros(7, int), np.array([1, 9]), np.array([2, 1]))
    grown = Vocabularies.of(load([]).model, SCHEMA, Catalog(), later, first)
    assert grown.items.ids.tolist() == [40, 10, 20, 30, 50]
    assert grown.users.ids.tolist() == [8, 1]
    grown.write(tmp_path)
    assert Vocabularies.read(tmp_path).items.ids.tolist() == [40, 10, 20, 30, 50]
