"""Which tables no item has a content for, by the settings and by the prepared data."""

import json

import pytest

from ppm_tf.config import load
from ppm_tf.data.contents import TABLES, check_contents, lacking

COLUMNAR = ["data.source=columnar", "data.path=shop"]


def test_by_the_settings():
    every = list(TABLES)
    assert lacking(load([]), every) == {}
    assert lacking(load([*COLUMNAR, "data.items.text=[title]"]), every) == {"image": ["image"], "title_image": ["image"]}
    assert lacking(load([*COLUMNAR, "data.items.image=photo"]), every) == {
        name: ["text"] for name in ("title", "bow", "aligned", "aligned_vectors", "title_image")
    }
    assert list(lacking(load(["data.source=amazon", "data.path=shop", "data.reviews=r", "data.metadata=m"]), every)) == ["image", "title_image"]


def test_by_the_data_where_it_is_there(tmp_path):
    config = load([*COLUMNAR, "data.items.text=[title]", "data.items.image=photo"])
    check_contents(config, list(TABLES), tmp_path)
    (tmp_path / "statistics.json").write_text(json.dumps({"items_with_text": 5, "items_with_image": 0}))
    check_contents(config, ["title", "bow"], tmp_path)
    with pytest.raises(
        ValueError,
        match="An item must have an image for the table `image`. Received: none. Remedy: set data.items.image, or leave image out, as in ppm.tables=",
    ):
        check_contents(config, ["title", "image"], tmp_path)
    with pytest.raises(ValueError, match="an image for the table `title_image`.* or leave title_image out of ppm.tables and model.tables"):
        check_contents(config, ["title_image"], tmp_path)
