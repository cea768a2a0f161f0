"""Speed of the reader, of PPM's training, of id tables and of the embedding job."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.benchmark.timing import in_turns, memory, show, timed
from pipelines.stage import make, stage_of
from ppm_tf.config import Config
from ppm_tf.workspace import Workspace

_WARM_UP = 20  # steps that trace the graph and fill the caches, left out of the timing
_STEPS = 100


def reader(config: Config, workspace: Workspace) -> None:
    """Reads all training samples once, then ten times over, and reports speed and memory after each."""
    make(stage_of("data"), config, workspace, asked=False)
    from ppm_tf.data import samples
    from ppm_tf.data.schema import Schema

    schema = Schema.read(workspace.path("data") / "schema.json")
    files = samples.find_shards(workspace.path("data") / "samples", config.ppm_splits, config.train.verify)
    for times in (1, 10):
        many = samples.SampleFiles(files.files * times, files.compression, files.records * times, files.candidates * times)
        dataset = samples.read(many, schema, config.train.batch_size, shuffle_buffer=config.train.shuffle_buffer, seed=config.seed)
        start, requests = time.perf_counter(), 0
        for batch in dataset:
            requests += len(batch["request"])
        seconds = time.perf_counter() - start
        show(benchmark="reader", data=f"{times}x", requests=requests, seconds=seconds, requests_per_second=requests / seconds, memory_mib=memory())


def training(config: Config, workspace: Workspace) -> None:
    """Times PPM's training step on real batches, and the reader on the same batches."""
    for name in stage_of("ppm").parents(config):
        make(stage_of(name), config, workspace, asked=False)
    import tensorflow as tf

    from ppm_tf import training as harness
    from ppm_tf.data import samples
    from ppm_tf.models.build import build_pretraining_model
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ppm import click_loss
    from ppm_tf.training.optimizers import dense_optimizer

    strategy = harness.prepare_backend(config.train, config.seed)
    inputs = Inputs.read(workspace, config.ppm.tables)
    schema, tables = inputs.schema, inputs.tables
    files = samples.find_shards(workspace.path("data") / "samples", config.ppm_splits, config.train.verify)
    dataset = samples.read(files, schema, config.train.batch_size, epochs=1000, shuffle_buffer=config.train.shuffle_buffer, seed=config.seed)
    model = build_pretraining_model(config, schema, tables)
    optimizer = dense_optimizer(config.train.learning_rate)
    trainer = harness.Trainer(model, click_loss, harness.known_labels(1), optimizer, dataset, strategy, config.train.clip_norm)
    trainer.train(tf.constant(_WARM_UP))
    start = time.perf_counter()
    output = trainer.train(tf.constant(_STEPS))
    step = (time.perf_counter() - start) / _STEPS
    iterator = iter(dataset.skip(_WARM_UP))
    next(iterator)
    start = time.perf_counter()
    for _ in range(_STEPS):
        next(iterator)
    reading = (time.perf_counter() - start) / _STEPS
    show(
        benchmark="training",
        batch_size=config.train.batch_size,
        candidates=schema.num_candidates,
        history=schema.history_length,
        ms_per_step=1000 * step,
        requests_per_second=config.train.batch_size / step,
        candidates_per_second=output["labels"] / _STEPS / step,
        reader_ms_per_batch=1000 * reading,
        memory_mib=memory(),
    )


def tables(config: Config, workspace: Workspace) -> None:
    """Times the training step of a small model by the length of its id table, on the same batches.

    A step looks up 20,000 ids, drawn from 9,999 by Zipf's law, in a table 64 wide under one hidden layer. Rounds of all
    cases take turns, so that other work on the machine slows each alike; the median round counts.
    """
    import numpy as np
    import tensorflow as tf

    from ppm_tf import training as harness
    from ppm_tf.losses import binary_cross_entropy
    from ppm_tf.training.optimizers import dense_optimizer, ranking_optimizer

    strategy = harness.prepare_backend(config.train, config.seed)
    rng = np.random.default_rng(config.seed)
    share = 1.0 / np.arange(1, 10_000)
    rows = rng.choice(np.arange(1, 10_000), (_STEPS, 1000, 20), p=share / share.sum()).astype("int32")
    batches = {"history": rows[..., :10], "item": rows[..., 10:], "labels": rng.integers(0, 2, (_STEPS, 1000, 10, 1)).astype("float32")}
    batches["request"] = np.arange(_STEPS * 1000).reshape(_STEPS, 1000)
    loss = lambda batch, logits: binary_cross_entropy(batch["labels"], logits)
    cases = {}
    for optimizer, num_rows in (
        ("adam", 10_000),
        ("adam", 4_000_000),
        ("adagrad", 10_000),
        ("adagrad", 4_000_000),
        ("keras_adam", 10_000),
        ("keras_adam", 1_000_000),
    ):
        model = _table_model(num_rows)
        own = dense_optimizer(1e-3) if optimizer == "keras_adam" else ranking_optimizer(1e-3, harness.id_tables(model), optimizer)
        dataset = tf.data.Dataset.from_tensor_slices(batches).repeat().prefetch(2)
        cases[optimizer, num_rows] = harness.Trainer(model, loss, harness.known_labels(), own, dataset, strategy, config.train.clip_norm)
        cases[optimizer, num_rows].train(tf.constant(5))
    times = in_turns({case: lambda trainer=trainer: timed(lambda: trainer.train(tf.constant(15)))[0][0] / 15 for case, trainer in cases.items()}, 7)
    middle = {case: float(np.median(found)) for case, found in times.items()}
    for (optimizer, num_rows), found in times.items():
        show(
            benchmark="tables", optimizer=optimizer, rows=num_rows, ids_per_step=20_000,
            rows_per_step=int(np.median([len(np.unique(batch)) for batch in rows])),
            ms_per_step=1000 * middle[optimizer, num_rows], ms_lowest=1000 * min(found), ms_highest=1000 * max(found),
            ratio_to_10000_rows=middle[optimizer, num_rows] / middle[optimizer, 10_000],
        )  # fmt: skip
    show(benchmark="tables", memory_mib=memory())


def _table_model(num_rows: int):
    """Logits `[R, N, 1]` from the ids of candidates and the mean over a history's, out of one table."""
    import keras

    from ppm_tf.layers.id_embedding import IdEmbedding
    from ppm_tf.layers.mlp import MLP

    class TableModel(keras.Model):
        def __init__(self):
            super().__init__()
            self.table, self.mlp, self.head = IdEmbedding(num_rows, 64), MLP((64,)), keras.layers.Dense(1)
            self.mlp.build((None, 128))
            self.head.build((None, 64))
            self.built = True

        def call(self, batch, training=False):
            item, user = self.table(batch["item"]), keras.ops.expand_dims(self.table.pooled(batch["history"]), 1)
            return self.head(self.mlp(keras.ops.concatenate([item, keras.ops.broadcast_to(user, keras.ops.shape(item))], -1)))

    return TableModel()


def embed(config: Config, workspace: Workspace) -> None:
    """Times each table's Beam job, all of it, and a warm loop of `predict` over contents in memory; the better of two rounds each.

    On a machine that does other work too, the CPU seconds say more than the ratio. Encoders that are missing are made first,
    and leave deterministic ops behind, which slow the loop: make them before, with `pipelines.finetune`.
    """
    for table in config.ppm.tables:
        for name in stage_of(f"tables/{table}").parents(config):
            make(stage_of(name), config, workspace, asked=False)
        with TemporaryDirectory(dir=workspace.folder) as folder:
            _embed(table, config, workspace, Path(folder))


def _embed(table: str, config: Config, workspace: Workspace, work: Path) -> None:
    import pyarrow.parquet as pq

    from pipelines.embed import encoder_of
    from ppm_tf.encoders.saved import load_encoder
    from ppm_tf.encoders.table_job import write_table_job
    from ppm_tf.encoders.table_steps import read_contents

    catalog = workspace.path("data") / "catalog"
    saved, columns = encoder_of(table, config, workspace, work / "encoder")
    encoder, file = load_encoder(saved), pq.ParquetFile(catalog / "items.parquet")
    contents = [one for group in range(file.num_row_groups) for one in read_contents(file, group, columns)[1] if one is not None]
    loop, padding = _plain_loop(encoder, contents, config.embed.batch_size)

    def job(name: str, old: Path | None):
        (work / name).mkdir()
        return write_table_job(table, catalog, saved, columns, old, work / name, config.embed, config.beam).about

    rounds = []
    for number in range(2):
        plain, (full, about) = timed(loop)[0], timed(lambda name=f"all-{number}": job(name, None))
        # The next job finds nothing to encode: this is what a job does beside.
        rounds.append((plain, full, timed(lambda old=work / f"all-{number}", name=f"none-{number}": job(name, old))[0]))
    plain, full, rest = (min(times) for times in zip(*rounds, strict=True))
    tokens = (
        {"tokens_per_second": about["tokens"] / full[0], "padding": 1 - about["tokens"] / about["padded_tokens"], "plain_padding": padding}
        if about["padded_tokens"]
        else {}
    )
    show(
        benchmark="embed", table=table, encoder=about["encoder_version"], items=about["encoded"], batch_size=config.embed.batch_size,
        plain_items_per_second=len(contents) / plain[0], job_items_per_second=about["encoded"] / full[0], ratio=plain[0] / full[0],
        plain_cpu_seconds=plain[1], job_cpu_seconds=full[1], **tokens, job_seconds=full[0], job_seconds_with_nothing_to_encode=rest[0],
    )  # fmt: skip


def _plain_loop(encoder, contents: list, batch_size: int) -> tuple[Callable[[], None], float | None]:
    """A loop over batches in catalog order, already traced, and the share of padding in it."""
    import tensorflow as tf

    from ppm_tf.encoders.text_cleaning import clean_texts

    if encoder.kind == "text":
        texts = clean_texts(encoder.cleaner, contents)
        dataset = tf.data.Dataset.from_tensor_slices(texts).batch(batch_size).map(encoder.tokenize, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        counted = [(int(tf.reduce_sum(tokens["padding_mask"])), int(tf.size(tokens["padding_mask"]))) for tokens in dataset]
        padding = 1 - sum(tokens for tokens, _ in counted) / sum(padded_tokens for _, padded_tokens in counted)
    elif encoder.kind == "image":

        def read(image):
            return tf.ensure_shape(tf.numpy_function(encoder.read, [image], tf.uint8), [encoder.size, encoder.size, 3])

        dataset = tf.data.Dataset.from_tensor_slices(contents).map(read, tf.data.AUTOTUNE).batch(batch_size).prefetch(tf.data.AUTOTUNE)
        padding = None
    else:
        return lambda: [encoder.encode(contents[start : start + batch_size]) for start in range(0, len(contents), batch_size)], None
    encoder.predict(dataset.take(2), verbose=0)
    return lambda: encoder.predict(dataset, verbose=0), padding
