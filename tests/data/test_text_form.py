"""The one form of texts: cases by hand, and properties over every character there is."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text

from ppm_tf.data.text_form import normalize, normalized

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"red{NBSP}lamp {NBSP} x {NBSP}{NBSP}{NBSP} y", "red lamp x y"),
        ("  red\tlamp\r\n\x0b\x0cnew\x1cline\x85end\u2028x\u2029", "red lamp new line end x"),
        ("em\u2003space \u3000wide\u1680ogham", "em space wide ogham"),
        ("a\x00b", "a b"),
        ("\ufeffsoft\u00ad hy\u200bphen", "soft hyphen"),
        ("ﬁne ①２ cafe\u0301", "fine 12 café"),
        ("\U0001f469\u200d\U0001f373", "\U0001f469\u200d\U0001f373"),  # a cook: two emoji, joined
        ("日本語 Crème", "日本語 Crème"),
        ("", ""),
        (f" {NBSP} ", ""),
    ],
)
def test_one_form(text, expected):
    assert normalized([text]) == [expected]


@pytest.fixture(scope="module")
def characters():
    """Every character, inside a word, and in the one form."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    return every, normalized(f"a{character}b" for character in every)


def test_no_character_becomes_white_space_when_its_case_is_folded(characters):
    _, found = characters
    folded = [text.decode() for text in tf_text.case_fold_utf8(tf.constant(found)).numpy()]
    wrong = [text for text, fold in zip(found, folded, strict=True) if len(fold.split()) != len(text.split(" ")) or fold != " ".join(fold.split())]
    assert wrong == []


def test_the_form_of_the_form_is_the_form(characters):
    every, found = characters
    assert normalized(found) == found
    assert sum(text != f"a{character}b" for text, character in zip(found, every, strict=True)) > 4000  # compatibility forms, spaces, controls


def test_it_works_in_a_graph_on_any_shape():
    texts = np.array([[f"a{NBSP}b"], ["c"]], object)
    assert tf.function(normalize)(tf.constant(texts)).numpy().tolist() == [[b"a b"], [b"c"]]
