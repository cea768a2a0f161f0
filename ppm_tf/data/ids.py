"""Raw ids of users and items as NumPy arrays: integers as they are, strings as fixed-width bytes or as 63-bit fingerprints."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FINGERPRINT_BUCKETS = 2**63 - 1  # the largest bucket count TensorFlow's op takes
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"  # what int64 holds and prints back as the same text


def are_integers(ids: pa.Array) -> bool:
    """Whether each string that is not null is an integer in its plain form, so that "007" stays a string.

    Example:

    >>> are_integers(pa.array(["12", "-3", None])), are_integers(pa.array(["12", "007"]))
    (True, False)
    """
    return pc.all(pc.match_substring_regex(ids, _INTEGER), min_count=0).as_py() is not False


def to_integers(ids: pa.Array) -> pa.Array:
    """Ids as int64; a string or fraction that is no integer becomes null."""
    if pa.types.is_string(ids.type):
        ids = pc.if_else(pc.match_substring_regex(ids, _INTEGER), ids, pa.scalar(None, pa.string()))
    elif pa.types.is_floating(ids.type):
        ids = pc.if_else(pc.equal(pc.floor(ids), ids), ids, pa.scalar(None, ids.type))
    return ids.cast(pa.int64())


def typed_ids(ids: pa.Array, id_type: str) -> pa.Array:
    """Ids as int64 (`"int"`) or strings (`"string"`); null where there is none of that type."""
    return to_integers(ids) if id_type == "int" else ids.cast(pa.string())


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
        keys = ids.to_numpy(zero_copy_only=False) if self.integers else fixed_width(ids)
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
            width = self._keys.dtype.itemsize
            fits = pc.less_equal(pc.binary_length(wanted), width)  # a longer id cannot be in the list
            present, keys = present[fits.to_numpy(zero_copy_only=False)], fixed_width(wanted.filter(fits), width)
        if len(self._keys):
            found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            known = self._keys[found] == keys
            places[present[known]] = self._order[found[known]]
        return places
