"""Damage that only reading finds: which file it is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ppm_tf.data.manifest import DamagedDataError


@contextmanager
def naming_damage(files: Sequence[str], compression: str, stage: str) -> Iterator[None]:
    """Names the TFRecord files that TensorFlow could not read inside the block.

    A check of sizes passes over a file whose bytes changed, and a file may change after any check. TensorFlow says at which byte
    a record is damaged, not in which file, so each is read again.

    Args:
        files: the files that the block reads.
        compression: as TensorFlow names it.
        stage: the command that writes them anew.

    Raises:
        DamagedDataError: a file is damaged.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.DataLossError as error:
        found = "; ".join(f"{path}: {reason}" for path in files if (reason := _damage_in(path, compression)))
        listing = found or f"one of {len(files)} files from {files[0]} on, which could be read when asked again: {_reason(error)}"
        raise DamagedDataError(
            f"A shard must be as it was written. Received: {listing}. Remedy: restore the file, or write it anew with `{stage}`."
        ) from None


def _damage_in(path: str, compression: str) -> str:
    import tensorflow as tf

    try:
        for _ in tf.data.TFRecordDataset(path, compression_type=compression).batch(1024):
            pass
    except tf.errors.DataLossError as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    """`corrupted record at 12`, without the node of the graph before it."""
    return str(error.message).replace("\n", " ").rpartition("}} ")[2].partition(" [Op:")[0].strip()
