"""The job on the local runner, with an encoder of a few lines."""

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from ppm_tf.config import BeamSettings, EmbedSettings
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest, whole_shards
from ppm_tf.data.tables import read_records, read_table
from ppm_tf.encoders import saved
from ppm_tf.encoders.image import ImageEncoder
from ppm_tf.encoders.image_descriptor import ImageDescriptor
from ppm_tf.encoders.table_job import DEAD_LETTERS, write_table_job
from ppm_tf.encoders.title_image import TitleImage
from tests import tiny_encoders
from tests.encoders.fake_encoders import FAKES, BytesEncoder, FlatEncoder, HashEncoder, write_catalog
from tests.encoders.test_image import IMAGES, PIXELS, tiny_backbone


@pytest.fixture(autouse=True)
def fake_kinds(monkeypatch):
    for kind, place in FAKES.items():
        monkeypatch.setitem(saved.KINDS, kind, place)


class Tables:
    """Writes tables one after the other, each from the one before it unless told otherwise."""

    def __init__(self, folder):
        self.folder = folder
        self.last = None
        self.number = 0

    def write(self, items, encoder=None, images=None, columns=("text",), old="last", **settings):
        self.number += 1
        base = self.folder / str(self.number)
        self.catalog = write_catalog(base / "catalog", items, images)
        (encoder or HashEncoder()).save(base / "encoder")
        (base / "table").mkdir()
        embed = EmbedSettings(**{"shards": 3, "batch_size": 4, "max_refused": 0.5, **settings})
        old = self.last if old == "last" else old
        manifest = write_table_job("title", self.catalog, base / "encoder", columns, old, base / "table", embed, BeamSettings())
        self.last = base / "table"
        return manifest.about

    def read(self):
        return read_table(self.last, ItemCatalog.read(self.catalog))

    def letters(self):
        return [json.loads(line) for line in (self.last / DEAD_LETTERS).read_text().splitlines()]

    def shards(self):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.last.glob("*.tfrecord")}


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path)


def texts(count, first=100):
    return {first + 7 * number: f"item {number}" for number in range(count)}


def counted(about, *names):
    return tuple(about[name] for name in names)


# === Values ===


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_item_has_its_encoders_vector(tables, dtype):
    items = texts(10) | {1: "", 2: None, 3: "nothing"}
    about = tables.write(items, dtype=dtype)
    table = tables.read()
    expected = HashEncoder().encode([text or "nothing" for text in items.values()]).astype(dtype)
    np.testing.assert_array_equal(table.vectors[2:], expected)
    assert table.vectors.dtype == dtype
    assert table.present[2:].tolist() == [True] * 10 + [False] * 3
    assert not table.vectors[:2].any() and not table.present[:2].any()
    assert counted(about, "items", "encoded", "kept", "removed", "empty", "dead_letters") == (13, 11, 0, 0, 2, 0)
    assert (about["table"], about["dim"], about["dtype"], about["item_id_type"], about["encoder_version"]) == (
        "title",
        3,
        dtype,
        "int",
        HashEncoder().version,
    )
    assert tables.letters() == []


def test_a_stored_vector_is_the_forward_pass_of_training_to_rounding(tables):
    encoder = tiny_encoders.bert()
    tables.write(dict(enumerate(tiny_encoders.TEXTS)), encoder, shards=1, batch_size=2)
    expected = encoder(encoder.tokenize(tiny_encoders.TEXTS), training=False).numpy()
    np.testing.assert_allclose(tables.read().vectors[2:], expected, rtol=2**-10, atol=1e-5)  # half a step of float16, and other padding
    assert tables.read().encoder_version == encoder.version
    encoder = ImageEncoder(tiny_backbone(), size=8, dim=4)
    tables.write({}, encoder, dict(enumerate(IMAGES)), ("image",), batch_size=4)
    np.testing.assert_allclose(tables.read().vectors[2:], encoder(PIXELS, training=False).numpy(), rtol=2**-10, atol=1e-5)


def test_records_lie_in_the_order_of_the_ids_and_carry_the_content_hash(tables):
    items = {30: "a", 4: "b", 17: ""}
    tables.write(items, shards=1)
    manifest = Manifest.read(tables.last)
    (records,) = read_records(tables.last, manifest, manifest.shards)
    assert records.item_ids.tolist() == [4, 17, 30]
    assert [row.tobytes() for row in records.hashes] == [hashlib.sha256(text).digest()[:16] for text in (b"b", b"", b"a")]


def test_string_ids(tables):
    items = {"b": "x", "ä": "y", "a": "", "10": "z"}
    tables.write(items)
    assert tables.write({**items, "b": "changed", "c": "new"} | {"a": ""})["kept"] == 2
    table = tables.read()
    np.testing.assert_array_equal(table.vectors[[2, 3, 5, 6]], HashEncoder().encode(["changed", "y", "z", "new"]).astype("float16"))
    assert table.present[2:].tolist() == [True, True, False, True, True]
    assert Manifest.read(tables.last).about["item_id_type"] == "string"


def test_tokens_and_padding_are_counted(tables):
    about = tables.write({1: "a", 2: "bbb", 3: "cc", 4: "ddd", 5: "e"}, batch_size=2)
    assert counted(about, "tokens", "padded_tokens") == (10, 11)  # row group 1: a cc | bbb ddd, padded to 2 and 3; row group 2: e


def test_bytes_do_not_depend_on_the_batches(tables):
    tables.write(texts(20), batch_size=3)
    first = tables.shards()
    tables.write(texts(20), batch_size=16, old=None)
    assert tables.shards() == first


# === What is kept ===


def test_nothing_is_encoded_twice(tables):
    items = texts(12) | {1: "", 2: "nothing"}
    tables.write(items)
    first = tables.shards()
    about = tables.write(items)
    assert counted(about, "items", "encoded", "kept", "removed", "empty") == (14, 0, 13, 0, 1)
    assert tables.shards() == first


def test_only_what_changed_is_encoded(tables):
    items = texts(30)
    tables.write(items)
    changed = {**items, 100: "edited", 107: "edited too", 114: "", 5: "new"}
    del changed[121]
    about = tables.write(changed)
    assert counted(about, "items", "encoded", "kept", "removed", "empty") == (30, 3, 26, 1, 1)
    increment = tables.shards()
    tables.write(changed, old=None)
    assert tables.shards() == increment


def test_a_shard_whose_items_all_went_is_gone(tables):
    tables.write(texts(12), shards=4)
    about = tables.write({100: "item 0"}, shards=4)
    assert counted(about, "items", "kept", "removed") == (1, 1, 11)
    assert len(tables.shards()) == 1


def test_an_item_that_moved_in_the_catalog_is_kept(tables):
    items = texts(10)
    tables.write(items)
    assert tables.write(dict(reversed(items.items())))["kept"] == 10


@pytest.mark.parametrize("change", [{"encoder": HashEncoder(salt="new")}, {"encoder": HashEncoder(dim=4)}, {"dtype": "float32"}])
def test_another_encoder_or_type_encodes_all(tables, change):
    items = texts(9)
    tables.write(items)
    del items[100]
    about = tables.write(items, **change)
    assert counted(about, "encoded", "kept", "removed") == (8, 0, 1)
    np.testing.assert_array_equal(tables.read().vectors[2:], change.get("encoder", HashEncoder()).encode(list(items.values())).astype(about["dtype"]))


@pytest.mark.parametrize("shards", [1, 7])
def test_another_number_of_shards_leaves_none_over(tables, shards):
    tables.write(texts(20))
    before = tables.read().vectors
    about = tables.write(texts(20), shards=shards)
    assert about["kept"] == 20
    np.testing.assert_array_equal(tables.read().vectors, before)
    manifest = Manifest.read(tables.last)
    assert {path.name for path in tables.last.iterdir()} == {shard.file for shard in manifest.shards} | {"manifest.json", DEAD_LETTERS}
    assert all(shard.file.endswith(f"of-{shards:05d}.tfrecord") for shard in whole_shards(tables.last, manifest))


def test_an_old_table_that_is_damaged_is_of_no_use(tables, caplog):
    tables.write(texts(9))
    path = next(tables.last.glob("*.tfrecord"))
    path.write_bytes(path.read_bytes()[:-1])
    assert counted(tables.write(texts(9)), "encoded", "kept") == (9, 0)
    assert "every item is encoded" in caplog.text


def test_an_old_table_of_other_ids_is_of_no_use(tables):
    tables.write(texts(3))
    assert counted(tables.write({str(item): text for item, text in texts(3).items()}), "encoded", "kept") == (3, 0)


# === What fails ===


def test_what_cannot_be_encoded_is_listed_and_tried_again(tables):
    items = texts(20) | {1: "unreadable", 2: "poison", 3: "nan"}
    for encoded, kept in ((20, 0), (0, 20)):
        about = tables.write(items)
        assert counted(about, "items", "encoded", "kept", "dead_letters") == (23, encoded, kept, 3)
        assert tables.letters() == [
            {"item_id": 1, "reason": "cannot read 'unreadable'"},
            {"item_id": 2, "reason": "a poisoned batch"},
            {"item_id": 3, "reason": "its vector is not finite in float16"},
        ]
        assert tables.read().present[2:].tolist() == [True] * 20 + [False] * 3
        assert not tables.read().vectors[-3:].any()
    about = tables.write({**items, 1: "readable"})
    assert counted(about, "encoded", "kept", "dead_letters") == (1, 20, 2)


def test_one_broken_image_in_a_hundred_costs_one_item(tables):
    def png(number):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 255 - number, 7)).save(buffer, "PNG")
        return buffer.getvalue()

    images = {number: png(number) for number in range(200)}
    images[17], images[133] = images[17][:-30], b"no image"
    encoder = ImageDescriptor(4).fit(images.values())
    about = tables.write({}, encoder, images, ("image",), max_refused=0.01)
    assert counted(about, "encoded", "dead_letters") == (198, 2)
    assert [letter["item_id"] for letter in tables.letters()] == [17, 133]
    assert all("An image must be" in letter["reason"] for letter in tables.letters())
    assert np.flatnonzero(~tables.read().present).tolist() == [0, 1, 19, 135]


def test_too_many_failures_stop_the_job(tables):
    items = texts(8) | {1: "unreadable", 2: "", 3: "unreadable too"}
    with pytest.raises(
        ValueError,
        match=(
            r"At most a share of 0\.1 .*embed\.max_refused.* Received: 2 of 10 for table 'title'\. The first: item 1: cannot read 'unreadable';"
            r" item 3"
        ),
    ):
        tables.write(items, max_refused=0.1)
    assert not list(tables.folder.rglob("manifest.json"))


def test_a_catalog_without_content_is_refused(tables):
    with pytest.raises(
        ValueError, match=r"At least one item must have a content for table 'title'. Received: none of 2 items. Remedy: set data.items.text"
    ):
        tables.write({1: "", 2: None})


def test_a_wrong_encoder_is_no_dead_letter(tables):
    with pytest.raises(Exception, match="encode_batch of FlatEncoder must give vectors of shape"):
        tables.write(texts(3), FlatEncoder())


# === Text and image ===


def test_text_and_image_together(tables):
    items, images = {1: "a", 2: "", 3: "c", 4: None, 5: "e"}, {1: b"x", 2: b"y", 4: None, 5: b"z"}
    encoder = TitleImage(HashEncoder(2), BytesEncoder(3))
    about = tables.write(items, encoder, images, ("text", "image"))
    assert counted(about, "items", "encoded", "empty") == (5, 4, 1)
    table = tables.read()
    assert table.present[2:].tolist() == [True, True, True, False, True]
    np.testing.assert_array_equal(
        table.vectors[2:, :2], np.where([[1], [0], [1], [0], [1]], HashEncoder(2).encode(["a", "", "c", "", "e"]), 0).astype("float16")
    )
    np.testing.assert_array_equal(
        table.vectors[2:, 2:], np.where([[1], [1], [0], [0], [1]], HashEncoder(3).encode(["x", "y", "", "", "z"]), 0).astype("float16")
    )
    about = tables.write({**items, 2: "b"}, encoder, {**images, 5: b"new"}, ("text", "image"))
    assert counted(about, "encoded", "kept") == (2, 2)
