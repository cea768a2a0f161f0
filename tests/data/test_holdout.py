import hashlib

import numpy as np

from ppm_tf.data.holdout import TEST, TRAIN, VALID, parts_of


def test_a_part_is_the_place_of_the_hash():
    place = int.from_bytes(hashlib.sha256(b"7").digest()[:8], "big") / 2**64
    assert parts_of([7], valid=0.0, test=place + 1e-9)[0] == TEST
    assert parts_of([7], valid=0.5, test=place - 1e-9)[0] == VALID
    assert parts_of([7], valid=0.0, test=place - 1e-9)[0] == TRAIN


def test_a_key_keeps_its_part_when_others_come():
    few, many = parts_of(range(100), 0.2, 0.2), parts_of(range(1000), 0.2, 0.2)
    np.testing.assert_array_equal(few, many[:100])
    assert not np.array_equal(few, parts_of(range(100), 0.2, 0.2, salt="other"))
