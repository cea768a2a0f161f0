import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.holdout import TEST, TRAIN, VALID, parts_of
from ppm_tf.data.schema import Field, Schema
from ppm_tf.encoders.image_augmentation import augment
from ppm_tf.encoders.image_pixels import read_pixels
from ppm_tf.objectives.labelled_images import batches_in_order, label_images, spool_images, training_batches
from tests.encoders.test_image_pixels import encoded

SIZE = 8
COLOURS = ("red", "green", "blue", "gold")  # rows 2 to 5 of the field's vocabulary


class Reader:
    """What `training_batches` uses of an encoder."""

    size = SIZE

    def __init__(self):
        self.read_contents = []

    def read(self, content):
        self.read_contents.append(content)
        return read_pixels(content, SIZE)


def picture(item):
    return encoded(np.random.default_rng(item).integers(0, 256, (SIZE, SIZE, 3)))


def catalog_of(folder, values, images):
    """Items 100, 101, ...; `values` are vocabulary rows."""
    table = pa.table(
        {"item_id": pa.array(range(100, 100 + len(images)), pa.int64()), "text": [""] * len(images), "image": pa.array(images, pa.binary())}
    )
    pq.write_table(table, folder / "items.parquet", row_group_size=7)
    values = np.asarray(values, "int32").reshape(len(images), -1)
    np.savez(folder / "fields.npz", colour=np.concatenate([np.array([[0] * values.shape[1], [1] + [0] * (values.shape[1] - 1)], "int32"), values]))
    fields = (Field("colour", "item", COLOURS, values.shape[1]), Field("age", "user", ("old",)))
    schema = Schema(fields, (), ("click",), "click", 3, 2, "int", "int", False, False, False)
    return ItemCatalog.read(folder), schema


@pytest.fixture
def forty(tmp_path):
    """Forty items: red and blue by turns; item 103 has no image, 105's is broken, 107's is cut off, 109 is empty."""
    images = [picture(item) for item in range(40)]
    images[3], images[5], images[7], images[9] = None, b"no image", images[7][:90], b""
    return catalog_of(tmp_path, [2, 4] * 20, images)


def labelled(found, tmp_path, reader=None, min_count=2, valid=0.2, test=0.3, entity="colour"):
    catalog, schema = found
    reader = reader or Reader()
    return label_images(
        catalog, schema, entity, min_count, valid, test, lambda wanted: spool_images(catalog, wanted, reader.read, tmp_path / "images.arrow")
    )


def test_broken_images_are_set_aside_with_their_item(forty, tmp_path):
    data = labelled(forty, tmp_path)
    assert len(data.images) == 36
    assert (data.images.rows - 2).tolist() == [place for place in range(40) if place not in (3, 5, 7, 9)]
    assert [item for item, _ in data.images.refused] == [105, 107]
    assert all("An image must be JPEG, PNG" in reason for _, reason in data.images.refused)
    assert data.images[0] == picture(0) and data.images[35] == picture(39)


def test_each_image_is_decoded_once_and_the_spool_used_again(forty, tmp_path):
    reader = Reader()
    first = labelled(forty, tmp_path, reader)
    assert sorted(map(len, reader.read_contents)) == sorted([len(picture(place)) for place in range(40) if place not in (3, 5, 7, 9)] + [8, 90])
    again = labelled(forty, tmp_path, reader)
    assert len(reader.read_contents) == 38
    assert again.images.refused == first.images.refused
    np.testing.assert_array_equal(again.images.rows, first.images.rows)


def test_a_spool_that_was_cut_off_is_made_anew(forty, tmp_path):
    labelled(forty, tmp_path)
    (tmp_path / "images.arrow").rename(tmp_path / "new-images.arrow")
    with (tmp_path / "new-images.arrow").open("r+b") as file:
        file.truncate(500)
    assert len(labelled(forty, tmp_path).images) == 36


def test_classes_are_the_values_seen_often_enough_in_training(tmp_path):
    values = [2] * 20 + [4] * 20 + [5] * 3 + [1] * 3 + [0] * 4  # red, blue; gold is rare, then unknown, then nothing
    data = labelled(catalog_of(tmp_path, values, [picture(item) for item in range(50)]), tmp_path, min_count=5)
    assert data.classes == ("red", "blue")
    labels = dict(zip((data.images.rows - 2).tolist(), data.labels[:, 0].tolist(), strict=True))
    assert labels == {item: {2: 0, 4: 1}.get(value, -1) for item, value in enumerate(values) if value >= 2}
    parts = parts_of(range(100, 150), 0.2, 0.3)
    for part in (TRAIN, VALID, TEST):
        assert (data.images.rows[data.places(part)] - 2).tolist() == [item for item in range(40) if parts[item] == part]


def test_an_item_of_several_values(tmp_path):
    values = [[2, 4], [4, 0], [5, 2], [1, 4]] * 5
    data = labelled(catalog_of(tmp_path, values, [picture(item) for item in range(20)]), tmp_path, min_count=1, valid=0.0, test=0.0)
    assert data.classes == ("red", "blue", "gold")
    np.testing.assert_array_equal(data.labels, [[0, 1], [1, -1], [2, 0], [-1, 1]] * 5)


def test_no_usable_class(forty, tmp_path):
    with pytest.raises(
        ValueError,
        match=(
            r"at least two values of the item field colour on 30 training images each. Received: 0; the commonest are \w+ \(\d+\), \w+ \(\d+\)."
            r" Choose another image.finetune.entity \(colour\) or lower image.finetune.min_count"
        ),
    ):
        labelled(forty, tmp_path, min_count=30)
    with pytest.raises(ValueError, match="image.finetune.entity must be an item field of the data: colour. Received: age"):
        labelled(forty, tmp_path, entity="age")


def test_a_pass_shows_every_image_once_as_it_is(forty, tmp_path):
    data = labelled(forty, tmp_path)
    places = data.places(TRAIN)
    batches = list(training_batches(data, places, Reader(), batch_size=len(places), epochs=2, seed=1, augmented=False).as_numpy_iterator())
    assert len(batches) == 2
    for batch in batches:
        assert sorted(batch["row"]) == data.images.rows[places].tolist()
        for pixels, labels, row in zip(batch["pixels"], batch["labels"], batch["row"], strict=True):
            np.testing.assert_array_equal(pixels, read_pixels(picture(row - 2), SIZE))
            assert labels.tolist() == [(row - 2) % 2]
    assert batches[0]["row"].tolist() != batches[1]["row"].tolist()


def test_every_batch_is_full(forty, tmp_path):
    data = labelled(forty, tmp_path)
    places = data.places(TRAIN)[:5]
    sizes = [len(batch["row"]) for batch in training_batches(data, places, Reader(), batch_size=4, epochs=2, seed=1)]
    assert sizes[:3] == [4, 4, 4]  # ten images are three batches, the last one filled up
    assert [len(batch["row"]) for batch in training_batches(data, places, Reader(), batch_size=64, epochs=1, seed=1)] == [64]


def test_augmentation_is_that_of_the_seed_and_the_step(forty, tmp_path):
    data = labelled(forty, tmp_path)
    places = data.places(TRAIN)
    first, again = (list(training_batches(data, places, Reader(), 4, 2, seed=7).as_numpy_iterator()) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["pixels"], other["pixels"])
    step = 0
    for batch in first[:3]:
        for pixels, row in zip(batch["pixels"], batch["row"], strict=True):
            expected = augment(tf.constant(read_pixels(picture(row - 2), SIZE)), tf.constant([7, step], tf.int64))
            np.testing.assert_array_equal(pixels, expected)
            step += 1
    other = next(training_batches(data, places, Reader(), 4, 2, seed=8).as_numpy_iterator())
    assert np.any(other["pixels"] != first[0]["pixels"])


def test_evaluation_sees_the_images_as_they_are_in_order(forty, tmp_path):
    data = labelled(forty, tmp_path)
    places = data.places(TEST)
    batches = list(batches_in_order(data, places, Reader(), batch_size=4).as_numpy_iterator())
    rows = np.concatenate([batch["row"] for batch in batches])
    np.testing.assert_array_equal(rows, data.images.rows[places])
    expected = [read_pixels(picture(row - 2), SIZE) for row in rows]
    np.testing.assert_array_equal(np.concatenate([batch["pixels"] for batch in batches]), expected)


def test_an_iterator_restored_in_the_middle_goes_on_with_the_same_batches(forty, tmp_path):
    data = labelled(forty, tmp_path)

    def batches():
        return iter(training_batches(data, data.places(TRAIN), Reader(), 4, 3, seed=1))

    whole = list(batches())
    iterator = batches()
    for _ in range(3):
        next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
    next(iterator)
    fresh = batches()
    tf.train.Checkpoint(iterator=fresh).restore(saved).assert_existing_objects_matched()
    rest = list(fresh)
    assert len(rest) == len(whole) - 3
    for found, expected in zip(rest, whole[3:], strict=True):
        for name in ("row", "labels", "pixels"):
            np.testing.assert_array_equal(found[name], expected[name])


def test_refused_images_are_written_beside_the_spool(forty, tmp_path):
    labelled(forty, tmp_path)
    assert [item for item, _ in json.loads((tmp_path / "images.arrow.refused.json").read_text())] == [105, 107]
