"""Manifests: the list of TFRecord shards of a folder, with the counts and hashes that prove them whole.

A truncated uncompressed TFRecord file reads to a silent, clean end, so a reader that trusts the file alone loses records
without a word. Each shard is therefore checked against the manifest, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ppm_tf.storage import write_json

logger = logging.getLogger(__name__)

FILE_NAME = "manifest.json"


class DamagedDataError(ValueError):
    """Shards are missing, truncated or altered, and more of them than may be set aside."""


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name, records, bytes and SHA-256; `candidates` where its records are requests."""

    file: str
    records: int
    bytes: int
    sha256: str
    candidates: int = 0


@dataclass(frozen=True)
class Manifest:
    """The shards of a folder and what else its writer says about them."""

    shards: tuple[Shard, ...]
    compression: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records in all shards."""
        return sum(shard.records for shard in self.shards)

    @property
    def candidates(self) -> int:
        """Candidates in all shards."""
        return sum(shard.candidates for shard in self.shards)

    @property
    def tf_compression(self) -> str:
        """The compression as TensorFlow's readers name it."""
        return "GZIP" if self.compression == "gzip" else ""

    def write(self, folder: str | Path) -> None:
        """Writes `manifest.json`."""
        content = {
            **self.about,
            "compression": self.compression,
            "records": self.records,
            "candidates": self.candidates,
            "shards": [asdict(shard) for shard in self.shards],
        }
        write_json(Path(folder, FILE_NAME), content)

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """Reads `manifest.json`.

        Raises:
            FileNotFoundError: there is none, so the folder is not a whole data set.
            DamagedDataError: it is not readable.
        """
        path = Path(folder, FILE_NAME)
        if not path.is_file():
            raise FileNotFoundError(f"{folder} must hold {FILE_NAME}; without it the folder is not whole. Run the stage that writes it again.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            shards = tuple(Shard(**shard) for shard in content.pop("shards"))
            compression = content.pop("compression")
            return cls(shards, compression, {key: value for key, value in content.items() if key not in ("records", "candidates")})
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise DamagedDataError(f"{path} is not a readable manifest ({error!r}). Run the stage that writes it again.") from error


def describe_shard(path: Path, records: int, candidates: int = 0) -> Shard:
    """The manifest entry of a shard just written."""
    return Shard(path.name, records, path.stat().st_size, sha256(path), candidates)


def day_hash(digests: Iterable[str]) -> str:
    """What a day holds, from the digests of its files: their names and order do not count. "" without files.

    >>> day_hash(["b", "a"]) == day_hash(["a", "b"]), day_hash([])
    (True, '')
    """
    found = sorted(digests)
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_shards(folder: str | Path, manifest: Manifest, verify: str = "sha256", max_bad_share: float = 0.0) -> tuple[Shard, ...]:
    """The shards of `folder` that are as the manifest says; the others are set aside, logged and counted.

    Args:
        folder: where the shards lie.
        manifest: what they should be.
        verify: `"sha256"` checks the whole content, `"size"` the size alone.
        max_bad_share: share of the records that damaged shards may hold.

    Raises:
        DamagedDataError: damaged shards hold more than that, or everything.
    """
    with ThreadPoolExecutor(4) as pool:
        reasons = list(pool.map(lambda shard: _damage(Path(folder, shard.file), shard, verify), manifest.shards))
    bad = [(shard, reason) for shard, reason in zip(manifest.shards, reasons, strict=True) if reason]
    lost = sum(shard.records for shard, _ in bad)
    if bad and (lost > max_bad_share * manifest.records or lost == manifest.records):
        listing = "; ".join(f"{Path(folder, shard.file)}: {reason}" for shard, reason in bad[:5])
        raise DamagedDataError(
            f"{len(bad)} of {len(manifest.shards)} shards are damaged, with {lost} of {manifest.records} records (at most a share of"
            f" {max_bad_share:g} may be set aside, train.max_bad_share): {listing}. Restore the files or run the stage that writes them again."
        )
    for shard, reason in bad:
        logger.warning("set aside %s with %d records: %s", Path(folder, shard.file), shard.records, reason)
    return tuple(shard for shard, reason in zip(manifest.shards, reasons, strict=True) if not reason)


def _damage(path: Path, shard: Shard, verify: str) -> str:
    if not path.is_file():
        return "the file is missing"
    size = path.stat().st_size
    if size != shard.bytes:
        return f"it has {size} bytes, {shard.bytes} were written"
    if verify == "sha256" and sha256(path) != shard.sha256:
        return "its SHA-256 is not the one written"
    return ""


def paths(folder: str | Path, shards: Sequence[Shard]) -> list[str]:
    """Paths of shards as strings, as TensorFlow takes them."""
    return [str(Path(folder, shard.file)) for shard in shards]
