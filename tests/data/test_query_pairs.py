import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.data.query_pairs import read_pairs


def write(path, pairs):
    queries, rows = zip(*pairs, strict=True)
    pq.write_table(pa.table({"query": pa.array(queries, pa.string()), "item_row": pa.array(rows, pa.int32())}), path)


def test_queries_are_split_whole_and_pairs_counted_once(tmp_path):
    catalog = types.SimpleNamespace(text=["lamp", "", "shoe", "hat"])
    pairs = [(f"query {number}", 2 + 2 * (number % 2)) for number in range(200)]
    # The same query in other capitals, a repeated pair, and an item without text.
    write(tmp_path / "q.parquet", [*pairs, ("Query  0", 5), ("query 0", 2), ("query 0", 3)])
    found = read_pairs(tmp_path / "q.parquet", catalog, 0.2, 0.2)
    assert len(found.queries) == 200
    assert len(found.query) == 201
    assert found.without_text == 1
    parts = [set(found.query[found.of(part)]) for part in (0, 1, 2)]
    assert sum(map(len, parts)) == 200  # no query is in two parts
    queries, items = found.relevant(int(found.part[0]))
    assert queries[0] == "query 0"
    assert items[0].tolist() == [0, 3]
    assert found.item.max() == 3 and np.bincount(found.item)[1] == 0


def test_spellings_of_a_query_are_one_query(tmp_path):
    pairs = [(f"query {number}", 2) for number in range(50)]
    write(tmp_path / "q.parquet", [*pairs, ("Query\u00a0 7", 2), ("ｑｕｅｒｙ 7", 3), (" que\u00adry\u20037", 3)])
    found = read_pairs(tmp_path / "q.parquet", types.SimpleNamespace(text=["lamp", "shoe"]), 0.2, 0.2)
    assert len(found.queries) == 50 and found.item[found.query == 7].tolist() == [0, 1]


def test_a_part_without_queries_is_refused(tmp_path):
    write(tmp_path / "q.parquet", [("one", 2)])
    with pytest.raises(ValueError, match="Every part of the queries must hold one with a clicked item"):
        read_pairs(tmp_path / "q.parquet", types.SimpleNamespace(text=["lamp"]), 0.1, 0.1)
