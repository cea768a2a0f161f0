"""A search over settings, with stages that stand in for training."""

import json
import math
from pathlib import Path

import pytest
import yaml

from pipelines import sweep
from tests.pipelines import fake_stages
from tests.pipelines.fake_stages import BREAKS, MADE

FILE = "settings: {model.ppm: none}\nspace: {model.dim: [16, 32], model.newest: [0.5, 1.0]}\n"


@pytest.fixture
def search(tmp_path, monkeypatch):
    fake_stages.replace_real_ones(monkeypatch)
    (tmp_path / "search.yaml").write_text(FILE)
    return lambda *overrides: sweep.main([str(tmp_path / "search.yaml"), f"run={tmp_path / 'run'}", *overrides])


def test_the_best_by_validation_is_found_and_the_test_split_is_left_alone(search, tmp_path, capsys):
    search()
    assert [kind for kind, _ in MADE] == ["data"] + ["train"] * 4  # nothing was evaluated
    folder = tmp_path / "run" / "sweep" / "search"
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["model"] == {"ppm": "none", "dim": 32, "newest": 1.0, "seed": 1} and best["run"] == str(tmp_path / "run")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (folder / "table.md").read_text().splitlines()]
    assert rows[0] == ["rank", "dim", "newest", "validation AUC", "best step", "seconds"]
    assert [row[1:4] for row in rows[2:]] == [["32", "1.0", "0.6600"], ["16", "1.0", "0.6500"], ["32", "0.5", "0.6100"], ["16", "0.5", "0.6000"]]
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"


def test_a_second_run_only_looks_up(search, tmp_path):
    search()
    MADE.clear()
    search()
    assert MADE == []
    lines = [json.loads(line) for line in (tmp_path / "run/sweep/search/trials.jsonl").read_text().splitlines()]
    assert [line["point"] for line in lines][:2] == [{"model.dim": 16, "model.newest": 0.5}, {"model.dim": 16, "model.newest": 1.0}]
    assert len({line["model"] for line in lines}) == 4 and all(math.isfinite(line["valid_auc"]) for line in lines)


def test_trials_of_ppm_share_what_comes_before_it_and_the_best_has_its_own_file(search, tmp_path, capsys):
    (tmp_path / "search.yaml").write_text("settings: {data.users: 90}\nspace: {ppm.dropout: [0.0, 0.2], train.epochs: [1, 3]}\n")
    search()
    assert [one[0] for one in MADE] == ["data"] + ["ppm"] * 4 and {one[2] for one in MADE[1:]} == {"300"}  # the data are made once, and read by each
    folder = tmp_path / "run" / "sweep" / "search"
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert (best["ppm"], best["train"], best["data"], best["seed"]) == ({"dropout": 0.2}, {"epochs": 3}, {"users": 90}, 1)
    assert "python -m pipelines.pretrain" in (folder / "best.yaml").read_text()
    assert json.loads((Path(best["run"]) / "ppm" / "summary.json").read_text())["valid_auc"] == pytest.approx(0.65)
    assert not list((tmp_path / "run").rglob("reports"))
    assert "| 1 " in capsys.readouterr().out
    MADE.clear()
    search()
    assert MADE == []


def test_failures_are_noted(search, tmp_path, capsys):
    BREAKS.add("urm")
    with pytest.raises(SystemExit) as stopped:
        search()
    assert stopped.value.code == 1 and "4 of 4 trials failed" in capsys.readouterr().err
    assert not (tmp_path / "run/sweep/search/best.yaml").exists()
    assert "failed | RuntimeError: no memory for it" in " ".join((tmp_path / "run/sweep/search/table.md").read_text().split())


def test_a_trial_without_a_validation_figure_has_failed(search, tmp_path, capsys):
    """A model of an earlier training whose valid split had one class: it is no trial to choose, nor one to pass by in silence."""
    search()
    trials = [json.loads(line) for line in (tmp_path / "run/sweep/search/trials.jsonl").read_text().splitlines()]
    best = next(line for line in trials if line["point"] == {"model.dim": 32, "model.newest": 1.0})
    path = tmp_path / "run" / "models" / best["model"] / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "valid_auc": float("-inf")}))
    with pytest.raises(SystemExit) as stopped:
        search()
    assert stopped.value.code == 1 and "1 of 4 trials failed" in capsys.readouterr().err
    assert "failed | ValueError: A trial must have a validation AUC. Received: " in " ".join(
        (tmp_path / "run/sweep/search/table.md").read_text().split()
    )
    assert yaml.safe_load((tmp_path / "run/sweep/search/best.yaml").read_text())["model"]["dim"] == 16


def test_wrong_settings_exit_with_2(search, capsys):
    with pytest.raises(SystemExit) as stopped:
        search("model.dimm=3")
    assert stopped.value.code == 2 and "Setting model.dimm is not known" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        sweep.main(["--help"])
    assert stopped.value.code == 0 and "python -m pipelines.sweep" in capsys.readouterr().out
