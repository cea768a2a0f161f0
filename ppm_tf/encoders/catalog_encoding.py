"""Encoding a whole catalog: texts and images to the batches that `write_table` takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.tables import EncodedBatch


def encode_catalog(
    catalog: ItemCatalog, column: str, encode: Callable[[Sequence], np.ndarray], dim: int, refused: list[tuple[object, str]] | None = None
) -> Iterator[EncodedBatch]:
    """Encodes one column of the catalog, a row group at a time.

    Items without content get a zero vector and `present` false. An item whose content cannot be encoded gets the same, and
    is added to `refused` with the reason, so that one broken image costs one item.

    Args:
        catalog: the items.
        column: `"text"` or `"image"`.
        encode: contents `[B]` to vectors `[B, dim]`; raises `ValueError` for content it cannot read.
        dim: width of the vectors.
        refused: receives (item id, reason).
    """
    refused = refused if refused is not None else []
    with tqdm(total=catalog.num_items, desc=f"encode {column}", unit="item", dynamic_ncols=True, mininterval=1.0) as bar:
        for _, batch in catalog.batches(("item_id", column)):
            ids, contents = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            filled = [place for place, content in enumerate(contents) if content]
            vectors, present = np.zeros((len(ids), dim), np.float32), np.zeros(len(ids), bool)
            good, encoded = _encode_each_on_error(encode, [contents[place] for place in filled], [ids[place] for place in filled], refused)
            places = np.array(filled, int)[good]
            vectors[places] = encoded
            # A text without a single known word has no direction: it is as good as missing.
            present[places] = np.any(encoded != 0, axis=1)
            yield EncodedBatch(np.array(ids), vectors, present, [_hash(content) for content in contents])
            bar.update(len(ids))


def _encode_each_on_error(encode, contents: list, ids: list, refused: list) -> tuple[np.ndarray, np.ndarray]:
    """Encodes together; where that fails, one by one, so that only the broken content is left out."""
    if not contents:
        return np.zeros(0, int), np.zeros((0, 1), np.float32)
    try:
        return np.arange(len(contents)), encode(contents)
    except ValueError:
        good, vectors = [], []
        for place, content in enumerate(contents):
            try:
                vectors.append(encode([content])[0])
                good.append(place)
            except ValueError as error:
                refused.append((ids[place], str(error)))
        return np.array(good, int), np.array(vectors) if vectors else np.zeros((0, 1), np.float32)


def _hash(content: str | bytes | None) -> bytes:
    raw = content.encode() if isinstance(content, str) else content or b""
    return hashlib.sha256(raw).digest()[:16]
