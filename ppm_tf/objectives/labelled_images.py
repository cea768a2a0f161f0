"""The images that entity prediction learns from: spooled once, mapped into memory, decoded as they are drawn."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tqdm import tqdm

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.holdout import TRAIN, parts_of
from ppm_tf.data.schema import Schema
from ppm_tf.data.shuffling import shuffled_indices
from ppm_tf.encoders.image_augmentation import augment
from ppm_tf.rows import FIRST_ROW

logger = logging.getLogger(__name__)

_SCHEMA = pa.schema({"row": pa.int32(), "image": pa.large_binary()})


class ImageFile(Sequence):
    """Encoded images in an Arrow file that is mapped into memory, so that its size does not count.

    Args:
        path: file written by `spool_images`.

    Attributes:
        rows: int32 `[n]`, catalog row of each image.
        refused: (item id, reason) of the images that could not be read.
    """

    def __init__(self, path: Path):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.rows = table["row"].to_numpy()
        self.refused = [tuple(pair) for pair in json.loads(_refused_path(path).read_text(encoding="utf-8"))]
        self._images = table["image"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> bytes:
        return self._images[int(place)].as_py()


def spool_images(catalog: ItemCatalog, wanted: np.ndarray, read: Callable[[bytes], np.ndarray], path: Path) -> ImageFile:
    """Copies the images of some items out of the catalog, without those that `read` refuses; each is decoded once.

    Args:
        catalog: the items.
        wanted: bool `[num_items]`.
        read: the encoder's.
        path: file to write. One that is there is taken as it is: it was made whole.
    """
    if path.is_file():
        return ImageFile(path)
    start, temporary, refused = time.monotonic(), path.with_name("new-" + path.name), []
    with (
        pa.ipc.new_file(str(temporary), _SCHEMA) as file,
        ThreadPoolExecutor() as pool,
        tqdm(total=int(wanted.sum()), desc="read images", unit="item", dynamic_ncols=True, mininterval=1.0) as bar,
    ):
        for row, batch in catalog.batches(("item_id", "image")):
            batch = batch.append_column("row", pa.array(range(row, row + len(batch)), pa.int32()))
            batch = batch.filter(pa.array(wanted[row - FIRST_ROW : row - FIRST_ROW + len(batch)]))
            reasons = list(pool.map(lambda image: _why_refused(read, image), batch.column("image").to_pylist()))
            refused += [(item_id, reason) for item_id, reason in zip(batch.column("item_id").to_pylist(), reasons, strict=True) if reason]
            kept = batch.filter(pa.array([reason is None for reason in reasons], pa.bool_()))
            file.write_batch(pa.record_batch([kept.column("row"), kept.column("image").cast(pa.large_binary())], schema=_SCHEMA))
            bar.update(len(reasons))
    _refused_path(path).write_text(json.dumps(refused), encoding="utf-8")
    os.replace(temporary, path)
    images = ImageFile(path)
    logger.info(
        "%s images decoded once, %d refused, %.1f MiB, in %.1f s",
        f"{len(images):,}",
        len(refused),
        path.stat().st_size / 2**20,
        time.monotonic() - start,
    )
    return images


def _why_refused(read: Callable[[bytes], np.ndarray], image: bytes | None) -> str | None:
    """The reason; "" where there is no image at all; `None` where it can be read."""
    if not image:
        return ""
    try:
        read(image)
    except ValueError as error:
        return str(error)
    return None


def _refused_path(path: Path) -> Path:
    return path.with_name(path.name + ".refused.json")


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes and parts.

    Attributes:
        images: the encoded images.
        classes: names of the classes.
        labels: int32 `[len(images), K]`, class numbers; -1 = no further one.
        parts: int8 `[len(images)]`, as `parts_of` gives them.
    """

    images: ImageFile
    classes: tuple[str, ...]
    labels: np.ndarray
    parts: np.ndarray

    def places(self, part: int) -> np.ndarray:
        """The images of a part that have a class."""
        return np.flatnonzero((self.parts == part) & (self.labels >= 0).any(1))


def label_images(
    catalog: ItemCatalog, schema: Schema, entity: str, min_count: int, valid: float, test: float, images: Callable[[np.ndarray], ImageFile]
) -> LabelledImages:
    """Classes from the values of an item field, parts from the item ids.

    Args:
        catalog: the items.
        schema: of the catalog.
        entity: item field whose values are the entities.
        min_count: values on fewer training images are no class.
        valid: share of the items in the valid part.
        test: share of the items in the test part.
        images: gives the readable images of wanted items, bool `[num_items]`.

    Raises:
        ValueError: there is no such field, or fewer than two of its values are seen often enough.
    """
    fields = {field.name: field for field in schema.side("item")}
    if entity not in fields:
        raise ValueError(
            f"image.finetune.entity must be an item field of the data: {', '.join(fields) or 'it has none'}. Received: {entity}. See"
            " data.items.fields."
        )
    values = catalog.fields[entity][FIRST_ROW:]
    found = images((values >= FIRST_ROW).any(1))
    values = values[found.rows - FIRST_ROW]
    parts = parts_of((catalog.ids[int(row) - FIRST_ROW].as_py() for row in found.rows), valid, test)
    counts = np.bincount(values[parts == TRAIN].ravel(), minlength=fields[entity].num_rows)
    counts[:FIRST_ROW] = 0
    often = np.flatnonzero(counts >= min_count)
    if len(often) < 2:
        commonest = [row for row in np.argsort(-counts, kind="stable")[:3] if counts[row]]
        best = ", ".join(f"{fields[entity].vocabulary[row - FIRST_ROW]} ({counts[row]})" for row in commonest)
        raise ValueError(
            f"Entity prediction needs at least two values of the item field {entity} on {min_count} training images each. Received: {len(often)}; the"
            f" commonest are {best or 'none'}. Choose another image.finetune.entity ({', '.join(fields)}) or lower image.finetune.min_count."
        )
    number = np.full(fields[entity].num_rows, -1, np.int32)
    number[often] = np.arange(len(often))
    return LabelledImages(found, tuple(fields[entity].vocabulary[row - FIRST_ROW] for row in often), number[values], parts)


def training_batches(
    data: LabelledImages, places: np.ndarray, encoder, batch_size: int, epochs: int, seed: int, augmented: bool = True
) -> tf.data.Dataset:
    """Full batches in a shuffled order, enough for `epochs` passes.

    Args:
        data: the images.
        places: int `[n]`, the images to draw from.
        encoder: `ImageEncoder`, whose `read` decodes.
        batch_size: images a batch.
        epochs: passes.
        seed: of order and augmentation.
        augmented: whether images are changed at random.

    Returns:
        Dataset of what `EntityPrediction` takes. Its iterator can be saved in a checkpoint.
    """
    steps = -(-len(places) * epochs // batch_size)
    passes = -(-steps * batch_size // len(places))  # the last batch is filled up: batch statistics of a few images mislead
    load = _loader(data, places, encoder)

    def example(index, step):
        pixels, labels, row = load(index)
        if augmented:
            pixels = augment(pixels, tf.stack([tf.constant(seed, tf.int64), step]))
        return {"pixels": pixels, "labels": labels, "row": row}

    examples = shuffled_indices(len(places), passes, seed).map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size, drop_remainder=True).prefetch(2)


def batches_in_order(data: LabelledImages, places: np.ndarray, encoder, batch_size: int) -> tf.data.Dataset:
    """The images at `places` once, in their order and as they are."""
    load = _loader(data, places, encoder)
    names = ("pixels", "labels", "row")
    examples = tf.data.Dataset.range(len(places)).map(lambda index: dict(zip(names, load(index), strict=True)), num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(batch_size).prefetch(2)


def _loader(data: LabelledImages, places: np.ndarray, encoder):
    def load(index):
        place = places[index]
        return encoder.read(data.images[place]), data.labels[place], data.images.rows[place]

    def graph(index):
        # Stateless: the same index gives the same image, so that the calls may run in parallel and an iterator can be saved.
        pixels, labels, row = tf.numpy_function(load, [index], [tf.uint8, tf.int32, tf.int32], stateful=False)
        return tf.ensure_shape(pixels, [encoder.size, encoder.size, 3]), tf.ensure_shape(labels, [data.labels.shape[1]]), tf.ensure_shape(row, [])

    return graph
