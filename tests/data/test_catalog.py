import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.ids import IdIndex, fixed_width
from ppm_tf.data.preparation.catalog_builder import build_catalog
from ppm_tf.data.preparation.spool import Spool
from tests.raw_logs import ITEMS, mapping, write_file, write_raw


def built(tmp_path, id_type="int", items=None, **files):
    write_raw(tmp_path, items={**ITEMS, **(items or {})})
    for name, columns in files.items():
        write_file(tmp_path / f"{name}.parquet", columns)
    return lambda **settings: (
        build_catalog(mapping(tmp_path, items=settings), tmp_path / "catalog", id_type, batch_rows=2),
        ItemCatalog.read(tmp_path / "catalog"),
    )


# === Values by hand ===


def test_attributes_by_hand(tmp_path):
    report, catalog = built(tmp_path)(
        text=("brand", "title"), fields={"brand": "brand", "tags": {"column": "tags", "separator": "|", "min_count": 2}}, numbers=("price",)
    )
    assert (catalog.num_items, catalog.num_rows, catalog.ids.to_pylist()) == (5, 7, [10, 20, 30, 40, 50])
    assert catalog.text == ["ace red shoe", "bolt blue shoe", "ace", "green hat", "bolt hat, wide"]
    # brand: ace 2, bolt 2, so ace is row 2; tags: b 3, a 2 are rows 2 and 3, c is too rare and unknown
    assert catalog.fields["brand"].tolist() == [[0], [0], [2], [3], [2], [0], [3]]
    assert catalog.fields["tags"].tolist() == [[0, 0], [0, 0], [3, 2], [2, 0], [0, 0], [2, 1], [3, 0]]
    assert [(field.name, field.vocabulary, field.num_values) for field in report.fields] == [("brand", ("ace", "bolt"), 1), ("tags", ("b", "a"), 2)]
    np.testing.assert_array_equal(catalog.numbers["price"], np.array([np.nan, np.nan, 9.5, np.nan, 3, 4, 1], np.float32))
    assert report.with_text == 5


def test_a_separator_in_a_text_column_becomes_a_comma(tmp_path):
    _, catalog = built(tmp_path)(text=("title", "tags"), fields={"tags": {"column": "tags", "separator": "|"}})
    assert catalog.text == ["red shoe a, b", "blue shoe b", "", "green hat b, c", "hat, wide a"]


def test_list_columns_are_several_values(tmp_path):
    lists = {"tags": [["a", "b"], ["b"], None, [None, "", "c"], []]}
    _, catalog = built(tmp_path, items=lists)(text=("tags",), fields={"tags": "tags"})
    assert catalog.fields["tags"].tolist() == [[0, 0], [0, 0], [3, 2], [2, 0], [0, 0], [4, 0], [0, 0]]
    assert catalog.text[:3] == ["a, b", "b", ""]


def test_texts_and_images_are_joined_by_id(tmp_path):
    texts = {"item_id": [50, 99, 10, 10], "plot": ["five", "nobody", "one", "again"]}
    images = {"item_id": [40, 10, 20], "jpeg": [b"4", None, b""]}
    _, catalog = built(tmp_path, texts=texts, images=images)(text=("plot",), text_files="texts.parquet", image="jpeg", image_files="images.parquet")
    assert catalog.text == ["one", "", "", "", "five"]
    assert list(catalog.images) == [None, None, None, b"4", None]


def test_images_by_path(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.jpg").write_bytes(b"one")
    report, catalog = built(tmp_path, items={"picture": ["pictures/1.jpg", "pictures/2.jpg", None, "", None]})(image="picture")
    assert list(catalog.images) == [b"one", None, None, None, None]
    assert report.missing_images.cases == [
        {"file": str(tmp_path / "pictures" / "2.jpg"), "row": 2, "column": "picture", "value": "pictures/2.jpg", "reason": "image file not found"}
    ]
    assert report.with_image == 1


def test_row_groups_and_batches(tmp_path):
    count = 4100
    report, catalog = built(tmp_path)()
    write_file(tmp_path / "items.parquet", {"item_id": list(range(count)), "photo": [str(item).encode() for item in range(count)]})
    report = build_catalog(mapping(tmp_path, items={"image": "photo"}), tmp_path / "large", "int")
    assert report.with_image == count
    assert pq.ParquetFile(tmp_path / "large" / "items.parquet").metadata.row_group(0).num_rows == 4096
    large = ItemCatalog.read(tmp_path / "large")
    assert (large.images[4099], large.images[0], len(large.images)) == (b"4099", b"0", count)
    assert [(row, batch.num_rows) for row, batch in large.batches(("text", "image"))] == [(2, 4096), (4098, 4)]


# === Rows of ids ===


def test_rows_of_ids(tmp_path):
    _, catalog = built(tmp_path)()
    rows = catalog.rows_of([30, 10, -5, 2**62, 50])
    assert rows.dtype == np.int32 and rows.tolist() == [4, 2, 1, 1, 6]
    assert catalog.rows_of(["30", "x", None]).tolist() == [4, 1, 1]
    assert catalog.rows_of(np.array([], np.int64)).tolist() == []


def test_rows_of_string_ids(tmp_path):
    _, catalog = built(tmp_path, "string", items={"item_id": ["b", "b\0", "ab", "žž", "a"]})()
    assert catalog.rows_of(["a", "b", "b\0", "ab", "žž", "ž", "abcdef", "abc", None, ""]).tolist() == [6, 2, 3, 4, 5, 1, 1, 1, 1, 1]


def test_fixed_width_equals_numpy():
    words = ["", "a", "longer", "ž"]
    np.testing.assert_array_equal(fixed_width(pa.array(["x", *words])[1:]), np.array([word.encode() for word in words]))
    assert fixed_width(pa.array(words), 3).tolist() == [b"", b"a", b"lon", "ž".encode()]


@pytest.mark.parametrize("kind", [int, str])
def test_index_finds_every_id(kind):
    ids = np.random.default_rng(0).permutation(1000)[:300]
    index = IdIndex(pa.array([kind(value) for value in ids]))
    expected = {value: place for place, value in enumerate(ids.tolist())}
    assert index.places(pa.array([kind(value) for value in range(1000)])).tolist() == [expected.get(value, -1) for value in range(1000)]


def test_spool_keeps_the_first_value_of_an_item(tmp_path):
    with Spool(tmp_path / "spool", 4) as spool:
        spool.add(np.array([2, -1, 2, 0]), pa.array(["two", "none", "again", None]))
        spool.add(np.array([0, 2]), pa.array(["", "late"]))
        assert spool.read(0, 4) == [b"", None, b"two", None]
    assert not (tmp_path / "spool").exists()


# === Refusals ===


@pytest.mark.parametrize(
    ("items", "settings", "match"),
    [
        ({"item_id": [10, 20, 30, 20, 50]}, {},
        r"Item ids must be unique. Received: 20 at .*items.parquet, row 2, column item_id and again at .*row 4"),
        ({"item_id": [10, 20, None, 40, 50]}, {}, r"items.parquet, row 3, column item_id must hold an item id. Received: None"),
        ({"price": [1.0, 2.0, 3.0, float("inf"), 5.0]}, {"numbers": ("price",)}, r"row 4, column price must hold a finite number. Received: inf"),
        ({"picture": ["a.jpg", "b/../../c.jpg", None, None, None]}, {"image": "picture"},
        r"row 2, column picture must be an image path inside data.path .*Received: 'b/../../c.jpg'"),
        ({"picture": ["/etc/hostname", None, None, None, None]}, {"image": "picture"},
        r"row 1, column picture must be an image path inside data.path .*Received: '/etc/hostname'"),
    ],
)  # fmt: skip
def test_refused_items(tmp_path, items, settings, match):
    with pytest.raises(ValueError, match=match):
        built(tmp_path, items=items)(**settings)


def test_refuses_no_items(tmp_path):
    with pytest.raises(ValueError, match="data.items.files must hold at least one item. Received: none"):
        built(tmp_path, items={name: pa.array([], pa.int64()) for name in ITEMS})()


def test_refuses_a_missing_catalog(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold items.parquet. Run `python -m pipelines.prepare` first"):
        ItemCatalog.read(tmp_path)
