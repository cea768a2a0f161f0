"""The command line of `pipelines.benchmark`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from pipelines.stage import check_first, configure_logging, explained, settings_of, stage_of
from ppm_tf.config import describe, load
from ppm_tf.terminal import printing
from ppm_tf.workspace import Workspace

# word -> where its function is, as module:name; each is called with (config, workspace)
BENCHMARKS = {
    "reader": "pipelines.benchmark.speed:reader",
    "training": "pipelines.benchmark.speed:training",
    "tables": "pipelines.benchmark.speed:tables",
    "embed": "pipelines.benchmark.speed:embed",
    "efficiency": "pipelines.benchmark.ranking:efficiency",
    "candidates": "pipelines.benchmark.ranking:candidates",
    "serving": "pipelines.benchmark.serving:serving",
    "lookup": "pipelines.benchmark.serving:lookup",
}
_SECTIONS = ("run", "data", "text", "image", "embed", "ppm", "train", "model", "evaluate", "serve", "beam")


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on a wrong setting, 1 if a cell of a grid failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if {"-h", "--help"} & set(arguments):
            about = (importlib.import_module("pipelines.benchmark").__doc__ or "").strip()
            print(f"{about}\n\nSettings, with their defaults:\n{describe(_SECTIONS)}")
            return
        what = arguments[0] if arguments else ""
        if what.endswith((".yaml", ".yml")):
            _grid(what, arguments[1:])
            return
        if what not in BENCHMARKS:
            print(
                f"The first argument must be a file of configs/benchmark, or one of {', '.join(BENCHMARKS)}. Received: {what or 'none'}. See --help.",
                file=sys.stderr,
            )
            raise SystemExit(2)
        config = settings_of(lambda: load(arguments[1:]))
        configure_logging()
        module, name = BENCHMARKS[what].split(":")
        with explained("pipelines.benchmark", config.run):
            getattr(importlib.import_module(module), name)(config, Workspace(config.run))


def _grid(file: str, overrides: list[str]) -> None:
    from ppm_tf.experiments import cells_of, read_benchmark

    benchmark = settings_of(lambda: read_benchmark(file, overrides))
    cells = settings_of(lambda: cells_of(benchmark, file))
    from pipelines.benchmark.grid import run

    configure_logging()
    name = Path(file).stem
    with explained("pipelines.benchmark", benchmark.run):
        for cell in cells:
            check_first([stage_of("reports")], cell.config)
        failed = run(benchmark, cells, Path(benchmark.run) / "benchmark" / name, name, " ".join(("python -m pipelines.benchmark", file, *overrides)))
    if failed:
        print(
            f"{failed} of {len(cells)} cells failed; the same command tries them again. (Set PPM_TF_TRACEBACK=1 to see where they did.)",
            file=sys.stderr,
        )
        raise SystemExit(1)
