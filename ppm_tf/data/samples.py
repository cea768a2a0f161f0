"""Reading samples: TFRecords of requests to batches of rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import tensorflow as tf

from ppm_tf.data.damage import naming_damage
from ppm_tf.data.manifest import Manifest, Shard, paths, whole_shards
from ppm_tf.data.schema import Schema

_PASS = 1_000_003  # between the seeds of two passes


def find_shards(folder: str | Path, splits: Sequence[str], verify: str = "sha256", max_bad_share: float = 0.0) -> SampleFiles:
    """The whole shards of some splits of a prepared data set.

    Args:
        folder: `samples/` of the data set.
        splits: names such as `["pretrain", "train"]`. A split that preparation left empty adds nothing.
        verify: `"sha256"` or `"size"`, see `manifest.whole_shards`.
        max_bad_share: share of a split's records that damaged shards may hold.

    Raises:
        DamagedDataError: more than that is damaged.
        ValueError: the splits hold no record at all.
    """
    files, compression = [], ""
    shards: list[Shard] = []
    for split in splits:
        manifest = Manifest.read(Path(folder, split))
        found = whole_shards(Path(folder, split), manifest, verify, max_bad_share)
        files += paths(Path(folder, split), found)
        shards += found
        compression = manifest.tf_compression
    if not files:
        raise ValueError(f"The splits {', '.join(splits)} of {folder} must hold at least one request. Received: none. Look at data.split.")
    return SampleFiles(files, compression, sum(shard.records for shard in shards), sum(shard.candidates for shard in shards))


def reading(*files: SampleFiles) -> AbstractContextManager[None]:
    """A block that reads samples, in which a damaged shard is an error that names it.

    Raises:
        DamagedDataError: a shard is damaged, which a check of its size did not find.
    """
    return naming_damage([path for one in files for path in one.files], files[0].compression, "python -m pipelines.prepare")


class SampleFiles:
    """Shards to read, with their counts.

    Attributes:
        files: paths of the shards.
        compression: as TensorFlow names it.
        records: requests in all.
        candidates: candidates in all.
    """

    def __init__(self, files: list[str], compression: str, records: int, candidates: int):
        self.files = files
        self.compression = compression
        self.records = records
        self.candidates = candidates


def read(
    files: SampleFiles,
    schema: Schema,
    batch_size: int,
    *,
    history_length: int | None = None,
    epochs: int | None = 1,
    shuffle_buffer: int = 0,
    seed: int = 0,
    cycle_length: int = 4,
    with_truth: bool = False,
    since: int | None = None,
) -> tf.data.Dataset:
    """Batches of requests.

    The reader streams: it holds a few records a shard, the shuffle buffer and two batches, however long the data is. With
    a seed the order is fixed, and the iterator can be saved in a `tf.train.Checkpoint` and go on where it was.

    Args:
        files: what to read.
        schema: schema of the data set.
        batch_size: requests a batch; the last one may be smaller.
        history_length: most recent behaviors kept; `None` = as many as were prepared.
        epochs: passes over the data, each in its own order when shuffled; `None` = without end, for a training that counts its steps: what reads
            ahead then never meets an end, which a saved iterator would keep, and a longer training could not go on from.
        shuffle_buffer: records shuffled in memory; 0 = the order of the files, the same every time.
        seed: of the order.
        cycle_length: shards read at once when shuffled.
        with_truth: whether to give the true probabilities of simulated data.
        since: leave out requests before this time.

    Returns:
        A dataset of dicts: `request [R]`, `user_id [R]`, `history [R, T]` and `item [R, N]` (int32 rows, 0 = padding),
        `labels [R, N, K]` (float, -1 = missing or padding) and, where the schema has them, `user [R, Fu]`,
        `context [R, Fc]`, `time [R]` with `history_time [R, T]` (int64 seconds), `slot [R, N]` (-1 = unknown) and
        `truth [R, N, K]`.
    """
    options = tf.data.Options()
    options.deterministic = True
    # The state outside of the iterator is the seeds of the passes, which their numbers give.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE

    def one_pass(number):
        """The records of a pass, in an order that its number and the seed fix, whichever passes were read before."""
        if not shuffle_buffer:
            records = tf.data.TFRecordDataset(files.files, compression_type=files.compression)
        else:
            # The seed of this function's own graph: the order is that of `seed`, whatever the process was seeded with, 0 included.
            tf.compat.v1.set_random_seed(1)
            names = tf.data.Dataset.from_tensor_slices(files.files)
            names = names.shuffle(len(files.files), seed=2 * (seed + _PASS * number), reshuffle_each_iteration=False)
            records = names.interleave(
                lambda name: tf.data.TFRecordDataset(name, compression_type=files.compression),
                cycle_length=cycle_length,
                block_length=16,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        if since is not None:
            time = {"time": tf.io.FixedLenFeature([], tf.int64)}
            records = records.filter(lambda record: tf.io.parse_single_example(record, time)["time"] >= since)
        if shuffle_buffer:
            records = records.shuffle(shuffle_buffer, seed=2 * (seed + _PASS * number) + 1, reshuffle_each_iteration=False)
        return records

    passes = tf.data.Dataset.range(epochs if epochs is not None else tf.int64.max)
    parse = Parser(schema, history_length, with_truth)
    batches = passes.flat_map(one_pass).batch(batch_size).map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.with_options(options).prefetch(2)


class Parser:
    """Parses a batch of serialized samples; the same graph serves training and evaluation.

    Args:
        schema: schema of the data set.
        history_length: most recent behaviors kept; `None` = as many as were prepared.
        with_truth: whether to give the true probabilities of simulated data.
    """

    def __init__(self, schema: Schema, history_length: int | None = None, with_truth: bool = False):
        self.schema = schema
        self.history_length = min(history_length or schema.history_length, schema.history_length)
        self.with_truth = with_truth and schema.has_truth
        self.widths = {side: sum(field.num_values for field in schema.side(side)) for side in ("user", "context")}

    def __call__(self, records: tf.Tensor) -> dict[str, tf.Tensor]:
        schema, num_tasks = self.schema, len(self.schema.tasks)
        parsed = tf.io.parse_example(records, self._spec())
        item = _dense(parsed["item"], schema.num_candidates, 0)
        shape = [-1, schema.num_candidates, num_tasks]
        batch = {
            "request": parsed["request"],
            "user_id": parsed["user_id"],
            "history": tf.cast(_dense(parsed["history"], self.history_length, 0), tf.int32),
            "item": tf.cast(item, tf.int32),
            "labels": tf.cast(tf.reshape(_dense(parsed["labels"], schema.num_candidates * num_tasks, -1), shape), tf.float32),
        }
        for side, width in self.widths.items():
            if width:
                batch[side] = tf.cast(parsed[side], tf.int32)
        if schema.has_time:
            batch["time"] = parsed["time"]
            batch["history_time"] = _dense(parsed["history_time"], self.history_length, 0)
        if schema.has_slot:
            batch["slot"] = tf.cast(_dense(parsed["slot"], schema.num_candidates, -1), tf.int32)
        if self.with_truth:
            batch["truth"] = tf.reshape(_dense(parsed["truth"], schema.num_candidates * num_tasks, -1.0), shape)
        return batch

    def _spec(self) -> dict:
        schema = self.schema
        spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("request", "user_id")}
        spec |= {name: tf.io.RaggedFeature(tf.int64) for name in ("history", "item", "labels")}
        spec |= {side: tf.io.FixedLenFeature([width], tf.int64) for side, width in self.widths.items() if width}
        if schema.has_time:
            spec["time"] = tf.io.FixedLenFeature([], tf.int64)
            spec["history_time"] = tf.io.RaggedFeature(tf.int64)
        if schema.has_slot:
            spec["slot"] = tf.io.RaggedFeature(tf.int64)
        if self.with_truth:
            spec["truth"] = tf.io.RaggedFeature(tf.float32)
        return spec


def _dense(ragged: tf.RaggedTensor, width: int, default) -> tf.Tensor:
    """`[B, width]`: longer rows lose their end, shorter ones are padded with `default`."""
    return ragged.to_tensor(default_value=tf.cast(default, ragged.dtype), shape=[None, width])
