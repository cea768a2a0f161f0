"""Image files that the item file names by path: inside `data.path`, or anywhere that a Beam file system reaches."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from ppm_tf.data.raw.columns import Place
from ppm_tf.data.raw.rejected import Rejected

_THREADS = 16  # files asked for at once: a remote store answers each after tens of milliseconds


def check_paths(paths: pa.Array, folder: str, place: Place) -> None:
    """Refuses paths that lead out of the folder, and schemes that no installed Beam file system knows.

    Args:
        paths: a batch of the image column; missing ones pass.
        folder: `data.path`, a local folder or one with a scheme, such as `gs://shop/catalog`.
        place: where the batch comes from.

    Raises:
        ValueError: the message names the row.
    """
    schemes = {scheme: _is_known(scheme) for scheme in {FileSystems.get_scheme(path) for path in paths.to_pylist() if path}}
    root = None if FileSystems.get_scheme(folder) else Path(folder).resolve()
    for index, path in enumerate(paths.to_pylist()):
        if not path:
            continue
        scheme = FileSystems.get_scheme(path)
        if not schemes[scheme]:
            raise ValueError(
                f"{place.at(index)} must be an image path that Beam can open. Received: {path!r}, and no file system for {scheme}://. "
                "Remedy: install Beam's (such as apache-beam[gcp] for gs://), or copy the images into data.path and write relative paths."
            )
        if scheme is None and not (_stays_inside(path) if root is None else (root / path).resolve().is_relative_to(root)):
            raise ValueError(
                f"{place.at(index)} must be an image path inside data.path ({folder}). Received: {path!r}. Remedy: move the images into data.path and"
                " write relative paths."
            )


def full_path(folder: str, path: str) -> str:
    """The path as Beam opens it: one with a scheme stands for itself, any other starts from the folder.

    >>> full_path("photos", "shoes/1.jpg"), full_path("photos", "gs://shop/1.jpg")
    ('photos/shoes/1.jpg', 'gs://shop/1.jpg')
    """
    return path if FileSystems.get_scheme(path) else FileSystems.join(folder, path)


def read_files(paths: Sequence[str | None]) -> list[bytes | None]:
    """The content of some files, in their order; `None` for one that is not there, or for no path.

    Raises:
        ValueError: a file is there and cannot be read.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_read_file, paths))


def refuse_missing(missing: Rejected, found: int, most: float) -> None:
    """Refuses item files that name too many image files that are not there, as where their folder is missing.

    Args:
        missing: the files that are not there.
        found: how many are there.
        most: most share of all of them that may be missing.

    Raises:
        FileNotFoundError: more are missing; the message names the first.
    """
    if missing.total > most * (missing.total + found):
        first = missing.cases[0]
        raise FileNotFoundError(
            f"At most a share of {most:g} of the image files that the item file names may be missing (data.max_missing_images). Received:"
            f" {missing.total:,} of {missing.total + found:,} are not there. The first is {first['file']} (column {first['column']}, value"
            f" {first['value']!r}). Remedy: copy the images to where the column says, seen from data.path, or raise data.max_missing_images."
        )


def _read_file(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        # Not AUTO: it would unpack a file by its ending.
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return file.read()
    except IsADirectoryError:
        return None
    except Exception as error:  # what a missing object raises is each file system's own
        if not FileSystems.exists(path):
            return None
        raise ValueError(
            f"The image file {path} must be readable. Received: {error!r}. Remedy: mend it, its permissions, or leave its path out."
        ) from error


def _is_known(scheme: str | None) -> bool:
    try:
        FileSystems.get_filesystem("x" if scheme is None else f"{scheme}://x")
    except ValueError:
        return False
    return True


def _stays_inside(path: str) -> bool:
    normal = posixpath.normpath(path)
    return not normal.startswith("/") and normal != ".." and not normal.startswith("../")
