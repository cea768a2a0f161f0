import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.encoders.safe_encoder import SafeEncoder
from tests.encoders.fake_encoders import FlatEncoder, HashEncoder


def test_vectors_are_the_encoders_in_the_order_of_the_contents():
    contents = ["ccc", "a", "bb", "dddd", ""]
    vectors, failures = SafeEncoder(HashEncoder(), "float16", 2).encode(contents)
    np.testing.assert_array_equal(vectors, HashEncoder().encode(contents).astype("float16"))
    assert failures == {}


def test_contents_of_like_length_share_a_batch():
    encoder = HashEncoder()
    done = []
    SafeEncoder(encoder, "float16", 2).encode(["ccc", "a", "bb", "aaaa", "b"], done.append)
    assert encoder.batches == [["a", "b"], ["bb", "ccc"], ["aaaa"]]
    assert done == [2, 2, 1]


def test_without_lengths_batches_are_in_order(monkeypatch):
    monkeypatch.delattr(HashEncoder, "lengths")
    encoder = HashEncoder()
    SafeEncoder(encoder, "float16", 2).encode(["ccc", "a", "bb"])
    assert encoder.batches == [["ccc", "a"], ["bb"]]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_only_the_broken_contents_fail(batch_size):
    contents = ["a", "poison 1", "b", "unreadable", "c", "poison 2", "nan", "huge", "d"]
    vectors, failures = SafeEncoder(HashEncoder(), "float16", batch_size).encode(contents)
    assert failures == {
        1: "a poisoned batch", 3: "cannot read 'unreadable'", 5: "a poisoned batch",
        6: "its vector is not finite in float16", 7: "its vector is not finite in float16",
    }  # fmt: skip
    good = [0, 2, 4, 8]
    np.testing.assert_array_equal(vectors[good], HashEncoder().encode([contents[place] for place in good]).astype("float16"))
    assert not vectors[sorted(failures)].any()


def test_one_poison_is_found_by_halving():
    encoder = HashEncoder()
    SafeEncoder(encoder, "float16", 64).encode([f"{number:02d}" for number in range(63)] + ["poison"])
    assert len(encoder.batches) == 1 + 2 * 6  # 64 = 2 ** 6, and both halves are tried each time


def test_what_is_finite_in_float32_is_stored_there():
    assert SafeEncoder(HashEncoder(), "float32", 2).encode(["huge"])[0].tolist() == [[1e6] * 3]


def test_a_batch_too_large_for_memory_is_halved(monkeypatch):
    whole = HashEncoder.encode_batch

    def small_memory(self, read):
        if len(read) > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory\nwhile allocating")
        return whole(self, read)

    monkeypatch.setattr(HashEncoder, "encode_batch", small_memory)
    vectors, failures = SafeEncoder(HashEncoder(), "float16", 8).encode(list("abcdefgh"))
    assert failures == {}
    assert vectors.any(axis=1).all()


def test_tokens_are_counted_once():
    safe = SafeEncoder(HashEncoder(), "float16", 2)
    safe.encode(["a", "bbb"])
    assert safe.count_tokens() == (4, 6)
    safe.encode(["cc"])
    assert safe.count_tokens() == (2, 2)
    assert safe.count_tokens() == (0, 0)


def test_an_encoder_that_gives_another_shape_is_refused():
    with pytest.raises(TypeError, match=r"encode_batch of FlatEncoder must give vectors of shape \(1, 3\). Received: \(1,\)"):
        SafeEncoder(FlatEncoder(), "float16", 2).encode(["a"])
