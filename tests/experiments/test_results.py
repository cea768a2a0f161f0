"""Results: means over seeds, paired gains, claims, files; by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ppm_tf.experiments import Results, write_gains, write_results
from ppm_tf.experiments.claims import claims_of_figure2, claims_of_table2, claims_of_table3
from tests.experiments.literal_results import measures, results

ABLATION = {"Base": 0.70, "QM": 0.71, "PPM": 0.73}
AXES = {"data": ["Small", "Large"], "model": ["DIN", "URM"], "ppm": ["wo", "w"]}


def table2(place, seed):
    """PPM adds .03 on Small and .01 on Large to DIN, and costs URM .002 on Large; colder items gain more."""
    gains = {("Small", "DIN"): 0.03, ("Large", "DIN"): 0.01, ("Small", "URM"): 0.02, ("Large", "URM"): -0.002}
    gain = gains[place["data"], place["model"]] * (place["ppm"] == "w")
    auc = 0.7 + 0.005 * (place["data"] == "Large") + gain + 0.001 * seed * (place["ppm"] == "w")
    return measures(auc, (auc - 0.1 + gain, auc - 0.05, auc), error=0.01, seed=4)


def test_a_place_is_the_mean_over_its_seeds():
    found = results(AXES, table2)
    one = found.figure(found.at(data="Small", model="DIN", ppm="w"))
    assert one.value == pytest.approx(0.7315) and one.spread == pytest.approx(np.std([0.731, 0.732], ddof=1)) and one.seeds == 2
    assert found.tasks == ["click", "order"] and found.average == "mean" and found.precision == "precision_at_2"
    assert found.buckets == ["train_frequency=0", "train_frequency=1-4", "train_frequency=5+"]


def test_gains_are_paired_by_seed_and_by_resample():
    found = results(AXES, table2)
    gain = found.figure(found.gain({"data": "Small", "model": "DIN", "ppm": "w"}, {"data": "Small", "model": "DIN", "ppm": "wo"}))
    assert gain.value == pytest.approx(0.0315) and gain.spread == pytest.approx(np.std([0.031, 0.032], ddof=1))
    low, high = found.interval(gain)  # the resamples of both rise and fall together: only the seeds are left
    assert (low, high) == (
        pytest.approx(gain.value - 12.7062 * 0.0005, abs=1e-6),
        pytest.approx(gain.value + 12.7062 * 0.0005, abs=1e-6),
    )  # t of two seeds


def test_places_that_share_no_seed_are_compared_by_their_means():
    found = results(AXES, lambda place, seed: table2(place, seed) if (place["ppm"] == "w") == (seed == 1) else None)
    places = ({"data": "Small", "model": "DIN", "ppm": "w"}, {"data": "Small", "model": "DIN", "ppm": "wo"})
    gain = found.figure(found.gain(*places))
    assert gain.value == pytest.approx(0.031) and found.gain_by_seed(*places) == {}
    several = Results(
        [replace(one, cell=replace(one.cell, seed=one.cell.seed + 10 * (one.cell.place["ppm"] == "w"))) for one in results(AXES, table2).outcomes],
        AXES,
    )
    gain = several.figure(several.gain(*places))
    assert gain.value == pytest.approx(0.0315) and math.isnan(gain.spread)
    low, high = several.interval(gain)  # 11 and 12 against 1 and 2: of each side's spread, Welch
    assert (high - low) / 2 == pytest.approx(12.7062 * 0.0005, abs=1e-6)  # the side without PPM has no spread


def test_a_seed_that_is_missing_on_one_side_does_not_count():
    found = results(AXES, lambda place, seed: None if seed == 2 and place["ppm"] == "wo" else table2(place, seed))
    gain = found.figure(found.gain({"data": "Small", "model": "DIN", "ppm": "w"}, {"data": "Small", "model": "DIN", "ppm": "wo"}))
    assert gain.value == pytest.approx(0.031) and gain.seeds == 1
    assert found.figure(found.at(data="Small", model="DIN", ppm="other")).reason == "no result"


def test_claims_of_table2():
    found = results(AXES, table2)
    lines = [claim.line(found) for claim in claims_of_table2(found)]
    assert lines[0].startswith("- PPM helps every backbone (Small): yes (2 of 2; interval above 0 in 2): DIN +0.0315 [+0.0251, +0.0379], URM +0.0215")
    assert lines[1].startswith("- PPM helps every backbone (Large): in part (1 of 2; interval above 0 in 1): DIN +0.0115")
    assert lines[2].startswith(
        "- PPM helps more on Small than on Large: yes (2 of 2; interval above 0 in 2): DIN +0.0200 [+0.0200, +0.0200], URM +0.0220"
    )
    # Small with PPM over Large without: DIN .7315 - .705, URM .7215 - .705
    assert lines[3].startswith(
        "- Small with PPM reaches Large without (not more than 0.001 below it): yes (2 of 2; interval above 0 in 2): DIN +0.0265"
    )
    # coldest bucket: twice the gain
    assert lines[4].startswith(
        "- The gain is larger on the coldest items than on the warmest (Small): yes (2 of 2; interval above 0 in 2): DIN (0 against 5+) +0.0300"
    )
    assert "in part (1 of 2; interval above 0 in 1; below 0 in 1): DIN (0 against 5+) +0.0100" in lines[5]
    assert len(lines) == 6


def test_reaching_allows_what_the_paper_calls_fluctuation():
    found = results(AXES, lambda place, seed: measures(0.7 if place["data"] == "Large" else 0.6995 if place["model"] == "DIN" else 0.69))
    line = claims_of_table2(found)[3].line(found)
    assert ": in part (1 of 2; interval above 0 in 0; below 0 in 2): DIN -0.0005" in line


def test_claims_of_table3_go_row_by_row():
    values = {"Base": 0.70, "QM": 0.72, "PPM": 0.71}
    found = results({"model": list(values)}, lambda place, seed: measures(values[place["model"]]))
    (line,) = [claim.line(found) for claim in claims_of_table3(found)]
    assert line.startswith("- Each row beats the one before: in part (1 of 2; interval above 0 in 1; below 0 in 1): QM over Base +0.0200")
    assert line.endswith("PPM over QM -0.0100 [-0.0100, -0.0100].")


def test_claims_of_figure2_leave_out_buckets_without_a_figure():
    values = {"Base": (math.nan, 0.6, 0.7), "URM": (math.nan, 0.65, 0.71)}
    found = results({"model": list(values)}, lambda place, seed: measures(0.7, values[place["model"]]))
    every, colder = (claim.line(found) for claim in claims_of_figure2(found))
    assert every.startswith("- URM beats Base in every bucket of train frequency: yes (2 of 2; interval above 0 in 2; 1 not measured): 1-4 +0.0500")
    assert "URM (1-4 against 5+) +0.0400" in colder


def test_a_gain_of_a_training_that_was_not_done_does_not_count():
    """Of two gains above 0, one is over a model whose training was still rising, and says so; where all are such, nothing is known."""
    found = results({"model": list(ABLATION)}, lambda place, seed: measures(ABLATION[place["model"]]))
    late = [replace(one, summary={"standing": "rising" if one.cell.place["model"] == "PPM" else "done"}) for one in found.outcomes]
    (line,) = [claim.line(Results(late, found.axes)) for claim in claims_of_table3(Results(late, found.axes))]
    assert line.startswith("- Each row beats the one before: in part (1 of 2; interval above 0 in 2; a training not done in 1): QM over Base +0.0100")
    assert line.endswith("PPM over QM +0.0200 [+0.0200, +0.0200] ↑.")
    every = [replace(one, summary={"standing": "overfit"}) for one in found.outcomes]
    assert "not known (0 of 2" in claims_of_table3(Results(every, found.axes))[0].line(Results(every, found.axes))


def test_nothing_measured_is_said():
    found = results({"model": ["Base", "URM"]}, lambda place, seed: None)
    assert claims_of_table3(found)[0].line(found) == "- Each row beats the one before: not measured."
    assert (found.tasks, found.buckets) == ([], [])


def test_results_file_holds_every_figure_and_every_failure(tmp_path):
    found = results(AXES, table2, {("Small", "URM", "w"): "ValueError: no"})
    write_results(found, tmp_path / "results.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    failed = [line for line in lines if "error" in line]
    assert [(line["place"], line["seed"], line["error"]) for line in failed] == [
        ({"data": "Small", "model": "URM", "ppm": "w"}, seed, "ValueError: no") for seed in (1, 2)
    ]
    keys = {(*line["place"].values(), line["seed"], line["task"], line["slice"], line["metric"]) for line in lines if "error" not in line}
    assert len(keys) == len(lines) - 2 == 14 * len(table2({"data": "Small", "model": "DIN", "ppm": "w"}, 1))
    (one,) = [
        line
        for line in lines
        if line.get("metric") == "auc"
        and (*line["place"].values(), line["seed"], line["task"], line["slice"]) == ("Large", "DIN", "w", 2, "mean", "all")
    ]
    assert one["value"] == pytest.approx(0.717) and one["low"] < 0.717 < one["high"] and one["count"] == 1000


def test_gains_file(tmp_path):
    found = results(AXES, table2)
    pair = ({"data": "Small", "model": "DIN", "ppm": "w"}, {"data": "Large", "model": "DIN", "ppm": "wo"})
    write_gains(found, [pair], tmp_path / "gains.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "gains.jsonl").read_text().splitlines()]
    (one,) = [line for line in lines if (line["task"], line["slice"], line["metric"]) == ("mean", "all", "auc")]
    assert (one["place"], one["over"], one["seeds"]) == (*pair, 2) and one["value"] == pytest.approx(0.0265)
