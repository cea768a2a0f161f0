"""What an update trains on: each label once a model, PPM a day behind, nothing that judges."""

from collections import Counter
from datetime import date, timedelta

import pytest

from ppm_tf.daily.plan import DAY, Part, learnt, plan_of

FIRST = date(2026, 11, 1)
DAYS = [FIRST + timedelta(number) for number in range(20)]


def plans(days, served, refused=(), start_days=7, with_ppm=True):
    """The plans of updates one after the other, each accepted."""
    parent, found = None, []
    for day in served:
        plan = plan_of(day, [one for one in days if one < day], refused, parent, start_days, with_ppm)
        parent = learnt(plan, parent)
        found.append(plan)
    return found


def test_a_start_gives_ppm_the_older_half_and_the_ranker_the_newer():
    plan = plan_of(FIRST + 7 * DAY, DAYS[:7], [], None, 6)
    assert {part.day for part in plan.pretrain} == set(DAYS[1:4])
    # the tail of PPM's last day is the ranking model's: PPM has not learnt it
    assert [str(part) for part in plan.train] == [
        "tail of 2026-11-04", "head of 2026-11-05", "tail of 2026-11-05", "head of 2026-11-06", "tail of 2026-11-06", "head of 2026-11-07",
    ]  # fmt: skip
    assert plan.held_out == (Part(DAYS[6], "tail"),)


def test_a_day_later_each_learns_one_window():
    first, second = plans(DAYS, [DAYS[8], DAYS[9]])
    assert [str(part) for part in second.train] == ["tail of 2026-11-08", "head of 2026-11-09"]
    # all that the ranking model had and PPM had not, up to the day before
    assert {part.day for part in second.pretrain if part.hours == "head"} == {part.day for part in first.train if part.hours == "head"}
    assert second.held_out == (Part(DAYS[8], "tail"),)


@pytest.mark.parametrize("served", [DAYS[8:], [DAYS[8], DAYS[9], DAYS[13], DAYS[14], DAYS[19]]], ids=["daily", "with days left out"])
def test_every_label_teaches_each_model_once_and_the_ranker_before_its_ppm(served):
    found = plans(DAYS, served)
    for role in ("train", "pretrain"):
        assert max(Counter(part for plan in found for part in getattr(plan, role)).values()) == 1
    for number, plan in enumerate(found):
        of_ppm = {part for earlier in found[: number + 1] for part in earlier.pretrain}
        assert not of_ppm & set(plan.train), "PPM has seen a label that the ranking model is about to learn from"
        assert not set(plan.held_out) & (of_ppm | {part for earlier in found[: number + 1] for part in earlier.train})
    last = found[-1]
    start = min(part.day for part in found[0].train)
    assert {part for plan in found for part in plan.train if part.day > start} >= {Part(day, "head") for day in DAYS if start < day <= last.newest}


def test_a_refused_day_teaches_nothing_and_judges_nothing():
    refused = [DAYS[10]]
    found = plans(DAYS, DAYS[8:10] + DAYS[12:15], refused)
    assert all(part.day != DAYS[10] for plan in found for part in (*plan.train, *plan.pretrain, *plan.held_out))
    after = found[2]
    assert [str(part) for part in after.train] == ["tail of 2026-11-09", "head of 2026-11-10", "tail of 2026-11-10", "head of 2026-11-12"]


def test_the_update_of_a_refused_day_has_nothing_to_judge_by():
    parent = learnt(plan_of(DAYS[9], DAYS[:9], [], None, 7), None)
    plan = plan_of(DAYS[10], DAYS[:10], [DAYS[9]], parent, 7)
    assert (plan.train, plan.held_out) == ((), ())


def test_without_ppm_the_ranker_has_all_days_of_a_start():
    plan = plan_of(DAYS[7], DAYS[:7], [], None, 7, with_ppm=False)
    assert plan.pretrain == ()
    assert {part.day for part in plan.train} == set(DAYS[:7])
    assert learnt(plan, None).ppm is None


def test_a_start_needs_days():
    with pytest.raises(ValueError, match=r"at least 2 days to learn from, PPM the older.*Received: 2026-11-01 among the 7 days up to 2026-11-01"):
        plan_of(DAYS[1], DAYS[:1], [], None, 7)
