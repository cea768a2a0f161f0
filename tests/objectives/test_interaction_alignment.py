import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.models.build import build_ranking_model
from ppm_tf.models.growth import carry_inner
from ppm_tf.objectives.interaction_alignment import InteractionAlignment, interactions, texts_of_interactions
from tests import tiny_encoders
from tests.battery import check_objective
from tests.models import tiny_ranking

TEXTS = ["", "", "red shoes", "a blue lamp", "", "blue shoe", "new red lamp"]
rng = np.random.default_rng(0)


def ranker(outputs=None, seed=0):
    keras.utils.set_random_seed(seed)
    settings = tiny_ranking.settings(*tiny_ranking.DIN, "model.ppm=none")
    return build_ranking_model(settings, tiny_ranking.SCHEMA, tiny_ranking.Catalog(), {}, tiny_ranking.vocabularies(), outputs=outputs)


def chosen(tokenize, seed=0, batches=1, **more):
    dataset = tf.data.Dataset.from_tensors({**tiny_ranking.batch(), **more}).repeat(batches)
    return list(interactions(dataset, tf.constant(TEXTS), tokenize, 2, seed))


def test_it_is_an_objective_of_both_sides():
    encoder = tiny_encoders.bert(dropout=0.0)
    (batch,) = chosen(encoder.tokenize)
    check_objective(InteractionAlignment(ranker(6), encoder, 6), batch, ("pooled_dense",))  # BERT's head, which mean pooling leaves aside


class Given:
    """An encoder whose texts are their vectors already."""

    dim = 6

    def __call__(self, tokens, training=False):
        return tokens


def given(texts, ids, same):
    """The objective over these vectors, and their batch."""
    model = InteractionAlignment(lambda batch, training=False: batch["ids"][:, None], Given(), 6)
    model.head.set_weights([np.eye(6), np.zeros(6)])
    numbers = np.arange(len(ids))
    return model, {"tokens": texts, "ids": ids, "item": numbers[:, None], "text_id": np.array(same), "request": numbers}


@pytest.mark.parametrize("same", [[0, 1, 2, 3], [0, 1, 0, 3]])
def test_equals_the_equation_and_one_text_is_no_negative_of_itself(same):
    texts, ids = rng.normal(size=(2, 4, 6)).astype("float32")
    model, batch = given(texts, ids, same)
    left, right = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (texts, ids))
    weights = np.exp(left @ right.T / 0.7)
    if same[2] == 0:
        weights[0, 2] = weights[2, 0] = 0
    expected = -0.5 * sum(np.mean(np.log(np.diag(weights) / weights.sum(axis))) for axis in (0, 1))
    assert float(model.loss_of(batch, model(batch))) == pytest.approx(expected, rel=1e-5)


def test_the_figures_are_means_over_interactions():
    """Of five texts the first batch finds two of three (two are swapped, and one of these has the text of what it found), the second all."""
    vectors = np.eye(6, dtype="float32")
    model, first = given(vectors[:3], vectors[[1, 0, 2]], [7, 8, 9])
    _, second = given(vectors[3:5], vectors[3:5], [1, 2])
    found = model.figures([first, second])
    assert found["recall_at_1"] == pytest.approx(3 / 5) and found["chance"] == pytest.approx(2 / 5)
    losses = [float(model.loss_of(batch, model(batch))) for batch in (first, second)]
    assert found["loss"] == pytest.approx((3 * losses[0] + 2 * losses[1]) / 5)
    first["text_id"] = np.array([7, 7, 9])
    assert model.figures([first])["recall_at_1"] == 1


def test_a_text_is_the_candidates_and_then_the_newest_behaviors():
    found = texts_of_interactions(TEXTS, [[2, 3], [5, 4], [0, 0], [6, 0]], [5, 6, 3, 4])
    assert [text.decode() for text in found.numpy()] == [
        "blue shoe | red shoes | a blue lamp",
        "new red lamp | blue shoe",
        "a blue lamp",
        " | new red lamp",
    ]


def test_each_request_brings_one_of_its_real_candidates_with_its_labels():
    numbered = np.where(tiny_ranking.batch()["item"][..., None] > 0, np.arange(3)[None, :, None] * np.ones((3, 3, 2)), -1).astype("float32")
    found, again = (chosen(lambda texts: texts, batches=60, labels=numbered) for _ in range(2))
    places = np.array([np.asarray(batch["labels"])[:, 0, 0] for batch in found])
    assert [set(column) for column in places.T] == [{0, 1, 2}, {0, 1}, {0, 1, 2}]  # the third candidate of the second is padding
    items = tiny_ranking.batch()["item"]
    for batch, place, same in zip(found, places.astype(int), again, strict=True):
        np.testing.assert_array_equal(batch["item"][:, 0], items[np.arange(3), place])
        np.testing.assert_array_equal(batch["slot"][:, 0], place)
        np.testing.assert_array_equal(batch["item"], same["item"])
        wanted = texts_of_interactions(TEXTS, tiny_ranking.batch()["history"][:, :2], batch["item"][:, 0])
        np.testing.assert_array_equal(batch["tokens"], wanted)
    other = chosen(lambda texts: texts, seed=1, batches=60, labels=numbered)
    assert any(np.any(mine["item"] != theirs["item"]) for mine, theirs in zip(found, other, strict=True))


def test_all_but_the_outputs_is_carried_over():
    old, new = ranker(6), ranker(seed=1)
    before = [np.array(weight) for weight in new.trainable_variables]
    kept = carry_inner(old, new)
    logits = new.backbone.head.logits
    assert kept == logits.count_params() == 8 * 2 + 2
    for mine, theirs, first in zip(old.trainable_variables, new.trainable_variables, before, strict=True):
        if any(theirs is weight for weight in logits.weights):
            np.testing.assert_array_equal(theirs, first)
        else:
            np.testing.assert_array_equal(theirs, mine)
