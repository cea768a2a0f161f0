"""`EmbeddingTable`: one cached vector a catalog item, as TFRecord shards.

A record holds `item_id`, `vector` (little-endian floats of the table's dtype), `present` (0 where the item had nothing to
encode: the vector is zero), `content_hash` and `encoder_version`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppm_tf.data.manifest import DamagedData, Manifest, describe_shard, paths, whole_shards
from ppm_tf.data.schema import FIRST_ROW

_READ_BATCH = 4096


@dataclass(frozen=True)
class EmbeddingTable:
    """The vectors of one modality in catalog row order.

    Attributes:
        name: `"title"`, `"image"`, ...
        vectors: `[V, D]`, zero where absent.
        present: `[V]` bool, false for padding, unknown and items without content.
        encoder_version: what wrote the vectors.
    """

    name: str
    vectors: np.ndarray
    present: np.ndarray
    encoder_version: str

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.vectors.shape[1]


@dataclass(frozen=True)
class EncodedBatch:
    """What an encoder gives for a run of items: ids `[B]`, vectors `[B, D]`, present `[B]`, content hashes `[B]`."""

    item_ids: np.ndarray
    vectors: np.ndarray
    present: np.ndarray
    content_hashes: list[bytes]


def write_table(
    folder: str | Path,
    name: str,
    batches: Iterable[EncodedBatch],
    encoder_version: str,
    dtype: str = "float16",
    records_per_shard: int = 500_000,
) -> Manifest:
    """Writes a table into an empty folder, the manifest last.

    Raises:
        ValueError: a vector holds NaN or infinity in `dtype`, or widths differ; the message names the item.
    """
    import tensorflow as tf

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shards, writer, path, count, dim, integers = [], None, None, 0, None, True
    version = encoder_version.encode()
    for batch in batches:
        vectors = np.asarray(batch.vectors).astype(dtype)
        dim = dim or vectors.shape[1]
        if vectors.shape[1] != dim:
            raise ValueError(f"Every vector of table '{name}' must have width {dim}. Received: {vectors.shape[1]}, from item {batch.item_ids[0]}.")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise ValueError(f"Vectors of table '{name}' must be finite in {dtype}. Received: NaN or infinity for item {batch.item_ids[bad[0]]} ({len(bad)} items of its batch).")
        integers = np.issubdtype(np.asarray(batch.item_ids).dtype, np.integer)
        for item_id, vector, present, content_hash in zip(batch.item_ids, vectors, batch.present, batch.content_hashes, strict=True):
            if writer is None:
                path = folder / f"part-{len(shards):05d}.tfrecord"
                writer, count = tf.io.TFRecordWriter(str(path)), 0
            example = tf.train.Example()
            features = example.features.feature
            if integers:
                features["item_id"].int64_list.value.append(int(item_id))
            else:
                features["item_id"].bytes_list.value.append(str(item_id).encode())
            features["vector"].bytes_list.value.append(vector.tobytes())
            features["present"].int64_list.value.append(int(present))
            features["content_hash"].bytes_list.value.append(content_hash)
            features["encoder_version"].bytes_list.value.append(version)
            writer.write(example.SerializeToString(deterministic=True))  # the order of a map's entries is free otherwise
            count += 1
            if count == records_per_shard:
                writer.close()
                shards.append(describe_shard(path, count))
                writer = None
    if writer is not None:
        writer.close()
        shards.append(describe_shard(path, count))
    manifest = Manifest(tuple(shards), "none", {"table": name, "dim": dim or 0, "dtype": dtype, "item_id_type": "int" if integers else "string", "encoder_version": encoder_version})
    manifest.write(folder)
    return manifest


def read_table(folder: str | Path, catalog) -> EmbeddingTable:
    """Reads a table into the row order of a catalog.

    Items of the catalog that the table lacks are absent (`present` false); items that the catalog lacks are ignored.

    Args:
        folder: folder of the shards.
        catalog: `ItemCatalog`, or anything with `num_rows` and `rows_of(ids)`.

    Raises:
        DamagedData: a shard is not as the manifest says.
    """
    manifest = Manifest.read(folder)
    about = manifest.about
    vectors = np.zeros((catalog.num_rows, about["dim"]), about["dtype"])
    present = np.zeros(catalog.num_rows, bool)
    for item_ids, batch_vectors, batch_present in _batches(folder, manifest):
        rows = catalog.rows_of(item_ids)
        known = rows >= FIRST_ROW
        vectors[rows[known]] = batch_vectors[known]
        present[rows[known]] = batch_present[known]
    return EmbeddingTable(about["table"], vectors, present, about["encoder_version"])


def _batches(folder: str | Path, manifest: Manifest) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    import tensorflow as tf

    shards = whole_shards(folder, manifest)
    if not shards:
        return
    item_id_type = manifest.about["item_id_type"]
    id_dtype = tf.int64 if item_id_type == "int" else tf.string
    spec = {"item_id": tf.io.FixedLenFeature([], id_dtype), "vector": tf.io.FixedLenFeature([], tf.string), "present": tf.io.FixedLenFeature([], tf.int64)}
    dataset = tf.data.TFRecordDataset(paths(folder, shards), compression_type=manifest.tf_compression).batch(_READ_BATCH)
    dtype, dim = np.dtype(manifest.about["dtype"]).newbyteorder("<"), manifest.about["dim"]
    try:
        for records in dataset:
            parsed = tf.io.parse_example(records, spec)
            vectors = np.frombuffer(b"".join(parsed["vector"].numpy()), dtype).reshape(-1, dim)
            ids = parsed["item_id"].numpy()
            if item_id_type == "string":
                ids = np.array([item_id.decode() for item_id in ids], object)
            yield ids, vectors, parsed["present"].numpy().astype(bool)
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise DamagedData(f"The table in {folder} is not readable: {error.message}. Run `python -m pipelines.embed` again.") from error
