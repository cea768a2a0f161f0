"""The report of an online experiment: alarms, tables, HTML that needs nothing else, plots."""

import json
import re
from dataclasses import replace

import pytest

from ppm_tf.data.experiment.exposures import read_exposures
from ppm_tf.evaluation.online import judge
from ppm_tf.evaluation.popularity import popularity_of
from ppm_tf.metrics.experiment_checks import sample_ratio
from ppm_tf.metrics.user_ratio import Difference
from ppm_tf.reports.online import relative_text, totals_of, write_online_report
from tests.data.experiment.test_exposures import LOG, settings


@pytest.fixture
def judged(tmp_path):
    log = {**LOG, "bucket": [{"A": "A", "B": "<b>new"}[bucket] for bucket in LOG["bucket"]]}
    chosen = settings(tmp_path, "online.aa_splits=3", "online.groups=2", log=log)
    found = read_exposures(chosen)
    return judge(found, popularity_of(found, chosen, None), chosen, seed=1), chosen


def test_the_files(judged, tmp_path):
    result, chosen = judged
    write_online_report(result, chosen, tmp_path / "report", "Title")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "report.html", "figures.jsonl", "plots"}
    assert {path.name for path in (tmp_path / "report" / "plots").iterdir()} == {"differences.png", "days.png", "long_tail.png", "groups.png"}
    lines = [json.loads(line) for line in (tmp_path / "report" / "figures.jsonl").read_text().splitlines()]
    assert len(lines) == len(result.records)
    uctr = next(line for line in lines if (line["figure"], line["scope"], line["bucket"]) == ("UCTR", "total", "<b>new"))
    assert uctr["value"] == pytest.approx(2 / 3) and (uctr["numerator"], uctr["denominator"], uctr["users"]) == (2, 3, 2)
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "<b>new" not in page and "&lt;b&gt;new" in page
    text = (tmp_path / "report" / "report.md").read_text()
    assert re.findall(r"!\[.*?\]\((.*?)\)", text) == [f"plots/{name}.png" for name in ("differences", "days", "long_tail", "groups")]
    assert "| UCTR | 0.5 | 0.6667 |" in " ".join(text.split()) and "UCTR: clicks per user and day (PPM, eq. 12)." in text


def test_a_split_that_was_missed_is_said_first(judged):
    result, chosen = judged
    assert "the users by bucket" not in totals_of(result, chosen)
    lost = replace(result, sample_ratio=sample_ratio({"A": 1000, "<b>new": 1200}, {"A": 1, "<b>new": 1}))
    assert totals_of(lost, chosen).startswith("ALARM: the users by bucket do not fit the split (p = 2.0e-05).")


def test_one_day_and_no_groups_have_no_plots_of_them(judged, tmp_path):
    result, chosen = judged
    one = replace(result, days=result.days[:1], popularity=replace(result.popularity, groups=0))
    write_online_report(one, chosen, tmp_path / "report", "Title")
    assert {path.name for path in (tmp_path / "report" / "plots").iterdir()} == {"differences.png", "long_tail.png"}
    assert "plots/days.png" not in (tmp_path / "report" / "report.md").read_text()


def test_what_is_undefined_is_a_dash():
    assert relative_text(None) == relative_text(Difference.undefined("no users")) == "-"
