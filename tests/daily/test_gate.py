"""The gate on scored rows: each bound kept and broken, what is not judged, what is said."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from ppm_tf.daily import FAILED, NOT_JUDGED, PASSED, TableDrift, Verdict, judge, judge_live, judge_tables
from ppm_tf.daily.figures import measured, slice_masks
from tests.daily.made_up import DAY, NUM_ITEMS, gate, only, rows, with_scores


def verdict(candidate, live=None, settings=None, **arguments):
    return judge(candidate, live, settings or gate(), day=DAY, **arguments)


def test_figures_are_those_of_scikit_learn():
    one, other = rows(), rows(noise=0.7)
    found = {figure.metric: figure for figure in measured(other, one, slice_masks(one, ("all",)), gate())}
    label, new, old = one.labels[:, 0], other.scores[:, 0], one.scores[:, 0]
    assert found["auc"].value == pytest.approx(roc_auc_score(label, new))
    assert found["auc"].change == pytest.approx(roc_auc_score(label, new) - roc_auc_score(label, old))
    assert found["auc"].change_low < found["auc"].change < found["auc"].change_high < 0
    assert found["log_loss"].change == pytest.approx(log_loss(label, new) / log_loss(label, old) - 1)
    assert found["calibration"].value == pytest.approx(new.sum() / label.sum())
    assert (found["auc"].count, found["auc"].positives) == (6000, int(label.sum()))


def test_the_same_model_again_passes():
    one = rows()
    found = verdict(one, one, golden=({"click": [[0.1, 0.2]]}, {"click": [[0.15, 0.2]]}))
    assert found.passed and found.kept and not found.refusals() and not found.no_live
    change = only(found.lines, "min_auc_change")
    assert (change.figure, change.low, change.high, change.outcome) == (0, 0, 0, PASSED)
    assert only(found.lines, "max_psi").figure == 0
    assert only(found.lines, "max_golden_change").figure == pytest.approx(0.05)
    assert found.summary().startswith(f"gate of {DAY}: passed")


def test_a_worse_model_is_refused_by_the_bounds_it_breaks():
    found = verdict(rows(noise=0.7), rows())
    assert not found.passed
    assert {line.bound for line in found.failed} == {"min_auc_change", "max_log_loss_change"}
    sentence = only(found.lines, "min_auc_change").sentence()
    assert sentence.startswith("Change of AUC against the live model (click, all) must be at least -0.002 (gate.min_auc_change=-0.002). Received:")
    assert "6,000 rows; what counts is -0.0" in sentence


def test_by_delong_the_interval_is_about_that_of_resampled_users():
    one, other = rows(), rows(noise=0.3)
    found = {
        kind: only(verdict(other, one, gate(difference=kind, resamples=400)).lines, "min_auc_change") for kind in ("bootstrap", "delong")
    }  # the users hold rows at random, so that rows are independent
    widths = {kind: line.high - line.low for kind, line in found.items()}
    assert found["bootstrap"].figure == found["delong"].figure
    assert widths["delong"] == pytest.approx(widths["bootstrap"], rel=0.2)


@pytest.mark.parametrize(("decide_by", "outcome"), [("low", FAILED), ("value", PASSED), ("high", PASSED)])
def test_a_change_too_small_to_tell_is_decided_by_the_end_that_is_asked_for(decide_by, outcome):
    line = only(verdict(rows(noise=0.2, seed=3), rows(seed=3), gate(decide_by=decide_by, min_auc_change=-0.006)).lines, "min_auc_change")
    assert line.low < -0.006 < line.figure and line.outcome == outcome
    if outcome == FAILED:
        assert line.why.startswith("The figure itself keeps the bound; so few rows cannot tell. Remedy: more of them (update.held_out_hours)")


def test_the_first_version_has_floors_alone_and_says_so():
    found = verdict(rows())
    assert found.passed and found.no_live == "first update: there is no live model"
    assert found.summary().endswith("first update: there is no live model: floors only")
    assert only(found.lines, "min_auc").outcome == PASSED
    for bound in ("min_auc_change", "max_log_loss_change", "max_psi", "max_golden_change"):
        line = only(found.lines, bound)
        assert (line.outcome, line.why) == (NOT_JUDGED, found.no_live)
    assert not [line for line in found.lines if line.bound == "min_live_auc"]
    assert not verdict(rows(strength=0.0)).passed  # a floor it is


def test_floors_by_task_bind_the_tasks_that_they_name():
    found = verdict(rows(tasks=("click", "order")), settings=gate(min_auc={"order": 0.99}))
    assert [line.task for line in found.lines if line.bound == "min_auc"] == ["order"]
    assert found.refusals()[0].startswith("AUC (order, all) must be at least 0.99 (gate.min_auc=0.99). Received: 0.7")


@pytest.mark.parametrize(("factor", "by", "outcome"), [(1.0, "interval", PASSED), (1.2, "interval", FAILED), (0.8, "interval", FAILED)])
def test_calibration_keeps_its_band(factor, by, outcome):
    one = rows()
    line = only(verdict(with_scores(one, np.minimum(one.scores * factor, 1)), settings=gate(calibration_by=by)).lines, "calibration")
    assert line.figure == pytest.approx(factor, abs=0.04) and line.outcome == outcome


def test_calibration_that_rows_so_few_cannot_tell_is_refused_by_its_figure_alone():
    one = rows(1200, seed=3)
    off = with_scores(one, one.scores + (1.06 * one.labels.mean() - one.scores.mean()))
    lines = {by: only(verdict(off, settings=gate(calibration_by=by)).lines, "calibration") for by in ("interval", "value")}
    assert lines["interval"].figure == pytest.approx(1.06) and lines["interval"].low < 1.05
    assert (lines["interval"].outcome, lines["value"].outcome) == (PASSED, FAILED)


def test_calibration_whose_interval_holds_the_whole_band_passes():
    one = rows(150, seed=3)
    off = with_scores(one, one.scores * (0.92 * one.labels.mean() / one.scores.mean()))
    line = only(verdict(off, settings=gate(min_rows=100, min_positives=10)).lines, "calibration")
    assert line.low < 0.95 and line.high > 1.05
    assert line.outcome == PASSED


def test_scores_that_are_no_numbers_are_refused_wherever_they_enter():
    one = rows()
    scores = one.scores.copy()
    scores[7] = np.nan
    found = verdict(with_scores(one, scores), one)
    assert only(found.lines, "max_nan_share").figure == pytest.approx(1 / 6000)
    assert {"max_nan_share", "min_auc", "min_auc_change", "calibration"} <= {line.bound for line in found.failed}
    assert only(found.lines, "max_psi").why == "scores that are no number"


def test_a_live_model_without_numbers_is_not_compared_with():
    one = rows()
    found = verdict(one, with_scores(one, np.full(6000, np.nan)))
    line = only(found.lines, "min_auc_change")
    assert (line.outcome, line.why) == (NOT_JUDGED, "the live model has no figure: 6000 of 6000 scores are nan")
    assert only(found.lines, "min_auc").outcome == PASSED


def test_drift_of_scores_is_refused_with_both_means():
    one = rows()
    found = verdict(with_scores(one, one.scores**2), one, gate(max_js=0.02))
    line = only(found.lines, "max_psi")
    assert line.outcome == FAILED and line.figure > 0.25
    assert only(found.lines, "max_js").outcome == FAILED
    assert line.why == f"Mean score {(one.scores**2).mean():.4g}; the live model's on the same rows is {one.scores.mean():.4g}."


def test_a_golden_probability_may_change_so_far():
    one = rows()
    line = only(verdict(one, one, golden=({"click": [[0.1, 0.9]]}, {"click": [[0.15, 0.5]]})).lines, "max_golden_change")
    assert (line.figure, line.count, line.outcome) == (pytest.approx(0.4), 2, FAILED)
    assert only(verdict(one, one).lines, "max_golden_change").why == "no golden requests"
    with pytest.raises(ValueError, match=r"must be of the same requests. Received: shapes \(1, 2\) and \(1, 1\)"):
        verdict(one, one, golden=({"click": [[0.1, 0.9]]}, {"click": [[0.15]]}))


def test_slices_are_judged_with_bounds_of_their_own_and_small_ones_reported_only():
    one = rows()
    frequency = np.zeros(NUM_ITEMS // 2)  # items beyond it came after the training
    frequency[2:] = 5
    users = np.where(one.user < 10, 0, 3)
    settings = gate(slices=("all", "never_seen", "new_users"), min_auc_of_slices=0.6)
    found = verdict(one, rows(noise=0.7), settings, train_frequency=frequency, user_frequency=users)
    never = only(found.lines, "min_auc_of_slices", slice="never_seen")
    seen = frequency[np.minimum(one.item_row, frequency.size - 1)] > 0
    outside = (one.item_row >= frequency.size) | ~seen
    assert never.count == outside.sum() and never.figure == pytest.approx(roc_auc_score(one.labels[outside, 0], one.scores[outside, 0]))
    assert only(found.lines, "min_auc_change_of_slices", slice="never_seen").least == -0.01
    new = only(found.lines, "min_auc_of_slices", slice="new_users")
    assert (new.outcome, new.why) == (NOT_JUDGED, "200 rows, fewer than gate.min_rows=1000")
    assert math.isfinite(new.figure)
    with pytest.raises(ValueError, match="The slices never_seen, new_users need counts of the training data"):
        verdict(one, None, settings)


def test_a_verdict_in_which_no_bound_was_judged_refuses():
    found = verdict(rows(500))
    assert not found.failed and not found.passed
    assert found.refusals() == [
        "A bound on the model must be judged. Received: none that could be (500 rows, fewer than gate.min_rows=1000). Remedy: more held-out rows"
        " (update.held_out_hours), or smaller gate.min_rows and gate.min_positives."
    ]


def test_few_positives_are_not_judged():
    line = only(verdict(rows(), settings=gate(min_positives=4000)).lines, "min_auc")
    assert line.outcome == NOT_JUDGED and "positive labels, fewer than gate.min_positives=4000" in line.why


def test_a_pass_by_hand_holds_for_its_day_and_hides_nothing():
    settings = gate(override=f"{DAY}: the schema has a new field, agreed by the owners")
    found = judge(rows(noise=0.7), rows(), settings, day=DAY)
    assert found.passed and not found.kept and found.failed and found.refusals()
    assert found.override == "the schema has a new field, agreed by the owners"
    assert "passed by hand (the schema has a new field" in found.summary()
    other = judge(rows(noise=0.7), rows(), settings, day="2026-11-21")
    assert not other.passed and not other.override


def test_models_must_be_scored_on_the_same_rows():
    with pytest.raises(ValueError, match="must score the same rows in the same order"):
        verdict(rows(), rows(seed=5))


def test_a_task_that_the_live_model_lacks_is_not_compared():
    two, one = rows(tasks=("click", "order")), rows(tasks=("click", "order"))
    live = type(one)(one.scores[:, :1], one.labels[:, :1], one.request, one.user, one.item_row, ("click",))
    found = verdict(two, live)
    assert only(found.lines, "min_auc_change", task="click").outcome == PASSED
    assert only(found.lines, "min_auc_change", task="order").why == "the live model has no figure: it has no such task"


# --- the live model on the fresh day


def test_shuffled_labels_put_the_live_model_at_chance():
    """Found before anything is trained on the day; the new version, trained or not, falls with it."""
    before = {"click": [0.741, None, 0.744, 0.742]}
    good, poisoned = judge_live(rows(), gate(), before), judge_live(rows(shuffled=True, seed=1), gate(), before)
    assert [line.outcome for line in good] == [PASSED, PASSED]
    assert [line.outcome for line in poisoned] == [FAILED, FAILED]
    chance, drop = poisoned
    assert chance.judged == chance.low < 0.5 and abs(chance.figure - 0.5) < 0.03 and drop.figure == pytest.approx(0.742 - chance.figure)
    assert "ranks the day's rows no better than chance: their labels do not belong to them" in chance.sentence()
    assert f"It is {chance.figure:.4f}; it was 0.7420. The live model, which has not changed" in drop.sentence()
    poisoned = rows(shuffled=True, seed=1)
    whole = verdict(poisoned, poisoned, live_before=before)
    assert {"min_live_auc", "max_live_drop"} <= {line.bound for line in whole.failed}


def test_shuffled_labels_that_pass_the_floor_by_luck_are_found_by_the_fall():
    lines = judge_live(rows(shuffled=True, seed=0), gate(min_live_auc=0.5), {"click": [0.742]})
    assert [(line.bound, line.outcome) for line in lines] == [("min_live_auc", PASSED), ("max_live_drop", FAILED)]


def test_without_a_day_before_the_live_model_has_its_floor_alone():
    lines = judge_live(rows(), gate())
    assert only(lines, "max_live_drop").why == "no day before" and only(lines, "min_live_auc").outcome == PASSED


# --- tables


def test_tables_whose_vectors_move_are_refused_unless_their_encoder_is_new():
    calm, moved = TableDrift("title", 100, 3, 1.0, 1.02), TableDrift("title", 100, 60, 1.0, 1.5)
    assert [line.outcome for line in judge_tables([calm], gate())] == [PASSED, PASSED]
    lines = judge_tables([moved], gate())
    assert [(line.bound, line.outcome, line.figure) for line in lines] == [("max_moved", FAILED, 0.6), ("table_norm", FAILED, 1.5)]
    anew = judge_tables([TableDrift("title", 100, 60, 1.0, 1.5, anew=True)], gate())
    assert {(line.outcome, line.why) for line in anew} == {(NOT_JUDGED, "its encoder was trained anew")}
    assert only(judge_tables([TableDrift("title", 0, 0, 1.0, 1.0)], gate()), "max_moved").why == "no item has a vector in both"


# --- written and read


def test_a_verdict_comes_back_from_json():
    found = judge(rows(), None, gate(override=f"{DAY}: a reason that is long enough"), day=DAY, tables=[TableDrift("title", 0, 0, math.nan, 1.0)])
    text = json.dumps(found.plain(), allow_nan=False)
    again = Verdict.from_plain(json.loads(text))
    assert json.dumps(again.plain(), allow_nan=False) == text
    assert again.summary() == found.summary() and again.refusals() == found.refusals()
    assert math.isnan(again.figures[0].live)
