"""Prompts by hand, on five items."""

import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.text_models.prompts import words_of
from tests.text_models.tiny_text import batch, prompts, words

USER = "[CLS] age group : young ; device : phone ;"
HISTORY = "history : red shoe ; brand : acme unknown ;"  # the item without text is told by its fields, three tokens of them
LAMP = "candidate : brand : bolt ; blue lamp ; [SEP]"
COAT = "candidate : brand : unknown ; price : 2 . 5 ; coat ; [SEP]"
SHOE = "candidate : brand : acme ; tags : new ; sale ; price : 5 ; red shoe ; [SEP]"


def test_a_prompt_tells_user_history_and_candidate_in_words():
    found = prompts().pairs(batch())
    assert words(found) == [
        f"{USER} {HISTORY} {LAMP}",
        f"{USER} {HISTORY} {COAT}",
        f"{USER} {HISTORY} {SHOE}",
        "[CLS] device : unknown ; candidate : green big hat ; [SEP]",  # no user field, no history: no header either
    ]
    assert not np.any(found["cut"])


def test_a_user_and_an_item_alone():
    one = prompts()
    assert words(one.users(batch())) == [f"{USER} {HISTORY} [SEP]", "[CLS] device : unknown ; [SEP]"]
    assert words(one.items(tf.constant([2, 5]))) == [f"[CLS] {SHOE}", "[CLS] candidate : green big hat ; [SEP]"]


def test_a_question_closes_the_prompts_of_pairs_alone():
    one = prompts(question="wanted?", start=None)
    assert words(one.pairs(batch()))[3] == "device : unknown ; candidate : green big hat ; wanted ? [SEP]"
    assert words(one.users(batch()))[1] == "device : unknown ; [SEP]"


def test_texts_and_histories_are_held_to_their_length():
    assert words(prompts(behaviors=1, item_tokens=1, candidate_tokens=1).pairs(batch()))[0] == (
        f"{USER} history : red ; candidate : brand : bolt ; blue ; [SEP]"
    )
    assert words(prompts(behaviors=0).pairs(batch()))[0] == f"{USER} {LAMP}"


@pytest.mark.parametrize(
    ("most", "expected", "cut"),
    [
        (30, f"{USER} {HISTORY} {LAMP}", False),
        (29, f"{USER} history : red shoe ; brand : acme unknown {LAMP}", True),
        (24, f"{USER} history : red shoe {LAMP}", True),
        (20, f"{USER} {LAMP}", True),
        (18, f"{USER} candidate : brand : bolt ; blue [SEP]", True),
    ],
)
def test_the_oldest_behaviors_are_cut_first_and_then_the_candidate(most, expected, cut):
    found = prompts(max_tokens=most).pairs(batch())
    assert words(found)[0] == expected and bool(found["cut"][0]) is cut
    assert found["token_ids"].shape[1] <= most


def test_a_question_is_never_cut():
    found = words(prompts(max_tokens=12, question="wanted?", start=None).pairs(batch()))
    assert found[0] == "age group : young ; device : phone ; wanted ? [SEP]"


def test_padding_candidates_have_no_prompt_and_no_logit():
    one, values = prompts(), tf.constant([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [4.0, 8.0]])
    spread = one.spread(values, {"item": tf.constant(batch()["item"])})
    np.testing.assert_array_equal(spread[..., 0], [[1, 2, 3], [4, 0, 0]])
    np.testing.assert_array_equal(spread[..., 1], [[5, 6, 7], [8, 0, 0]])


def test_longer_padded_histories_change_no_prompt():
    longer = batch()
    longer["history"] = np.pad(longer["history"], ((0, 0), (0, 3)))
    assert words(prompts(behaviors=9).pairs(longer)) == words(prompts(behaviors=9).pairs(batch()))


def test_names_become_words():
    assert words_of("user_age.group") == "user age group"
