"""The capacity of a small shop's run, through the command line: sizes of the run, its measured rates, and what is set instead."""

import json

import pytest

from pipelines import report
from tests.pipelines.small_shop import SETTINGS


def figures(shop, *more):
    report.main(["capacity", f"run={shop.folder}", *SETTINGS, *more])
    return {line["name"]: line for line in json.loads((shop.path("reports/capacity") / "capacity.json").read_text())}


def test_sizes_and_rates_are_the_runs_unless_they_are_set(small_shop, capsys):
    ours = figures(small_shop, "model.name=untrained")
    summary = json.loads((small_shop.path("ppm") / "summary.json").read_text())
    statistics = json.loads((small_shop.path("data") / "statistics.json").read_text())
    assert ours["table title"]["value"] == 300 * 32 * 2
    a_day = ours["train PPM on a day"]["value"] * 3600 * summary["examples"] / summary["seconds"]  # requests, by the rate of the run's PPM
    assert a_day == pytest.approx(sum(split["requests"] for split in statistics["splits"].values()) / 10, rel=0.1)  # the log spans ten days
    assert ours["cores at the peak"]["value"] is None and "pipelines.benchmark serving" in ours["cores at the peak"]["how"]
    assert ours["train the ranker on a day"]["value"] is None and "pipelines.train" in capsys.readouterr().out
    larger = figures(small_shop, "model.name=untrained", "capacity.items=3000", "capacity.ranker_rate=10", "capacity.requests=36000")
    assert larger["table title"]["value"] == 3000 * 32 * 2
    assert larger["train the ranker on a day"]["value"] == pytest.approx(1.0)
    assert larger["embed all items"]["value"] == pytest.approx(10 * ours["embed all items"]["value"])


def test_a_served_request_is_reckoned_from_the_two_sizes_that_were_called(small_shop):
    folder = small_shop.folder / "benchmark" / "serving"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {("with PPM", 50): 2.0, ("with PPM", 500): 11.0, ("without PPM", 50): 1.0, ("without PPM", 500): 1.0}
    lines = [{"model": model, "through": "session", "candidates": size, "p50_ms": ms} for (model, size), ms in sizes.items()]
    (folder / "dsin.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"benchmark": "serving", "ratio": "other", "median": 1}]))
    found = figures(small_shop, "model.backbone.name=dsin", "capacity.scored=100", "capacity.peak=10", "capacity.utilisation=1")
    assert found["cores at the peak"]["value"] == pytest.approx(0.03)  # 2 ms and 50 times 9 / 450


def test_a_run_without_a_log_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        report.main(["capacity", f"run={tmp_path}"])
    assert stopped.value.code == 1 and "python -m pipelines.prepare" in capsys.readouterr().err
