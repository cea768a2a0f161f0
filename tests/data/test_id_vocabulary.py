import numpy as np
import pytest

from ppm_tf.data.id_vocabulary import IdVocabulary, mixed

BITS = 2**64 - 1


def split_mix(number):
    """SplitMix64's finalizer in whole numbers of any length, without the sign bit."""
    number &= BITS
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & BITS
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & BITS
    return (number ^ (number >> 31)) & (2**63 - 1)


def random_ids(count=2000):
    return np.concatenate([np.random.default_rng(0).integers(-(2**63), 2**63 - 1, count), [0, 1, -1, 2**63 - 1, -(2**63)]])


def test_the_hash_is_that_of_whole_numbers():
    ids = random_ids()
    assert mixed(ids).tolist() == [split_mix(int(number)) for number in ids]


def test_the_hash_spreads_neighbouring_ids():
    counts = np.bincount(mixed(np.arange(16_000)) % 16, minlength=16)
    assert counts.min() > 800 and counts.max() < 1200  # 1000 each, standard deviation 31


def test_rows_follow_the_counts_and_then_the_ids():
    vocabulary = IdVocabulary.from_counts([5, -7, 9, 4, 8], [3, 3, 8, 1, 2], min_count=2, unknown_rows=3)
    assert vocabulary.ids.tolist() == [9, -7, 5, 8]
    assert vocabulary.rows_of([9, -7, 5, 8]).tolist() == [4, 5, 6, 7]
    assert vocabulary.rows_of([9]).dtype == np.int32
    assert vocabulary.num_rows == 8
    assert vocabulary.knows([9, 4]).tolist() == [True, False]


def test_unknown_ids_are_hashed_into_the_first_rows():
    vocabulary = IdVocabulary.from_counts([5], [1], min_count=1, unknown_rows=3)
    ids = random_ids()
    assert vocabulary.rows_of(ids).tolist() == [1 + split_mix(int(number)) % 3 for number in ids]
    assert vocabulary.rows_of(ids.reshape(5, -1)).shape == (5, 401)


def test_growth_appends_and_keeps_every_row():
    old = IdVocabulary.from_counts([5, 6], [9, 8], min_count=2, unknown_rows=2)
    new = old.grow([7, 5, 3, 2], [4, 100, 6, 1], min_count=2)
    assert new.ids.tolist() == [5, 6, 3, 7]
    assert new.rows_of(old.ids).tolist() == old.rows_of(old.ids).tolist()
    assert new.rows_of([2]).tolist() == old.rows_of([2]).tolist()
    assert old.num_rows == 5 and new.num_rows == 7


def test_a_vocabulary_without_ids_hashes_all():
    vocabulary = IdVocabulary.from_counts([1], [1], min_count=2, unknown_rows=1)
    assert vocabulary.rows_of([1, 2]).tolist() == [1, 1]
    assert vocabulary.num_rows == 2


def test_what_is_written_is_read(tmp_path):
    vocabulary = IdVocabulary(random_ids(), unknown_rows=4)
    vocabulary.write(tmp_path / "users")
    again = IdVocabulary.read(tmp_path / "users")
    np.testing.assert_array_equal(again.ids, vocabulary.ids)
    assert again.unknown_rows == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IdVocabulary([1, 2, 1], 1), "Every id must be there once. Received: 1 repetitions, one of them of 1"),
        (lambda: IdVocabulary([1], 0), "unknown_rows must be at least 1. Received: 0"),
        (lambda: IdVocabulary.from_counts([1, 2], [1], 1, 1), r"one count an id. Received: \[2\] ids and \[1\] counts"),
    ],
)
def test_what_cannot_be_a_vocabulary_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
