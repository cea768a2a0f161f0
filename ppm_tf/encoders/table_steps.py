"""The steps of the job that writes an embedding table, as Beam transforms; `table_job` puts them together.

Contents never go through a shuffle: what is shuffled are columns of ids, hashes and vectors, thousands of items in one
element, because a runner spends tens of microseconds on each.
"""

import hashlib
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import ModelHandler

from ppm_tf.data.ids import stored_ids
from ppm_tf.data.manifest import Manifest, Shard
from ppm_tf.data.preparation.jobs import partition_of
from ppm_tf.data.tables import HASH_BYTES, TableRecords, read_records, write_shard
from ppm_tf.encoders.safe_encoder import SafeEncoder
from ppm_tf.encoders.saved import load_encoder


@dataclass(frozen=True)
class TableJob:
    """What the workers need to know.

    Attributes:
        items: `items.parquet` of the catalog.
        columns: its columns that make a content; with several, a content is a tuple.
        encoder: folder of the encoder.
        encoder_version: version of the encoder.
        dim: width of its vectors.
        dtype: type of the stored vectors.
        folder: where the shards go.
        shards: number of shards.
        batch_size: items encoded at once.
        progress: folder in which workers note what they have done.
    """

    items: str
    columns: tuple[str, ...]
    encoder: str
    encoder_version: str
    dim: int
    dtype: str
    folder: str
    shards: int
    batch_size: int
    progress: str

    def partition(self, item_ids: np.ndarray) -> np.ndarray:
        """The shard of each item."""
        integers = item_ids.dtype != object
        return partition_of(item_ids if integers else stored_ids(pa.array(item_ids, pa.string()), "string"), self.shards)


@dataclass(frozen=True)
class Listed:
    """Items of a row group as columns: its number, and of each item place, id, hash `[B, 16]` and whether it has a content."""

    group: np.ndarray
    place: np.ndarray
    item_ids: np.ndarray
    hashes: np.ndarray
    filled: np.ndarray


@dataclass(frozen=True)
class Contents:
    """What is to be encoded of a row group: item ids `[B]`, contents, hashes `[B, 16]`."""

    item_ids: np.ndarray
    contents: list[Any]
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.contents)


@dataclass(frozen=True)
class Outcome:
    """Records for the table, how many items came to them in which way, and (item id, reason) of those that failed."""

    records: TableRecords
    counts: Counter[str] = field(default_factory=Counter)
    dead_letters: tuple[tuple[Any, str], ...] = ()


# === Contents ===


def read_contents(file: pq.ParquetFile, group: int, columns: Sequence[str]) -> tuple[np.ndarray, list]:
    """Item ids and contents of a row group; a content is `None` where an item has none."""
    table = file.read_row_group(group, columns=["item_id", *columns])
    parts = [[one or None for one in table.column(name).to_pylist()] for name in columns]
    contents = parts[0] if len(parts) == 1 else [one if any(one) else None for one in zip(*parts, strict=True)]
    return table.column("item_id").to_numpy(), contents


def content_hash(content: str | bytes | tuple | None) -> bytes:
    """16 bytes of the SHA-256 of a content; of several parts, of their hashes."""
    if isinstance(content, tuple):
        content = b"".join(content_hash(part) for part in content)
    raw = content.encode() if isinstance(content, str) else content or b""
    return hashlib.sha256(raw).digest()[:HASH_BYTES]


class Progress:
    """A worker's file that grows by a byte an item, so that the process that started the job can see how far it is."""

    def __init__(self, folder: str):
        self._path = Path(folder, f"{socket.gethostname()}-{os.getpid()}")

    def add(self, items: int) -> None:
        """Notes that so many more items are done."""
        with self._path.open("ab") as file:
            file.write(b"." * items)

    @staticmethod
    def read(folder: Path) -> int:
        """Items done by all workers."""
        return sum(path.stat().st_size for path in folder.iterdir())


# === What must be encoded ===


class ListItems(beam.DoFn):
    """Number of a row group -> (shard, `Listed`)."""

    def __init__(self, job: TableJob):
        self.job = job

    def setup(self) -> None:
        self.file = pq.ParquetFile(self.job.items)

    def process(self, group: int) -> Iterator[tuple[int, Listed]]:
        item_ids, contents = read_contents(self.file, group, self.job.columns)
        hashes = np.frombuffer(b"".join(map(content_hash, contents)), np.uint8).reshape(-1, HASH_BYTES)
        filled = np.array([content is not None for content in contents])
        for shard, places in _by_shard(self.job, item_ids):
            yield shard, Listed(np.full(len(places), group, np.int32), places.astype(np.int32), item_ids[places], hashes[places], filled[places])


class ReadOld(beam.DoFn):
    """Shard of the old table -> (shard of the new one, records). Records that are of no use any more keep nothing but their id.

    Args:
        job: the job.
        folder: the old table.
        manifest: its manifest.
    """

    def __init__(self, job: TableJob, folder: str, manifest: Manifest):
        self.job = job
        self.folder = folder
        self.manifest = manifest
        about = manifest.about
        self.reusable = (about["encoder_version"], about["dim"], about["dtype"]) == (job.encoder_version, job.dim, job.dtype)

    def process(self, shard: Shard) -> Iterator[tuple[int, TableRecords]]:
        for records in read_records(self.folder, self.manifest, [shard]):
            if not self.reusable:
                records = TableRecords.without_vector(records.item_ids, np.zeros_like(records.hashes), 0, self.job.dtype)
            for number, places in _by_shard(self.job, records.item_ids):
                yield number, records.take(places)


class Compare(beam.DoFn):
    """Items and old records of a shard -> what the old table and an empty content settle, and what must be encoded.

    An old vector is kept where it was made of the same content by the same encoder, in the same type. A content that could
    not be encoded left no hash, so that it is tried again each time: its list of reasons is always that of all broken items,
    and what failed for lack of memory heals by itself.

    Main output: (shard, `Outcome`). Output `encode`: (row group, (places `[B]`, hashes `[B, 16]`)).
    """

    def __init__(self, job: TableJob):
        self.job = job

    def setup(self) -> None:
        self.progress = Progress(self.job.progress)

    def process(self, element: tuple[int, dict[str, Iterable]]) -> Iterator[tuple[int, Outcome]]:
        shard, found = element
        listed, old = list(found["items"]), list(found["old"])
        if not listed:
            yield shard, Outcome(_without_vector(self.job, old[0].item_ids[:0], old[0].hashes[:0]), Counter(removed=sum(map(len, old))))
            return
        group, place, item_ids, hashes, filled = (np.concatenate([getattr(part, name) for part in listed]) for name in Listed.__dataclass_fields__)
        kept, counts = np.zeros(len(item_ids), bool), Counter()
        parts = [_without_vector(self.job, item_ids[~filled], hashes[~filled])]
        if old:
            records = TableRecords.concatenate(old)
            at = _places(item_ids, records.item_ids)
            kept = filled & (at >= 0) & (records.hashes[at] == hashes).all(axis=1)
            counts["removed"] = len(records) - int((at >= 0).sum())
            if kept.any():
                parts.append(records.take(at[kept]))
        counts.update(items=len(item_ids), kept=int(kept.sum()), empty=int((~filled).sum()))
        settled = TableRecords.concatenate(parts)
        self.progress.add(len(settled))
        yield shard, Outcome(settled, counts)
        encode = filled & ~kept
        for number in np.unique(group[encode]).tolist():
            these = encode & (group == number)
            yield beam.pvalue.TaggedOutput("encode", (number, (place[these], hashes[these])))


def _by_shard(job: TableJob, item_ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    partition = job.partition(item_ids)
    for shard in np.unique(partition).tolist():
        yield shard, np.flatnonzero(partition == shard)


def _places(item_ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Where ids are among others, -1 where they are not."""
    return pc.fill_null(pc.index_in(pa.array(item_ids), value_set=pa.array(among)), -1).to_numpy()


def _without_vector(job: TableJob, item_ids: np.ndarray, hashes: np.ndarray) -> TableRecords:
    return TableRecords.without_vector(item_ids, hashes, job.dim, job.dtype)


# === Encoding ===


class ReadContents(beam.DoFn):
    """(row group, its places to encode) -> `Contents`, in the order of the catalog."""

    def __init__(self, job: TableJob):
        self.job = job

    def setup(self) -> None:
        self.file = pq.ParquetFile(self.job.items)

    def process(self, element: tuple[int, Iterable[tuple[np.ndarray, np.ndarray]]]) -> Iterator[Contents]:
        group, wanted = element
        places, hashes = (np.concatenate(part) for part in zip(*wanted, strict=True))
        order = np.argsort(places)
        item_ids, contents = read_contents(self.file, group, self.job.columns)
        yield Contents(item_ids[places[order]], [contents[place] for place in places[order].tolist()], hashes[order])


class EncoderHandler(ModelHandler[Contents, Outcome, SafeEncoder]):
    """Gives each worker the encoder, loaded once, and encodes the `Contents` of a row group to an `Outcome`."""

    def __init__(self, job: TableJob):
        super().__init__()
        self.job = job

    def load_model(self) -> SafeEncoder:
        """The encoder of the job, in full precision whatever was trained in this process: a version means one vector."""
        import keras

        keras.config.set_dtype_policy("float32")
        return SafeEncoder(load_encoder(self.job.encoder), self.job.dtype, self.job.batch_size)

    def run_inference(self, batch: Contents, model: SafeEncoder, inference_args: dict[str, Any] | None = None) -> list[Outcome]:
        """Encodes contents. What fails gets no vector and no hash; a vector of zeros is as good as none."""
        vectors, failures = model.encode(batch.contents, Progress(self.job.progress).add)
        failed = sorted(failures)
        hashes = batch.hashes.copy()
        hashes[failed] = 0
        tokens, padded_tokens = model.count_tokens()
        records = TableRecords(batch.item_ids, vectors, vectors.any(axis=1), hashes)
        counts = Counter(encoded=len(batch) - len(failed), dead_letters=len(failed), tokens=tokens, padded_tokens=padded_tokens)
        item_ids = batch.item_ids[failed].tolist()
        return [Outcome(records, counts, tuple((item_id, failures[place]) for item_id, place in zip(item_ids, failed, strict=True)))]

    def should_skip_batching(self) -> bool:
        """The encoder forms the batches, of contents of like length."""
        return True

    def get_num_bytes(self, batch: Contents) -> int:
        """Bytes of the contents, for the runner's figures."""
        return sum(len(part) for content in batch.contents for part in (content if isinstance(content, tuple) else (content,)) if part)


class Spread(beam.DoFn):
    """An `Outcome` of the encoder -> (shard, `Outcome`)."""

    def __init__(self, job: TableJob):
        self.job = job

    def process(self, outcome: Outcome) -> Iterator[tuple[int, Outcome]]:
        counts, dead_letters = outcome.counts, outcome.dead_letters
        for shard, places in _by_shard(self.job, outcome.records.item_ids):
            yield shard, Outcome(outcome.records.take(places), counts, dead_letters)
            counts, dead_letters = Counter(), ()  # they belong to all shards together: the first one carries them


# === Writing ===


class WriteShard(beam.DoFn):
    """(shard, `Outcome`s) -> `{"shard", "counts", "dead_letters"}`; the shard is written, unless it has no records."""

    def __init__(self, job: TableJob):
        self.job = job

    def process(self, element: tuple[int, Iterable[Outcome]]) -> Iterator[dict]:
        number, outcomes = element[0], list(element[1])
        counts = sum((one.counts for one in outcomes), Counter())
        dead_letters = [letter for one in outcomes for letter in one.dead_letters]
        records = TableRecords.concatenate([one.records for one in outcomes])
        shard = write_shard(Path(self.job.folder), number, self.job.shards, records, self.job.encoder_version) if len(records) else None
        yield {"shard": shard and asdict(shard), "counts": dict(counts), "dead_letters": dead_letters}
