"""The table of docs/data.md against the readers: every cell is written into a file of its format and read."""

import datetime
import decimal
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.config import DataSettings
from ppm_tf.data.ids import refuse_inexact, typed_ids
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_times import TICKS, moments, ordering
from ppm_tf.data.raw.columns import Place, categories, labels, numbers, texts

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"
MISSING = DataSettings().missing
PARQUET = {
    "int64": (pa.int64(), int), "uint64": (pa.uint64(), int), "double": (pa.float64(), float), "decimal": (pa.decimal128(20, 2), decimal.Decimal),
    "string": (pa.string(), str),
    "boolean": (pa.bool_(), lambda cell: cell == "true"), "date": (pa.date32(), datetime.date.fromisoformat), "timestamp": (pa.timestamp("us"),
    datetime.datetime.fromisoformat),
}  # fmt: skip


def rows_of_the_table():
    lines = re.findall(r"^\| (id|field|text|number|label|time|order) \| (.+?) \| (.+) \| (.+?) \|$", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert len(lines) > 35
    for kind, formats, cells, expected in lines:
        for form in formats.split(", "):
            for cell in re.findall(r"`(.+?)`", cells):
                yield kind, form, cell, expected


def write(folder, form, cell):
    """A file with the cell in its first row, and nothing in the second."""
    if form == "CSV":
        path = folder / "one.csv"
        path.write_text(f"c,d\n{cell},1\n,1\n", encoding="utf-8")
    elif form.startswith("JSON lines"):
        path = folder / "one.jsonl"
        written = cell if form != "JSON lines" or cell.startswith("{") else json.dumps(cell)
        path.write_text(f'{{"c": {written}, "d": 1}}\n{{"d": 1}}\n', encoding="utf-8")
    else:
        path = folder / "one.parquet"
        kind, convert = PARQUET[form.removeprefix("Parquet ")]
        pq.write_table(pa.table({"c": pa.array([convert(cell), None], kind), "d": [1, 1]}), path)
    return path


def read(kind, path):
    """What the first row's cell is read as, in the words of the table."""
    place = Place(str(path), "c", f"data.log.{kind}")
    ((_, batch),) = raw_files.batches(raw_files.splits([path])[0], ["c"], 10)
    column = batch.column(0)
    if kind in ("time", "order"):
        column = column[:1]  # neither may be missing
    if kind == "id":
        refuse_inexact(column, place)
        found = typed_ids(column, "string", MISSING)[0].as_py()
        assert found is None or typed_ids(pa.array([found]), "string", MISSING)[0].as_py() == found
        return "nothing" if found is None else found
    if kind == "field":
        counts, values = categories(column, None, MISSING)
        return values[0].as_py() if counts[0] else "nothing"
    if kind == "text":
        return texts([column], [None], MISSING)[0].as_py() or "nothing"
    if kind == "number":
        value = numbers(column, place, MISSING)[0]
        return "nothing" if np.isnan(value) else f"{value:g}"
    if kind == "label":
        return {1: "positive", 0: "negative", -1: "nothing"}[int(labels(column, None, place, MISSING)[0])]
    if kind == "time":
        return str(np.datetime64(int(moments(column, "auto", place, MISSING)[0] // TICKS), "s"))
    return str(ordering(column, place, MISSING)[0][0])


@pytest.mark.parametrize(("kind", "form", "cell", "expected"), list(rows_of_the_table()))
def test_a_cell_is_read_as_the_table_says(tmp_path, kind, form, cell, expected):
    path = write(tmp_path, form, cell)
    if expected.startswith("refused: "):
        with pytest.raises(ValueError, match=re.escape(expected.removeprefix("refused: "))):
            read(kind, path)
    else:
        assert read(kind, path) == (cell if expected == "as written" else expected)


def test_every_kind_stands_in_the_table_for_every_format():
    found = {(kind, form.split(" ")[0]) for kind, form, _, _ in rows_of_the_table()}
    assert found == {(kind, form) for kind in ("id", "field", "text", "number", "label", "time", "order") for form in ("CSV", "JSON", "Parquet")}


def test_the_words_for_missing_are_those_of_the_setting():
    text = DOCUMENT.read_text(encoding="utf-8")
    (line,) = re.findall(r"^\| id \| [^|]+ \| (`\\N`.+) \| nothing \|$", text, re.M)
    assert {cell.strip() for cell in re.findall(r"`(.+?)`", line)} == {word for word in MISSING if word}
