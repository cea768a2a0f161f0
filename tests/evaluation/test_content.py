"""The content baseline: its numbers by hand, what it learns, and what it does where a table says nothing."""

import numpy as np
import pytest

from ppm_tf.evaluation import ContentBaseline, content_scores
from ppm_tf.metrics import auc

# rows: padding, unknown, and four items at 0, 90, 65 and 180 degrees; row 6 has no vector
ANGLES = np.radians([0, 90, 65, 180])
VECTORS = np.concatenate([np.zeros((2, 2)), 3 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), np.zeros((1, 2))]).astype("float16")
PRESENT = np.array([False, False, True, True, True, True, False])


def test_the_numbers_of_a_candidate_by_hand():
    batch = {"history": np.array([[3, 4, 5, 2, 0]]), "item": np.array([[2, 6]])}
    found = ContentBaseline({"title": (VECTORS, PRESENT)}).features(batch)
    # cosines of item 2 with the history: 0, cos 65, -1, 1
    expected = [np.log(5), 0.4226 / 4, 1.0, 1.4226 / 3, 0.0, 2 / 4, 2 / 4, 1 / 4, 1 / 4]
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-3)  # of float16 vectors
    np.testing.assert_allclose(found[0, 1], [np.log(5), *[0] * 8])  # no vector


def test_behaviors_without_a_vector_do_not_count():
    baseline = ContentBaseline({"title": (VECTORS, PRESENT)})
    item = np.array([[2, 3]])
    some, mixed, none, empty = (
        baseline.features({"history": np.array([history]), "item": item}) for history in ([4, 0, 0], [6, 4, 1], [6, 1, 0], [0, 0, 0])
    )
    np.testing.assert_allclose(mixed[..., 1:], some[..., 1:], atol=1e-6)
    assert not none[..., 1:].any() and not empty.any()


def test_several_tables_stand_beside_each_other():
    tables = {"title": (VECTORS, PRESENT), "image": (VECTORS[:, ::-1], PRESENT)}
    batch = {"history": np.array([[3, 4, 0]]), "item": np.array([[2]])}
    both, one = (ContentBaseline(chosen).features(batch) for chosen in (tables, {"title": tables["title"]}))
    assert both.shape == (1, 1, 17)
    np.testing.assert_array_equal(both[..., :9], one)
    with pytest.raises(ValueError, match="needs an embedding table. Received: none"):
        ContentBaseline({})


def requests(number, seed, vectors, present, strength=4.0):
    """Clicks that depend on the cosine with the newest behavior, and orders that nobody places."""
    random = np.random.default_rng(seed)
    history, item = random.integers(2, 40, (number, 5)), random.integers(2, 40, (number, 4))
    item[:, 3] *= random.random(number) < 0.5  # padding
    vectors = vectors.astype("float32")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    cosine = np.einsum("rnd,rd->rn", unit[item], unit[history[:, 0]])
    labels = np.stack([random.random(item.shape) < 1 / (1 + np.exp(-strength * cosine)), np.zeros(item.shape)], axis=-1).astype("float32")
    labels[item == 0] = -1
    request = seed * number + np.arange(number)
    for start in range(0, number, 50):
        piece = slice(start, start + 50)
        yield {"history": history[piece], "item": item[piece], "labels": labels[piece], "request": request[piece], "user_id": request[piece] % 30}


def test_it_finds_what_a_cosine_says_and_gives_the_rate_of_a_task_of_one_kind():
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype("float16")
    vectors[:2] = 0
    tables = {"title": (vectors, vectors.any(axis=1))}
    scores = content_scores(tables, requests(800, 1, vectors, None), requests(800, 2, vectors, None), ("click", "order"))
    known = scores.labels[:, 0] >= 0
    assert auc(scores.labels[known, 0], scores.scores[known, 0]) > 0.75
    assert (scores.scores[:, 1] == 0).all() and known.all()  # padding is no candidate
    blind = content_scores(
        {"title": (vectors[::-1], vectors[::-1].any(axis=1))}, requests(800, 1, vectors, None), requests(800, 2, vectors, None), ("click", "order")
    )
    assert abs(auc(blind.labels[:, 0], blind.scores[:, 0]) - 0.5) < 0.06


def test_no_more_is_read_than_is_fitted_on():
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype("float16")
    seen = []
    batches = (seen.append(1) or batch for batch in requests(800, 1, vectors, None))
    ContentBaseline({"title": (vectors, vectors.any(axis=1))}).fit(batches, most=300)
    assert len(seen) == 2  # of 50 requests with 3 to 4 candidates each
    with pytest.raises(ValueError, match="needs training requests. Received: none"):
        ContentBaseline({"title": (vectors, vectors.any(axis=1))}).fit([])
