"""`EmbeddingTable`: one cached vector a catalog item, as TFRecord shards.

A record holds `item_id`, `vector` (little-endian floats of the table's dtype), `present` (0 where the item has no vector:
it had nothing to encode, could not be encoded, or was encoded to nothing; the vector is zero), `content_hash` (what it was
encoded from; empty where the encoding failed) and `encoder_version`. The manifest says how many items there are of each kind.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ppm_tf.data.damage import naming_damage
from ppm_tf.data.manifest import DamagedDataError, Manifest, Shard, describe_shard, paths, whole_shards
from ppm_tf.rows import FIRST_ROW

HASH_BYTES = 16
NO_HASH = bytes(HASH_BYTES)  # in memory, for the empty hash of a record
_READ_BATCH = 4096


@dataclass(frozen=True)
class EmbeddingTable:
    """The vectors of one modality in catalog row order.

    Attributes:
        name: `"title"`, `"image"`, ...
        vectors: `[V, D]`, zero where absent.
        present: `[V]` bool, false for padding, unknown and items without a vector.
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
class TableRecords:
    """Records of a table as columns.

    Attributes:
        item_ids: `[B]` int64, or strings as objects.
        vectors: `[B, D]` in the table's dtype.
        present: `[B]` bool.
        hashes: `[B, 16]` uint8, zero where there is none.
    """

    item_ids: np.ndarray
    vectors: np.ndarray
    present: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.item_ids)

    def take(self, places: np.ndarray) -> TableRecords:
        """The records at `places`."""
        return TableRecords(*(getattr(self, field.name)[places] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[TableRecords]) -> TableRecords:
        """The records of all parts, one part after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @classmethod
    def without_vector(cls, item_ids: np.ndarray, hashes: np.ndarray, dim: int, dtype: str) -> TableRecords:
        """Records of items that have none: zero vectors, not present."""
        return cls(item_ids, np.zeros((len(item_ids), dim), dtype), np.zeros(len(item_ids), bool), hashes)


def write_shard(folder: Path, number: int, shards: int, records: TableRecords, encoder_version: str) -> Shard:
    """Writes one shard of a table in the order of the item ids; the file appears under its name when it is whole."""
    import tensorflow as tf

    path = folder / f"part-{number:05d}-of-{shards:05d}.tfrecord"
    # A runner may try a bundle again, or twice at once: each try writes a file of its own, and the last rename wins with equal bytes.
    temporary = folder / f".{path.name}.{uuid.uuid4().hex}"
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in _serialize(records.take(np.argsort(records.item_ids, kind="stable")), encoder_version.encode()):
            writer.write(record)
    os.replace(temporary, path)
    return describe_shard(path, len(records))


def _serialize(records: TableRecords, encoder_version: bytes) -> Iterator[bytes]:
    from tensorflow.core.example.example_pb2 import Example

    integers = records.item_ids.dtype != object
    vectors = records.vectors.astype(records.vectors.dtype.newbyteorder("<"))
    present = records.present.astype(np.int64).tolist()
    for item_id, vector, is_present, content_hash in zip(records.item_ids.tolist(), vectors, present, records.hashes, strict=True):
        example = Example()
        feature = example.features.feature
        if integers:
            feature["item_id"].int64_list.value.append(item_id)
        else:
            feature["item_id"].bytes_list.value.append(item_id.encode())
        feature["vector"].bytes_list.value.append(vector.tobytes())
        feature["present"].int64_list.value.append(is_present)
        content_hash = content_hash.tobytes()
        feature["content_hash"].bytes_list.value.append(b"" if content_hash == NO_HASH else content_hash)
        feature["encoder_version"].bytes_list.value.append(encoder_version)
        yield example.SerializeToString(deterministic=True)  # the order of a map's entries is free otherwise


def write_table(folder: Path, name: str, ids, vectors: np.ndarray, present: np.ndarray, version: str, dtype: str, shards: int = 1) -> Manifest:
    """Writes a table whose vectors no encoder job wrote; what has none is zero.

    Args:
        folder: where it is written.
        name: name of the table.
        ids: ids of the items `[I]`, a pyarrow array of integers or strings.
        vectors: float `[I, D]`.
        present: bool `[I]`.
        version: what the vectors were made by.
        dtype: type of the stored vectors.
        shards: files.
    """
    import pyarrow as pa

    integers = pa.types.is_integer(ids.type)
    keys = ids.to_numpy(zero_copy_only=False) if integers else np.array(ids.to_pylist(), object)
    records = TableRecords(keys, np.where(present[:, None], vectors, 0).astype(dtype), present, np.zeros((len(keys), HASH_BYTES), np.uint8))
    parts = np.array_split(np.arange(len(keys)), shards)
    written = [write_shard(folder, number, shards, records.take(part), version) for number, part in enumerate(parts)]
    counts = {"items": len(keys), "encoded": int(present.sum()), "empty": int((~present).sum())}
    found = table_manifest(written, name, vectors.shape[1], dtype, "int" if integers else "string", version, counts)
    found.write(folder)
    return found


def table_manifest(
    shards: Sequence[Shard], name: str, dim: int, dtype: str, item_id_type: str, encoder_version: str, counts: dict[str, int] | None = None
) -> Manifest:
    """The manifest of a table: its shards, what is in them, and how many items there are of each kind."""
    about = {"table": name, "dim": dim, "dtype": dtype, "item_id_type": item_id_type, "encoder_version": encoder_version, **(counts or {})}
    return Manifest(tuple(sorted(shards, key=lambda shard: shard.file)), "none", about)


def read_table(folder: str | Path, catalog) -> EmbeddingTable:
    """Reads a table into the row order of a catalog.

    Items of the catalog that the table lacks are absent (`present` false); items that the catalog lacks are ignored.

    Args:
        folder: folder of the shards.
        catalog: `ItemCatalog`, or anything with `num_rows` and `rows_of(ids)`.

    Raises:
        DamagedDataError: a shard is not as the manifest says.
    """
    manifest = Manifest.read(folder)
    about = manifest.about
    vectors = np.zeros((catalog.num_rows, about["dim"]), about["dtype"])
    present = np.zeros(catalog.num_rows, bool)
    for records in read_records(folder, manifest, whole_shards(folder, manifest)):
        rows = catalog.rows_of(records.item_ids)
        known = rows >= FIRST_ROW
        vectors[rows[known]] = records.vectors[known]
        present[rows[known]] = records.present[known]
    return EmbeddingTable(about["table"], vectors, present, about["encoder_version"])


def read_records(folder: str | Path, manifest: Manifest, shards: Sequence[Shard]) -> Iterator[TableRecords]:
    """The records of some shards of a table, a few thousand at a time.

    Raises:
        DamagedDataError: a file cannot be read.
    """
    import tensorflow as tf

    if not shards:
        return
    integers = manifest.about["item_id_type"] == "int"
    text = tf.io.FixedLenFeature([], tf.string)
    spec = {
        "item_id": tf.io.FixedLenFeature([], tf.int64) if integers else text,
        "vector": text,
        "present": tf.io.FixedLenFeature([], tf.int64),
        "content_hash": text,
    }
    files = paths(folder, shards)
    dataset = tf.data.TFRecordDataset(files, compression_type=manifest.tf_compression).batch(_READ_BATCH)
    dtype, dim = np.dtype(manifest.about["dtype"]).newbyteorder("<"), manifest.about["dim"]
    try:
        with naming_damage(files, manifest.tf_compression, "python -m pipelines.embed"):
            for batch in dataset:
                parsed = {name: column.numpy() for name, column in tf.io.parse_example(batch, spec).items()}
                ids = parsed["item_id"] if integers else np.array([item_id.decode() for item_id in parsed["item_id"]], object)
                vectors = np.frombuffer(b"".join(parsed["vector"]), dtype).reshape(len(ids), dim)
                hashes = np.frombuffer(b"".join(content_hash or NO_HASH for content_hash in parsed["content_hash"]), np.uint8)
                yield TableRecords(
                    ids, vectors.astype(manifest.about["dtype"], copy=False), parsed["present"].astype(bool), hashes.reshape(-1, HASH_BYTES)
                )
    except tf.errors.InvalidArgumentError as error:  # whole records, of another kind
        raise DamagedDataError(f"The table in {folder} is not readable: {error.message}. Run `python -m pipelines.embed` again.") from error
