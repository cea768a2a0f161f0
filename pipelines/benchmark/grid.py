"""A benchmark file, carried out: each cell is a training and an evaluation, then come the tables and plots."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

from pipelines.stage import make, stage_of
from ppm_tf.evaluation import MEAN, MEASURES, load_measures
from ppm_tf.experiments import BenchmarkSettings, Cell, Outcome, Results, write_gains, write_results
from ppm_tf.experiments.loop import each
from ppm_tf.reports.layouts import LAYOUTS, write_report
from ppm_tf.training.log import LOG, read_log
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)


def run(benchmark: BenchmarkSettings, cells: list[Cell], folder: Path, title: str, command: str) -> int:
    """Makes the cells; after each, writes results.jsonl and table.md, at the end gains.jsonl and the plots. Returns how many failed."""
    layout, outcomes = LAYOUTS[benchmark.layout], []
    plain = layout._replace(plots={})

    def report(chosen) -> tuple[Results, str]:
        results = Results(outcomes, benchmark.axes, cells[0].config.evaluate.confidence, benchmark.metrics, benchmark.over)
        write_results(results, folder / "results.jsonl")
        done = sum(bool(one.measures) for one in outcomes)
        return results, write_report(results, chosen, folder, title, f"`{command}`: {done} of {len(cells)} cells.")

    for cell, outcome, error in each(cells, outcome_of, lambda cell: cell.title, _figure, _is_there):
        outcomes.append(outcome or Outcome(cell, error=error))
        report(plain)
    results, text = report(layout)
    write_gains(results, layout.pairs(results), folder / "gains.jsonl")
    print(f"{text}\nresults, plots: {folder}")
    return sum(bool(one.error) for one in outcomes)


def outcome_of(cell: Cell) -> Outcome:
    """Trains and evaluates a cell, unless both are there already, and measures its scores."""
    config, workspace = cell.config, Workspace(cell.config.run)
    share_data(cell, workspace)
    with contextlib.redirect_stdout(io.StringIO()):  # the stages' own words on each model
        for artifact in ("models", "reports"):
            make(stage_of(artifact), config, workspace)
    model, report = (stage_of(artifact).artifact(config) for artifact in ("models", "reports"))
    summary = json.loads((workspace.path(model) / "summary.json").read_text(encoding="utf-8"))
    # The resamples' seed is the run's, not the model's: all models meet the same users.
    log = read_log(workspace.path(model) / LOG)
    curve = {line["step"]: line["valid_auc"] for line in log if line.get("valid_auc") is not None}
    return Outcome(cell, load_measures(workspace.path(report) / MEASURES), summary, curve=sorted(curve.items()))


def share_data(cell: Cell, workspace: Workspace) -> None:
    """Lets a cell in a run folder of its own read the data of the benchmark's: the same requests, prepared once."""
    if cell.shares and not workspace.path("data").exists():
        main = Workspace(cell.shares)
        make(stage_of("data"), cell.config, main, asked=False)
        workspace.link("data", main)
        logger.info("%s reads %s", workspace.path("data"), main.path("data"))


def _figure(outcome: Outcome) -> float:
    aucs: dict[str, Any] = {task: one.value for (task, name, metric), one in outcome.measures.items() if name == "all" and metric == "auc"}
    return aucs.get(MEAN, next(iter(aucs.values())))


def _is_there(cell: Cell) -> bool:
    workspace = Workspace(cell.config.run)
    return all(workspace.exists(stage_of(artifact).artifact(cell.config)) for artifact in ("models", "reports"))
