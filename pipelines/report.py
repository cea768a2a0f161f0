"""Shows what was made: a table to a person's eyes, encoders side by side, figures over seeds, an online experiment, what it would take at scale.

table      <run>/reports/tables/<name>/ of one table, or of all that PPM reads: neighbours.html (sampled items beside the
           items with the most similar vectors, with pictures where there are any), norms.png, map.png (items in the plane,
           coloured by the first item field or by report.category), summary.json. A missing table is made first.
encoders   the metrics of the text and image encoders of one or more runs, as one table a task
seeds      the figures of the same models in runs that differ in `seed` alone: mean, standard deviation over the seeds and
           Student's t interval, of every report that all of the runs hold (reports/ppm, reports/<model>), beside the baselines
online     <run>/reports/online/<online.name>/ of an A/B test, from its exposure log (Parquet, CSV, TSV, JSON lines): UCTR and UCVR
           (PPM, equation 12), CTR, CVR, eCPM, DTR and the exposure of long-tail items, by bucket, by day and by popularity (CELA,
           figure 7), with differences to control and their intervals over users; CUPED where there is a pre-period; sample-ratio and
           A/A checks: report.md, report.html, figures.jsonl, plots/. docs/online.md says what each figure means
capacity   <run>/reports/capacity/: what a catalog, its users and its traffic take: memory, disk, machines and cores, from the rates
           that the run measured when it was made (or that capacity.* gives, for another machine). A rate that nothing measured is
           named with the command that does, and what rests on it is left out

  python -m pipelines.report table                                     # the tables of the embedded shop
  python -m pipelines.report table title configs/home_depot.yaml data.path=<folder>
  python -m pipelines.report encoders runs/first runs/second
  for seed in 1 2 3; do python -m pipelines.pretrain run=runs/shop-$seed seed=$seed; done
  python -m pipelines.report seeds runs/shop-1 runs/shop-2 runs/shop-3
  python -m pipelines.report online exposures=logs/*.parquet online.control=A online.order=order online.start=2026-11-20
  python -m pipelines.report online exposures=shown.csv outcomes=orders.csv online.control=A 'online.outcomes.order={column: event, equals: order}'
  python -m pipelines.report capacity capacity.items=2000000 capacity.users=30000000 capacity.requests=40000000
  python -m pipelines.report capacity configs/capacity_paper.yaml      # PPM's own sizes
  python -m pipelines.report table --help                              # the settings; online --help, capacity --help: theirs
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from pathlib import Path

from pipelines.stage import Stage, explained, main_of
from pipelines.stage import main as stage_main
from ppm_tf.config import TABLES, Config, ConfigError
from ppm_tf.storage import write_json
from ppm_tf.terminal import printing
from ppm_tf.workspace import Recipe, Workspace, fingerprint

logger = logging.getLogger(__name__)

ENCODERS = ("encoders/adapted", "encoders/text", "encoders/image")


# === table ===


def run(table: str, config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Looks at one table and commits `reports/tables/<table>`."""
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.schema import Schema
    from ppm_tf.data.tables import read_table
    from ppm_tf.reports.sheet import read_shown, write_sheet
    from ppm_tf.reports.table import look_at_table, plot_map, plot_norms

    settings = config.report
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    vectors = read_table(workspace.path(f"tables/{table}"), catalog)
    name, categories, names = categories_of(Schema.read(workspace.path("data") / "schema.json"), catalog, settings.category)
    look = look_at_table(vectors, settings.sample, settings.neighbours, config.seed, categories)
    summary = {**look.summary, "category": name}
    title = f"Table {table} of {config.run}"
    with workspace.commit(f"reports/tables/{table}", recipe) as folder:
        plot_norms(vectors, folder / "norms.png", f"{title}: lengths")
        plot_map(
            vectors,
            look.rows,
            folder / "map.png",
            settings.map,
            config.seed,
            names and [names[row] for row in look.rows],
            name or "",
            f"{title}: map",
        )
        asked = slice(0, settings.items)
        shown = read_shown(catalog, [*look.rows[asked], *look.neighbours[asked].ravel()], names)
        plots = [folder / "norms.png", folder / "map.png"]
        write_sheet(
            folder / "neighbours.html", title, lines_of(summary), look.rows[asked], look.neighbours[asked], look.similarity[asked], shown, plots
        )
        write_json(folder / "summary.json", summary)


def categories_of(schema, catalog, field: str | None):
    """The item field that tells categories apart: its name, the category of each row, and its name in words; all `None` without fields.

    Of several values of an item the first counts.
    """
    from ppm_tf.rows import FIRST_ROW

    fields = {found.name: found for found in schema.side("item")}
    if field is not None and field not in fields:
        raise ValueError(f"report.category must be an item field of the data. Received: {field}. Its item fields are: {', '.join(fields) or 'none'}.")
    if not fields:
        return None, None, None
    found = fields[field or next(iter(fields))]
    categories = catalog.fields[found.name][:, 0]
    return found.name, categories, [found.vocabulary[row - FIRST_ROW] if row >= FIRST_ROW else "" for row in categories.tolist()]


def lines_of(summary: dict) -> dict[str, str]:
    """The figures in words, for the sheet and the terminal."""
    quantiles = summary["norm_quantiles"]
    lines = {
        "encoder": f"{summary['encoder_version']}, width {summary['dim']}",
        "items with a vector": f"{summary['with_vector']:,} of {summary['items']:,} ({summary['missing_share']:.1%} missing)",
        "norms: least, median, most": f"{quantiles['0']:.3g}, {quantiles['0.5']:.3g}, {quantiles['1']:.3g}",
        "mean cosine of random pairs": f"{summary['mean_cosine_of_random_pairs']:.3f}",
        f"mean cosine of {summary['neighbours']} nearest neighbours": f"{summary['mean_cosine_of_neighbours']:.3f}",
        "items whose nearest neighbour has the same vector": f"{summary['share_with_an_equal_neighbour']:.1%}",
    }
    if summary["zero_vectors"]:
        lines["items with a vector of zeros"] = f"{summary['zero_vectors']:,}"
    if summary.get("neighbours_of_same_category") is not None:
        lines[f"neighbours of the same {summary['category']}"] = (
            f"{summary['neighbours_of_same_category']:.1%} (by chance {summary['by_chance']:.1%})"
        )
    return lines


def show(table: str, config: Config, workspace: Workspace) -> None:
    """Prints the figures and where the sheet is."""
    folder = workspace.path(f"reports/tables/{table}")
    lines = lines_of(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
    width = max(map(len, lines))
    print("\n".join(f"{name.ljust(width)}  {value}" for name, value in lines.items()))
    print(f"\n{folder / 'neighbours.html'}")


def _stage(table: str) -> Stage:
    return Stage(
        module="pipelines.report",
        choice=f"table {table}",
        makes=f"reports/tables/{table}",
        needs=("data", f"tables/{table}"),
        sections=("seed", "report"),
        also_uses=("data", "text", "image", "embed", "beam"),
        run=partial(run, table),
        show=partial(show, table),
    )


STAGES = {table: _stage(table) for table in TABLES}


# === encoders ===


def compare_encoders(runs: list[str]) -> str:
    """The metrics of the runs' encoders: one table an encoder, task and slice; a model of equal figures in all runs has one row.

    Raises:
        FileNotFoundError: a run has no metrics of encoders.
    """
    from dataclasses import replace

    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports.figures import figures_table

    tables: dict[tuple[str, str, str], list] = {}
    for folder in runs:
        paths = {name: Path(folder, name, "metrics.jsonl") for name in ENCODERS}
        if not any(path.is_file() for path in paths.values()):
            raise FileNotFoundError(
                f"A run must hold metrics of an encoder, such as {folder}/encoders/text/metrics.jsonl. Received: {folder}, without. Run `python -m"
                " pipelines.finetune` first."
            )
        for name, path in paths.items():
            for record in read_metrics(path) if path.is_file() else ():
                tables.setdefault((name, record.task, record.slice), []).append((folder, record))
    parts = []
    for (name, task, slice_name), found in tables.items():
        values: dict[str, dict[str, list]] = {}
        for folder, record in found:
            values.setdefault(record.model, {}).setdefault(folder, []).append((record.metric, record.value))
        alike = {
            model
            for model, by_run in values.items()
            if len(runs) == 1 or (len(by_run) == len(runs) and len({str(figures) for figures in by_run.values()}) == 1)
        }
        records = [record if record.model in alike else replace(record, model=f"{Path(folder).name}: {record.model}") for folder, record in found]
        parts.append(f"{name}: {task}, {slice_name}\n\n{figures_table(records)}")
    return "\n\n".join(parts)


# === seeds ===


def over_seeds(runs: list[str]) -> str:
    """The reports that all runs hold, each figure as mean, standard deviation and Student's t interval over the runs' seeds.

    Raises:
        FileNotFoundError: the runs have no report in common.
        ValueError: fewer than two runs, two of one seed, or runs of other test candidates.
    """
    from ppm_tf.evaluation import ALL, Record, read_metrics
    from ppm_tf.reports import metrics_table

    if len(runs) < 2:
        raise ValueError(
            f"A spread over seeds needs at least two runs. Received: {', '.join(runs)}. Remedy: the same command with another seed= and run=."
        )
    names = [{path.parent.name for path in Path(run, "reports").glob("*/metrics.jsonl")} for run in runs]
    shared = sorted(set.intersection(*names))
    if not shared:
        found = "; ".join(f"{run}: {', '.join(sorted(one)) or 'none'}" for run, one in zip(runs, names, strict=True))
        raise FileNotFoundError(
            f"The runs must have a report in common, <run>/reports/<name>/metrics.jsonl. Received: {found}. Remedy: run `python -m"
            " pipelines.pretrain` or `python -m pipelines.evaluate` in each."
        )
    parts = []
    for name in shared:
        records: list[Record] = []
        first: dict[tuple[str, str, str], tuple[str, int]] = {}  # of each task's candidates
        owner: dict[tuple[str, int], str] = {}
        for run in runs:
            found = read_metrics(Path(run, "reports", name, "metrics.jsonl"))
            for record in found:
                if owner.setdefault((record.model, record.seed), run) != run:
                    raise ValueError(
                        f"Each run must have a seed of its own. Received: {owner[record.model, record.seed]} and {run}, both of seed {record.seed}"
                        f" ({record.model}). Remedy: seed=<another> run=<another>."
                    )
                if (record.slice, record.metric) == (ALL, "auc"):
                    other, count = first.setdefault((record.model, record.task, record.metric), (run, record.count))
                    if count != record.count:
                        raise ValueError(
                            f"The runs must be judged on the same test candidates. Received: {count:,} in {other}, {record.count:,} in {run}"
                            f" ({record.model}, {record.task}). Remedy: the same data settings in each."
                        )
            records += found
        parts.append(f"reports/{name}\n\n{metrics_table(records)}")
    return "\n\n".join(parts)


# === online ===

SHORT = {"exposures": "online.exposures", "outcomes": "online.outcomes.files"}


def judge_online(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Judges the experiment and commits `reports/online/<name>`."""
    from ppm_tf.data.experiment.exposures import read_exposures
    from ppm_tf.evaluation.online import judge
    from ppm_tf.evaluation.popularity import popularity_of
    from ppm_tf.reports.online import totals_of, write_online_report

    settings = config.online
    log = read_exposures(settings)
    logger.info("pipelines.report online: %s", ", ".join(f"{number:,} {name}" for name, number in log.counts.items()))
    catalog = workspace.path("data") / "catalog"
    result = judge(log, popularity_of(log, settings, catalog if workspace.exists("data") else None), settings, config.seed)
    with workspace.commit(_online(config), recipe) as folder:
        write_online_report(result, settings, folder, f"Online experiment: {settings.name}")
        (folder / "totals.md").write_text(totals_of(result, settings), encoding="utf-8")
        log.rejected.write(folder / "rejected.jsonl")
    logger.info("pipelines.report online: %d figures of %d buckets and %d days", len(result.records), len(result.buckets), len(result.days))


def _online(config: Config) -> str:
    return f"reports/online/{config.online.name}"


def _online_inputs(config: Config) -> dict[str, str]:
    """Fingerprints of the logs.

    Raises:
        ConfigError: no exposure log is named.
    """
    from ppm_tf.data.experiment.log import find

    settings = config.online
    if settings.exposures is None:
        raise ConfigError("The exposure log must be named, exposures=<files>. Received: none. See `python -m pipelines.report online --help`.")
    named = {"online.exposures": settings.exposures, "online.outcomes.files": settings.outcomes.files}
    return fingerprint([path for setting, pattern in named.items() if pattern is not None for path in find(pattern, setting)])


def _online_settings(config: Config) -> dict:
    """What shapes the report: the experiment's settings and, where the run has data, which."""
    workspace = Workspace(config.run)
    counts = {"data": workspace.id("data")} if workspace.exists("data") else {}
    return {"seed": config.seed, "online": config.online.model_dump(mode="json"), **counts}


def show_online(config: Config, workspace: Workspace) -> None:
    """Prints the figures in total and where the report is."""
    folder = workspace.path(_online(config))
    print((folder / "totals.md").read_text(encoding="utf-8"))
    print(folder / "report.html")


ONLINE = Stage(
    module="pipelines.report",
    choice="online",
    makes=_online,
    needs=(),
    sections=("seed", "online"),
    run=judge_online,
    inputs=_online_inputs,
    settings=_online_settings,
    show=show_online,
)


# === capacity ===


def reckon(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Reckons what the sizes take and commits `reports/capacity`."""
    from dataclasses import asdict

    from ppm_tf.reports.capacity import capacity, capacity_table

    lines = capacity(_sizes(config, workspace), _rates(config, workspace))
    with workspace.commit("reports/capacity", recipe) as folder:
        write_json(folder / "capacity.json", [asdict(line) for line in lines])
        (folder / "capacity.md").write_text(f"{capacity_table(lines)}\n", encoding="utf-8")


def _sizes(config: Config, workspace: Workspace):
    """The sizes that are asked for, and those of the run where they are not.

    Raises:
        FileNotFoundError: the run has no prepared log.
    """
    from ppm_tf.data.manifest import Manifest
    from ppm_tf.data.schema import Schema
    from ppm_tf.reports.capacity import DAY, Sizes

    asked, data = config.capacity, workspace.path("data")
    if not workspace.exists("data") or not (data / "samples" / "train").is_dir():
        raise FileNotFoundError(
            f"The bytes of a request, and what is not set, are those of a run's prepared log. Received: run={config.run}, without one. Remedy: run"
            " `python -m pipelines.prepare`, or name a run that has one."
        )
    statistics = json.loads((data / "statistics.json").read_text(encoding="utf-8"))
    splits = statistics["splits"].values()
    seconds = max(split["last_time"] for split in splits) - min(split["first_time"] for split in splits)
    tables = asked.tables or {
        name: json.loads((workspace.path(f"tables/{name}") / "manifest.json").read_text(encoding="utf-8"))["dim"]
        for name in config.ppm.tables
        if workspace.exists(f"tables/{name}")
    }
    train = Manifest.read(data / "samples" / "train")
    return Sizes(
        items=asked.items or statistics["items"],
        users=asked.users or statistics["users"],
        field_rows=sum(len(found.vocabulary) for found in Schema.read(data / "schema.json").fields),
        id_dim=config.model.dim,
        tables=tables,
        table_dtype=asked.table_dtype,
        requests=asked.requests or sum(split["requests"] for split in splits) / max(seconds / DAY, 1.0),
        days=asked.days,
        request_bytes=sum(shard.bytes for shard in train.shards) / train.records,
        peak=asked.peak,
        utilisation=asked.utilisation,
        hours=asked.hours,
    )


def _rates(config: Config, workspace: Workspace):
    """What this machine did when it made the run's artifacts: examples a second, as their `summary.json` says; a set rate goes first."""
    from ppm_tf.reports.capacity import Rates

    asked, run = config.capacity, f"run={config.run}"
    remedy = {
        "embed": f"run `python -m pipelines.embed {run}`",
        "ppm": f"run `python -m pipelines.pretrain {run}`",
        "ranker": f"run `python -m pipelines.train {run}`",
        "request_ms": f"run `python -m pipelines.benchmark serving {run}`, which calls with 50 and with 500 candidates",
    }

    def seconds_each(names: list[str]) -> float | None:
        there = [workspace.path(name) / "summary.json" for name in names if workspace.exists(name)]
        found = [json.loads(path.read_text(encoding="utf-8")) for path in there if path.is_file()]
        return sum(one["seconds"] / one["examples"] for one in found) if len(found) == len(names) and all(one["examples"] for one in found) else None

    def rate(asked: float | None, names: list[str]) -> float | None:
        each = seconds_each(names)
        return asked or (1 / each if each else None)

    return Rates(
        embed=rate(asked.embed_rate, [f"tables/{name}" for name in asked.tables or config.ppm.tables]),
        ppm=rate(asked.ppm_rate, ["ppm"]),
        ranker=rate(asked.ranker_rate, [f"models/{config.model.folder}"]),
        request_ms=asked.request_ms or _request_ms(config, workspace),
        remedy=remedy,
    )


def _request_ms(config: Config, workspace: Workspace) -> float | None:
    """The median milliseconds of a served request of `capacity.scored` candidates, on the line through the two sizes that were called."""
    path = workspace.folder / "benchmark" / "serving" / f"{config.model.backbone.name}.jsonl"
    if not path.is_file():
        return None
    model = "without PPM" if config.model.ppm == "none" else "with PPM"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {line["candidates"]: line["p50_ms"] for line in lines if (line.get("model"), line.get("through")) == (model, "session")}
    sizes = sorted(size for size in found if isinstance(size, int))
    if len(sizes) < 2:
        return None
    each = (found[sizes[-1]] - found[sizes[0]]) / (sizes[-1] - sizes[0])
    return max(found[sizes[0]] + each * (config.capacity.scored - sizes[0]), 0.0)


def _capacity_settings(config: Config) -> dict:
    """What shapes the report: what is asked, and which artifacts measured its rates."""
    from dataclasses import asdict

    workspace = Workspace(config.run)
    settings = {"capacity": config.capacity.model_dump(mode="json"), "rates": asdict(_rates(config, workspace))}
    return {**settings, "data": workspace.id("data") if workspace.exists("data") else None, "dim": config.model.dim}


def show_capacity(config: Config, workspace: Workspace) -> None:
    """Prints the figures and where they are."""
    folder = workspace.path("reports/capacity")
    print((folder / "capacity.md").read_text(encoding="utf-8"))
    print(folder)


CAPACITY = Stage(
    module="pipelines.report",
    choice="capacity",
    makes="reports/capacity",
    needs=(),
    sections=("capacity",),
    also_uses=("data", "ppm", "model"),
    run=reckon,
    settings=_capacity_settings,
    show=show_capacity,
)


def written_out(arguments: list[str]) -> list[str]:
    """The arguments of `online` with the settings that `exposures=` and `outcomes=` are short for.

    >>> written_out(["exposures=log.csv", "seed=2"])
    ['online.exposures=log.csv', 'seed=2']
    """
    return [f"{SHORT[key]}={value}" if sign and key in SHORT else one for one in arguments for key, sign, value in [one.partition("=")]]


def main(arguments: list[str] | None = None) -> None:
    """Runs `table ...`, `encoders ...`, `seeds ...`, `online ...` or `capacity ...`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    choice, *others = arguments or [""]
    of_runs = {"encoders": compare_encoders, "seeds": over_seeds}
    with printing():
        if choice == "table":
            main_of(STAGES, others, default=lambda config: list(config.ppm.tables))
        elif choice == "online":
            stage_main(ONLINE, written_out(others))
        elif choice == "capacity":
            stage_main(CAPACITY, others)
        elif choice in of_runs and others and not {"-h", "--help"} & set(others):
            with explained("pipelines.report", others[0]):
                print(of_runs[choice](others))
        else:
            asked = {"-h", "--help"} & set(arguments)
            usage = (
                "table [name] [file.yaml] [section.key=value ...]`, `encoders <run> ...`, `seeds <run> <run> ...`, `online exposures=<files>"
                " [section.key=value ...]` or `capacity [file.yaml] [section.key=value ...]"
            )
            if asked:
                print(f"usage: python -m pipelines.report `{usage}`\n\n{__doc__}")
            else:
                print(f"Arguments must be `{usage}`. Received: {' '.join(arguments) or 'none'}.", file=sys.stderr)
            raise SystemExit(0 if asked else 2)


if __name__ == "__main__":
    main()
