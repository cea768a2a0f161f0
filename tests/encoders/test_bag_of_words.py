import numpy as np
import pytest

from ppm_tf.encoders.bag_of_words import BagOfWords

TEXTS = ["red leather shoe", "red leather boot", "brown leather boot", "blue glass lamp", "blue paper lamp", "white glass lamp", ""]


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_texts_that_share_rare_words_are_near():
    shoe, boot, _, lamp, *_ = BagOfWords(dim=4).fit(TEXTS).encode(TEXTS)
    assert cosine(shoe, boot) > 0.4 > abs(cosine(shoe, lamp)) + 0.2


def test_equals_scikit_learns_latent_semantic_analysis():
    """Up to the hash, the vectors are TF-IDF under a truncated SVD."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    got = BagOfWords(dim=3).fit(TEXTS).encode(TEXTS[:6])
    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TEXTS[:6])
    expected = TruncatedSVD(3, random_state=0).fit_transform(weights)
    np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-4)


def test_a_text_does_not_depend_on_its_batch():
    encoder = BagOfWords(dim=3).fit(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS)[4], encoder.encode([TEXTS[4]])[0], atol=1e-6)


def test_empty_and_unknown_texts_are_zero():
    assert not BagOfWords(dim=3).fit(TEXTS).encode(["", "zzz qqq"]).any()


def test_few_texts_fill_the_first_dimensions():
    vectors = BagOfWords(dim=10).fit(["a1 b1", "c1 d1"]).encode(["a1 b1"])
    assert vectors.shape == (1, 10)
    assert not vectors[:, 2:].any()


@pytest.mark.parametrize("texts", [[], ["", ""], ["?!"]])
def test_a_catalog_without_words_is_refused(texts):
    with pytest.raises(ValueError, match="at least one text with a word"):
        BagOfWords(dim=2).fit(texts)


def test_encoding_before_fitting_is_refused():
    with pytest.raises(ValueError, match="must be fitted"):
        BagOfWords(dim=2).encode(["a"])
