"""`python -m pipelines.benchmark all`: every benchmark file of a folder, in order, as one evidence."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.stage import stage_of
from ppm_tf.config import ConfigError
from ppm_tf.experiments import Cell, cells_of, read_benchmark
from ppm_tf.reports.markdown import markdown_table
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)

FOLDER = "configs/benchmark"
# Tables of a paper in its order; a file whose models another one trains comes behind it. Files that are not named come last, by name.
_ORDER = ("ppm_table2", "ppm_gain", "ppm_table3", "ppm_figure2", "cela_table1", "cela_table2", "cela_table3", "cela_figure3", "cela_figure4",
          "cela_figure5", "cela_ppm", "cela_table4", "movielens", "movielens_latest_small", "cela_movielens")  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A benchmark file: what it makes, its command's arguments, and what it still wants to be told."""

    path: Path
    about: str
    overrides: tuple[str, ...]
    wanted: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def made(self) -> int:
        """Cells whose model and report are there."""
        return sum(all(Workspace(cell.config.run).exists(name) for name in _artifacts(cell)) for cell in self.cells)

    @property
    def seconds(self) -> float:
        """What the trainings of the models that are there took."""
        summaries = {Workspace(cell.config.run).path(_artifacts(cell)[0]) / "summary.json" for cell in self.cells}
        return sum(json.loads(path.read_text(encoding="utf-8")).get("seconds", 0.0) for path in summaries if path.is_file())


def _artifacts(cell: Cell) -> list[str]:
    return [stage_of(name).artifact(cell.config) for name in ("models", "reports")]


def parts_of(arguments: Sequence[str], folder: str | Path = FOLDER) -> list[Part]:
    """The files of the folder, in order, with their settings.

    Args:
        arguments: `key=value` for every file (of `data` for those on the embedded shop alone), `<file>:key=value` for the file of that name
            (without `.yaml`); under `run=<folder>` each file keeps its run folder's name.
        folder: where the files are.

    Raises:
        ConfigError: the folder has none, an argument is not of that form, names no file, or is refused by its file.
    """
    files = sorted(Path(folder).glob("*.yaml"), key=lambda path: (_ORDER.index(path.stem) if path.stem in _ORDER else len(_ORDER), path.stem))
    if not files:
        raise ConfigError(f"{folder} must hold benchmark files. Received: none. Remedy: run the command in the repository's folder.")
    names = [path.stem for path in files]
    for argument in arguments:
        name = _name(argument)
        if "=" not in argument or name not in ("", *names):
            raise ConfigError(
                f"An argument must be list, <section.key>=<value>, or <file>:<section.key>=<value> with one of {', '.join(names)}."
                f" Received: {argument}"
            )
    return [_part(path, arguments) for path in files]


def _part(path: Path, arguments: Sequence[str]) -> Part:
    text = path.read_text(encoding="utf-8")
    folders = list(dict.fromkeys(re.findall(r"([\w.]+)=<folder>", text)))
    as_it_is = read_benchmark(path, [f"{key}=folder" for key in folders])
    of_shop = all(cell.config.data.source == "synthetic" for cell in cells_of(as_it_is, str(path)))
    mine = []
    for argument in arguments:
        name = _name(argument)
        if name == path.stem:
            mine.append(argument.removeprefix(f"{name}:"))
        elif not name and argument.startswith("run="):
            mine.append(f"{argument}/{Path(as_it_is.run).name}")
        elif not name and (of_shop or not argument.startswith("data.")):
            mine.append(argument)
    wanted = tuple(key for key in folders if not any(argument.startswith(f"{key}=") for argument in mine))
    cells = cells_of(read_benchmark(path, [*mine, *(f"{key}=folder" for key in wanted)]), str(path))
    words = " ".join(line.removeprefix("#").strip() for line in text.split("\nrun:")[0].splitlines())
    return Part(path, re.split(r"[:.;] ", words)[0], tuple(mine), wanted, tuple(cells))


def _name(argument: str) -> str:
    """The file that an argument is for; empty: every one.

    >>> _name("cela_movielens:data.path=here"), _name("data.users=4000"), _name("run=s3://a:b")
    ('cela_movielens', '', '')
    """
    key = argument.partition("=")[0]
    return key.partition(":")[0] if ":" in key else ""


def listing(parts: Sequence[Part]) -> str:
    """What there is to be made, as a table in Markdown."""
    rows = []
    for part in parts:
        state = (
            f"wants {', '.join(f'{part.path.stem}:{key}=<folder>' for key in part.wanted)}" if part.wanted else f"{part.made} of {len(part.cells)}"
        )
        spent = "" if part.wanted or not part.seconds else f"{part.seconds / 60:,.0f} min"
        rows.append([part.path.stem, part.about, str(len(part.cells)), state, spent])
    return markdown_table(["file", "makes", "trainings", "there", "took so far"], rows)


def _places(part: Part) -> str:
    return ", ".join(f"{part.path.stem}:{key}=<folder>" for key in part.wanted)


def everything(arguments: Sequence[str], folder: str | Path = FOLDER) -> int:
    """Makes all files that have what they want, each in a process of its own; returns how many failed.

    `list` among the arguments only shows them.
    """
    only_list = "list" in arguments
    parts = parts_of([argument for argument in arguments if argument != "list"], folder)
    print(listing(parts), flush=True)
    if only_list:
        return 0
    failed = []
    for part in parts:
        if part.wanted:
            logger.warning("%s is left out: it wants %s", part.path, _places(part))
            continue
        if subprocess.run([sys.executable, "-m", "pipelines.benchmark", str(part.path), *part.overrides], check=False).returncode:
            failed.append(part.path.stem)
    print(listing(parts))
    if failed:
        print(f"{len(failed)} of {len(parts)} files failed: {', '.join(failed)}. The same command goes on.", file=sys.stderr)
    return len(failed)
