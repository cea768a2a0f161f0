"""A benchmark file, carried out: each cell is a training and an evaluation, then come the tables and plots."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.benchmark.costs import costs_of
from pipelines.stage import made_for, make, stage_of
from ppm_tf.config import Config
from ppm_tf.evaluation import MEAN, MEASURES, load_measures
from ppm_tf.experiments import BenchmarkSettings, Cell, Outcome, Results, write_gains, write_results
from ppm_tf.experiments.costs import write_costs
from ppm_tf.experiments.loop import each
from ppm_tf.experiments.results import about
from ppm_tf.reports.layouts import LAYOUTS, write_report
from ppm_tf.training.log import LOG, read_log
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)


def run(benchmark: BenchmarkSettings, cells: list[Cell], folder: Path, title: str, command: str) -> int:
    """Makes the cells.

    After each that was not there, writes results.jsonl and table.md; at the end costs.jsonl where they are wanted, gains.jsonl and the plots.
    Returns how many cells failed.
    """
    layout, outcomes = LAYOUTS[benchmark.layout], []
    plain, timed = layout._replace(plots={}), ""

    def report(chosen) -> tuple[Results, str]:
        results = Results(outcomes, benchmark.axes, cells[0].config.evaluate.confidence, benchmark.metrics, benchmark.over)
        write_results(results, folder / "results.jsonl")
        done = sum(bool(one.measures) for one in outcomes)
        return results, write_report(results, chosen, folder, title, f"`{command}`: {done} of {len(cells)} cells.{timed}")

    looked_up = {cell.title for cell in cells if _is_there(cell)}
    for cell, outcome, error in each(cells, outcome_of, lambda cell: cell.title, _figure, lambda cell: cell.title in looked_up):
        outcomes.append(outcome or Outcome(cell, error=error))
        if cell.title not in looked_up:
            report(plain)
    there = [place for place, one in enumerate(outcomes) if one.measures]
    if layout.of_costs and there:
        costs, how = costs_of([outcomes[place].cell for place in there], folder)
        timed = f" Inference: {how}."
        for place, cost in zip(there, costs, strict=True):
            outcomes[place] = replace(outcomes[place], cost=cost)
        write_costs(((about(one.cell), one.cost) for one in outcomes if one.cost), folder / "costs.jsonl")
    results, text = report(layout)
    write_gains(results, layout.pairs(results), folder / "gains.jsonl")
    print(f"{text}\nresults, plots: {folder}")
    return sum(bool(one.error) for one in outcomes)


def outcome_of(cell: Cell) -> Outcome:
    """Trains and evaluates a cell, unless both are there already, and measures its scores."""
    config, workspace = cell.config, Workspace(cell.config.run)
    share(cell, workspace)
    take_alike(cell.config, workspace)
    with contextlib.redirect_stdout(io.StringIO()):  # the stages' own words on each model
        for artifact in ("models", "reports"):
            make(stage_of(artifact), config, workspace)
    model, report = (stage_of(artifact).artifact(config) for artifact in ("models", "reports"))
    summary = json.loads((workspace.path(model) / "summary.json").read_text(encoding="utf-8"))
    # The resamples' seed is the run's, not the model's: all models meet the same users.
    log = read_log(workspace.path(model) / LOG)
    curve = {line["step"]: line["valid_auc"] for line in log if line.get("valid_auc") is not None}
    return Outcome(cell, load_measures(workspace.path(report) / MEASURES), summary, curve=sorted(curve.items()))


def share(cell: Cell, workspace: Workspace) -> None:
    """Lets a cell in a run folder of its own read another's data, and what else was made there by the same settings and seed."""
    if not cell.shares:
        return
    main, alike = Workspace(cell.shares), set()
    make(stage_of("data"), cell.config, main, asked=False)
    take_alike(cell.config, main)
    needed = made_for(stage_of("models"), cell.config)
    del needed[stage_of("models").artifact(cell.config)]
    for name, (stage, config) in needed.items():
        if not main.exists(name) or not alike.issuperset(stage.parents(config)) or stage.unlike(config, main):
            continue
        settings = stage.recipe(config, main).settings
        if main.made_by(name)["settings"].get("seed") != settings.get("seed"):
            continue  # an encoder would serve another seed too, where it is the run's own
        if workspace.link(name, main):
            logger.info("%s reads %s", workspace.path(name), main.path(name))
        if workspace.path(name).resolve() == main.path(name).resolve():
            alike.add(name)


def take_alike(config: Config, workspace: Workspace) -> None:
    """Lets a cell that needs a ranking model, such as the ids that texts are aligned with, read that of another cell which is the same model."""
    for name, (stage, its) in list(made_for(stage_of("models"), config).items())[:-1]:
        folder = workspace.path(name)
        if not name.startswith("models/") or workspace.exists(name) or not all(workspace.exists(parent) for parent in stage.parents(its)):
            continue
        recipe = stage.recipe(its, workspace)
        for other in sorted(folder.parent.glob("*")):
            if workspace.is_current(f"models/{other.name}", recipe):
                logger.info("%s is %s by another name", folder, other)
                folder.symlink_to(other.name, target_is_directory=True)
                break


def _figure(outcome: Outcome) -> float:
    aucs: dict[str, Any] = {task: one.value for (task, name, metric), one in outcome.measures.items() if name == "all" and metric == "auc"}
    return aucs.get(MEAN, next(iter(aucs.values())))


def _is_there(cell: Cell) -> bool:
    workspace = Workspace(cell.config.run)
    return all(workspace.exists(stage_of(artifact).artifact(cell.config)) for artifact in ("models", "reports"))
