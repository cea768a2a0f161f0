"""Searches settings of the ranking model or of PPM, by grid or at random, and chooses on the valid split alone.

Reads a sweep file (YAML): run, settings (of every trial, as in a config file), search (grid or random), trials, seed,
model_seed, and space: setting -> list of values, or {low, high, log, integer}. Each trial is `pipelines.train` with its
point's settings, or, where the space holds ppm.* and train.*, `pipelines.pretrain`; data, encoders and tables, for rankers
PPM too, are made once. The test split is never scored: for that, take the best.yaml.

Writes <run>/sweep/<file stem>/: trials.jsonl, table.md, and best.yaml, a config file of the best trial. A sweep that was
killed goes on where it was; a trial whose model is there is only looked up. A trial that fails is noted and the others go on
(exit code 1).

  python -m pipelines.sweep configs/sweep/ranker.yaml
  python -m pipelines.sweep configs/sweep/ranker.yaml trials=30 data.users=4000 run=runs/small
  python -m pipelines.sweep configs/sweep/ppm.yaml
  python -m pipelines.sweep configs/sweep/ranker.yaml [section.key=value ...]
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

from pipelines.stage import check_first, explained, in_a_folder, made_for, make, prepare_process, settings_of, stage_of
from ppm_tf.experiments.loop import each
from ppm_tf.experiments.sweep import SweepSettings, Trial, best_of, read_sweep, trials_of, write_best, write_trials
from ppm_tf.reports.sweep import trials_table
from ppm_tf.terminal import printing
from ppm_tf.workspace import Workspace


def run(sweep: SweepSettings, trials: list[Trial], folder: Path) -> int:
    """Makes the trials; writes and prints their table, best first. Returns how many failed."""
    found: list[tuple[Trial, dict[str, Any]]] = []
    for trial, summary, error in each(trials, train, _name, lambda summary: summary["valid_auc"], _is_there, "trial"):
        found.append((trial, {"error": error} if summary is None else summary))
        write_trials(found, folder / "trials.jsonl")
        table = trials_table([(one.point, what) for one, what in found])
        (folder / "table.md").write_text(table + "\n", encoding="utf-8")
        if best := best_of(found):
            write_best(sweep, best, folder / "best.yaml")
    print(f"{table}\n\n{folder}")
    return sum("error" in summary for _, summary in found)


def train(trial: Trial) -> dict[str, Any]:
    """Trains a trial's model, unless it is there already, and reads how it validated.

    Raises:
        ValueError: its validation AUC is no number, so that it cannot be compared.
    """
    config, workspace = trial.config, Workspace(trial.config.run)
    stage = stage_of(trial.trains)
    if trial.shares:
        main = Workspace(trial.shares)
        for name, (maker, its) in made_for(stage, config).items():
            if name != stage.artifact(config):
                make(maker, its, main, asked=False)
                workspace.link(name, main)
    with contextlib.redirect_stdout(io.StringIO()):  # the stage's own words on each model
        make(stage, config, workspace, asked=not trial.shares)  # PPM's own words are its test figures
    folder = workspace.path(stage.artifact(config))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    if not math.isfinite(summary["valid_auc"]):
        raise ValueError(
            f"A trial must have a validation AUC. Received: {summary['valid_auc']} in {folder / 'summary.json'}. Remedy: remove {folder} to train the"
            " trial anew, or look at data.split.valid."
        )
    return summary


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on a wrong setting, 1 if a trial failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if not arguments or {"-h", "--help"} & set(arguments):
            print(__doc__.strip())
            raise SystemExit(0 if arguments else 2)
        sweep = settings_of(lambda: read_sweep(arguments[0], arguments[1:]))
        settings_of(lambda: in_a_folder(sweep.run, "pipelines.sweep"))
        trials = settings_of(lambda: trials_of(sweep, arguments[0]))
        prepare_process()
        with explained("pipelines.sweep", sweep.run):
            for trial in trials:
                check_first([stage_of(trial.trains)], trial.config)
            failed = run(sweep, trials, Path(sweep.run) / "sweep" / Path(arguments[0]).stem)
        if failed:
            print(
                f"{failed} of {len(trials)} trials failed; the same command tries them again. (Set PPM_TF_TRACEBACK=1 to see where they did.)",
                file=sys.stderr,
            )
            raise SystemExit(1)


def _name(trial: Trial) -> str:
    return ", ".join(f"{name.removeprefix('model.')}={value}" for name, value in trial.point.items())


def _is_there(trial: Trial) -> bool:
    return Workspace(trial.config.run).exists(stage_of(trial.trains).artifact(trial.config))


if __name__ == "__main__":
    main()
