import json

import numpy as np
import pytest

from ppm_tf.encoders import saved
from ppm_tf.encoders.bag_of_words import BagOfWords
from ppm_tf.encoders.image_descriptor import ImageDescriptor
from ppm_tf.encoders.saved import content_version, describe_encoder, load_encoder, write_arrays
from tests.encoders.test_bag_of_words import TEXTS
from tests.encoders.test_image_descriptor import flat, stripes

IMAGES = [flat([200, 0, 0]), flat([220, 10, 0]), flat([0, 0, 200]), stripes(True), stripes(False)]


@pytest.mark.parametrize(("encoder", "contents"), [(BagOfWords(4).fit(TEXTS), [*TEXTS, "unknown"]), (ImageDescriptor(3).fit(IMAGES), IMAGES)])
def test_what_is_loaded_is_what_was_saved(tmp_path, encoder, contents):
    encoder.save(tmp_path / "encoder")
    about = describe_encoder(tmp_path / "encoder")
    assert (about["kind"], about["dim"], about["version"]) == (encoder.kind, encoder.dim, encoder.version)
    loaded = load_encoder(tmp_path / "encoder")
    assert type(loaded) is type(encoder)
    assert loaded.version == encoder.version
    np.testing.assert_array_equal(loaded.encode(contents), encoder.encode(contents))
    np.testing.assert_array_equal(loaded.encode_batch([loaded.read(content) for content in contents]), encoder.encode(contents))


def test_versions_follow_what_was_learnt():
    versions = [
        BagOfWords(2).fit(TEXTS).version,
        BagOfWords(2).fit(TEXTS[:-2]).version,
        BagOfWords(3).fit(TEXTS).version,
        BagOfWords(2, 1 << 10).fit(TEXTS).version,
    ]
    versions += [ImageDescriptor(2).fit(IMAGES).version, ImageDescriptor(2).fit(IMAGES[1:]).version]
    assert len(set(versions)) == 6
    assert BagOfWords(2).fit(TEXTS).version == versions[0]
    assert versions[0].startswith("bag_of_words-") and len(versions[0]) == len("bag_of_words-") + 12


def test_the_version_is_a_hash_of_settings_and_arrays():
    arrays = {"b": np.arange(3), "a": np.zeros(2)}
    version = content_version("kind", {"x": 1, "y": 2}, arrays)
    assert version == content_version("kind", {"y": 2, "x": 1}, dict(reversed(arrays.items())))
    assert version != content_version("kind", {"x": 1, "y": 3}, arrays)
    assert version != content_version("kind", {"x": 1, "y": 2}, {**arrays, "a": np.zeros(2, "float32")})


def test_every_kind_has_a_class_of_that_kind():
    import importlib

    for kind, place in saved.KINDS.items():
        module, name = place.split(":")
        found = getattr(importlib.import_module(module), name)
        assert found.kind == kind
        assert {"read", "encode_batch", "encode", "save", "load"} <= set(dir(found))


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold a saved encoder \(encoder.json\).*pipelines.finetune"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "bag_of_words"}', '"text"'])
def test_a_damaged_description_is_refused(tmp_path, text):
    (tmp_path / "encoder.json").write_text(text)
    with pytest.raises(ValueError, match="must hold kind, dim and version as JSON. Received: "):
        load_encoder(tmp_path)


def test_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "encoder.json").write_text(json.dumps({"kind": "word2vec", "dim": 1, "version": "v"}))
    with pytest.raises(ValueError, match="must be one of bag_of_words, image_descriptor, text, image, title_image. Received: 'word2vec'"):
        load_encoder(tmp_path)


def test_weights_that_were_changed_are_refused(tmp_path):
    encoder = BagOfWords(2).fit(TEXTS)
    encoder.save(tmp_path)
    write_arrays(tmp_path, {**encoder._arrays, "rarity": encoder._arrays["rarity"] * 2})
    with pytest.raises(ValueError, match=f"must be as it was saved, {encoder.version}. Received: bag_of_words-"):
        load_encoder(tmp_path)
