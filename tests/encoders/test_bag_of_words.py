import numpy as np
import pytest

from ppm_tf.encoders.bag_of_words import BagOfWords
from ppm_tf.encoders.saved import read_arrays

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
    np.testing.assert_array_equal(encoder.encode(TEXTS)[4], encoder.encode([TEXTS[4]])[0])
    assert encoder.encode([]).shape == (0, 3)


def test_a_word_that_the_catalog_lacks_changes_nothing():
    encoder = BagOfWords(dim=3).fit(TEXTS)
    np.testing.assert_array_equal(encoder.encode(["unheard red leather shoe"]), encoder.encode(["red leather shoe"]))


def test_spellings_of_one_text_get_one_vector():
    encoder = BagOfWords(dim=3).fit(["red\u00a0leather shoe", *TEXTS[1:]])
    np.testing.assert_array_equal(encoder.encode(["ｒｅｄ\u2003lea\u00adther shoe"]), encoder.encode(["red leather shoe"]))
    assert encoder.version == BagOfWords(dim=3).fit(TEXTS).version


def test_only_the_buckets_that_occur_are_saved(tmp_path):
    encoder = BagOfWords(dim=3, num_buckets=1 << 18).fit(TEXTS)
    encoder.save(tmp_path)
    arrays = read_arrays(tmp_path)
    assert len(arrays["buckets"]) == len(arrays["rarity"]) == len(arrays["projection"]) == 10 + 9  # words and pairs, counted by hand
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4096


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
