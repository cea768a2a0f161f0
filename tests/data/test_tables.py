import numpy as np
import pyarrow as pa
import pytest

from ppm_tf.data.manifest import DamagedData, Manifest
from ppm_tf.data.tables import EncodedBatch, read_table, write_table


class Catalog:
    """Items 30, 10, 20 (or their strings) at rows 2, 3, 4."""

    num_rows = 5

    def __init__(self, id_type="int"):
        self.rows = {30: 2, 10: 3, 20: 4} if id_type == "int" else {"30": 2, "ä": 3, "20": 4}

    def rows_of(self, ids):
        return np.array([self.rows.get(one, 1) for one in pa.array(ids).to_pylist()])


def batch(ids, vectors, present=None):
    return EncodedBatch(np.array(ids), np.array(vectors, "float32"), np.array([True] * len(ids) if present is None else present), [b"h"] * len(ids))


@pytest.mark.parametrize("records_per_shard", [1, 2, 100])
def test_vectors_come_back_in_catalog_order(tmp_path, records_per_shard):
    batches = [batch([10, 20], [[1, 2], [3, 4]]), batch([30, 99], [[0, 0], [5, 5]], [False, True])]
    manifest = write_table(tmp_path, "title", batches, "v1", records_per_shard=records_per_shard)
    assert manifest.records == 4
    assert len(manifest.shards) == -(-4 // records_per_shard)
    table = read_table(tmp_path, Catalog())
    assert table.vectors.tolist() == [[0, 0], [0, 0], [0, 0], [1, 2], [3, 4]]
    assert table.present.tolist() == [False, False, False, True, True]
    assert (table.name, table.encoder_version, table.vectors.dtype, table.dim) == ("title", "v1", "float16", 2)


def test_string_ids(tmp_path):
    write_table(tmp_path, "title", [batch(["ä", "20"], [[1], [2]])], "v1")
    assert read_table(tmp_path, Catalog("string")).vectors[:, 0].tolist() == [0, 0, 0, 1, 2]


def test_float32_is_kept_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 3))
    write_table(tmp_path, "title", [batch([10], values)], "v1", dtype="float32")
    np.testing.assert_array_equal(read_table(tmp_path, Catalog()).vectors[3], values[0].astype("float32"))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([batch([10, 20], [[1], [np.nan]])], "must be finite in float16.*item 20"),
        ([batch([10], [[1e6]])], "must be finite in float16.*item 10"),
        ([batch([10], [[1, 2]]), batch([20], [[1]])], "must have width 2. Received: 1, from item 20"),
    ],
)
def test_bad_vectors_are_refused_with_their_item(tmp_path, batches, message):
    with pytest.raises(ValueError, match=message), np.errstate(over="ignore"):
        write_table(tmp_path, "title", batches, "v1")
    with pytest.raises(FileNotFoundError):
        Manifest.read(tmp_path)


def test_a_damaged_table_is_refused(tmp_path):
    write_table(tmp_path, "title", [batch([10], [[1, 2]])], "v1")
    path = tmp_path / "part-00000.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedData, match="part-00000"):
        read_table(tmp_path, Catalog())
