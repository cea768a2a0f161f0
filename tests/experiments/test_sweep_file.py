"""Sweep files: their trials, the choice, and what is refused."""

import math

import pytest
import yaml

from ppm_tf.config import ConfigError, load
from ppm_tf.experiments import read_sweep, trials_of
from ppm_tf.experiments.sweep import Range, best_of, write_best

RANDOM = """
run: runs/a
search: random
trials: 30
settings: {model.backbone.name: din}
space:
  model.train.learning_rate: {low: 0.001, high: 0.1, log: true}
  model.min_count: {low: 1, high: 9, integer: true}
  model.dim: [8, 16]
"""
GRID = "run: runs/a\nspace: {model.dim: [8, 16], model.ppm: [none, random]}\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "sweep.yaml").write_text(text)
        return tmp_path / "sweep.yaml"

    return write


def test_a_grid_is_every_combination(write):
    trials = trials_of(read_sweep(write(GRID)))
    assert [tuple(trial.point.values()) for trial in trials] == [(8, "none"), (8, "random"), (16, "none"), (16, "random")]
    assert [(trial.config.model.dim, trial.config.model.ppm) for trial in trials] == [tuple(trial.point.values()) for trial in trials]
    assert len({trial.config.model.folder for trial in trials}) == 4


def test_random_trials_lie_in_their_ranges_and_repeat(write):
    trials = trials_of(read_sweep(write(RANDOM)))
    rates = [trial.config.model.train.learning_rate for trial in trials]
    assert len(trials) == 30 and all(0.001 <= rate <= 0.1 for rate in rates)
    assert 8 <= sum(rate < 0.01 for rate in rates) <= 22  # half of a range that is even in its logarithm
    assert {trial.config.model.min_count for trial in trials} <= set(range(1, 10)) and {trial.config.model.dim for trial in trials} == {8, 16}
    assert trials == trials_of(read_sweep(write(RANDOM)))
    assert trials[:10] == trials_of(read_sweep(write(RANDOM), ["trials=10"]))
    assert trials[:5] != trials_of(read_sweep(write(RANDOM), ["trials=5", "seed=2"]))


def test_a_point_drawn_twice_is_one_trial(write):
    assert len(trials_of(read_sweep(write("search: random\ntrials: 50\nspace: {model.dim: [8, 16]}\n")))) == 2


def test_numbers_read_well():
    import numpy as np

    values = [Range(low=1e-5, high=1e-2, log=True).draw(np.random.default_rng(seed)) for seed in range(20)]
    assert all(value == float(f"{value:.4g}") for value in values)


def test_the_best_trial_is_chosen_on_validation_and_its_file_trains_it(write, tmp_path):
    sweep = read_sweep(write(RANDOM), ["trials=4", "data.users=90"])
    trials = trials_of(sweep)
    found = list(zip(trials, [{"valid_auc": 0.6}, {"valid_auc": 0.7}, {"valid_auc": -math.inf}, {"error": "no"}], strict=True))
    best = best_of(found)
    assert best == (trials[1], {"valid_auc": 0.7})
    write_best(sweep, best, tmp_path / "best.yaml")
    config = load([str(tmp_path / "best.yaml")])
    expected = trials[1].config
    assert config == expected.model_copy(update={"model": expected.model.model_copy(update={"name": None})})
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["run"] == "runs/a"
    assert best_of(found[2:]) is None


def test_the_best_ppm_is_trained_by_its_file(write, tmp_path):
    sweep = read_sweep(write("space: {ppm.dropout: [0.0, 0.1]}\n"), ["run=runs/b", "model_seed=4"])
    trials = trials_of(sweep, "folder/search.yaml")
    assert len({trial.config.run for trial in trials}) == 2 and {trial.shares for trial in trials} == {"runs/b"}
    assert all(trial.config.run.startswith("runs/b/sweep/search/ppm-s4-") and trial.config.seed == 4 for trial in trials)
    write_best(sweep, (trials[1], {"valid_auc": 0.7}), tmp_path / "best.yaml")
    assert load([str(tmp_path / "best.yaml")]) == trials[1].config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {model.dimm: [8]}\n", r"trial model.dimm=8: Setting model.dimm is not known. Did you mean model.dim\?"),
        ("space: {model.dim: {low: 1, high: 8}}\n", "search: grid needs lists of values. Received: a range for model.dim"),
        ("search: random\nspace: {model.dim: {low: 8, high: 8}}\n", "low must be below high, and above 0 with log. Received: low: 8.0, high: 8.0"),
        (
            "space: {data.users: [9]}\n",
            r"settings of the ranking model alone, model.\*, or of PPM alone, .* Received: data.users",
        ),
        ("space: {model.dim: [9], ppm.width: [8]}\n", r"of the ranking model alone, .* Received: model.dim, ppm.width"),
        ("space: {model.dim: []}\n", "each setting of the space must have a value. Received: none for model.dim"),
        ("space: {}\n", "space: Dictionary should have at least 1 item"),
        ("spaces: {}\n", "spaces is not known. Allowed here: run, settings, search"),
    ],
)
def test_a_wrong_file_is_refused_by_name(write, text, message):
    with pytest.raises(ConfigError, match=message):
        trials_of(read_sweep(write(text)))


def test_the_name_of_a_file_is_a_folders(tmp_path):
    path = tmp_path / ".. [v1].yaml"
    path.write_text(GRID)
    with pytest.raises(
        ConfigError, match=r"its results lie in a folder named after it, and a name is a folder's.* Received: \.\. \[v1\]\. Remedy: rename the file"
    ):
        read_sweep(path)
