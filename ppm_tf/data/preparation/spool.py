"""`Spool`: values of items that arrive in any order, kept on disk until they are read in item order."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa


class Spool:
    """A file of byte strings, one an item at most, found again by the item's place.

    A catalog's texts and images may lie in files of their own, in another order, and be larger than memory: they are
    appended here as they come (an offset and a length an item stay in memory) and read back a block of items at a time.

    Args:
        path: file to write; it is replaced.
        num_items: number of items.

    Example:

    ```python
    with Spool(folder / "images", 5) as spool:
        spool.add(np.array([3, 1]), pa.array([b"...", b"..."]))
        spool.read(0, 5)  # [None, b"...", None, b"...", None]
    ```
    """

    def __init__(self, path: Path, num_items: int):
        self.path = path
        self._file = path.open("wb+")
        self._end = 0
        self._offsets = np.zeros(num_items, np.int64)
        self._lengths = np.full(num_items, -1, np.int64)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def add(self, items: np.ndarray, values: pa.Array) -> None:
        """Keeps the values of some items; a missing value and an item's second value are passed over.

        Args:
            items: place of each item; negative ones are passed over.
            values: binary or string Arrow array of the same length.
        """
        fresh = (items >= 0) & values.is_valid().to_numpy(zero_copy_only=False)
        fresh[fresh] &= self._lengths[items[fresh]] < 0
        places = np.flatnonzero(fresh)
        _, first = np.unique(items[places], return_index=True)
        places = places[np.sort(first)]
        kept = values.take(pa.array(places)).cast(pa.large_binary())
        if not len(kept):
            return
        offsets = np.frombuffer(kept.buffers()[1], np.int64, len(kept) + 1, kept.offset * 8)
        self._offsets[items[places]] = self._end + offsets[:-1] - offsets[0]
        self._lengths[items[places]] = np.diff(offsets)
        if offsets[-1] > offsets[0]:
            self._file.write(kept.buffers()[2][int(offsets[0]) : int(offsets[-1])])
        self._end += int(offsets[-1] - offsets[0])

    @property
    def held(self) -> np.ndarray:
        """Which items have a value, bool `[num_items]`."""
        return self._lengths >= 0

    def read(self, start: int, stop: int) -> list[bytes | None]:
        """The values of items `start` to `stop`, `None` where there is none."""
        self._file.flush()
        if not self._end:
            return [b"" if length == 0 else None for length in self._lengths[start:stop].tolist()]
        with mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ) as data:
            pairs = zip(self._offsets[start:stop].tolist(), self._lengths[start:stop].tolist(), strict=True)
            return [data[offset : offset + length] if length >= 0 else None for offset, length in pairs]
