"""Queries with the items clicked for them, split by query: what the text encoder is fine-tuned on and judged by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.holdout import parts_of
from ppm_tf.data.text_form import normalized
from ppm_tf.rows import FIRST_ROW


@dataclass(frozen=True)
class QueryPairs:
    """Pairs of a query and an item that was clicked for it, each pair once.

    Attributes:
        queries: the different queries `[Q]`, in the order of their first click.
        part: int8 `[Q]`, the part of each query, see `holdout`.
        query: int `[P]`, query of each pair.
        item: int `[P]`, place in the catalog's texts of each pair's item.
        without_text: pairs left out, because their item has no text.
    """

    queries: list[str]
    part: np.ndarray
    query: np.ndarray
    item: np.ndarray
    without_text: int

    def of(self, part: int) -> np.ndarray:
        """The pairs of one part, as places in `query` and `item`."""
        return np.flatnonzero(self.part[self.query] == part)

    def relevant(self, part: int) -> tuple[list[str], list[np.ndarray]]:
        """The queries of one part, and the items clicked for each."""
        pairs = self.of(part)
        order = pairs[np.argsort(self.query[pairs], kind="stable")]
        numbers, starts = np.unique(self.query[order], return_index=True)
        return [self.queries[number] for number in numbers], np.split(self.item[order], starts[1:]) if len(numbers) else []


def read_pairs(path: str | Path, catalog: ItemCatalog, valid: float, test: float) -> QueryPairs:
    """Reads `queries.parquet` and splits its queries; spelling in capitals, spaces and Unicode forms makes no other query.

    Raises:
        ValueError: a part has no query.
    """
    table = pq.read_table(path)
    numbers: dict[str, int] = {}
    spelled: list[str] = []
    query = np.empty(table.num_rows, np.int64)
    texts = table.column("query").to_pylist()
    for place, (text, form) in enumerate(zip(texts, normalized(texts), strict=True)):
        key = form.casefold()
        if key not in numbers:
            numbers[key] = len(spelled)
            spelled.append(text)
        query[place] = numbers[key]
    item = table.column("item_row").to_numpy().astype(np.int64) - FIRST_ROW
    has_text = np.array([bool(text) for text in catalog.text], bool)[item] if len(item) else np.zeros(0, bool)
    pairs = np.unique(np.stack([query[has_text], item[has_text]], axis=1), axis=0)
    part = parts_of(numbers, valid, test)
    for number, name in enumerate(("train", "valid", "test")):
        if not (part[pairs[:, 0]] == number).any():
            raise ValueError(
                f"Every part of the queries must hold one with a clicked item. Received: none in the {name} part of {len(spelled)} queries ({path})."
                " Look at data.queries and text.finetune.valid, text.finetune.test."
            )
    return QueryPairs(spelled, part, pairs[:, 0], pairs[:, 1], int((~has_text).sum()))
