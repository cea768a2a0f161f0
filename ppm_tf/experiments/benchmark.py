"""A benchmark file: a grid of ranking models. Its axes span cells; a cell and a seed is one training and one evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ppm_tf.config import Config, ConfigError, Section
from ppm_tf.experiments.files import config_of, merged, read_file

# Of these a run folder holds one: two cells that differ in them cannot share it.
ONE_A_RUN = ("seed", "data", "text", "image", "embed", "ppm", "train")


class BenchmarkSettings(Section):
    """A grid of ranking models, and the layout of its results."""

    run: str = Field("runs/benchmark", description="run folder: data, encoders, tables and PPM are made there once, and each model beside them")
    settings: dict[str, Any] = Field({}, description="settings of every cell, as in a config file; keys may be dotted")
    seeds: tuple[int, ...] = Field((1,), min_length=1, description="seeds of the ranking model; each cell is trained once with each")
    axes: dict[str, dict[str, dict[str, Any] | None]] = Field(
        min_length=1,
        description=(
            "axis -> name -> settings; a cell is a name of each axis. `run: '{run}-other'` gives a cell another run folder, `run: '{run}-{seed}'`"
            " each seed one, so that encoders and PPM vary with it"
        ),
    )
    layout: Literal["plain", "ppm_table2", "ppm_table3", "ppm_figure2", "cela_table2", "cela_table3", "cela_figure3"] = Field(
        "plain",
        description=(
            "plain: any axes, a row a cell, beside the row that `over` names; ppm_table2: axes data, model and ppm (without, with); ppm_table3: axis"
            " model, each beside the first and the one before; ppm_figure2, cela_figure3: axis model, by train frequency; cela_table2: axis model,"
            " the backbone first, what each costs, timed together at the end; cela_table3: axis model, the backbone first and CELA last"
        ),
    )
    metrics: tuple[str, ...] = Field(
        ("auc", "group_auc", "log_loss"), min_length=1, description="plain: the metrics of the columns, as in metrics.jsonl"
    )
    over: dict[str, str] = Field(
        {}, description="plain: axis -> name of the row that each is compared with; of an axis left out, the row's own name; {} = the first row"
    )

    @model_validator(mode="after")
    def _spans_cells(self) -> BenchmarkSettings:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ. Received: {list(self.seeds)}")
        empty = [name for name, values in self.axes.items() if not values]
        if empty:
            raise ValueError(f"each axis must have a name. Received: none for {', '.join(empty)}")
        unknown = [f"{axis}: {name}" for axis, name in self.over.items() if name not in self.axes.get(axis, ())]
        if unknown:
            raise ValueError(f"over must give names of the axes {', '.join(self.axes)}. Received: {', '.join(unknown)}")
        wanted = {"data", "model", "ppm"} if self.layout == "ppm_table2" else {"model"}
        if self.layout != "plain" and set(self.axes) != wanted:
            raise ValueError(f"layout {self.layout} must have the axes {', '.join(sorted(wanted))}. Received: {', '.join(self.axes)}")
        if self.layout == "ppm_table2" and len(self.axes["ppm"]) != 2:
            raise ValueError(f"the axis ppm must have two names, without and with. Received: {', '.join(self.axes['ppm'])}")
        return self


@dataclass(frozen=True)
class Cell:
    """One ranking model of a benchmark.

    Attributes:
        place: axis -> name.
        seed: seed of the model.
        config: all its settings; `config.model.folder` is its name inside the run folder.
        shares: another run folder with the same data settings, of the same seed where there is one; this cell reads its data and what else
            was made alike; `""` = none.
    """

    place: dict[str, str]
    seed: int
    config: Config
    shares: str = ""

    @property
    def title(self) -> str:
        """The cell in words."""
        return f"{', '.join(self.place.values())}, seed {self.seed}"


def read_benchmark(path: str | Path, overrides: list[str] | None = None) -> BenchmarkSettings:
    """Reads a benchmark file; `run=`, `seeds=` replace its own, `data.path=` and the like go to the settings of every cell.

    Raises:
        ConfigError: as `files.read_file`.
    """
    return read_file(BenchmarkSettings, path, overrides)


def cells_of(benchmark: BenchmarkSettings, where: str = "benchmark") -> list[Cell]:
    """The cells, seed by seed, so that a first look at the whole table comes early.

    Raises:
        ConfigError: the settings of a cell are wrong, or two cells of one run folder need different data, encoders or PPMs.
    """
    found = []
    for seed in benchmark.seeds:
        for names in product(*benchmark.axes.values()):
            place = dict(zip(benchmark.axes, names, strict=True))
            title = f"{where}, cell {', '.join(names)}"
            values = merged(benchmark.settings, *((benchmark.axes[axis][name] or {}) for axis, name in place.items()))
            run = str(values.get("run", "{run}"))
            values["run"] = run.replace("{run}", benchmark.run).replace("{seed}", str(seed))
            if "{seed}" in run:
                values.setdefault("seed", seed)
            found.append(Cell(place, seed, config_of(values, seed, title)))
    first: dict[str, Cell] = {}  # of each run folder
    for cell in found:
        other = first.setdefault(cell.config.run, cell)
        differing = [section for section in ONE_A_RUN if getattr(cell.config, section) != getattr(other.config, section)]
        if differing:
            raise ConfigError(
                f"{where}, cell {', '.join(cell.place.values())}: cells of one run folder must share {', '.join(ONE_A_RUN)}. Received: other settings"
                f" of {', '.join(differing)} than in the cell {', '.join(other.place.values())} of {cell.config.run}. Remedy: give one of them a"
                " folder of its own, run: '{run}-other'."
            )
    if benchmark.layout == "cela_table2" and (other := next((cell for cell in found if cell.config.data != found[0].config.data), None)):
        raise ConfigError(
            f"{where}, cell {', '.join(other.place.values())}: models that are timed together must read the same requests. Received: other settings"
            f" of data than in the cell {', '.join(found[0].place.values())}. Remedy: a file for each."
        )
    shares = {}
    runs = sorted(first, key=lambda run: run != benchmark.run)
    for number, run in enumerate(runs):
        alike = [other for other in runs[:number] if first[other].config.data == first[run].config.data]
        shares[run] = next((other for other in alike if first[other].config.seed == first[run].config.seed), alike[0] if alike else "")
    return [replace(cell, shares=shares[cell.config.run]) for cell in found]
