import numpy as np
import pytest

from ppm_tf.encoders import saved
from ppm_tf.encoders.bag_of_words import BagOfWords
from ppm_tf.encoders.saved import describe_encoder, load_encoder
from ppm_tf.encoders.title_image import TitleImage, join_saved
from tests.encoders.fake_encoders import FAKES, BytesEncoder, HashEncoder
from tests.encoders.test_bag_of_words import TEXTS


@pytest.fixture(autouse=True)
def fake_kinds(monkeypatch):
    for kind, place in FAKES.items():
        monkeypatch.setitem(saved.KINDS, kind, place)


@pytest.fixture
def encoder():
    return TitleImage(HashEncoder(2), BytesEncoder(3))


def test_both_vectors_side_by_side_and_zeros_for_a_missing_part(encoder):
    vectors = encoder.encode([("a", b"x"), (None, b"y"), ("b", None), ("", b"")], batch_size=3)
    assert vectors.shape == (4, 5) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[[0, 2], :2], HashEncoder(2).encode(["a", "b"]))
    np.testing.assert_array_equal(vectors[[0, 1], 2:], HashEncoder(3).encode(["x", "y"]))
    assert not vectors[[1, 3], :2].any() and not vectors[[2, 3], 2:].any()
    assert encoder.encode([]).shape == (0, 5)


def test_a_broken_part_is_refused(encoder):
    with pytest.raises(ValueError, match="cannot read 'unreadable'"):
        encoder.read(("fine", b"unreadable"))


def test_tokens_are_those_of_the_text(encoder):
    encoder.encode_batch([("a", "xyz"), ("abc", None), (None, "x")])
    assert (encoder.tokens, encoder.padded_tokens) == (4, 6)
    assert encoder.lengths([("a", b"xyz"), ("abc", None), (None, b"x")]).tolist() == [1, 3, 0]
    bag = TitleImage(BagOfWords(2).fit(TEXTS), BytesEncoder(3))
    assert (bag.tokens, bag.padded_tokens, bag.lengths([("a", None)]).tolist()) == (0, 0, [0])


def test_it_comes_back_as_it_was_saved(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert (loaded.version, loaded.dim) == (encoder.version, 5)
    np.testing.assert_array_equal(loaded.encode([("a", b"x")]), encoder.encode([("a", b"x")]))


def test_two_saved_encoders_are_joined_without_loading_them(encoder, tmp_path):
    for name, part in zip(("text", "image"), encoder.parts, strict=True):
        part.save(tmp_path / name)
    join_saved(tmp_path / "text", tmp_path / "image", tmp_path / "both")
    assert describe_encoder(tmp_path / "both") == {"kind": "title_image", "dim": 5, "version": encoder.version}
    np.testing.assert_array_equal(load_encoder(tmp_path / "both").encode([("a", b"x")]), encoder.encode([("a", b"x")]))


def test_its_version_follows_both(encoder):
    versions = {
        encoder.version,
        TitleImage(HashEncoder(2, "other"), BytesEncoder(3)).version,
        TitleImage(HashEncoder(2), BytesEncoder(3, "other")).version,
    }
    assert len(versions) == 3
