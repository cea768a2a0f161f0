"""The steps of an update, each whole or absent, so that the same command goes on after a kill and ends as if there had been none."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.stage import make, stage_of
from pipelines.update.folders import ENCODERS, Update, exports_of, name_of, published_versions, with_ppm
from ppm_tf.workspace import Recipe, Workspace

if TYPE_CHECKING:
    from ppm_tf.config import Config, GateSettings
    from ppm_tf.daily import Verdict
    from ppm_tf.evaluation import Scores
    from serving.live import LiveCheck

logger = logging.getLogger(__name__)

LIVE = "reports/live"


@dataclass
class Clock:
    """Seconds of each step of this process; steps that were there already take none."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step, and says that it begins."""
        logger.info("update: %s", name)
        begun = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun


def view(update: Update) -> None:
    """Commits `data`: what the update reads of the days, as a prepared data set."""
    from ppm_tf.data.preparation.view import write_view

    config, workspace, plan = update.settings, update.workspace, update.plan
    # What it is made of stands in its id, and so in that of every model trained on it.
    days = {f"days/{part.day}": update.root.id(f"days/{part.day}") for part in (*plan.pretrain, *plan.train, *plan.held_out)}
    recipe = replace(stage_of("data").recipe(config, workspace), inputs=days)
    if workspace.is_current("data", recipe):
        return
    workspace.settings = config.model_dump(mode="json")
    with workspace.commit("data", recipe) as folder:
        parts = [[(part.day, part.hours) for part in parts] for parts in (plan.pretrain, plan.train, plan.held_out)]
        write_view(update.root.path("days"), *parts, plan.newest, folder)


def vectors(update: Update) -> None:
    """Takes over the encoders of the update before and makes the tables: vectors of items that did not change are kept."""
    config, workspace, before = update.settings, update.workspace, update.before
    tables = tables_of(update)
    if before is not None:
        for name in (*ENCODERS, *(() if update.embeds_all else tables)):
            if before.exists(name) and name not in update.anew:
                workspace.take(name, before)
    for name in tables:
        quietly(name, update, asked=False)
    logger.info("tables of %s: %s", config.run, ", ".join(tables) or "none")


def tables_of(update: Update) -> list[str]:
    """The tables that the ranking model and its PPM read."""
    config = update.settings
    return [f"tables/{name}" for name in dict.fromkeys((*config.ranking_tables, *(config.ppm.tables if with_ppm(config) else ())))]


def pretrain(update: Update) -> None:
    """PPM learns its window; one with nothing to learn is that of the update before."""
    if update.trains_ppm:
        quietly("ppm", update)
    elif with_ppm(update.config) and update.plan.parent:
        update.workspace.take("ppm", update.before)


def train(update: Update) -> None:
    """The ranking model learns its window and is scored on the held-out hours."""
    quietly("models", update)
    quietly("reports", update)


def quietly(artifact: str, update: Update, asked: bool = True) -> None:
    """Makes an artifact of the update."""
    made(artifact, update.settings, update.workspace, asked)


def made(artifact: str, config: Config, workspace: Workspace, asked: bool = True) -> None:
    """Makes an artifact without what its stage would show of it, and as a process of its own would: layers are numbered from the first."""
    forget()
    make(replace(stage_of(artifact), show=lambda config, workspace: None), config, workspace, asked, hint=False)


def forget() -> None:
    """Frees what Keras holds of earlier models, so that a month takes the memory of a day."""
    if "keras" in sys.modules:
        importlib.import_module("keras").backend.clear_session()


def live_scores(update: Update) -> Scores | None:
    """The held-out hours under the live model, whose weights are those of the update before; `None` where there is none.

    It meets new items by their vectors and fields, as it does at the server once their vectors are there. Where an encoder was trained
    anew today, it reads vectors by the one before.
    """
    from ppm_tf.evaluation import load_scores, save_scores

    if update.before is None:
        return None
    workspace, folder, as_live = update.workspace, update.before.path(update.model), update.as_live
    recipe = Recipe({"model": update.before.id(update.model)}, parents={"data": workspace.id("data")})
    if not workspace.is_current(LIVE, recipe):
        if as_live is not update:
            as_live.workspace.take("data", workspace)
            vectors(as_live)
        scores = score(as_live, folder)
        with workspace.commit(LIVE, recipe) as made:
            save_scores(scores, made / "scores.npz")
    return load_scores(workspace.path(LIVE) / "scores.npz")


def score(update: Update, folder: Path) -> Scores:
    """The held-out hours under the model in `folder`."""
    from ppm_tf import training
    from ppm_tf.config import load
    from ppm_tf.data import samples
    from ppm_tf.data.schema import Schema
    from ppm_tf.evaluation import collect
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.predict import Predictor
    from ppm_tf.models.ranking_files import SCHEMA, load_ranking_model
    from ppm_tf.models.request_rows import RequestRows
    from ppm_tf.workspace import SETTINGS

    config, workspace = load([str(folder / SETTINGS)]), update.workspace
    training.prepare_backend(config.model.train, config.seed)
    inputs = Inputs.read(workspace, config.ranking_tables)
    model = load_ranking_model(config, inputs, folder)
    files = samples.find_shards(workspace.path("data") / "samples", ["test"], config.model.train.verify)
    in_rows_of_training = RequestRows(inputs.schema, Schema.read(folder / SCHEMA))
    with samples.reading(files):
        dataset = samples.read(files, inputs.schema, config.scored_together, with_truth=True).map(in_rows_of_training)
        return collect(Predictor(model, dataset), inputs.schema.tasks, inputs.catalog.ids.to_numpy(zero_copy_only=False))


def frequencies(update: Update, users: Any) -> tuple[Any, Any]:
    """How often the model, over all its days, has met each item row, `[V]`, and each of `users`."""
    from ppm_tf.data.sample_counts import SampleCounts

    counts = SampleCounts.read(update.workspace.path(update.model))
    return counts.exposures, counts.requests_of(users)


def moved_tables(update: Update) -> list[Any]:
    """How each item table differs from that of the update before."""
    from ppm_tf.daily import table_drift
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.tables import read_table

    if update.before is None:
        return []
    found = []
    for name in tables_of(update):
        if not update.before.exists(name):
            continue
        old, new = (read_table(one.path(name), ItemCatalog.read(one.path("data") / "catalog")) for one in (update.before, update.workspace))
        anew = old.encoder_version != new.encoder_version
        cosine = update.config.gate.table_cosine
        found.append(table_drift(name.removeprefix("tables/"), old.vectors, old.present, new.vectors, new.present, cosine, anew))
    return found


def candidate_scores(update: Update) -> Scores:
    """The held-out hours under the new model, from its report."""
    from ppm_tf.evaluation import load_scores

    return load_scores(update.workspace.path(f"reports/{update.config.model.folder}") / "scores.npz")


def exported(update: Update) -> Path | None:
    """The version that holds this update's model; `None` while it is not exported."""
    base, name = exports_of(update.config), name_of(update.config)
    trained = update.workspace.id(update.model)
    found = [number for number, about in published_versions(update.config) if about["trained"] == trained and not about["tables_only"]]
    return base / name / str(found[-1]) if found else None


class GoldenRefusedError(Exception):
    """The new version answers the live one's golden requests otherwise than the gate allows."""


@dataclass
class GoldenGate:
    """Asks a version that is about to go live the golden requests of the live one.

    Attributes:
        settings: of the gate.
        verdict: what the gate has found so far; with the answers' line after the call.
        live: the live version's folder; `None` where there is none.
    """

    settings: GateSettings
    verdict: Verdict
    live: Path | None

    def __call__(self, version: Path) -> None:
        """Raises `GoldenRefusedError` where a probability moved too far."""
        from ppm_tf.daily import judge_golden
        from serving.golden import answers
        from serving.layout import EXTRA, GOLDEN

        if self.live is None or self.settings.max_golden_change is None:
            return
        golden = json.loads((self.live / EXTRA / GOLDEN).read_text(encoding="utf-8"))
        try:
            found = answers(version, golden)
        except ValueError as error:  # as after a change of the schema
            logger.warning("update: golden requests are not compared: %s", error)
            return
        self.verdict = self.verdict.with_lines(judge_golden((found, golden["outputs"]), self.settings))
        if not self.verdict.passed:
            raise GoldenRefusedError


def served(update: Update, version: int) -> LiveCheck:
    """Asks the running server for the new version; rolled back where it does not answer as it should."""
    from serving.live import ensure_live
    from serving.pins import Pins

    config, base, name = update.config, exports_of(update.config), name_of(update.config)
    pins = Pins.read(base, name, Path(config.serve.server_config) if config.serve.server_config else None, config.serve.status)
    return ensure_live(config.serve.url, base, name, version, config.update.live_seconds, pins)


def described(update: Update) -> dict[str, Any]:
    """What the manifest says of an update's artifacts: parents, encoders, counts, sizes."""
    from ppm_tf.data.manifest import Manifest

    workspace = update.workspace
    statistics = json.loads((workspace.path("data") / "statistics.json").read_text(encoding="utf-8"))
    tables = {name.removeprefix("tables/"): workspace.path(name) for name in tables_of(update)}
    parents = {"update": update.plan.parent.day.isoformat(), "ranker": update.before.id(update.model)} if update.plan.parent else {}
    parents |= {"ppm": workspace.id("ppm")} if workspace.exists("ppm") else {}
    counts = {f"{split} requests": statistics["splits"][split]["requests"] for split in ("pretrain", "train", "test")}
    for name in ("items", "items_new", "items_changed"):
        counts |= {name.replace("_", " "): statistics[name]} if name in statistics else {}
    size = lambda folder: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "parents": parents,
        "encoders": {name: Manifest.read(folder).about["encoder_version"] for name, folder in tables.items()},
        "counts": counts,
        "sizes": {"model": size(workspace.path(update.model)), **{f"table {name}": size(folder) for name, folder in tables.items()}},
    }
