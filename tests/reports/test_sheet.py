import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.catalog_builder import build_catalog
from ppm_tf.reports.sheet import Shown, read_shown, write_sheet
from tests.raw_logs import ITEMS, mapping, write_file


def picture(size=(300, 150), mode="RGB", kind="JPEG"):
    buffer = io.BytesIO()
    Image.new(mode, size, 120).save(buffer, kind)
    return buffer.getvalue()


def test_what_is_shown_of_items(tmp_path):
    write_file(tmp_path / "items.parquet", {**ITEMS, "jpeg": [b"1", None, b"3", None, b"5"]})
    build_catalog(mapping(tmp_path, items={"text": ("title",), "image": "jpeg"}), tmp_path / "catalog", "int", batch_rows=2)
    categories = ["", "", "a", "b", "", "c", "d"]
    shown = read_shown(ItemCatalog.read(tmp_path / "catalog"), np.array([6, 2, 4, 4, -1]), categories)
    assert shown == {2: Shown(10, "red shoe", b"1", "a"), 4: Shown(30, "", b"3", ""), 6: Shown(50, "hat, wide", b"5", "d")}


@pytest.fixture
def sheet(tmp_path):
    (tmp_path / "norms.png").write_bytes(b"plot")
    shown = {
        2: Shown("<1>", '<script>alert("x")</script> & ' + "long " * 100, picture()),
        3: Shown(20, "two", b"no picture", "<shoe>"),
        4: Shown(30, "three", None),
        5: Shown(40, "four", picture((10, 20), "LA", "PNG")),
    }
    rows, near, cosine = np.array([2, 4]), np.array([[3, 4], [5, -1]]), np.array([[0.98765, 0.5], [0.25, 0.0]])
    write_sheet(tmp_path / "sheet.html", "Table <title>", {"dim": "4 & 5"}, rows, near, cosine, shown, [tmp_path / "norms.png"])
    return (tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_each_item_has_a_line_with_its_neighbours(sheet):
    lines = sheet.split('<div class="row">')[1:]
    assert [line.count('class="item') for line in lines] == [3, 2]
    assert "two" in lines[0] and "cosine 0.988 · &lt;shoe&gt; · item 20" in lines[0]
    assert "three" in lines[1] and "cosine 0.250 · item 40" in lines[1]


def test_texts_are_escaped_and_cut(sheet):
    assert "<script" not in sheet and "Table &lt;title&gt;" in sheet and "4 &amp; 5" in sheet and "&lt;1&gt;" in sheet
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; long" in sheet and "…" in sheet
    assert sheet.count("long") < 30


def test_pictures_lie_in_the_sheet_small(sheet):
    found = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', sheet)]
    assert found == [(96, 48), (10, 20)]
    assert "(image not readable)" in sheet
    assert base64.b64encode(b"plot").decode() in sheet
    assert not re.search(r"(?:src|href)=\"(?!data:)", sheet)  # nothing is fetched
