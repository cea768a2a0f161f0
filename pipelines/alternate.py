"""Aligns texts with a ranking model's ids, trains the ranking model on the aligned texts, and begins again (CELA, section 4.4).

Round 0 is the backbone of ids alone. Each further round aligns the text encoder of the run with the ids of the round before
(`pipelines.align`), writes the table `aligned`, trains a ranking model that reads it, from nothing or with model.warm_start_part=ids from the
id tables of the round before, and scores the test split. Where the data has a pretrain split, the ids to align with are those of a second model of
the round before, which learnt from that split alone (text.align.splits). The rounds stop where validation no longer rises, and at
rounds=<number> at the latest. By default model.tables=[aligned] and model.ppm=none.

Writes <run>/rounds/<number>: encoders/aligned, tables/aligned, models and reports of each round, beside links to what all rounds share; and
<run>/reports/alternate: rounds.jsonl, table.md and rounds.png. What was killed goes on, and ends as if it had not been.

  python -m pipelines.alternate rounds=3
  python -m pipelines.alternate configs/movielens.yaml data.path=<folder> model.backbone.name=din rounds=2
  python -m pipelines.alternate [file.yaml] [section.key=value ...]           # settings: as those of align and train
  python -m pipelines.alternate model.ppm=finetune text.align.similarity=cosine text.align.temperature=0.1
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

from pipelines.align.encoder import learnt_apart, of_ids
from pipelines.given import remember
from pipelines.stage import check_first, explained, in_a_folder, make, prepare_process, settings_of, stage_of
from ppm_tf.config import Config, ConfigError, load
from ppm_tf.terminal import printing
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)

REPORT = "reports/alternate"
_NEIGHBORS = 10


def config_of(config: Config, number: int) -> Config:
    """The settings of a round; 0 is the backbone of ids alone, in the run folder itself."""
    if not number:
        return of_ids(config)
    before = config_of(config, number - 1)
    models = Path(before.run) / "models"
    ranker = str(models / learnt_apart(before).model.folder)
    text = config.text.model_copy(update={"align": config.text.align.model_copy(update={"ranker": ranker})})
    start = str(models / before.model.folder) if config.model.warm_start_part == "ids" else None
    model = config.model.model_copy(update={"warm_start": start})
    return config.model_copy(update={"run": str(Path(config.run) / "rounds" / str(number)), "text": text, "model": model})


def shared_by(config: Config) -> list[str]:
    """What is made once, in the run folder, for all rounds."""
    tables = [f"tables/{name}" for name in config.ranking_tables if name != "aligned"]
    plug_in = ["ppm"] if config.model.ppm in ("frozen", "finetune") and "aligned" not in config.ppm.tables else []
    return list(dict.fromkeys(["data", "encoders/text", "tables/title", *tables, *plug_in]))


def run(config: Config) -> None:
    """Makes the rounds, and the report after each."""
    main, found = Workspace(config.run), []
    for name in shared_by(config):
        make(stage_of(name), config, main, asked=False)
    for number in range(config.rounds + 1):
        its = config_of(config, number)
        workspace = Workspace(its.run)
        for name in shared_by(config) if number else []:
            workspace.link(name, main)
        with contextlib.redirect_stdout(io.StringIO()):  # the stages' own words on each round
            if number:
                earlier = config_of(config, number - 1)
                make(stage_of("models"), learnt_apart(earlier), Workspace(earlier.run))
            for artifact in (["encoders/aligned", "tables/aligned"] if number else []) + ["models", "reports"]:
                make(stage_of(artifact), its, workspace)
        before = main.path("tables/title") if number < 2 else Workspace(config_of(config, number - 1).run).path("tables/aligned")
        found.append(outcome(number, its, workspace, before))
        write_report(config, main, found)
        one = found[-1]
        logger.info("round %d: validation AUC %.4f, test AUC %.4f, log loss %.4f", number, one["valid_auc"], one["auc"], one["log_loss"])
        if number > 1 and found[-1]["valid_auc"] <= found[-2]["valid_auc"]:
            logger.info("round %d brought no better validation than the one before: the alternation stops", number)
            break


def outcome(number: int, config: Config, workspace: Workspace, before: Path) -> dict[str, Any]:
    """The figures of a round; `before` is the table of texts as they were before its alignment."""
    import math

    from ppm_tf.evaluation import ALL, MEAN, MEASURES, NEVER_SEEN, load_measures, read_metrics

    model, report = (stage_of(artifact).artifact(config) for artifact in ("models", "reports"))
    summary = json.loads((workspace.path(model) / "summary.json").read_text(encoding="utf-8"))
    measures = {key: one.value for key, one in load_measures(workspace.path(report) / MEASURES).items()}
    tasks = [task for task, name, metric in measures if name == ALL and metric == "auc" and task != MEAN]
    mean = lambda metric, name=ALL: sum(measures.get((task, name, metric), math.nan) for task in tasks) / max(len(tasks), 1)
    found = {
        "round": number, "model": str(workspace.path(model)), "valid_auc": summary["valid_auc"], "standing": summary["standing"],
        "auc": mean("auc"), "log_loss": mean("log_loss"), "auc_never_seen": mean("auc", NEVER_SEEN),
    }  # fmt: skip
    if number:
        aligned = {one.metric: one.value for one in read_metrics(workspace.path("encoders/aligned") / "metrics.jsonl") if one.model == "after"}
        found |= {name: aligned[name] for name in ("recall_at_1", "recall_at_10")}
        found["neighbors_changed"] = neighbors_changed(before, workspace.path("tables/aligned"), workspace)
    return found


def neighbors_changed(before: Path, after: Path, workspace: Workspace) -> float:
    """The share of the 10 nearest neighbours of an item that two tables do not have in common."""
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.tables import read_table
    from ppm_tf.metrics.retrieval import changed_neighbors

    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    old, new = (read_table(folder, catalog) for folder in (before, after))
    both = old.present & new.present
    return changed_neighbors(old.vectors[both], new.vectors[both], _NEIGHBORS)


def write_report(config: Config, main: Workspace, found: list[dict[str, Any]]) -> None:
    """Writes `<run>/reports/alternate`."""
    from ppm_tf.reports.alternation import plot_rounds, rounds_table

    recipe = Recipe(settings={"model": config.model.model_dump(mode="json"), "align": config.text.align.model_dump(mode="json"), "found": found})
    with main.commit(REPORT, recipe) as folder:
        (folder / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
        (folder / "table.md").write_text(rounds_table(found) + "\n", encoding="utf-8")
        plot_rounds(found, folder / "rounds.png", f"alternation on {config.data.source} data")


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on a wrong setting, 1 on a failure the user can mend."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if {"-h", "--help"} & set(arguments):
            print(__doc__.strip())
            return
        config = settings_of(lambda: of_cela(load(arguments)))
        settings_of(lambda: in_a_folder(config.run, "pipelines.alternate"))
        prepare_process()
        remember(arguments)
        with explained("pipelines.alternate", config.run):
            check_first([stage_of("encoders/aligned"), stage_of("models"), stage_of("reports")], config)
            run(config)
            report = Workspace(config.run).path(REPORT)
            print(f"{(report / 'table.md').read_text(encoding='utf-8')}\nrounds, plot: {report}")


def of_cela(config: Config) -> Config:
    """The settings with the table of aligned texts and without PPM, where they do not say otherwise.

    Raises:
        ConfigError: the ranking model would not read the table, a name is given to the models of all rounds, or the rounds' start is named.
    """
    given = config.model.model_fields_set
    update: dict[str, Any] = {} if "ppm" in given else {"ppm": "none"}
    update |= {} if "tables" in given else {"tables": ("aligned",)}
    config = config.model_copy(update={"model": config.model.model_copy(update=update)})
    if "aligned" not in config.ranking_tables:
        raise ConfigError(f"model.tables or ppm.tables must name aligned, which the rounds are about. Received: {list(config.ranking_tables)}.")
    for setting, value in (
        ("model.name", config.model.name),
        ("model.warm_start", config.model.warm_start),
        ("text.align.ranker", config.text.align.ranker),
    ):
        if value is not None:
            raise ConfigError(f"{setting} is set by the rounds themselves. Received: {value}. Remedy: leave it out.")
    return config


if __name__ == "__main__":
    main()
