"""`optimizer.npz`: the state of an optimiser, beside the weights that it belongs to."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ppm_tf.storage import reserve, writing


def write_arrays(path: str | Path, arrays: Iterable[tuple[str, np.ndarray]], need: int) -> None:
    """Writes named arrays as an `.npz`, uncompressed and one at a time; the file appears under its name when it is whole.

    Equal arrays give equal bytes: no time is written.

    Args:
        path: the file.
        arrays: names, which may hold slashes, and values; each is asked for when the one before is written.
        need: bytes that it takes, at most.

    Raises:
        DiskFullError: there is no room; an earlier file of that name is still there.
    """
    path = Path(path)
    temporary = path.with_name("new-" + path.name)
    with writing(path, need):
        reserve(path, need)
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
                for name, array in arrays:
                    with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def read_arrays(path: str | Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a file that `write_arrays` wrote, each read when it is asked for.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} must be as it was written. Received: {error}. Remedy: restore the file, or train without it.") from error


def with_rows(start: np.ndarray, stored: np.ndarray, rows: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """A slot of a table that has grown: what is stored of the rows that both tables have, `start` in all others.

    Args:
        start: the slot before any step, `[V, D]`.
        stored: that of the earlier table, `[V', D]`.
        rows: of each row in both, where it was and where it is; `None`: the tables have the same rows, and so the same shape.

    Raises:
        ValueError: the stored slot has another shape, or too few rows.

    Example:

    >>> with_rows(np.full((4, 1), 9.0), np.array([[0.0], [1.0], [2.0]]), (np.array([0, 1, 2]), np.array([0, 1, 3])))[:, 0].tolist()
    [0.0, 1.0, 9.0, 2.0]
    """
    fits = stored.shape == start.shape if rows is None else stored.shape[1:] == start.shape[1:] and rows[0].max(initial=-1) < len(stored)
    if not fits:
        raise ValueError(f"one of shape {list(stored.shape)} for {list(start.shape)}")
    if rows is None:
        return stored
    grown = np.array(start)
    grown[rows[1]] = stored[rows[0]]
    return grown
