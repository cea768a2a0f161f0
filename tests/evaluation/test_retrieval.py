import numpy as np
import pytest

from ppm_tf.evaluation.retrieval import Retrieval

TEXTS = ["red shoe", "", "blue shoe", "lamp", "green hat"]


class WordCounts:
    """An encoder that counts six words."""

    def encode_cleaned(self, texts, max_tokens=None):
        words = ("red", "blue", "green", "shoe", "lamp", "hat")
        return np.array([[text.split()[:max_tokens].count(word) for word in words] for text in texts], "float32")


def records(found):
    return {record.metric: record for record in found}


def test_figures_by_hand():
    # "red": item 0 first. "shoe": items 0 and 2 tie, the lower first; 2 was clicked. "hat lamp" cut to one word: hat, item 4 first.
    test = Retrieval(["red", "shoe", "hat lamp"], [np.array([0]), np.array([2]), np.array([3, 4])], TEXTS, query_tokens=1)
    found = records(test.of_encoder(WordCounts(), "test"))
    assert found["recall_at_1"].value == pytest.approx((1 + 0 + 0.5) / 3)
    assert found["recall_at_10"].value == pytest.approx(1.0)
    assert found["mrr_at_100"].value == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["recall_at_1"].groups == 3
    assert found["recall_at_1"].low <= found["recall_at_1"].value <= found["recall_at_1"].high


def test_tf_idf_is_measured_on_the_same_queries():
    test = Retrieval(["red", "shoe", "cup"], [np.array([0]), np.array([2]), np.array([3])], TEXTS)
    found = records(test.of_tf_idf())
    assert found["recall_at_1"].value == pytest.approx(1 / 3)  # "cup" is no item's word, and "shoe" finds item 0 first
    assert found["recall_at_10"].value == pytest.approx(2 / 3)


def test_a_sample_keeps_every_clicked_item():
    texts = [f"text {number}" for number in range(100)]
    test = Retrieval(["a", "b"], [np.array([7, 70]), np.array([99])], texts).sampled(10, seed=1)
    assert len(test.texts) == 13
    assert [sorted(test.texts[item] for item in items) for items in test.relevant] == [["text 7", "text 70"], ["text 99"]]
