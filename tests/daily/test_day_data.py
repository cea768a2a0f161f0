"""What is found in a day's counts before anything is trained on it: each poison by the bound that is meant for it."""

import pytest

from ppm_tf.daily import FAILED, NOT_JUDGED, PASSED, DayStatistics, judge_data
from tests.daily.made_up import day, days, gate, only


def failed(lines):
    return {(line.bound, line.task) for line in lines if line.outcome == FAILED}


def test_a_day_like_the_others_passes_every_bound():
    lines = judge_data(day(), days(), gate())
    assert {line.outcome for line in lines} == {PASSED}
    assert only(lines, "day_rows").figure == pytest.approx(50_000 / 51_000)  # median of five days that rise by 500


def test_half_the_labels_gone():
    lines = judge_data(day(positives={"click": 5_000, "order": 1_000}), days(), gate())
    assert failed(lines) == {("label_rate", "click")}
    line = only(lines, "label_rate", task="click")
    assert line.figure == pytest.approx(0.5)
    assert "2026-11-20 has a rate of 0.1; 0.2 is usual. A part of the labels is missing" in line.sentence()


def test_ids_of_another_catalog():
    lines = judge_data(day(unknown_items=49_000), days(), gate())
    assert failed(lines) == {("max_unknown_items", ""), ("max_rise", "")}
    assert "must be at most 0.2 (gate.max_unknown_items=0.2). Received: 0.98, 50,000 rows. The log and the catalog are not of the same shop" in (
        only(lines, "max_unknown_items").sentence()
    )


def test_times_in_the_wrong_unit():
    lines = judge_data(day(outside_day=50_000), days(), gate())
    assert failed(lines) == {("max_outside_day", "")}
    assert "Times are in another unit than data.log.time_unit" in only(lines, "max_outside_day").sentence()


def test_a_day_that_holds_its_rows_twice():
    lines = judge_data(day(repeated=25_000), days(), gate())
    assert failed(lines) == {("max_repeated", "")}
    assert failed(judge_data(day(rows=200_000), days(), gate())) == {("day_rows", "")}


def test_half_written_and_unreadable_days():
    assert failed(judge_data(day(rows=5_000), days(), gate())) == {("day_rows", "")}
    assert failed(judge_data(day(rejected=4_000), days(), gate())) == {("max_rejected", "")}
    assert failed(judge_data(day(rejected=15_000), days(), gate())) == {("max_rejected", ""), ("max_rise", "")}


def test_a_catalog_without_its_texts_or_images():
    assert failed(judge_data(day(without_text=30_000), days(), gate())) == {("max_missing_text", ""), ("max_rise", "")}
    assert failed(judge_data(day(without_image=14_000), days(), gate())) == {("max_rise", "")}  # 28 %, where 4 % is usual


def test_a_shop_without_images_is_not_judged_by_them():
    bare = [day(f"2026-11-1{number}", without_image=50_000) for number in range(3)]
    lines = judge_data(day(without_image=50_000), bare, gate(max_missing_image=0.5))
    assert only(lines, "max_missing_image").why == "no item has one"
    assert failed(judge_data(day(without_image=50_000), days(), gate(max_missing_image=0.5))) == {("max_missing_image", ""), ("max_rise", "")}


def test_the_first_day_has_absolute_bounds_alone():
    lines = judge_data(day(), [], gate())
    relative = [line for line in lines if line.bound in ("day_rows", "label_rate", "max_rise")]
    assert relative and {(line.outcome, line.why) for line in relative} == {(NOT_JUDGED, "no day before")}
    assert failed(judge_data(day(unknown_items=40_000), [], gate())) == {("max_unknown_items", "")}


def test_rare_labels_are_not_judged():
    before = [day(f"2026-11-1{number}", positives={"click": 10_000, "order": 20}) for number in range(3)]
    line = only(judge_data(day(positives={"click": 10_000, "order": 2}), before, gate()), "label_rate", task="order")
    assert line.outcome == NOT_JUDGED and line.why == "20 positives were to be expected, fewer than gate.min_positives=100"


def test_what_was_not_counted_is_not_judged():
    lines = judge_data(DayStatistics("2026-11-20", 50_000, 5_000, 50_000, {"click": 10_000}, {"click": 50_000}), days(), gate())
    assert only(lines, "max_unknown_items").why == "not counted" and not failed(lines)


def test_the_newest_days_before_are_compared_with():
    old = [day(f"2026-10-1{number}", rows=10) for number in range(9)]
    assert not failed(judge_data(day(), [*old, *days()], gate(days_before=5)))
    assert failed(judge_data(day(), [*old, *days()], gate(days_before=14))) == {("day_rows", "")}


def test_a_bound_that_is_null_is_off():
    lines = judge_data(day(unknown_items=49_000), days(), gate(max_unknown_items=None, max_rise=None))
    assert not failed(lines) and not [line for line in lines if line.bound in ("max_unknown_items", "max_rise")]


def test_statistics_come_back_and_foreign_keys_are_passed_over():
    assert DayStatistics.from_plain({**day().plain(), "cut_times": None}) == day()
