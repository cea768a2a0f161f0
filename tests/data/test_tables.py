import numpy as np
import pyarrow as pa
import pytest

from ppm_tf.data.manifest import DamagedDataError, Manifest, describe_shard
from ppm_tf.data.tables import NO_HASH, TableRecords, read_records, read_table, table_manifest, write_shard


class Catalog:
    """Items 30, 10, 20 (or their strings) at rows 2, 3, 4."""

    num_rows = 5

    def __init__(self, id_type="int"):
        self.rows = {30: 2, 10: 3, 20: 4} if id_type == "int" else {"30": 2, "ä": 3, "20": 4}

    def rows_of(self, ids):
        return np.array([self.rows.get(one, 1) for one in pa.array(ids).to_pylist()])


def records(ids, vectors, present=None, hashes=None, dtype="float16"):
    ids = np.array(ids, object if isinstance(ids[0], str) else np.int64)
    hashes = np.frombuffer(b"".join(hashes or [bytes([number + 1] * 16) for number in range(len(ids))]), np.uint8).reshape(-1, 16)
    return TableRecords(ids, np.array(vectors, dtype), np.array([True] * len(ids) if present is None else present), hashes)


def write(folder, *parts, name="title", version="v1"):
    """A table with a shard for each part."""
    shards = [write_shard(folder, number, len(parts), part, version) for number, part in enumerate(parts)]
    first = parts[0]
    table_manifest(
        shards, name, first.vectors.shape[1], str(first.vectors.dtype), "int" if first.item_ids.dtype == np.int64 else "string", version, {"items": 7}
    ).write(folder)


def test_vectors_come_back_in_catalog_order(tmp_path):
    write(tmp_path, records([20, 10], [[3, 4], [1, 2]]), records([30, 99], [[0, 0], [5, 5]], [False, True]))
    manifest = Manifest.read(tmp_path)
    assert [(shard.file, shard.records) for shard in manifest.shards] == [("part-00000-of-00002.tfrecord", 2), ("part-00001-of-00002.tfrecord", 2)]
    assert manifest.about == {"table": "title", "dim": 2, "dtype": "float16", "item_id_type": "int", "encoder_version": "v1", "items": 7}
    table = read_table(tmp_path, Catalog())
    assert table.vectors.tolist() == [[0, 0], [0, 0], [0, 0], [1, 2], [3, 4]]
    assert table.present.tolist() == [False, False, False, True, True]
    assert (table.name, table.encoder_version, table.vectors.dtype, table.dim) == ("title", "v1", "float16", 2)


def test_string_ids(tmp_path):
    write(tmp_path, records(["ä", "20"], [[1], [2]]))
    assert read_table(tmp_path, Catalog("string")).vectors[:, 0].tolist() == [0, 0, 0, 1, 2]


def test_float32_is_kept_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 3))
    write(tmp_path, records([10], values, dtype="float32"))
    np.testing.assert_array_equal(read_table(tmp_path, Catalog()).vectors[3], values[0].astype("float32"))


def test_records_come_back_in_id_order_with_hash_and_without(tmp_path):
    write(tmp_path, records([20, 10], [[3], [1]], [True, False], [b"h" * 16, NO_HASH]))
    manifest = Manifest.read(tmp_path)
    (found,) = read_records(tmp_path, manifest, manifest.shards)
    assert found.item_ids.tolist() == [10, 20]
    assert found.present.tolist() == [False, True]
    assert [row.tobytes() for row in found.hashes] == [NO_HASH, b"h" * 16]


def test_a_record_is_what_the_format_says(tmp_path):
    import tensorflow as tf

    path = tmp_path / write_shard(tmp_path, 0, 1, records(["ä"], [[1, 0.5]], [True], [NO_HASH]), "v1").file
    (raw,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    feature = tf.train.Example.FromString(raw).features.feature
    assert feature["item_id"].bytes_list.value[0] == "ä".encode()
    assert feature["vector"].bytes_list.value[0] == b"\x00\x3c\x00\x38"  # 1 and 0.5 as little-endian half floats
    assert feature["present"].int64_list.value[0] == 1
    assert feature["content_hash"].bytes_list.value[0] == b""
    assert feature["encoder_version"].bytes_list.value[0] == b"v1"


def test_equal_records_make_equal_shards_and_leave_nothing_else(tmp_path):
    shards = [
        write_shard(tmp_path, 0, 1, part, "v1")
        for part in (records([20, 10], [[3], [1]], hashes=[NO_HASH] * 2), records([10, 20], [[1], [3]], hashes=[NO_HASH] * 2))
    ]
    assert shards[0] == shards[1] == describe_shard(tmp_path / "part-00000-of-00001.tfrecord", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000-of-00001.tfrecord"]


def test_a_damaged_table_is_refused(tmp_path):
    write(tmp_path, records([10], [[1, 2]]))
    path = tmp_path / "part-00000-of-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedDataError, match="part-00000"):
        read_table(tmp_path, Catalog())
    manifest = Manifest.read(tmp_path)
    with pytest.raises(
        DamagedDataError,
        match=(
            r"Received: .*part-00000-of-00001\.tfrecord: truncated record at \d+.* Remedy: restore the file, or write it anew with `python -m"
            r" pipelines\.embed`"
        ),
    ):
        list(read_records(tmp_path, manifest, manifest.shards))


def test_a_table_without_items_is_empty(tmp_path):
    table_manifest([], "title", 2, "float16", "int", "v1").write(tmp_path)
    table = read_table(tmp_path, Catalog())
    assert table.vectors.shape == (5, 2) and not table.present.any()
