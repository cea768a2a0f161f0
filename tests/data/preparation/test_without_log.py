"""Catalogs and queries alone: `data.log=null`."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.config import BeamSettings, ColumnarData, load
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.prepare import prepare
from ppm_tf.data.schema import Schema
from ppm_tf.data.sources import columnar
from tests.raw_logs import ITEMS, write_file

# Four pairs of three items; the first row of an item is its item row.
PAIRS = {
    "product": [7, 7, 9, 8],
    "title": ["red shoe", "another name", "hat", None],
    "kind": ["shoe", "boot", "hat", "hat"],
    "price": [1.0, 5.0, 2.0, None],
    "query": ["shoe", "boots", "cap", "hat"],
    "grade": [3.0, 1.0, 2.33, 2.0],
}


def alone(folder, **settings):
    return ColumnarData(path=str(folder), log=None, **settings)


@pytest.fixture
def pairs(tmp_path):
    grades = pa.array(PAIRS["grade"], pa.float32())  # in which 2.33 is 2.3299999
    write_file(tmp_path / "pairs.parquet", {**PAIRS, "grade": grades})
    items = {"files": "pairs.parquet", "id": "product", "text": ("title",), "fields": {"kind": "kind"}, "numbers": ("price",), "repeated": "first"}
    queries = {"files": "pairs.parquet", "item": "product", "label": "grade", "at_least": 2.33}
    return alone(tmp_path, items=items, queries=queries)


def test_one_file_of_pairs_gives_items_and_queries(tmp_path, pairs):
    statistics = prepare(pairs, BeamSettings(), tmp_path / "out")
    catalog = ItemCatalog.read(tmp_path / "out" / "catalog")
    assert (catalog.ids.to_pylist(), catalog.text) == ([7, 9, 8], ["red shoe", "hat", ""])
    # kind: hat comes twice among the items, shoe once; boot is of a repeated row
    assert catalog.fields["kind"].tolist() == [[0], [0], [3], [2], [2]]
    assert catalog.numbers["price"].tolist()[2:4] == [1.0, 2.0]
    assert pq.read_table(tmp_path / "out" / "queries.parquet").to_pydict() == {"query": ["shoe", "cap"], "item_row": [2, 3]}
    assert statistics == json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert statistics["queries"] == {"read": 4, "kept": 2, "below_grade": 2, "empty": 0, "unknown_item": 0}
    assert (statistics["items"], statistics["repeated_item_rows"], statistics["rows_read"], statistics["splits"]) == (3, 1, 0, {})


def test_there_are_no_tasks_users_or_samples(tmp_path, pairs):
    prepare(pairs, BeamSettings(), tmp_path / "out")
    schema = Schema.read(tmp_path / "out" / "schema.json")
    assert (schema.tasks, schema.history_task, schema.has_time, schema.has_slot, schema.has_truth) == ((), "", False, False, False)
    assert [(field.name, field.vocabulary) for field in schema.fields] == [("kind", ("hat", "shoe"))]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "catalog",
        "queries.parquet",
        "rejected.jsonl",
        "schema.json",
        "statistics.json",
    ]
    counts = ItemCatalog.read(tmp_path / "out" / "catalog").counts
    assert {name: array.shape for name, array in counts.items()} == {
        "exposures_pretrain": (5,), "positives_pretrain": (5, 0), "exposures_train": (5,), "positives_train": (5, 0),
    }  # fmt: skip
    assert not counts["exposures_train"].any()


def test_settings_of_the_log_are_not_asked_for(tmp_path):
    """Neither request id nor time, and no user file: the defaults of a log with both stay unchecked."""
    write_file(tmp_path / "items.parquet", ITEMS)
    columns = alone(tmp_path, history_task="order", users={"files": "nowhere.parquet"})
    columnar.check(columns)
    assert [path.name for path in columnar.raw_inputs(columns)] == ["items.parquet"]
    assert columnar.item_id_type(columns) == "int"
    assert prepare(columns, BeamSettings(), tmp_path / "out")["queries"] is None


@pytest.mark.parametrize("batch_rows", [1, 2, 10])
def test_the_first_row_of_an_id_counts_whatever_the_batches(tmp_path, batch_rows):
    from ppm_tf.data.preparation.catalog_builder import build_catalog

    for name, ids, prices in (("a", ["x", "y", "x"], [1.0, 2.0, 3.0]), ("b", ["y", "z", "z"], [4.0, 5.0, 6.0])):
        write_file(tmp_path / f"items-{name}.csv", {"item_id": ids, "price": prices, "title": [None, f"{name}1", f"{name}2"]})
    columns = alone(tmp_path, items={"files": "items-*.csv", "numbers": ("price",), "text": ("title",), "repeated": "first"})
    report = build_catalog(columns, tmp_path / "catalog", "string", batch_rows)
    catalog = ItemCatalog.read(tmp_path / "catalog")
    assert (catalog.ids.to_pylist(), catalog.numbers["price"].tolist()[2:], report.repeated_rows) == (["x", "y", "z"], [1.0, 2.0, 5.0], 3)
    assert catalog.text == ["a2", "a1", "b1"]  # the first that is not empty


def test_repeated_ids_are_refused_unless_asked_for(tmp_path, pairs):
    columns = pairs.model_copy(update={"items": pairs.items.model_copy(update={"repeated": "refuse"})})
    with pytest.raises(
        ValueError,
        match=r"Item ids must be unique. Received: 7 at .*pairs.parquet, row 1, column product and again at .*row 2.*data.items.repeated=first",
    ):
        prepare(columns, BeamSettings(), tmp_path / "out")


def test_pretraining_says_at_once_that_it_needs_a_log(tmp_path, capsys):
    from pipelines import pretrain
    from pipelines.stage import main

    settings = ["data.source=columnar", f"data.path={tmp_path}", "data.log=null", f"run={tmp_path / 'run'}"]
    assert load(settings).data.log is None
    with pytest.raises(SystemExit):
        main(pretrain.STAGE, settings)
    assert "PPM is trained on an interaction log. Received: data.log=null. Remedy: set data.log" in capsys.readouterr().err


def test_a_missing_image_folder_is_refused_with_its_first_file(tmp_path):
    names = [f"photos/{number}.jpg" for number in range(10)]
    write_file(tmp_path / "items.parquet", {"item_id": list(range(10)), "photo": names})
    settings = alone(tmp_path, items={"image": "photo"})
    with pytest.raises(
        FileNotFoundError,
        match=(
            r"share of 0.1 .*\(data.max_missing_images\). Received: 10 of 10 are not there. The first is .*photos/0.jpg \(column photo, value"
            r" 'photos/0.jpg'\). Remedy: copy the images"
        ),
    ):
        prepare(settings, BeamSettings(), tmp_path / "none")
    (tmp_path / "photos").mkdir()
    for name in names[1:]:
        (tmp_path / name).write_bytes(b"picture")
    assert prepare(settings, BeamSettings(), tmp_path / "most")["image_files_not_found"] == 1  # a tenth may be missing
    (tmp_path / names[5]).unlink()
    with pytest.raises(FileNotFoundError, match="Received: 2 of 10 are not there"):
        prepare(settings, BeamSettings(), tmp_path / "fewer")
    assert prepare(settings.model_copy(update={"max_missing_images": 0.2}), BeamSettings(), tmp_path / "allowed")["image_files_not_found"] == 2


def test_encoded_images_that_items_lack_are_no_missing_files(tmp_path):
    write_file(tmp_path / "items.parquet", {"item_id": [1, 2], "photo": pa.array([b"x", None], pa.binary())})
    assert prepare(alone(tmp_path, items={"image": "photo"}, max_missing_images=0.0), BeamSettings(), tmp_path / "out")["items_with_image"] == 1
