"""An encoder of a few lines, and catalogs to encode."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ppm_tf.encoders.saved import content_version, write_description

ROW_GROUP = 4


class HashEncoder:
    """A content to numbers from 0 to 1 by SHA-256; some words have powers of their own.

    `unreadable` cannot be read, `poison` spoils its batch, `nothing` gets zeros, `nan` and `huge` no float16 vector.
    """

    kind = "hash"

    def __init__(self, dim=3, salt=""):
        self.dim = dim
        self.salt = salt
        self.tokens = self.padded_tokens = 0
        self.batches = []

    @property
    def version(self):
        return content_version(self.kind, {"dim": self.dim, "salt": self.salt}, {})

    def lengths(self, contents):
        return [len(content) for content in contents]

    def read(self, content):
        if "unreadable" in content:
            raise ValueError(f"cannot read {content!r}\nmore about it")
        return content

    def encode_batch(self, read):
        self.batches.append(list(read))
        if any("poison" in one for one in read):
            raise ValueError("a poisoned batch")
        self.tokens += sum(map(len, read))
        self.padded_tokens += len(read) * max(map(len, read))
        return np.array([self.vector(one) for one in read], np.float32).reshape(len(read), self.dim)

    def vector(self, content):
        special = {"nothing": 0.0, "nan": np.nan, "huge": 1e6}.get(content)
        digest = hashlib.sha256((self.salt + content).encode()).digest()
        return [byte / 256 for byte in digest[: self.dim]] if special is None else [special] * self.dim

    def encode(self, contents):
        return self.encode_batch([self.read(content) for content in contents])

    def save(self, folder):
        write_description(folder, self, salt=self.salt)

    @classmethod
    def load(cls, folder):
        about = json.loads(Path(folder, "encoder.json").read_text())
        return cls(about["dim"], about["salt"])


class FlatEncoder(HashEncoder):
    """Gives vectors of the wrong shape."""

    kind = "flat"

    def encode_batch(self, read):
        return np.zeros(len(read))


class BytesEncoder(HashEncoder):
    """Encodes bytes."""

    kind = "bytes"

    def read(self, content):
        return super().read(content.decode())


FAKES = {encoder.kind: f"{__name__}:{encoder.__name__}" for encoder in (HashEncoder, FlatEncoder, BytesEncoder)}


def write_catalog(folder, items, images=None):
    """`items.parquet` with a few items a row group: texts by item id, and images by item id."""
    folder.mkdir(parents=True)
    images = images or {}
    ids = list(items) or list(images)
    table = pa.table(
        {"item_id": ids, "text": pa.array([items.get(i) for i in ids], pa.string()), "image": pa.array([images.get(i) for i in ids], pa.binary())}
    )
    pq.write_table(table, folder / "items.parquet", row_group_size=ROW_GROUP)
    return folder
