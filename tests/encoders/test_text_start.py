import numpy as np
import pytest

from ppm_tf.config import TextSettings
from ppm_tf.encoders.bag_of_words import BagOfWords
from ppm_tf.encoders.saved import load_encoder
from ppm_tf.encoders.text_start import learn_word_pieces, start_encoder

TEXTS = ["red shoes for men", "red boots for women", "blue shoes for women"] * 20


def test_word_pieces_hold_the_frequent_words_and_every_letter():
    pieces = learn_word_pieces(TEXTS, 100)
    assert pieces[:5] == ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    assert {"red", "shoes", "women", "for"} <= set(pieces)
    assert set("redshowmn") <= set(pieces)
    assert pieces == learn_word_pieces(TEXTS, 100)


def test_a_small_bert_knows_the_catalogs_words():
    settings = TextSettings(num_layers=1, width=16, dim=16, num_heads=2, vocabulary=100, max_tokens=12)
    encoder = start_encoder(settings, TEXTS, dim=4)
    assert encoder.special["mask"] == 4
    assert encoder.tokenize(["red shoes for men"])["token_ids"].shape == (1, 6)  # a piece a word
    assert encoder.encode(["red shoes"]).shape == (1, 4)
    assert len(encoder.backbone.transformer_layers) == 1


def test_no_text_is_refused():
    with pytest.raises(ValueError, match="at least one text to learn word pieces from"):
        learn_word_pieces(["", ""], 100)


NBSP = "\u00a0"
ODD_SPACES = [f"red{NBSP}lamp {NBSP} x {NBSP}{NBSP}{NBSP} y", "caf´e ´ lamp ¨ x", "red\u2003lamp \u2028 x\x85y \u1680 z"] * 40
SMALL = TextSettings(num_layers=1, width=16, dim=16, num_heads=2, vocabulary=100, max_tokens=12)


def test_no_word_piece_holds_white_space():
    pieces = learn_word_pieces(ODD_SPACES, 100)
    assert {"red", "lamp", "x"} <= set(pieces)
    assert [piece for piece in pieces if piece.split() != [piece]] == []
    assert len({piece.strip() for piece in pieces}) == len(pieces)


def test_what_is_learnt_from_odd_spaces_loads_as_it_was_saved(tmp_path):
    encoder = start_encoder(SMALL, ODD_SPACES, dim=4)
    encoder.save(tmp_path)
    assert load_encoder(tmp_path).version == encoder.version


def test_spellings_of_one_text_get_one_vector():
    """In training, by `tokenize`, and in the table job and of queries, by `encode`."""
    encoder = start_encoder(SMALL, ODD_SPACES, dim=4)
    spellings = ["red lamp", f"red{NBSP}lamp", " RED\u2003\tｌａｍｐ\ufeff"]
    tokens = encoder.tokenize(spellings)["token_ids"].numpy()
    assert (tokens == tokens[0]).all() and tokens.shape == (3, 4)
    np.testing.assert_array_equal(encoder.encode(spellings), encoder.encode(["red lamp"] * 3))
    assert encoder.lengths(spellings).tolist() == [4, 4, 4]


def test_another_form_of_texts_is_another_encoder(monkeypatch):
    encoder, bag = start_encoder(SMALL, TEXTS, dim=4), BagOfWords(dim=2).fit(TEXTS)
    before = encoder.version, bag.version
    monkeypatch.setattr("ppm_tf.encoders.text.FORM", "NFKC 2")
    monkeypatch.setattr("ppm_tf.encoders.bag_of_words.FORM", "NFKC 2")
    assert encoder.version != before[0] and bag.version != before[1]


def test_a_vocabulary_that_its_file_cannot_hold_is_refused_before_the_training(monkeypatch):
    pieces = learn_word_pieces(TEXTS, 100)
    monkeypatch.setattr("ppm_tf.encoders.text_start.learn_word_pieces", lambda texts, size, words: [*pieces, "lamp", "lamp "])
    with pytest.raises(
        RuntimeError, match=r"(?s)must load as it was saved, text-\w{12}. Received: .*must be unique.* Remedy: look for unusual characters"
    ):
        start_encoder(SMALL, TEXTS, dim=4)
