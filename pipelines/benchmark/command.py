"""The command line of `pipelines.benchmark`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from pipelines.stage import check_first, explained, in_a_folder, named, prepare_process, settings_of, stage_of
from ppm_tf.config import describe, load
from ppm_tf.terminal import printing
from ppm_tf.workspace import Workspace

# word -> where its function is, as module:name; each is called with (config, workspace)
BENCHMARKS = {
    "speed": "pipelines.benchmark.peers.command:speed",
    "reader": "pipelines.benchmark.speed:reader",
    "training": "pipelines.benchmark.speed:training",
    "tables": "pipelines.benchmark.speed:tables",
    "embed": "pipelines.benchmark.speed:embed",
    "efficiency": "pipelines.benchmark.ranking:efficiency",
    "candidates": "pipelines.benchmark.ranking:candidates",
    "serving": "pipelines.benchmark.serving:serving",
    "lookup": "pipelines.benchmark.serving:lookup",
}
# word -> what it takes beside settings, as module:name of a dataclass
_OPTIONS = {"speed": "pipelines.benchmark.peers.options:Options"}
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
        if what == "all":
            _all(arguments[1:])
            return
        if what not in BENCHMARKS:
            print(
                f"The first argument must be a file of configs/benchmark, all, or one of {', '.join(BENCHMARKS)}."
                f" Received: {what or 'none'}. See --help.",
                file=sys.stderr,
            )
            raise SystemExit(2)
        options, rest = settings_of(lambda: _options(what, arguments[1:]))
        config = settings_of(lambda: load(rest))
        settings_of(lambda: in_a_folder(config.run, "pipelines.benchmark"))
        prepare_process(share_cores=what != "serving")  # which takes the server's
        with explained("pipelines.benchmark", config.run):
            named(BENCHMARKS[what])(config, Workspace(config.run), **options)


def _options(what: str, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The options that a benchmark takes beside settings, as a keyword, and the arguments that are settings."""
    if what not in _OPTIONS:
        return {}, arguments
    options, rest = named(_OPTIONS[what]).split(arguments)
    return {"options": options}, rest


def _all(arguments: list[str]) -> None:
    from pipelines.benchmark.everything import everything

    prepare_process()
    if settings_of(lambda: everything(arguments)):
        raise SystemExit(1)


def _grid(file: str, overrides: list[str]) -> None:
    from ppm_tf.experiments import cells_of, read_benchmark

    benchmark = settings_of(lambda: read_benchmark(file, overrides))
    settings_of(lambda: in_a_folder(benchmark.run, "pipelines.benchmark"))
    cells = settings_of(lambda: cells_of(benchmark, file))
    from pipelines.benchmark.grid import run

    prepare_process()
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
