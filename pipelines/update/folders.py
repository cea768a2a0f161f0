"""Where an update lies, the settings of its stages, and which one it goes on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from ppm_tf.config import Config
from ppm_tf.daily import MANIFEST, UpdateManifest, published
from ppm_tf.daily.plan import DAY, Ancestor, Plan
from ppm_tf.storage import write_json
from ppm_tf.workspace import Workspace

PLAN, LEDGER = "plan.json", "ledger.jsonl"
PUBLISHED, REFUSED, NOTHING = "published", "refused", "nothing"
ENCODERS = ("encoders/adapted", "encoders/text", "encoders/bow", "encoders/image", "encoders/aligned")
_LAST_LOOK = 10**9  # steps: a look at the end alone, so that nothing is chosen on the rows that judge


@dataclass(frozen=True)
class Update:
    """The update of a day under way.

    Attributes:
        config: the settings of the run.
        plan: what it does.
        origin: the update whose encoders and tables it takes over, which is that of its weights but where these begin anew; `None` = none.
        anew: the encoders that it does not take over but trains.
        embeds_all: whether every vector of the tables is made anew.
        apart: a folder in that of the update, where another one lies that reads the same data; "" = its own.
    """

    config: Config
    plan: Plan
    origin: date | None = None
    anew: tuple[str, ...] = ()
    embeds_all: bool = False
    apart: str = ""

    @property
    def root(self) -> Workspace:
        """The run folder of all days."""
        return Workspace(self.config.run)

    @property
    def workspace(self) -> Workspace:
        """The run folder of this update."""
        return Workspace(folder_of(self.config, self.plan.day) / self.apart)

    @property
    def as_live(self) -> Update:
        """What the live model reads of the day: vectors by the encoders that it was trained on."""
        return replace(self, anew=(), embeds_all=False, apart="as_live") if self.anew else self

    @property
    def before(self) -> Workspace | None:
        """That of the live model's update."""
        return Workspace(folder_of(self.config, self.origin)) if self.origin else None

    @property
    def trains_ppm(self) -> bool:
        """Whether PPM has something to learn; otherwise the one before stays, if there is one."""
        return with_ppm(self.config) and bool(self.plan.pretrain)

    @property
    def model(self) -> str:
        """The artifact that is the ranking model."""
        return f"models/{self.config.model.folder}"

    @property
    def settings(self) -> Config:
        """The settings of its stages."""
        config, parent = self.config, self.before if self.plan.parent else None
        daily: dict[str, Any] = {"keep_optimizer": True, "continuable": False}
        ppm: dict[str, Any] = {"splits": ("pretrain",)}
        model: dict[str, Any] = {"splits": ("train",), "newest": 1.0}
        share = 1.0
        if parent is not None:
            daily |= {"epochs": 1, "max_step": None, "warmup": 0.0, "cooldown": 0.0, "validate_every": _LAST_LOOK}
            share = config.update.learning_rate_share
            if parent.exists("ppm"):
                ppm |= {"warm_start": str(parent.path("ppm")), "warm_start_optimizer": True}
            model |= {
                "warm_start": str(parent.path(self.model)), "warm_start_part": "all", "warm_start_optimizer": True,
                "warm_start_ppm": config.update.ppm,
            }  # fmt: skip
        fits = {name: fit.model_copy(update={**daily, "learning_rate": fit.learning_rate * share}) for name, fit in (
            ("train", config.train), ("model", config.model.train),
        )}  # fmt: skip
        return config.model_copy(
            update={
                "run": str(self.workspace.folder),
                "day": None,
                "ppm": config.ppm.model_copy(update=ppm),
                "train": fits["train"],
                "model": config.model.model_copy(update={**model, "train": fits["model"]}),
                "text": config.text.model_copy(update={"align": config.text.align.model_copy(update={"splits": ("pretrain",)})}),
                "serve": config.serve.model_copy(update={"base": str(exports_of(config))}),
            }
        )


def with_ppm(config: Config) -> bool:
    """Whether the ranking model has a PPM that is trained on its own."""
    return config.model.ppm in ("frozen", "finetune")


def has_apart(config: Config) -> bool:
    """Whether a start keeps its older days for what the ranking model reads: PPM, or the ids that texts are aligned with."""
    return with_ppm(config) or "aligned" in config.ranking_tables


def due(config: Config, day: date, started: date) -> tuple[tuple[str, ...], bool]:
    """What `update.cadence` has trained anew on a day: the encoders, and whether all vectors are made.

    Args:
        config: the settings of the run.
        day: the day that is served.
        started: that of the first update, from which the days are counted.
    """
    cadence, passed = config.update.cadence.model_dump(), (day - started).days
    names = {name for name, days in cadence.items() if days and passed and passed % days == 0}
    found: set[str] = set()
    if "adapt" in names:
        found |= {"encoders/adapted", "encoders/text"}
    if "finetune" in names:
        found |= {"encoders/text", "encoders/image", "encoders/bow"}
    if "align" in names or "encoders/text" in found:
        found.add("encoders/aligned")
    return tuple(name for name in ENCODERS if name in found), "embed" in names


def folder_of(config: Config, day: date) -> Path:
    """The run folder of a day's update."""
    return Path(config.run) / "updates" / day.isoformat()


def exports_of(config: Config) -> Path:
    """Where all versions are published."""
    return Path(config.serve.base) if config.serve.base else Path(config.run) / "exports"


def name_of(config: Config) -> str:
    """The name that versions are published under."""
    return config.serve.model or config.model.folder


def manifest_of(config: Config, day: date) -> UpdateManifest | None:
    """What came of a day's update; `None` while it is not done."""
    path = folder_of(config, day) / MANIFEST
    return UpdateManifest.read(path) if path.is_file() else None


def published_versions(config: Config) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each version that is published, rising, and what its export says of it; the last is live."""
    from serving.layout import ABOUT, EXTRA
    from serving.publish import versions

    base, name = exports_of(config), name_of(config)
    for number in versions(base, name):
        yield number, json.loads((base / name / str(number) / EXTRA / ABOUT).read_text(encoding="utf-8"))


def parent_of(config: Config, made: Sequence[UpdateManifest]) -> UpdateManifest | None:
    """The update to go on from: the one whose weights are live, so that a version that was rolled back has no children.

    Args:
        config: the settings of the run.
        made: the manifests of the updates before.
    """
    live = list(published_versions(config))
    return next((one for one in reversed(published(made)) if live and one.trained == live[-1][1]["trained"]), None)


def ancestor(made: UpdateManifest) -> Ancestor:
    """The same as the plan reads it."""
    days = {name: day and date.fromisoformat(day) for name, day in made.learnt.items()}
    return Ancestor(date.fromisoformat(made.day), days["ranker"], days.get("ppm"))


def begin(update: Update) -> None:
    """Makes the folder of an update, and empties one that was begun by another plan."""
    folder, plan = update.workspace.folder, plain(update.plan)
    if (folder / PLAN).is_file() and json.loads((folder / PLAN).read_text(encoding="utf-8")) != plan:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN, plan)


def plain(plan: Plan) -> dict[str, Any]:
    """A plan as plain values, for its file and the manifest."""
    parts = {role: [[part.day.isoformat(), part.hours] for part in getattr(plan, role)] for role in ("pretrain", "train", "held_out")}
    parent = plan.parent and plan.parent.day.isoformat()
    return {"day": plan.day.isoformat(), "parent": parent, **parts}


def windows(plan: Plan) -> dict[str, list[str]]:
    """What an update trains and judges on, in words, for the manifest."""
    parts = {"ppm": plan.pretrain, "ranker": plan.train, "held out": plan.held_out}
    return {name: [f"{part.day} {part.hours}" for part in its] for name, its in parts.items() if its}


def remove_old(config: Config, newest: date, root: Workspace) -> None:
    """Removes prepared days, and the artifacts of updates, beyond the newest `update.keep_days`; manifests and cards stay, and what is live.

    Args:
        config: the settings of the run.
        newest: the newest day of the log.
        root: the run folder.
    """
    first = (newest - (config.update.keep_days - 1) * DAY).isoformat()
    live = [about["trained"] for _, about in published_versions(config)]
    for folder in sorted(root.path("days").glob("????-??-??")):
        if folder.name < first:
            shutil.rmtree(folder)
    for folder in sorted(root.path("updates").glob("????-??-??")):
        path = folder / MANIFEST
        if folder.name >= first or not path.is_file() or UpdateManifest.read(path).trained in live:
            continue
        for one in folder.iterdir():
            if one.is_dir() and one.name != "card":
                shutil.rmtree(one)
