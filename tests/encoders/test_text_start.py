import pytest

from ppm_tf.config import TextSettings
from ppm_tf.encoders.text_start import learn_word_pieces, start_encoder

TEXTS = ["red shoes for men", "red boots for women", "blue shoes for women"] * 20


def test_word_pieces_hold_the_frequent_words_and_every_letter():
    pieces = learn_word_pieces(TEXTS, 100)
    assert pieces[:5] == ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    assert {"red", "shoes", "women", "for"} <= set(pieces)
    assert set("redshowmn") <= set(pieces)
    assert pieces == learn_word_pieces(TEXTS, 100)


def test_a_small_bert_knows_the_catalogs_words():
    settings = TextSettings(layers=1, width=16, heads=2, dim=4, vocabulary=100, max_tokens=12)
    encoder = start_encoder(settings, TEXTS, dim=4)
    assert encoder.special["mask"] == 4
    assert encoder.tokenize(["red shoes for men"])["token_ids"].shape == (1, 6)  # a piece a word
    assert encoder.encode(["red shoes"]).shape == (1, 4)
    assert len(encoder.backbone.transformer_layers) == 1


def test_no_text_is_refused():
    with pytest.raises(ValueError, match="at least one text to learn word pieces from"):
        learn_word_pieces(["", ""], 100)
