"""`pipelines.report online` through the command line: a report whole or absent, made once, and popularity out of a run."""

import json
import logging
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import report
from ppm_tf.workspace import Recipe, Workspace
from tests.data.experiment.test_exposures import LOG, OUTCOMES
from tests.raw_logs import write_file


@pytest.fixture
def arguments(tmp_path):
    write_file(tmp_path / "log.parquet", LOG)
    return ["online", f"exposures={tmp_path}/log.parquet", "online.control=A", "online.aa_splits=5", "online.groups=2", f"run={tmp_path}/run"]


def figures(folder, name="ab_test"):
    return [json.loads(line) for line in (folder / "run" / "reports" / "online" / name / "figures.jsonl").read_text().splitlines()]


def test_a_report_is_made_once(arguments, tmp_path, capsys, caplog):
    with caplog.at_level(logging.INFO):
        report.main(arguments)
    said = [record.getMessage() for record in caplog.records]
    assert "start, writing" in said[0] and "9 rows read" in said[1] and "done in" in said[-1]
    printed = capsys.readouterr().out
    assert "| UCTR " in printed and str(tmp_path / "run" / "reports" / "online" / "ab_test" / "report.html") in printed
    made = tmp_path / "run" / "reports" / "online" / "ab_test" / "made_by.yaml"
    before = made.stat().st_mtime_ns
    report.main(arguments)
    assert made.stat().st_mtime_ns == before and capsys.readouterr().out == printed
    write_file(tmp_path / "log.parquet", {**LOG, "click": [1] * 9})  # the log goes on
    report.main(arguments)
    assert made.stat().st_mtime_ns > before
    assert {line["value"] for line in figures(tmp_path) if line["figure"] == "CTR" and line["scope"] == "total"} == {1.0}


def test_a_report_that_fails_leaves_the_one_before(arguments, tmp_path, monkeypatch, capsys):
    report.main(arguments)
    before = figures(tmp_path)
    monkeypatch.setattr("ppm_tf.reports.online.write_plots", lambda *a: (_ for _ in ()).throw(RuntimeError("no more ink")))
    with pytest.raises(SystemExit, match="1"):
        report.main([*arguments, "online.confidence=0.9"])
    assert "pipelines.report: no more ink" in capsys.readouterr().err and figures(tmp_path) == before
    with pytest.raises(SystemExit, match="1"):
        report.main([*arguments, "online.name=other"])
    assert not (tmp_path / "run" / "reports" / "online" / "other").exists()


def test_outcomes_of_a_second_log(arguments, tmp_path):
    write_file(tmp_path / "orders.csv", OUTCOMES)
    report.main([*arguments, f"outcomes={tmp_path}/orders.csv", "online.outcomes.order={column: event, equals: order}"])
    found = {line["bucket"]: line for line in figures(tmp_path) if (line["figure"], line["scope"]) == ("UCVR", "total")}
    assert (found["A"]["numerator"], found["A"]["denominator"]) == (1, 4) and (found["B"]["numerator"], found["B"]["denominator"]) == (1, 3)


def write_catalog(folder, ids, exposures):
    workspace = Workspace(folder / "run")
    with workspace.commit("data", Recipe({"of": str(ids)})) as data:
        (data / "catalog").mkdir()
        pq.write_table(pa.table({"item_id": ids}), data / "catalog" / "items.parquet")
        counts = {f"exposures_{split}": np.array([0, 0, *values]) for split, values in exposures.items()}
        np.savez(data / "catalog" / "counts.npz", **counts)


def test_popularity_by_the_training_data_of_the_run(arguments, tmp_path, capsys):
    """Items 7 and 9 were trained on, 8 and 6 never: the half of the four that is the tail."""
    report.main([*arguments, "online.tail=0.5"])
    write_catalog(tmp_path, [9, 8, 7, 6], {"pretrain": [3, 0, 1, 0], "train": [0, 0, 4, 0]})
    report.main([*arguments, "online.tail=0.5"])  # the data are part of what it was made of
    tail = {line["bucket"]: line for line in figures(tmp_path) if (line["figure"], line["scope"]) == ("long-tail share", "total")}
    assert (tail["A"]["numerator"], tail["B"]["numerator"]) == (1, 2)
    assert (
        "2 of 4 items are the long tail, with at most 0 each; popularity is exposures in the training data."
        in (tmp_path / "run" / "reports" / "online" / "ab_test" / "report.md").read_text()
    )


def test_a_catalog_of_other_items_is_not_taken(arguments, tmp_path, capsys):
    write_catalog(tmp_path, [70, 80], {"train": [3, 1]})
    report.main(arguments)
    text = (tmp_path / "run" / "reports" / "online" / "ab_test" / "report.md").read_text()
    assert "popularity is exposures in all buckets of the experiment" in text and "holds the items of 0.0% of the exposures" in text
    with pytest.raises(SystemExit, match="1"):
        report.main([*arguments, "online.popularity=train"])
    assert "online.popularity=train needs the catalog of the log's items" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["online.control=null"], 1, "pipelines.report: The control bucket must be named, online.control=<bucket>"),
        (["online.cntrol=A"], 2, "Setting online.cntrol is not known. Did you mean online.control?"),
        (["exposures=nowhere/*.csv"], 1, "online.exposures must name files"),
        (["online.exposures=null"], 2, "The exposure log must be named, exposures=<files>"),
    ],
)
def test_what_cannot_be_reported_exits_with_a_sentence(arguments, changes, code, message, capsys):
    with pytest.raises(SystemExit, match=str(code)):
        report.main([*arguments, *changes])
    assert message in capsys.readouterr().err


def test_help_teaches_the_settings(capsys):
    report.main(["online", "--help"])
    printed = capsys.readouterr().out
    assert "online.control" in printed and "UCTR and UCVR" in printed and "exposures=logs/*.parquet" in printed


def test_the_documents_example_finds_what_it_put_in(tmp_path, monkeypatch):
    """B draws items with a longer tail and clicks more: the tail's gain is found; the click rate, up 15 %, lies in its interval."""
    text = (Path(__file__).parents[2] / "docs" / "online.md").read_text(encoding="utf-8")
    program, command = re.search(r"<<'END' > exposures.csv\n(.*?)\nEND\n.*? -m pipelines.report (online .*?)\n", text, re.S).groups()
    monkeypatch.chdir(tmp_path)
    Path("exposures.csv").write_text(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    report.main([*shlex.split(command), "run=run"])
    found = {line["figure"]: line for line in figures(tmp_path) if (line["scope"], line["bucket"]) == ("total", "B")}
    assert found["long-tail share"]["difference_low"] > 0
    assert found["CTR"]["difference_relative_low"] < 0.15 < found["CTR"]["difference_relative_high"]
    width = {name: found["UCTR"][f"{name}_high"] - found["UCTR"][f"{name}_low"] for name in ("difference", "cuped")}
    assert width["cuped"] < width["difference"]
