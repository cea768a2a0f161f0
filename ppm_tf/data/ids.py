"""Raw ids of users and items as NumPy arrays: integers as they are, strings as fixed-width bytes or as 63-bit fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.data.raw.column_forms import are_whole, canonical, inexact
from ppm_tf.data.raw.columns import Place

FINGERPRINT_BUCKETS = 2**63 - 1  # the largest bucket count TensorFlow's op takes


def typed_ids(ids: pa.Array, id_type: str, missing: Sequence[str] = ("",)) -> pa.Array:
    """Ids as int64 (`"int"`) or strings (`"string"`); null where there is none, or none of that type.

    Args:
        ids: a raw column, or ids that were read before.
        id_type: `"int"` or `"string"`.
        missing: words that mean that there is no id.

    Example:

    >>> typed_ids(pa.array(["12", "5.0", "007", "NULL"]), "int").to_pylist()
    [12, 5, None, None]
    >>> typed_ids(pa.array([12.0, 30000000000.0]), "string").to_pylist()
    ['12', '30000000000']
    """
    if id_type == "int" and pa.types.is_integer(ids.type) and ids.type != pa.uint64():
        return ids.cast(pa.int64())
    words = canonical(ids, missing, numeric=id_type == "int")
    if id_type == "string":
        return words
    return pc.if_else(are_whole(words), words, pa.scalar(None, pa.string())).cast(pa.int64())


def refuse_inexact(ids: pa.Array, place: Place) -> None:
    """Refuses ids in a column of floats that cannot tell neighbours apart.

    Raises:
        ValueError: an id is larger than the column's type holds exactly.
    """
    index = inexact(ids)
    if index is not None:
        raise ValueError(
            f"{place.at(index)} must hold an id that its column can tell from the next one. Received: {ids[index].as_py():.0f} in a column of type"
            f" {ids.type}, which rounds ids of this size. Remedy: write the ids of {place.setting} as integers or strings."
        )


def fingerprints(ids: pa.Array) -> np.ndarray:
    """63-bit fingerprints of strings without nulls, equal to `tf.strings.to_hash_bucket_fast(ids, 2**63 - 1)` in a served graph."""
    import tensorflow as tf

    encoded = ids.dictionary_encode()
    if not len(encoded.dictionary):
        return np.zeros(0, np.int64)
    hashed = tf.strings.to_hash_bucket_fast(encoded.dictionary.to_pylist(), FINGERPRINT_BUCKETS).numpy()
    return hashed[encoded.indices.to_numpy(zero_copy_only=False)]


def stored_ids(ids: pa.Array, id_type: str) -> np.ndarray:
    """The int64 under which ids without nulls are stored: integers themselves, strings as fingerprints."""
    typed = typed_ids(ids, id_type)
    return typed.to_numpy(zero_copy_only=False) if id_type == "int" else fingerprints(typed)


def fixed_width(strings: pa.Array, width: int | None = None) -> np.ndarray:
    """Strings without nulls as NumPy bytes of one width, zero-padded: sortable and searchable without a Python loop.

    Args:
        strings: Arrow strings.
        width: width of the result; longer strings lose their end. Default: the longest string.
    """
    strings = strings.cast(pa.large_string())
    offsets = np.frombuffer(strings.buffers()[1], np.int64, len(strings) + 1, strings.offset * 8) if len(strings) else np.zeros(1, np.int64)
    lengths = np.diff(offsets)
    width = max(1, int(lengths.max(initial=1)) if width is None else width)
    kept = np.minimum(lengths, width)
    cells = np.zeros((len(strings), width), np.uint8)
    if kept.sum():
        data = np.frombuffer(strings.buffers()[2], np.uint8)
        place = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)  # position of each byte in its string
        cells[np.repeat(np.arange(len(strings)), kept), place] = data[np.repeat(offsets[:-1], kept) + place]
    return cells.reshape(-1).view(f"S{width}")


class IdIndex:
    """Finds the places of raw ids in a list of them, by bisection over a sorted copy: 12 bytes an integer id.

    Args:
        ids: int64 or string ids without nulls and repetitions.

    Example:

    >>> IdIndex(pa.array(["b", "a"])).places(pa.array(["a", "z", None])).tolist()
    [1, -1, -1]
    """

    def __init__(self, ids: pa.Array):
        self.integers = pa.types.is_integer(ids.type)
        keys = ids.to_numpy(zero_copy_only=False) if self.integers else fixed_width(_ended(ids))
        self._order = np.argsort(keys, kind="stable").astype(np.int32)
        self._keys = keys[self._order]

    def places(self, ids: pa.Array) -> np.ndarray:
        """The place of each id, int64; -1 for one that is missing or not in the list."""
        places = np.full(len(ids), -1, np.int64)
        ids = typed_ids(ids, "int" if self.integers else "string")
        present = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))
        wanted = ids.drop_null()
        if self.integers:
            keys = wanted.to_numpy(zero_copy_only=False)
        else:
            wanted, width = _ended(wanted), self._keys.dtype.itemsize
            fits = pc.less_equal(pc.binary_length(wanted), width)  # a longer id cannot be in the list
            present, keys = present[fits.to_numpy(zero_copy_only=False)], fixed_width(wanted.filter(fits), width)
        if len(self._keys):
            found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            known = self._keys[found] == keys
            places[present[known]] = self._order[found[known]]
        return places


def _ended(ids: pa.Array) -> pa.Array:
    """Strings with a last byte that is not zero: NumPy drops closing zeros, and "k" would equal "k" with a zero byte."""
    return pc.binary_join_element_wise(ids, pa.scalar("\x01", ids.type), pa.scalar("", ids.type))
