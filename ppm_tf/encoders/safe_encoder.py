"""`SafeEncoder`: encodes many contents of which some may be broken, and loses only those."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np


class SafeEncoder:
    """An encoder whose errors cost one item each.

    Contents of like length form a batch, so that there is little padding; the next batches are read (an image: decoded) while
    one is encoded. A content that `read` refuses is left out of its batch. Where `encode_batch` fails, or there is no memory
    for the batch, its halves are tried, and so on down to the item at fault. A vector that is not finite in the table's type
    is a failure too.

    Args:
        encoder: what has `dim`, `read` and `encode_batch`, see `load_encoder`. Its method `lengths`, if it has one, gives the
            number of tokens of raw contents; without it all contents are of one length.
        dtype: type of the table's vectors.
        batch_size: contents encoded at once.
    """

    def __init__(self, encoder, dtype: str, batch_size: int):
        import tensorflow as tf

        self._encoder = encoder
        self._dtype = dtype
        self._batch_size = batch_size
        self._errors = (ValueError, tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError)
        self._num_readers = min(8, os.cpu_count() or 1)
        self._readers = ThreadPoolExecutor(self._num_readers, thread_name_prefix="read")
        self._lock = threading.Lock()
        self._counted = (0, 0)

    def encode(self, contents: Sequence[Any], done: Callable[[int], None] = lambda items: None) -> tuple[np.ndarray, dict[int, str]]:
        """Vectors of raw contents.

        Args:
            contents: the contents, none of them empty.
            done: called with the number of items of each batch.

        Returns:
            Vectors `[len(contents), dim]` in the table's type, zero where there is none, and the reason of each failure by
            place.
        """
        vectors = np.zeros((len(contents), self._encoder.dim), self._dtype)
        failures: dict[int, str] = {}
        for places, found in self._read_ahead(contents):
            good, read = [], []
            for place, (one, error) in zip(places.tolist(), found, strict=True):
                if error is None:
                    good.append(place)
                    read.append(one)
                else:
                    failures[place] = error
            self._encode(np.array(good, int), read, vectors, failures)
            done(len(places))
        return vectors, failures

    def count_tokens(self) -> tuple[int, int]:
        """Tokens, and tokens with padding, that were encoded since the last call; zero for encoders that have none."""
        with self._lock:
            before = self._counted
            self._counted = (getattr(self._encoder, "tokens", 0), getattr(self._encoder, "padded_tokens", 0))
            return self._counted[0] - before[0], self._counted[1] - before[1]

    def _read_ahead(self, contents: Sequence[Any]) -> Iterator[tuple[np.ndarray, list]]:
        """Places and read contents of each batch; as many batches are read ahead as there are threads to read them."""
        lengths = self._encoder.lengths(contents) if hasattr(self._encoder, "lengths") else np.zeros(len(contents))
        order = np.argsort(lengths, kind="stable")
        waiting: deque[tuple[np.ndarray, Future]] = deque()
        for start in range(0, len(order), self._batch_size):
            places = order[start : start + self._batch_size]
            waiting.append((places, self._readers.submit(lambda chosen: [self._read(contents[place]) for place in chosen], places.tolist())))
            if len(waiting) > self._num_readers:
                places, read = waiting.popleft()
                yield places, read.result()
        for places, read in waiting:
            yield places, read.result()

    def _read(self, content: Any) -> tuple[Any, str | None]:
        try:
            return self._encoder.read(content), None
        except ValueError as error:
            return None, _reason(error)

    def _encode(self, places: np.ndarray, read: list, vectors: np.ndarray, failures: dict[int, str]) -> None:
        if not read:
            return
        try:
            found = np.asarray(self._encoder.encode_batch(read))
        except self._errors as error:
            if len(read) == 1:
                failures[int(places[0])] = _reason(error)
                return
            half = len(read) // 2
            self._encode(places[:half], read[:half], vectors, failures)
            self._encode(places[half:], read[half:], vectors, failures)
            return
        if found.shape != (len(read), self._encoder.dim):
            raise TypeError(
                f"encode_batch of {type(self._encoder).__name__} must give vectors of shape {(len(read), self._encoder.dim)}. Received:"
                f" {found.shape}."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            found = found.astype(self._dtype)
        finite = np.isfinite(found).all(axis=1)
        vectors[places[finite]] = found[finite]
        failures.update((int(place), f"its vector is not finite in {self._dtype}") for place in places[~finite])


def _reason(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:500]
