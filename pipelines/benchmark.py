"""Measures the product on this machine: `python -m pipelines.benchmark <what> [file.yaml] [section.key=value ...]`.

  reader    requests/s of the sample reader alone, and the process's memory after 1x and 10x the data
  training  candidates/s of PPM's training step, and the share of it that the reader would allow

Timings are printed as one JSON object a line. They are no tests: they hold for the machine they were taken on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from pipelines.stage import configure_logging, make, stage_of
from ppm_tf.config import Config, ConfigError, describe, load
from ppm_tf.workspace import Workspace

_WARM_UP = 20  # steps that trace the graph and fill the caches, left out of the timing
_STEPS = 100


def reader(config: Config, workspace: Workspace) -> None:
    """Reads all training samples once, then ten times over, and reports speed and memory after each."""
    make(stage_of("data"), config, workspace, asked=False)
    from ppm_tf.data import samples
    from ppm_tf.data.schema import Schema

    schema = Schema.read(workspace.path("data") / "schema.json")
    files = samples.find_shards(workspace.path("data") / "samples", config.ppm.splits, config.train.verify)
    for times in (1, 10):
        many = samples.SampleFiles(files.files * times, files.compression, files.records * times, files.candidates * times)
        dataset = samples.read(many, schema, config.train.batch_size, shuffle_buffer=config.train.shuffle_buffer, seed=config.seed)
        start, requests = time.perf_counter(), 0
        for batch in dataset:
            requests += len(batch["request"])
        seconds = time.perf_counter() - start
        _print(benchmark="reader", data=f"{times}x", requests=requests, seconds=seconds, requests_per_second=requests / seconds, memory_mib=_memory())


def training(config: Config, workspace: Workspace) -> None:
    """Times PPM's training step on real batches, and the reader on the same batches."""
    for name in ("data", "tables"):
        make(stage_of(name), config, workspace, asked=False)
    import tensorflow as tf

    from pipelines.pretrain import load_inputs
    from ppm_tf import training as harness
    from ppm_tf.data import samples
    from ppm_tf.models.build import build_pretraining_model
    from ppm_tf.models.ppm import click_loss
    from ppm_tf.optimizers import dense_optimizer

    strategy = harness.prepare_backend(config.train, config.seed)
    schema, tables = load_inputs(config, workspace)
    files = samples.find_shards(workspace.path("data") / "samples", config.ppm.splits, config.train.verify)
    dataset = samples.read(files, schema, config.train.batch_size, epochs=1000, shuffle_buffer=config.train.shuffle_buffer, seed=config.seed)
    model = build_pretraining_model(config, schema, tables)
    optimizer = dense_optimizer(config.train.learning_rate, config.train.final_learning_rate, _STEPS)
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
    _print(
        benchmark="training",
        batch_size=config.train.batch_size,
        candidates=schema.num_candidates,
        history=schema.history_length,
        ms_per_step=1000 * step,
        requests_per_second=config.train.batch_size / step,
        candidates_per_second=output["labels"] / _STEPS / step,
        reader_ms_per_batch=1000 * reading,
        memory_mib=_memory(),
    )


BENCHMARKS: dict[str, Callable[[Config, Workspace], None]] = {"reader": reader, "training": training}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("-h", "--help") for argument in arguments):
        print(f"{__doc__.strip()}\n\nSettings, with their defaults:\n{describe(('run', 'data', 'ppm', 'train'))}")
        return
    if not arguments or arguments[0] not in BENCHMARKS:
        print(f"The first argument must be one of {', '.join(BENCHMARKS)}. Received: {arguments[0] if arguments else 'none'}. See --help.", file=sys.stderr)
        raise SystemExit(2)
    try:
        config = load(arguments[1:])
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    configure_logging()
    BENCHMARKS[arguments[0]](config, Workspace(config.run))


def _memory() -> float:
    """Resident memory of this process now, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def _print(**values) -> None:
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}))


if __name__ == "__main__":
    main()
