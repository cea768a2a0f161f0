"""Room on disk: asked for before weights are written, and named in one sentence where a write met the end of it."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ppm_tf.private_apis import cached_variables, count_saved

# What a full disk, a limit on the size of files (ulimit -f) and a quota are called, by errno and by the words of libraries that give none.
_REASONS = {errno.ENOSPC: "No space left on device", errno.EFBIG: "File too large", errno.EDQUOT: "Disk quota exceeded"}
_LAYOUT = 1 << 16  # bytes of an HDF5 file beside its values, and what each variable adds
_LAYOUT_OF_ONE = 1 << 12


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes a JSON file; a float that is no number becomes null, which every reader of JSON takes."""
    Path(path).write_text(json.dumps(finite(content), indent=indent, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def finite(content: Any) -> Any:
    """Plain values with `None` for each float that is no number."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


class DiskFullError(RuntimeError):
    """A file could not be written for want of room; the message names it, what is free and, where it is known, what is needed."""


@contextmanager
def writing(path: str | Path, need: int | None = None, staging: Path | None = None) -> Iterator[None]:
    """Turns a want of room that the block meets into `DiskFullError`, whichever library wrote.

    Args:
        path: the file or folder that the block writes.
        need: bytes that it takes, where that is known.
        staging: where the block writes it first; what lies there when the room ends is named as the least that is needed.

    Raises:
        DiskFullError: there was no room; any other error passes as it is.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        reason = no_room(error)
        if not reason:
            raise
        raise DiskFullError(_message(Path(path), reason, need, staging)) from error


def no_room(error: BaseException | None) -> str:
    """What the system said where an error, or one behind it, comes of a full disk, a limit on file sizes or a quota; "" for any other.

    >>> no_room(OSError(28, "No space left on device")), no_room(ValueError("28"))
    ('No space left on device', '')
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        # TensorFlow's writers give ResourceExhausted or OutOfRange and Beam a copy of the error: their words are all there is to go by.
        for number, words in _REASONS.items():
            if (
                getattr(error, "errno", None) == number
                or (isinstance(error, (OSError, RuntimeError)) or hasattr(error, "error_code"))
                and words in str(error)
            ):
                return words
        error = error.__cause__ or error.__context__
    return ""


def reserve(path: str | Path, need: int) -> None:
    """Makes sure that `need` bytes can be written to a file or folder now, by taking the room beside it and giving it back.

    A library that cannot bear a full disk is asked to write only after this: HDF5 ends the whole process when it closes a file
    that it could not finish.

    Raises:
        DiskFullError: it does not fit.
    """
    path = Path(path)
    with writing(path, need):
        path.parent.mkdir(parents=True, exist_ok=True)
        _take(path.parent, need)


def _take(folder: Path, need: int) -> None:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".room-") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(need, 1))
        except OSError as error:
            if no_room(error):
                raise
            # A file system that cannot set room aside: what it says is free has to do.
            if shutil.disk_usage(folder).free < need:
                raise OSError(errno.ENOSPC, _REASONS[errno.ENOSPC], str(folder)) from None


def save_weights(model: Any, path: str | Path) -> None:
    """`model.save_weights(path)`, where there is room for it; the file appears under its name when it is whole.

    Args:
        model: a built Keras model.
        path: ends in `.weights.h5`.

    Raises:
        DiskFullError: there is no room; an earlier file of that name is still there.
    """
    path, need = Path(path), weights_size(model)
    temporary = path.with_name("new-" + path.name)
    with writing(path, need):
        reserve(path, need)
        try:
            model.save_weights(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def load_all_weights(model: Any, path: str | Path) -> None:
    """`model.load_weights(path)`, where the file holds the model's weights and no others. Keras leaves aside what it finds no layer for.

    Raises:
        ValueError: a weight is missing, has another shape, or is one too many.
    """
    import h5py

    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    if len(found) > (wanted := count_saved(model)):
        raise ValueError(f"{len(found)} arrays for the {wanted} of the model")
    model.load_weights(path)


def load_weights(model: Any, path: str | Path, remedy: str) -> None:
    """`model.load_weights(path)`, where what does not fit is named with its remedy: a network that an earlier release built otherwise.

    Raises:
        ValueError: a layer of the file has other weights.
    """
    try:
        model.load_weights(path)
    except ValueError as error:
        lines = [line for line in str(error).splitlines() if line.startswith("Layer ")] or [" ".join(str(error).split())[:300]]
        raise ValueError(f"Weights must be of the network as this release builds it. Received: {path}, where {lines[0]} Remedy: {remedy}.") from error


def weights_size(model: Any) -> int:
    """Bytes of a model's weights in an HDF5 file, at most; cached item tables are not among them."""
    cached = {id(variable) for variable in cached_variables(model)}
    return _LAYOUT + sum(_LAYOUT_OF_ONE + size_of([variable]) for variable in model.variables if id(variable) not in cached)


def size_of(variables: Iterable[Any]) -> int:
    """Bytes of the values of variables, of Keras or TensorFlow."""
    import numpy as np

    def width(variable: Any) -> int:
        name = getattr(variable.dtype, "name", variable.dtype)
        return 2 if name == "bfloat16" else np.dtype(name).itemsize

    return sum(math.prod(variable.shape) * width(variable) for variable in variables)


def in_words(size: int) -> str:
    """
    >>> in_words(900), in_words(3_500_000), in_words(7 << 30)
    ('900 bytes', '3.3 MiB', '7.0 GiB')
    """
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size} bytes"


def _message(path: Path, reason: str, need: int | None, staging: Path | None) -> str:
    free, needed = "free space unknown", f", {in_words(need)} needed" if need is not None else ""
    with suppress(OSError):
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        free = f"{in_words(shutil.disk_usage(there).free)} free"
        if need is None and staging is not None:
            needed = f", more than {in_words(sum(file.stat().st_size for file in staging.rglob('*') if file.is_file()))} needed"
    limit = " or raise the limit on file sizes (ulimit -f)" if reason == _REASONS[errno.EFBIG] else ""
    return (
        f"There must be room for {path.absolute()}. Received: {reason} ({free}{needed}). "
        f"Remedy: make room there{limit}; nothing partial was kept, and the same command goes on."
    )
