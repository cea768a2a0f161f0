"""`ItemCatalog`: an item is described once, in arrays and a file addressed by its row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ppm_tf.data.ids import IdIndex
from ppm_tf.rows import FIRST_ROW, UNKNOWN_ROW

ROW_GROUP = 4096  # items a row group of items.parquet


class ItemCatalog:
    """The items of a prepared data set, read as they are asked for.

    Item i of the file has row `FIRST_ROW + i`; rows 0 and 1 are padding and unknown. Ids and arrays fit into memory by
    design (a few bytes an item and field); texts and images stay on disk and are read by row group.

    Args:
        folder: `catalog/` of the data set.

    Attributes:
        ids: int64 or string ids, `[num_items]`, as an Arrow array.
        num_items: number of items.
        num_rows: V, items plus the two rows before them.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "items.parquet").is_file():
            raise FileNotFoundError(f"{self.folder} must hold items.parquet. Run `python -m pipelines.prepare` first.")
        self.ids = self._file().read(columns=["item_id"]).column("item_id").combine_chunks()
        if isinstance(self.ids, pa.ChunkedArray):
            self.ids = pa.concat_arrays(self.ids.chunks)
        self.num_items = len(self.ids)
        self.num_rows = self.num_items + FIRST_ROW

    @classmethod
    def read(cls, folder: str | Path) -> ItemCatalog:
        """Opens the catalog written into `folder`.

        Raises:
            FileNotFoundError: there is none.
        """
        return cls(folder)

    @cached_property
    def text(self) -> list[str]:
        """All texts, `[num_items]`; "" where an item has none."""
        return self._file().read(columns=["text"]).column("text").to_pylist()

    @property
    def id_type(self) -> str:
        """How the ids are kept: `"int"` or `"string"`."""
        return "int" if pa.types.is_integer(self.ids.type) else "string"

    @property
    def images(self) -> Images:
        """Encoded images, `[num_items]`, read when they are asked for; `None` where an item has none."""
        return Images(self._file())

    @property
    def has_images(self) -> bool:
        """Whether an item has an image, by the counts of missing ones that the file states; no image is read."""
        file = self._file()
        place = file.schema_arrow.get_field_index("image")
        columns = (file.metadata.row_group(number).column(place) for number in range(file.num_row_groups))
        return any(column.statistics is None or column.statistics.null_count < column.num_values for column in columns)

    def present(self, *columns: str) -> list[np.ndarray]:
        """Which items have a text, an image: bool `[num_items]` of each column; "" is no text."""
        parts: list[list[np.ndarray]] = [[np.zeros(0, bool)] for _ in columns]
        for _, batch in self.batches(columns):
            for part, column in zip(parts, columns, strict=True):
                values = batch.column(column)
                there = pc.and_kleene(values.is_valid(), pc.greater(pc.binary_length(values), 0))
                part.append(pc.fill_null(there, False).to_numpy(zero_copy_only=False))
        return [np.concatenate(part) for part in parts]

    @cached_property
    def fields(self) -> dict[str, np.ndarray]:
        """Vocabulary rows of each item field, int32 `[V, num_values]`."""
        return self._arrays("fields.npz")

    @cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        """Each numeric column, float32 `[V]`, NaN where missing."""
        return self._arrays("numbers.npz")

    @cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """`exposures_<split>` int64 `[V]` and `positives_<split>` int64 `[V, K]` for the splits pretrain and train."""
        return self._arrays("counts.npz")

    def batches(self, columns: Sequence[str] = ("item_id", "text", "image")) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Reads `items.parquet` a row group at a time: the first row of each, and its items."""
        file, row = self._file(), FIRST_ROW
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(ROW_GROUP, row_groups=[group], columns=list(columns)):
                yield row, batch
                row += batch.num_rows

    def rows_of(self, ids: pa.Array | Sequence[int] | Sequence[str] | np.ndarray) -> np.ndarray:
        """The rows of raw ids, int32; `UNKNOWN_ROW` for an id that is missing or not in the catalog.

        Example:

        ```python
        ItemCatalog.read("runs/shop/data/catalog").rows_of([7, -1])  # [9, 1]
        ```
        """
        places = self._index.places(ids if isinstance(ids, pa.Array) else pa.array(ids))
        return np.where(places >= 0, places + FIRST_ROW, UNKNOWN_ROW).astype(np.int32)

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(self.ids)

    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.folder / "items.parquet")

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / name) as arrays:
            return {key: arrays[key] for key in arrays.files}


class Images(Sequence):
    """The encoded images of a catalog, by place; the last row group read stays in memory.

    Args:
        file: `items.parquet`.
    """

    def __init__(self, file: pq.ParquetFile):
        self._parquet = file
        self._group = -1
        self._values: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return self._parquet.metadata.num_rows

    def __getitem__(self, index: int) -> bytes | None:
        if not 0 <= index < len(self):
            raise IndexError(f"An image index must be from 0 to {len(self) - 1}. Received: {index}.")
        group, place = divmod(index, ROW_GROUP)
        if group != self._group:
            self._group, self._values = group, self._parquet.read_row_group(group, columns=["image"]).column("image")
        return self._values[place].as_py()
