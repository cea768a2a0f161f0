"""A sweep file: a search over settings of the ranking model or of PPM, by grid or at random. Its trials are judged on validation alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field, model_validator

from ppm_tf.config import Config, ConfigError, Section, from_dict
from ppm_tf.experiments.files import config_of, merged, read_file


class Range(Section):
    """Values between two ends, drawn at random."""

    low: float = Field(description="least value")
    high: float = Field(description="greatest value")
    log: bool = Field(False, description="draw the logarithm evenly, not the value")
    integer: bool = Field(False, description="round to whole numbers")

    @model_validator(mode="after")
    def _has_values(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"low must be below high, and above 0 with log. Received: low: {self.low}, high: {self.high}, log: {self.log}")
        return self

    def draw(self, random: np.random.Generator) -> float | int:
        """One value; of four significant digits, so that it reads well."""
        value = math.exp(random.uniform(math.log(self.low), math.log(self.high))) if self.log else random.uniform(self.low, self.high)
        return round(value) if self.integer else min(max(float(f"{value:.4g}"), self.low), self.high)


class SweepSettings(Section):
    """A search over settings of the ranking model, or of PPM."""

    run: str = Field(
        "runs/sweep",
        description=(
            "run folder: data, encoders, tables and PPM are made there once, and each trial's model beside them; a PPM in a run folder of its own"
            " inside, which reads these"
        ),
    )
    settings: dict[str, Any] = Field({}, description="settings of every trial, as in a config file; keys may be dotted")
    search: Literal["grid", "random"] = Field(
        "grid", description="grid: every combination of listed values; random: trials drawn from values and ranges"
    )
    trials: Annotated[int, Field(gt=0)] = Field(20, description="random: how many are drawn")
    seed: int = Field(1, description="random: seed of the draw")
    model_seed: int = Field(1, description="seed of every trial's model; for PPM the seed of the run")
    space: dict[str, Range | tuple[Any, ...]] = Field(min_length=1, description="setting -> list of values, or {low, high, log, integer}")

    @model_validator(mode="after")
    def _can_be_walked(self) -> SweepSettings:
        ranges = [name for name, values in self.space.items() if isinstance(values, Range)]
        if self.search == "grid" and ranges:
            raise ValueError(f"search: grid needs lists of values. Received: a range for {', '.join(ranges)}; list values, or take search: random")
        empty = [name for name, values in self.space.items() if not isinstance(values, Range) and not values]
        if empty:
            raise ValueError(f"each setting of the space must have a value. Received: none for {', '.join(empty)}")
        if self._sections != {"model"} and not self._sections <= {"ppm", "train"}:
            raise ValueError(
                "the space must hold settings of the ranking model alone, model.*, or of PPM alone, ppm.* and train.*, since all trials share what"
                f" comes before. Received: {', '.join(self.space)}"
            )
        return self

    @property
    def _sections(self) -> set[str]:
        return {name.partition(".")[0] for name in self.space}

    @property
    def trains(self) -> str:
        """The artifact that a trial is: `"models"` or `"ppm"`."""
        return "models" if self._sections == {"model"} else "ppm"


@dataclass(frozen=True)
class Trial:
    """A point of the space.

    Attributes:
        point: its settings by dotted name.
        config: all settings of its model.
        trains: the artifact that it is, `"models"` or `"ppm"`.
        shares: run folder that holds what comes before it, where its own is another; a PPM has one of its own.
    """

    point: dict[str, Any]
    config: Config
    trains: str = "models"
    shares: str | None = None

    @property
    def name(self) -> str:
        """The folder of the model or of the run that it has for itself."""
        return Path(self.config.run).name if self.shares else self.config.model.folder


def read_sweep(path: str | Path, overrides: list[str] | None = None) -> SweepSettings:
    """Reads a sweep file; `run=`, `trials=` and its other keys replace its own, `data.path=` and the like go to every trial.

    Raises:
        ConfigError: as `files.read_file`.
    """
    return read_file(SweepSettings, path, overrides)


def trials_of(sweep: SweepSettings, where: str = "sweep") -> list[Trial]:
    """The trials in their order; a point that is drawn twice is one trial. More trials of one seed begin with the same ones.

    Raises:
        ConfigError: the settings of a trial are wrong.
    """
    names = list(sweep.space)
    if sweep.search == "grid":
        points = [dict(zip(names, values, strict=True)) for values in product(*sweep.space.values())]
    else:
        random = np.random.default_rng(sweep.seed)
        points = [{name: _draw(values, random) for name, values in sweep.space.items()} for _ in range(sweep.trials)]
    trials: dict[str, Trial] = {}
    for point in points:
        title = f"{where}, trial {', '.join(f'{name}={value}' for name, value in point.items())}"
        values = {**merged(sweep.settings, point), "run": sweep.run}
        trial = (
            Trial(point, config_of(values, sweep.model_seed, title)) if sweep.trains == "models" else _ppm_trial(sweep, point, values, where, title)
        )
        trials.setdefault(trial.name, trial)
    return list(trials.values())


def _ppm_trial(sweep: SweepSettings, point: dict[str, Any], values: dict[str, Any], where: str, title: str) -> Trial:
    try:
        config = from_dict({**values, "seed": sweep.model_seed})
    except ConfigError as error:
        raise ConfigError(f"{title}: {error}") from None
    made_with = {"ppm": config.ppm.model_dump(mode="json"), "train": config.train.model_dump(mode="json")}
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(sweep.run) / "sweep" / Path(where).stem / f"ppm-s{sweep.model_seed}-{digest}"
    return Trial(point, config.model_copy(update={"run": str(folder)}), "ppm", sweep.run)


def best_of(found: Iterable[tuple[Trial, dict[str, Any]]]) -> tuple[Trial, dict[str, Any]] | None:
    """The trial of the highest validation AUC with its summary; the first of equals, None where no trial has one that is a number."""
    defined = [one for one in found if math.isfinite(one[1].get("valid_auc", math.nan))]
    return max(defined, key=lambda one: one[1]["valid_auc"], default=None)


def write_best(sweep: SweepSettings, best: tuple[Trial, dict[str, Any]], path: Path) -> None:
    """Writes the settings of the best trial as a config file for `pipelines.train` and `pipelines.evaluate`, or `pipelines.pretrain`."""
    trial, summary = best
    module, seed = ("pretrain", "seed") if trial.trains == "ppm" else ("train", "model.seed")
    values = merged(sweep.settings, trial.point, {seed: sweep.model_seed, "run": trial.config.run})
    text = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, allow_unicode=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# Best of a sweep by validation AUC, {summary['valid_auc']:.4f}.\n#   python -m pipelines.{module} {path}\n{text}", encoding="utf-8"
    )


def write_trials(found: Iterable[tuple[Trial, dict[str, Any]]], path: Path) -> None:
    """Writes one JSON object a trial: its point, the name of its model, and its summary or its error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({"point": trial.point, "model": trial.name, **summary}, ensure_ascii=False) + "\n" for trial, summary in found),
        encoding="utf-8",
    )


def _draw(values: Range | tuple[Any, ...], random: np.random.Generator) -> Any:
    return values.draw(random) if isinstance(values, Range) else values[int(random.integers(len(values)))]
