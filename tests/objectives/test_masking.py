import keras
import numpy as np
import pytest

from ppm_tf.objectives.masking import mask_tokens

SPECIAL = {"start": 1, "end": 2, "pad": 0, "mask": 4}


def tokens(lengths, width):
    ids = np.zeros((len(lengths), width), "int32")
    for row, length in enumerate(lengths):
        ids[row, : length + 2] = [1, *(5 + np.arange(length)), 2]
    return {"token_ids": ids, "padding_mask": (ids > 0).astype("int32")}


def test_the_share_of_each_text_is_chosen_and_special_tokens_never():
    batch = tokens([20, 1, 10, 0], 22)
    masked = {name: np.asarray(value) for name, value in mask_tokens(batch, SPECIAL, 100, 0.15, 7).items()}
    assert masked["weights"].sum(1).tolist() == [3, 1, 2, 0]  # 15 % of 20, 1 (at least one), 10 (1.5 rounds to 2) and 0
    chosen = masked["weights"] > 0
    np.testing.assert_array_equal(masked["targets"], np.take_along_axis(batch["token_ids"], masked["positions"], 1))
    assert masked["targets"][chosen].min() >= 5
    for row in range(4):  # each place once, and no other token is touched
        places = masked["positions"][row][chosen[row]]
        assert len(set(places)) == len(places)
        others = np.setdiff1d(np.arange(22), places)
        np.testing.assert_array_equal(masked["token_ids"][row][others], batch["token_ids"][row][others])


def test_of_the_chosen_eight_in_ten_are_masked_and_one_in_ten_is_random():
    batch = tokens([400] * 100, 402)
    masked = {name: np.asarray(value) for name, value in mask_tokens(batch, SPECIAL, 1000, 0.15, 7).items()}
    now = np.take_along_axis(masked["token_ids"], masked["positions"], 1)
    assert (now == 4).mean() == pytest.approx(0.8, abs=0.02)
    assert (now == masked["targets"]).mean() == pytest.approx(0.1, abs=0.02)
    random_ids = now[(now != 4) & (now != masked["targets"])]
    assert random_ids.min() < 100 and random_ids.max() > 900 and random_ids.max() < 1000
    places = np.bincount(masked["positions"].ravel(), minlength=402)[1:401]
    assert places.std() / places.mean() < 0.35  # Poisson of mean 15: 0.26


def test_an_integer_seed_repeats_and_a_generator_goes_on():
    batch = tokens([30] * 4, 32)
    fixed = [np.asarray(mask_tokens(batch, SPECIAL, 100, 0.15, 7)["positions"]) for _ in range(2)]
    np.testing.assert_array_equal(*fixed)
    assert not np.array_equal(fixed[0], mask_tokens(batch, SPECIAL, 100, 0.15, 10)["positions"])
    seeds = keras.random.SeedGenerator(1)
    drawn = [np.asarray(mask_tokens(batch, SPECIAL, 100, 0.15, seeds)["positions"]) for _ in range(2)]
    assert not np.array_equal(*drawn)
