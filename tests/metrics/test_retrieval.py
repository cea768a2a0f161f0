import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from ppm_tf.metrics import metrics_by_query, metrics_of_ranking, nearest, tf_idf_ranking

rng = np.random.default_rng(0)

# Four queries over items 0 to 9: the first relevant item at rank 2, 1, never, -; one of two, two of three, none, no relevant item.
TOP = [[4, 7, 1], [5, 6, 9], [0, 1, 2], [3, 4, 5]]
RELEVANT = [[7, 8], [5, 9, 0, 5], [8], []]


def test_values_by_hand():
    values = metrics_of_ranking(TOP, RELEVANT, ks=(1, 2, 3), mrr_at=3)
    assert values == {
        "recall_at_1": pytest.approx((0 + 1 / 3 + 0) / 3),
        "recall_at_2": pytest.approx((1 / 2 + 1 / 3 + 0) / 3),
        "recall_at_3": pytest.approx((1 / 2 + 2 / 3 + 0) / 3),
        "hit_rate_at_1": pytest.approx(1 / 3),
        "hit_rate_at_2": pytest.approx(2 / 3),
        "hit_rate_at_3": pytest.approx(2 / 3),
        "mrr_at_3": pytest.approx((1 / 2 + 1 + 0) / 3),
    }
    assert (values["recall_at_1"].groups, values["recall_at_1"].rows) == (3, 2 + 3 + 1)


def test_mrr_ends_at_its_depth():
    assert metrics_of_ranking([[1, 2, 3]], [[3]], ks=(1,), mrr_at=2)["mrr_at_2"] == 0
    assert metrics_of_ranking([[1, 2, 3]], [[3]], ks=(1,), mrr_at=3)["mrr_at_3"] == pytest.approx(1 / 3)


def test_a_place_without_an_item_is_no_hit():
    values = metrics_of_ranking([[2, -1, -1], [-1, -1, -1]], [[2], [3]], ks=(1, 3), mrr_at=3)
    assert values["recall_at_3"] == values["mrr_at_3"] == 0.5


def test_values_of_each_query():
    found = metrics_by_query(TOP, RELEVANT, ks=(2,), mrr_at=3)["recall_at_2"]
    assert (found.row.tolist(), found.value.tolist(), found.size.tolist()) == ([0, 1, 2], [1 / 2, 1 / 3, 0], [2, 3, 1])


def test_without_relevant_items_there_is_no_value():
    value = metrics_of_ranking([[1]], [[]], ks=(1,), mrr_at=1)["recall_at_1"]
    assert np.isnan(value) and value.reason == "no query has a relevant item"


def test_vectors_equal_brute_force():
    queries, items = rng.normal(size=(30, 5)).astype("float32"), rng.normal(size=(400, 5)).astype("float32")
    relevant = [rng.choice(400, size=rng.integers(1, 6), replace=False) for _ in queries]
    order = np.argsort(-cosine_similarity(queries, items), axis=1)
    np.testing.assert_array_equal(nearest(queries, items, 20), order[:, :20])
    values = metrics_of_ranking(nearest(queries, items, 100), relevant, ks=(5, 50), mrr_at=100)
    expected = np.mean([len(set(order[row, :50]) & set(wanted)) / len(wanted) for row, wanted in enumerate(relevant)])
    assert values["recall_at_50"] == pytest.approx(expected)
    ranks = [min(list(order[row]).index(item) + 1 for item in wanted) for row, wanted in enumerate(relevant)]
    assert values["mrr_at_100"] == pytest.approx(np.mean([1 / rank if rank <= 100 else 0 for rank in ranks]))
    assert values["hit_rate_at_5"] == pytest.approx(np.mean([rank <= 5 for rank in ranks]))


def test_blocks_of_queries_change_nothing(monkeypatch):
    queries, items = rng.normal(size=(7, 3)), rng.normal(size=(10, 3))
    whole = nearest(queries, items, 4)
    monkeypatch.setattr("ppm_tf.metrics.retrieval._SCORES_AT_ONCE", 20)
    np.testing.assert_array_equal(nearest(queries, items, 4), whole)


def test_length_does_not_matter_and_zero_vectors_are_far_from_all():
    items = np.array([[0, 0], [1, 0], [100, 10], [-1, 0]], "float16")
    assert nearest([[5.0, 0.0]], items, 6).tolist() == [[1, 2, 0, 3, -1, -1]]
    assert nearest([[1.0, 1.0]], np.zeros((0, 2)), 2).tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: metrics_of_ranking([[1]], [[1], [2]], ks=(1,), mrr_at=1), r"a row for each list of relevant items. Received: \(1, 1\), 2 lists"),
        (lambda: metrics_of_ranking([[1]], [[1]]), r"at least 100 items a query, -1 where there are fewer. Received: 1"),
        (lambda: metrics_of_ranking([[1, 1]], [[1]], ks=(1,), mrr_at=1), r"name an item once a query. Received: a row with an item twice"),
        (lambda: metrics_of_ranking([[1, -1]], [[1, -1]], ks=(1,), mrr_at=1), r"relevant must name items from 0 on. Received: -1 for query 0"),
        (lambda: nearest([[1.0]], [[1.0, 2.0]], 1), r"vectors of one width. Received: 1 and 2"),
        (lambda: nearest([[1.0]], [[1.0], [np.nan]], 1), r"item_vectors must be finite. Received: NaN or infinity in row 1"),
        (lambda: nearest([1.0], [[1.0]], 1), r"query_vectors must be \[n, D\]. Received: \(1,\)"),
        (lambda: nearest([[1.0]], [[1.0]], 0), r"k must be at least 1. Received: 0"),
        (lambda: tf_idf_ranking(["a"], ["a"], 0), r"k must be at least 1. Received: 0"),
    ],
)  # fmt: skip
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call()


# === TF-IDF ===


def test_tf_idf_by_hand():
    texts = ["red shoe", "red red hat", "", "Shoe, size 9", "9"]
    # "size" is rarer than "shoe", so item 3 beats 0; equal items come in their order; unknown words count for nothing
    assert tf_idf_ranking(["shoe size", "red", "9", "unseen", "", "RED unseen"], texts, k=2).tolist() == [
        [3, 0], [1, 0], [4, 3], [-1, -1], [-1, -1], [1, 0],
    ]  # fmt: skip
    assert tf_idf_ranking(["hat"], ["hat", "hat", "hat"], k=2).tolist() == [[0, 1]]
    assert tf_idf_ranking(["hat"], ["", "--"], k=1).tolist() == [[-1]]


def test_tf_idf_equals_its_equation():
    """(1 + ln tf) (1 + ln (1 + n) / (1 + df)), cosine: every pair by itself."""
    words = [f"w{number}" for number in range(12)]
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 9))) for _ in range(40)]
    queries = [" ".join(rng.choice(words, size=3)) for _ in range(300)]
    frequency = {word: sum(word in text.split() for text in texts) for word in words}

    def vector(text):
        counts = {word: text.split().count(word) for word in set(text.split()) if frequency[word]}
        weights = {word: (1 + np.log(count)) * (1 + np.log(41 / (1 + frequency[word]))) for word, count in counts.items()}
        norm = np.sqrt(sum(weight**2 for weight in weights.values()))
        return {word: weight / norm for word, weight in weights.items()}

    items = [vector(text) for text in texts]
    top = tf_idf_ranking(queries, texts, k=5)
    for row, query in enumerate(queries):
        scores = np.array([sum(weight * item.get(word, 0) for word, weight in vector(query).items()) for item in items])
        found = top[row][top[row] >= 0]
        assert len(found) == min(5, np.count_nonzero(scores))
        np.testing.assert_allclose(scores[found], np.sort(scores)[::-1][: len(found)], atol=1e-6)
