"""What models cost, by hand: from summaries to stages, sums, ratios, the table and the claims."""

import json
import math

import pytest

from ppm_tf.config import from_dict
from ppm_tf.experiments import Cell, Outcome, Results
from ppm_tf.experiments.cost_claims import claims_of_cela_table2, served_over
from ppm_tf.experiments.costs import Cost, Served, StageCost, mean_of, ratios, stage_costs, weights_of, write_costs
from ppm_tf.reports.costs import cela_table2
from ppm_tf.reports.layouts import LAYOUTS, write_report
from tests.experiments.literal_results import measures
from tests.test_reports import cells

MODELS = {
    "DIN": {"backbone": {"name": "din"}},
    "PTab": {"backbone": {"name": "ptab"}},
    "CTRL": {"backbone": {"name": "din"}, "warm_start": "interactions"},
    "CELA": {"backbone": {"name": "din"}, "tables": ["aligned"]},
}
COSTS = {  # seconds and examples of each stage; ms of three rounds
    "DIN": ([("ranker", "models/din", 40.0, 8000, True)], (1000, 50, 0), (1050, 0), (2.0, 4.0, 2.0)),
    "PTab": ([("encoders", "models/ptab", 30.0, 500, True), ("ranker", "models/ptab", 60.0, 500, True)], (0, 70, 900), (970, 0), (20.0, 40.0, 24.0)),
    "CTRL": (
        [("encoders", "encoders/adapted", 10.0, 100, False), ("alignment", "interactions/din", 300.0, 4000, True),
         ("ranker", "models/din-i", 40.0, 8000, True)],
        (1000, 50, 900), (1050, 0), (2.0, 4.0, 2.2),
    ),
    "CELA": (
        [("encoders", "encoders/adapted", 10.0, 100, False), ("ids", "models/din-pretrain", 20.0, 4000, True),
         ("alignment", "encoders/aligned", 6.0, 300, False), ("vectors", "tables/aligned", 4.0, 100, False),
         ("ranker", "models/din-aligned", 48.0, 8000, True)],
        (1000, 60, 900), (1060, 6400), (2.2, 4.4, 2.4),
    ),
}  # fmt: skip


def cost(name, timed=True):
    stages, weights, (served, cached), milliseconds = COSTS[name]
    its = dict(zip(("id_tables", "other", "language_model"), weights, strict=True))
    return Cost(tuple(StageCost(*stage) for stage in stages), 2000, its, Served(served, cached, milliseconds) if timed else None)


def results(*missing, **more):
    outcomes = []
    for name, model in MODELS.items():
        config = from_dict({"model": {**model, "ppm": "none"}})
        outcomes.append(Outcome(Cell({"model": name}, 1, config), measures(0.7), cost=None if name in missing else cost(name, **more)))
    return Results(outcomes, {"model": list(MODELS)})


def test_an_artifact_is_counted_under_its_stage_by_its_own_examples():
    summary = {"seconds": 3.0, "examples": 60}
    found = {
        name: stage_costs(name, summary, False) for name in ("encoders/adapted", "encoders/aligned", "interactions/din", "tables/title", "models/din")
    }
    assert {name: (one.part, one.seconds, one.examples, one.of_requests) for name, (one,) in found.items()} == {
        "encoders/adapted": ("encoders", 3.0, 60, False),
        "encoders/aligned": ("alignment", 3.0, 60, False),
        "interactions/din": ("alignment", 3.0, 60, True),
        "tables/title": ("vectors", 3.0, 60, False),
        "models/din": ("ids", 3.0, 60, True),
    }
    assert stage_costs("models/din", summary, True)[0].part == "ranker"
    assert stage_costs("data", summary, False) == stage_costs("encoders/text", {}, False) == []


def test_masked_prompts_count_with_the_encoders():
    summary = {"seconds": 60.0, "examples": 500, "mlm_steps": 9, "mlm_seconds": 30.0, "mlm_examples": 400}
    first, second = stage_costs("models/ptab", summary, True)
    assert (first.part, first.seconds, first.examples, first.of_requests) == ("encoders", 30.0, 400, True)
    assert (second.part, second.seconds) == ("ranker", 60.0)


def test_what_was_made_before_costs_were_written_down_is_not_known():
    """A summary of then had the seconds of a process, without what it did in them."""
    (one,) = stage_costs("models/din", {"seconds": 97.0, "requests": 119}, True)
    assert math.isnan(one.seconds) and math.isnan(Cost((one,)).seconds()) and math.isnan(Cost((one,)).of_a_pass(100))
    assert math.isnan(stage_costs("encoders/adapted", {}, False)[0].seconds)


def test_a_language_model_counts_wherever_it_was_trained():
    own = {"trainable_weights": 1050, "id_table_weights": 1000}
    assert weights_of([{"trainable_weights": 930, "language_weights": 900}, own]) == {"id_tables": 1000, "other": 50, "language_model": 900}
    text = {"trainable_weights": 970, "id_table_weights": 0, "language_weights": 900}
    assert weights_of([{}, text]) == {"id_tables": 0, "other": 70, "language_model": 900}


def test_a_pass_steps_through_as_many_requests_for_each_model():
    assert cost("DIN").seconds() == 40 and cost("DIN").of_a_pass(2000) == pytest.approx(10)
    assert cost("PTab").per_thousand() == pytest.approx(180) and cost("PTab").of_a_pass(2000) == pytest.approx(360)
    assert cost("CELA").seconds("ids", "alignment") == 26
    assert cost("CELA").of_a_pass(2000) == pytest.approx(10 + 10 + 6 + 4 + 12) and cost("CELA").of_a_pass(2000, ("ids",)) == pytest.approx(32)


def test_seeds_are_averaged_and_one_of_them_was_timed():
    other = Cost((StageCost("ranker", "models/din", 60.0, 8000, True),), 2000)
    found = mean_of([cost("DIN"), other])
    assert found.seconds() == 50 and found.served.milliseconds == (2.0, 4.0, 2.0)
    assert mean_of([other, cost("DIN")]).served is not None


def test_ratios_are_those_of_the_same_round():
    assert ratios(cost("CELA").served, cost("DIN").served) == pytest.approx((1.1, 1.1, 1.2))
    assert ratios(cost("CELA").served, None) == ()
    assert served_over({"model": "PTab"}, {"model": "DIN"}, results()) == pytest.approx((10, 10, 12))


def test_the_table_has_weights_and_serving_then_training_by_stage():
    serving, training, *_ = cela_table2(results()).split("\n\n")
    lines = cells(serving)
    assert lines[0] == ["model", "id tables", "other weights", "language model", "served weights", "cached table", "ms a batch", "over DIN"]
    assert lines[2] == ["DIN", "1,000", "50", "0", "1,050", "0", "2.00 [2.00, 4.00]", "1.00 [1.00, 1.00]"]
    assert lines[5] == ["CELA", "1,000", "60", "900", "1,060", "6,400", "2.40 [2.20, 4.40]", "1.10 [1.10, 1.20]"]
    lines = cells(training)
    assert lines[0][:6] == ["model", "encoders (DAP, MLM), h", "ids to align with, h", "alignment, h", "vectors, h", "ranking model, h"]
    assert lines[0][6:] == ["as they were trained, h", "over DIN", "s/1,000 requests", "a pass, h", "over DIN"]
    assert lines[2][1:] == ["", "", "", "", "0.0111", "0.0111", "1.00", "5", "0.00278", "1.00"]
    assert lines[3][1:] == ["0.00833", "", "", "", "0.0167", "0.025", "2.25", "180", "0.1", "36.0"]
    assert lines[5][1:] == ["0.00278", "0.00556", "0.00167", "0.00111", "0.0133", "0.0244", "2.20", "11", "0.0117", "4.20"]


def test_claims_hold_by_the_median_round(tmp_path):
    lines = [claim.line(results()) for claim in claims_of_cela_table2(results())]
    assert lines == [
        "- Serving CELA takes 1.13 times as long as DIN, or less: holds (1 of 1; in 2 of 3 rounds): CELA 1.10 [1.10, 1.20].",
        "- Serving what interactions were aligned for (CTRL) takes as long as DIN, within 5 %: holds (1 of 1; in 2 of 3 rounds):"
        " CTRL 1.00 [1.00, 1.10].",
        "- Serving a model of texts takes 3.9 to 18 times as long as DIN, or longer: holds (1 of 1; in 3 of 3 rounds): PTab 10.0 [10.0, 12.0].",
        "- A pass of training CELA, without the ids, which it takes as given, takes 3.1 times as long as one of DIN, or less: not (0 of 1):"
        " CELA 3.20.",
        "- A pass of training CELA, with all its stages, takes less than one of each model that learns from the texts of interactions: holds"
        " (2 of 2): CELA over CTRL 0.25, CELA over PTab 0.12.",
    ]
    text = write_report(results(), LAYOUTS["cela_table2"], tmp_path, "table 2")
    assert "in these results (ratios, with the lowest and the highest round):" in text and "Test split" not in text
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {"costs", "learning_curves"}


def test_a_claim_of_several_holds_in_part():
    found = results()
    slow = {**COSTS, "CTRL": (*COSTS["CTRL"][:3], (4.0, 8.0, 4.0))}
    other = [one if one.cell.place["model"] != "CTRL" else Outcome(one.cell, one.measures, cost=Cost(
        tuple(StageCost(*stage) for stage in [("ranker", "models/din-i", 1.0, 8000, True)]), 2000, {}, Served(1, 0, slow["CTRL"][3])
    )) for one in found.outcomes]  # fmt: skip
    lines = [claim.line(found) for claim in claims_of_cela_table2(Results(other, found.axes))]
    assert lines[1].endswith("within 5 %: not (0 of 1; in 0 of 3 rounds): CTRL 2.00 [2.00, 2.00].")
    assert ": in part (1 of 2): CELA over CTRL" in lines[4]


def test_what_is_missing_is_said(tmp_path):
    found = results("CELA", timed=False)
    lines = [claim.line(found) for claim in claims_of_cela_table2(found)]
    assert [line.rpartition(": ")[2] for line in lines] == ["not measured."] * 5
    text = write_report(found, LAYOUTS["cela_table2"], tmp_path, "table 2")
    assert cells(text.split("\n\n")[1])[5] == ["CELA", *["-"] * 7] and cells(text.split("\n\n")[2])[5] == [
        "CELA",
        *["-"] * 8,
    ]  # no model needs ids or vectors
    nothing = results(*MODELS)
    assert "not measured" in write_report(nothing, LAYOUTS["cela_table2"], tmp_path / "none", "table 2")
    assert not (tmp_path / "none" / "plots" / "costs.png").exists()


def test_a_stage_of_before_is_named_and_its_sums_are_not_known():
    found = results()
    before = StageCost("ranker", "models/din", math.nan, 0, True)
    found.outcomes[0] = Outcome(found.outcomes[0].cell, measures(0.7), cost=Cost((before,), 2000, {}, cost("DIN").served))
    text = cela_table2(found)
    assert cells(text.split("\n\n")[1])[2] == ["DIN", "", "", "", "", *["-"] * 6] and cells(text.split("\n\n")[1])[5][-1] == "-"
    assert text.endswith("Not known, since it was made before costs were written down: models/din. Remedy: make it anew.")


def test_a_line_a_cell_is_written(tmp_path):
    unknown = Cost((StageCost("ranker", "models/din", math.nan, 0, True),))
    write_costs([({"place": {"model": "CELA"}}, cost("CELA")), ({"place": {"model": "old"}}, unknown)], tmp_path / "costs.jsonl")
    first, second = (json.loads(line) for line in (tmp_path / "costs.jsonl").read_text().splitlines())
    assert first["place"] == {"model": "CELA"} and first["served"]["milliseconds"] == [2.2, 4.4, 2.4]
    assert [stage["seconds"] for stage in first["stages"]] == [10, 20, 6, 4, 48] and second["stages"][0]["seconds"] is None
