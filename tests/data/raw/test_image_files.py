"""Images by path: local folders, other file systems, paths that lead out."""

import io
from pathlib import Path

import pyarrow as pa
import pytest
from apache_beam.io.filesystem import BeamIOError, FileSystem

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.catalog_builder import build_catalog
from ppm_tf.data.raw.columns import Place
from ppm_tf.data.raw.image_files import check_paths, full_path, read_files
from tests.raw_logs import write_file

PLACE = Place("items.parquet", "picture", "data.items.image", 100)


class ShelfFileSystem(FileSystem):
    """Two files on `shelf://`; Beam finds a file system by its class. A missing file raises what no other one does."""

    FILES = {"shelf://shop/a/1.jpg": b"one", "shelf://other/2.jpg.gz": b"two"}

    def __init__(self, pipeline_options):
        pass

    @classmethod
    def scheme(cls):
        return "shelf"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def open(self, path, mime_type="", compression_type=None):
        if path.endswith("secret.jpg"):
            raise BeamIOError("no permission")
        try:
            return io.BytesIO(self.FILES[path])
        except KeyError:
            raise RuntimeError(f"404: {path}") from None

    def exists(self, path):
        return path in self.FILES or path.endswith("secret.jpg")

    def _nothing(self, *arguments, **more):
        raise NotImplementedError

    split = mkdirs = has_dirs = _list = create = copy = rename = size = last_updated = checksum = metadata = delete = _nothing


def test_local_files_come_in_their_order(tmp_path):
    for name in ("a.jpg", "b.jpg.gz"):  # an ending does not make it an archive
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "folder").mkdir()
    paths = [full_path(str(tmp_path), name) for name in ("b.jpg.gz", "none.jpg", "folder", "a.jpg")]
    assert read_files([*paths, None]) == [b"b.jpg.gz", None, None, b"a.jpg", None]


def test_other_file_systems(tmp_path):
    paths = [full_path("shelf://shop", "a/1.jpg"), full_path(str(tmp_path), "shelf://other/2.jpg.gz"), full_path("shelf://shop", "a/9.jpg")]
    assert paths == ["shelf://shop/a/1.jpg", "shelf://other/2.jpg.gz", "shelf://shop/a/9.jpg"]
    assert read_files(paths) == [b"one", b"two", None]


def test_a_catalog_whose_folder_is_on_another_file_system(tmp_path):
    write_file(tmp_path / "items.parquet", {"item_id": [1, 2, 3, 4], "picture": ["a/1.jpg", "a/9.jpg", "shelf://other/2.jpg.gz", None]})
    columns = ColumnarData(path="shelf://shop", log=None, items={"files": str(tmp_path / "items.parquet"), "image": "picture"})
    report = build_catalog(columns, tmp_path / "catalog", "int")
    assert list(ItemCatalog.read(tmp_path / "catalog").images) == [b"one", None, b"two", None]
    assert [(case["file"], case["row"], case["value"]) for case in report.missing_images.cases] == [("shelf://shop/a/9.jpg", 2, "a/9.jpg")]


def test_refuses_a_file_that_is_there_and_cannot_be_read():
    with pytest.raises(ValueError, match=r"The image file shelf://shop/secret.jpg must be readable. Received: BeamIOError\(.*\). Remedy: mend it"):
        read_files(["shelf://shop/secret.jpg"])


@pytest.mark.parametrize("folder", ["local", "shelf://shop/photos"])
@pytest.mark.parametrize("path", ["../1.jpg", "a/../../1.jpg", "/etc/hostname", ".."])
def test_refuses_paths_that_lead_out(tmp_path, folder, path):
    folder = str(tmp_path) if folder == "local" else folder
    with pytest.raises(ValueError, match=rf"items.parquet, row 102, column picture must be an image path inside data.path .*Received: '{path}'"):
        check_paths(pa.array(["a/../1.jpg", path]), folder, PLACE)


def test_refuses_a_link_that_leads_out(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="must be an image path inside data.path"):
        check_paths(pa.array(["link/1.jpg"]), str(tmp_path / "photos"), PLACE)


@pytest.mark.parametrize("path", [Path("/etc/hostname").as_uri(), "https://shop/1.jpg"])
def test_refuses_schemes_without_a_file_system(tmp_path, path):
    scheme = path.split(":")[0]
    with pytest.raises(
        ValueError, match=rf"row 101, column picture must be an image path that Beam can open. Received: '{path}', and no file system for {scheme}://"
    ):
        check_paths(pa.array([path]), str(tmp_path), PLACE)


def test_paths_that_pass(tmp_path):
    check_paths(pa.array(["a.jpg", None, "", "shelf://anywhere/1.jpg", "a/./b.jpg"]), str(tmp_path), PLACE)
    check_paths(pa.array(["a.jpg", "b/../c.jpg", "..a/b.jpg"]), "shelf://shop", PLACE)
