"""The two Beam jobs of preparation: a survey of the log, and the log turned into samples.

Elements are columnar batches of many rows, because a runner spends tens of microseconds on each element.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ppm_tf.config import BeamSettings, ColumnarData
from ppm_tf.data.batch_job import run_job
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.histories import DayHistories
from ppm_tf.data.preparation.log_batches import LogForms, LogReader, from_bytes, to_arrays, to_bytes
from ppm_tf.data.preparation.repeats import differing_context, merge_repeats, tied_behaviors
from ppm_tf.data.preparation.requests import Requests, make_requests, sort_rows, with_seconds
from ppm_tf.data.preparation.sample_writer import SampleColumns, ShardWriter, encode, item_counts
from ppm_tf.data.preparation.survey import Survey
from ppm_tf.data.preparation.user_features import UserFeatures
from ppm_tf.data.progress import watch
from ppm_tf.data.raw.files import DamagedFileError, FileSplit
from ppm_tf.data.schema import Schema
from ppm_tf.data.splits import SPLITS
from ppm_tf.rows import splitmix64

COUNTED = ("pretrain", "train")  # splits whose items are counted
_DAY_BITS = 24  # of a request's ordinal in its partition: day since 1970 << 24 | place in the day


@dataclass(frozen=True)
class SampleJob:
    """What the workers of the second job need to know.

    Attributes:
        columns: where the columns are.
        schema: the prepared data set's schema.
        folder: the artifact's folder, with the catalog and users in it.
        forms: what the columns of the log hold.
        cuts: first seconds of each split but the first, for split.by=time.
        batch_rows: log rows in one batch.
        splits: names of the splits.
        counted: those whose items are counted.
        day: the day of the log that is prepared; `None` = all of it.
        histories: folder with what users did before the day; `None` = nothing is before it.
    """

    columns: ColumnarData
    schema: Schema
    folder: str
    forms: LogForms
    cuts: tuple[int, ...] | None
    batch_rows: int
    splits: tuple[str, ...] = SPLITS
    counted: tuple[str, ...] = COUNTED
    day: date | None = None
    histories: str | None = None


def survey_log(columns: ColumnarData, splits: list[FileSplit], catalog: Path, settings: BeamSettings, work: Path, day: date | None = None) -> Survey:
    """Reads the whole log once and counts. Problems are found, not raised, so that every runner reports them alike."""
    path = work / "survey.json"

    def build(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | "List the pieces of the log" >> beam.Create(splits)
            | "Spread over the workers" >> beam.Reshuffle()
            | "Survey each piece" >> beam.ParDo(_SurveyPiece(columns, catalog, settings.batch_rows, day))
            | "Combine the surveys" >> beam.CombineGlobally(_CombineSurveys())
            | "Write the survey" >> beam.Map(lambda survey, target: survey.write(target), target=path)
        )

    run_job("survey of the log", build, settings)
    return Survey.read(path)


def write_samples(job: SampleJob, splits: list[FileSplit], settings: BeamSettings, work: Path) -> list[dict]:
    """Reads the log again and writes samples and item counts.

    Returns:
        What each partition wrote, see `_WritePartition`, in the order of the partitions.
    """
    path = work / "partitions.json"

    def build(pipeline: beam.Pipeline) -> None:
        written = (
            pipeline
            | "List the pieces of the log" >> beam.Create(splits)
            | "Spread over the workers" >> beam.Reshuffle()
            | "Read rows by partition of users" >> beam.ParDo(_ReadPiece(job)).with_output_types(tuple[int, bytes])
            | "Group by partition of users" >> beam.GroupByKey()
            | "Write the samples of a partition" >> beam.ParDo(_WritePartition(job)).with_outputs("counts", main="partitions")
        )
        _ = (
            written.partitions
            | "Collect the partitions" >> beam.combiners.ToList()
            | "Write their list" >> beam.Map(lambda found, target: target.write_text(json.dumps(found)), target=path)
        )
        _ = (
            written.counts
            | "Sum the item counts"
            >> beam.CombineGlobally(_SumCounts(job.counted, len(job.schema.tasks), ItemCatalog.read(Path(job.folder, "catalog")).num_rows))
            | "Write the item counts" >> beam.Map(_write_counts, target=Path(job.folder, "catalog", "counts.npz"))
        )

    samples = Path(job.folder, "samples")
    with watch("write samples", "partition", job.columns.shards, lambda: len({path.name[: len("part-00000")] for path in samples.glob("*/part-*")})):
        run_job("samples from the log", build, settings)
    return sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda found: found["partition"])


def write_no_counts(catalog: ItemCatalog) -> None:
    """Writes the item counts of a catalog without a log: no exposures, no tasks."""
    _write_counts({split: np.zeros((catalog.num_rows, 1), np.int64) for split in COUNTED}, catalog.folder / "counts.npz")


# === Survey ===


class _SurveyPiece(beam.DoFn):
    """A piece of the log -> its `Survey`."""

    def __init__(self, columns: ColumnarData, catalog: Path, batch_rows: int, day: date | None):
        self.columns = columns
        self.catalog = catalog
        self.batch_rows = batch_rows
        self.day = day

    def setup(self) -> None:
        self.reader = LogReader(self.columns, ItemCatalog.read(self.catalog), None, self.batch_rows, self.day)

    def process(self, split: FileSplit) -> Iterator[Survey]:
        survey = Survey()
        try:
            for batch in self.reader.read(split):
                survey.add(batch)
        except (ValueError, OSError) as error:
            survey.add_problem(split.file, split.first_row, str(error), isinstance(error, DamagedFileError))
        yield survey


class _CombineSurveys(beam.CombineFn):
    def create_accumulator(self) -> Survey:
        return Survey()

    def add_input(self, accumulator: Survey, element: Survey) -> Survey:
        accumulator.update(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Survey]) -> Survey:
        merged = Survey()
        for accumulator in accumulators:
            merged.update(accumulator)
        return merged

    def extract_output(self, accumulator: Survey) -> Survey:
        return accumulator


# === Samples ===


class _ReadPiece(beam.DoFn):
    """A piece of the log -> (partition, rows of its users as Arrow bytes), a few a batch."""

    def __init__(self, job: SampleJob):
        self.job = job

    def setup(self) -> None:
        job, schema = self.job, self.job.schema
        catalog = ItemCatalog.read(Path(job.folder, "catalog"))
        self.reader = LogReader(job.columns, catalog, job.forms, job.batch_rows, job.day)
        self.vocabularies = {field.name: (pa.array(field.vocabulary, pa.string()), field.num_values) for field in schema.side("context")}

    def process(self, split: FileSplit) -> Iterator[tuple[int, bytes]]:
        for batch in self.reader.read(split):
            rows = to_arrays(batch, self.job.schema.user_id_type, self.vocabularies)
            partition = partition_of(rows["user_id"], self.job.columns.shards)
            order = np.argsort(partition, kind="stable")
            bounds = np.searchsorted(partition[order], np.arange(self.job.columns.shards + 1))
            for number in np.flatnonzero(np.diff(bounds)).tolist():
                part = order[bounds[number] : bounds[number + 1]]
                yield number, to_bytes({name: values[part] for name, values in rows.items()})


def partition_of(user_id: np.ndarray, partitions: int) -> np.ndarray:
    """The partition of each user: a hash that spreads consecutive ids (the finalizer of SplitMix64), modulo `partitions`."""
    return (splitmix64(user_id.astype(np.uint64)) % np.uint64(partitions)).astype(np.int64)


class _WritePartition(beam.DoFn):
    """The rows of a partition -> one shard a split, and what was written.

    Main output: `{"partition", "users", "described": those that the user file holds, "spanning": {"requests", "rows", "origin"},
    "mixed": the same of requests whose rows differ,
    "repeats": {"rows", "differing", "origin"}, "ties": {"requests", "behaviors"}, "splits": {split: {"shard", "labels",
    "first_time", "last_time"}}}`. Output `counts`: (split, item rows, counts) as `sample_writer.item_counts` gives them.
    """

    def __init__(self, job: SampleJob):
        self.job = job

    def setup(self) -> None:
        schema = self.job.schema
        self.columns = SampleColumns(schema.tasks, schema.history_task, schema.history_length, schema.has_truth)
        names = tuple(field.name for field in schema.side("user"))
        self.users = UserFeatures(Path(self.job.folder, "users.npz"), names) if names else None
        self.histories = DayHistories(self.job.histories, self.job.folder, schema) if self.job.day else None

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[dict]:
        partition, messages = element
        settings = self.job.columns
        rows = sort_rows(with_seconds(from_bytes(list(messages)), settings.log.rows_in_order))
        users = np.unique(rows["user_id"])
        rows, repeats = merge_repeats(rows, settings.requests == "column", settings.repeats)
        if self.histories:
            rows = self.histories.before(partition, rows)
        requests = make_requests(rows, settings, self.job.cuts)
        spanning = _affected(rows, requests, requests.spans_cut)
        requests = requests.keep(~requests.spans_cut)
        mixed = _affected(rows, requests, differing_context(rows, requests))
        if settings.mixed_requests == "drop":
            requests = requests.keep(~differing_context(rows, requests))
        shards = self._write(partition, rows, requests)
        if self.histories:
            self.histories.write(partition, rows)
        splits = self.job.splits
        for split in self.job.counted:
            if split in shards:
                yield beam.pvalue.TaggedOutput("counts", (split, *item_counts(rows, requests, self.columns.tasks, splits.index(split))))
        yield {
            "partition": partition,
            "users": len(users),
            "described": int(np.isin(users, self.users.user_id).sum()) if self.users else len(users),
            "spanning": spanning,
            "mixed": mixed,
            "repeats": repeats,
            "ties": tied_behaviors(rows, requests, rows[f"label/{self.columns.history_task}"] == 1),
            "splits": {split: {"shard": shard, **self._describe(rows, requests, splits.index(split))} for split, shard in shards.items()},
        }

    def _write(self, partition: int, rows: dict[str, np.ndarray], requests: Requests) -> dict[str, dict]:
        settings, splits = self.job.columns, self.job.splits
        present = np.unique(requests.split).tolist()
        writers = {
            number: ShardWriter(Path(self.job.folder, "samples", splits[number]), partition, settings.shards, settings.compression)
            for number in present
        }
        split = requests.split.tolist()
        user = self.users.of(rows["user_id"][requests.first]) if self.users else None
        for index, record in encode(rows, requests, self.columns, user, partition, self._first_ordinal(len(requests))):
            writers[split[index]].write(record)
        candidates = np.bincount(requests.split, weights=requests.size, minlength=len(splits)).astype(int).tolist()
        return {splits[number]: asdict(writer.close(candidates[number])) for number, writer in writers.items()}

    def _first_ordinal(self, count: int) -> int:
        """Of the requests of a day in a partition, so that those of two days differ."""
        if self.job.day is None:
            return 0
        if count > 1 << _DAY_BITS:
            raise ValueError(f"A day may have {1 << _DAY_BITS:,} requests a partition. Received: {count:,}. Remedy: raise data.shards.")
        return (self.job.day - date(1970, 1, 1)).days << _DAY_BITS

    def _describe(self, rows: dict[str, np.ndarray], requests: Requests, split: int) -> dict:
        candidates = requests.candidates(requests.split == split)
        labels = {task: np.bincount(rows[f"label/{task}"][candidates] + 1, minlength=3).tolist() for task in self.columns.tasks}
        times = rows["time"][candidates] if "time" in rows else np.zeros(1, np.int64)
        return {"labels": labels, "first_time": int(times.min()), "last_time": int(times.max())}


def _affected(rows: dict[str, np.ndarray], requests: Requests, chosen: np.ndarray) -> dict:
    """How many requests were chosen, their rows, and the first of these rows in the raw files."""
    affected = requests.candidates(chosen)
    return {"requests": int(chosen.sum()), "rows": int(affected.size), "origin": int(rows["origin"][affected].min(initial=2**62))}


class _SumCounts(beam.CombineFn):
    """(split, item rows, counts) -> {split: int64 `[V, 1 + K]`}."""

    def __init__(self, splits: tuple[str, ...], num_tasks: int, num_rows: int):
        self.splits = splits
        self.shape = (num_rows, 1 + num_tasks)

    def create_accumulator(self) -> dict[str, np.ndarray]:
        return {}

    def add_input(self, accumulator: dict[str, np.ndarray], element: tuple[str, np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        split, items, counts = element
        accumulator.setdefault(split, np.zeros(self.shape, np.int64))[items] += counts
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        merged: dict[str, np.ndarray] = {}
        for accumulator in accumulators:
            for split, counts in accumulator.items():
                merged[split] = merged[split] + counts if split in merged else counts
        return merged

    def extract_output(self, accumulator: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {split: accumulator.get(split, np.zeros(self.shape, np.int64)) for split in self.splits}


def _write_counts(counts: dict[str, np.ndarray], target: Path) -> None:
    arrays = {f"exposures_{split}": table[:, 0] for split, table in counts.items()}
    np.savez(target, **arrays, **{f"positives_{split}": table[:, 1:] for split, table in counts.items()})
