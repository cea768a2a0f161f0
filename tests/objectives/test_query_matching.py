import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.objectives.query_matching import QueryMatching, pair_batches
from tests import tiny_encoders
from tests.battery import check_objective
from tests.processes import run_module
from tests.tiny_encoders import TEXTS

QUERIES = ["red", "lamp", "new lamp", "blue", "new", "lamps"]
IDS = np.array([[2, 0], [3, 1], [4, 2], [5, 3], [6, 4], [7, 5]])
UNUSED = ("pooled_dense",)  # BERT's head of its own, which mean pooling leaves aside


def batch_of(encoder, ids=IDS):
    return {"query": encoder.tokenize(QUERIES), "item": encoder.tokenize(TEXTS), "ids": tf.constant(ids)}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoders.bert()


@pytest.mark.parametrize("symmetric", [False, True])
def test_it_is_an_objective(symmetric):
    encoder = tiny_encoders.bert(dropout=0.0)
    check_objective(QueryMatching(encoder, symmetric=symmetric), batch_of(encoder), UNUSED)


def test_the_loss_is_equation_1(encoder):
    model = QueryMatching(encoder, temperature=0.2)
    batch = batch_of(encoder)
    left, right = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (encoder.encode(QUERIES), encoder.encode(TEXTS)))
    scores = np.exp(left @ right.T / 0.2)
    expected = -np.log(np.diag(scores) / scores.sum(1)).mean()
    assert float(model.loss_of(batch, model(batch))) == pytest.approx(expected, rel=1e-4)


def test_pairs_of_one_item_or_one_query_are_no_negatives_of_each_other(encoder):
    ids = IDS.copy()
    ids[1, 0] = ids[0, 0]  # pairs 0 and 1: one item
    ids[3, 1] = ids[2, 1]  # pairs 2 and 3: one query
    model = QueryMatching(encoder, temperature=0.2)
    batch = batch_of(encoder, ids)
    left, right = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (encoder.encode(QUERIES), encoder.encode(TEXTS)))
    scores = np.exp(left @ right.T / 0.2)
    for one, other in ((0, 1), (2, 3)):
        scores[one, other] = scores[other, one] = 0.0
    expected = -np.log(np.diag(scores) / scores.sum(1)).mean()
    assert float(model.loss_of(batch, model(batch))) == pytest.approx(expected, rel=1e-4)


def test_training_sees_the_vectors_that_the_table_stores(encoder):
    """What fine-tuning computes without dropout is what the table job's `encode_batch` gives."""
    (batch,) = pair_batches(encoder, QUERIES, TEXTS, IDS, batch_size=6, epochs=1, query_tokens=8, seed=1)
    _, items = QueryMatching(encoder)(batch, training=False)
    rows = batch["ids"].numpy()[:, 0] - 2
    np.testing.assert_allclose(items, encoder.encode_batch([TEXTS[row] for row in rows]), rtol=1e-4, atol=1e-5)


def test_batches_hold_every_pair_once_a_pass_and_cut_queries(encoder):
    batches = list(pair_batches(encoder, ["red " * 9] * 6, TEXTS, IDS, batch_size=4, epochs=2, query_tokens=4, seed=1))
    assert [len(batch["ids"]) for batch in batches] == [4, 4, 4]
    assert sorted(np.concatenate([batch["ids"].numpy()[:, 0] for batch in batches])) == sorted([2, 3, 4, 5, 6, 7] * 2)
    assert all(batch["query"]["token_ids"].shape[1] == 4 for batch in batches)


def test_two_replicas_see_the_negatives_of_the_whole_batch():
    """Loss and gradients of two replicas are those of one, in a process of its own with two logical devices."""
    done = run_module("tests.objectives.two_replicas")
    assert done.returncode == 0, done.stderr[-3000:]
