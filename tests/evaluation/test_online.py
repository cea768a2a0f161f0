"""The figures of an experiment: against sums by hand, and against worlds whose truth is known."""

import math

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from ppm_tf.config import load
from ppm_tf.data.experiment.exposures import Exposures, read_exposures
from ppm_tf.evaluation.online import judge
from ppm_tf.evaluation.popularity import popularity, popularity_of
from tests.data.experiment.test_exposures import LOG, settings

MORE = {**LOG, "order": [1, 0, 0, 0, 0, 1, 0, 0, 0], "load": [0, 1, 0, 1, 0, 0, 1, 0, 0], "bid": [0.5, 1, 1, 2, 1, 3, 4, 1, 1]}


@pytest.fixture
def result(tmp_path):
    """Without a run popularity is the log's own: item 7 four times, 8 three times, 9 twice."""
    chosen = settings(
        tmp_path, "online.order=order", "online.download=load", "online.bid=bid", "online.aa_splits=4", "online.tail=0.5", "online.groups=3", log=MORE
    )  # fmt: skip
    log = read_exposures(chosen)
    return judge(log, popularity_of(log, chosen, None), chosen, seed=1)


def values(result, figure, scope="total"):
    return [record.ratio.value for record in result.find(figure, scope)]


def test_every_figure_by_hand(result):
    """A: 3 users, 4 user-days, 5 exposures, 2 clicks, 1 order, 2 downloads, 4.5 earned. B: 2, 3, 4, 2, 1, 1, 5."""
    assert values(result, "UCTR") == pytest.approx([2 / 4, 2 / 3])
    assert values(result, "UCVR") == pytest.approx([1 / 4, 1 / 3])
    assert values(result, "clicks per user") == pytest.approx([2 / 3, 2 / 2])
    assert values(result, "orders per user") == pytest.approx([1 / 3, 1 / 2])
    assert values(result, "CTR") == pytest.approx([2 / 5, 2 / 4])
    assert values(result, "CVR") == pytest.approx([1 / 2, 1 / 2])
    assert values(result, "eCPM") == pytest.approx([1000 * 4.5 / 5, 1000 * 5 / 4])
    assert values(result, "DTR") == pytest.approx([2 / 5, 1 / 4])
    assert values(result, "long-tail share") == pytest.approx([2 / 5, 3 / 4])  # items 8 and 9


def test_a_days_uctr_is_equation_12(result):
    """Clicks of the day over the users of the day: of the first, 1 of users 1 and 2, 2 of users 3 and 4."""
    assert values(result, "UCTR", "day=2024-10-04") == pytest.approx([1 / 2, 2 / 2])
    assert values(result, "UCTR", "day=2024-10-05") == pytest.approx([1 / 2, 0 / 1])
    assert [record.ratio.users for record in result.find("UCTR", "day=2024-10-05")] == [2, 1]
    assert not result.find("clicks per user", "day=2024-10-04")


def test_shares_of_the_popularity_groups(result):
    """One item a group: 9, 8, 7."""
    assert [values(result, "exposure share", f"group={number}") for number in (1, 2, 3)] == [
        pytest.approx(shares) for shares in ([1 / 5, 1 / 4], [1 / 5, 2 / 4], [3 / 5, 1 / 4])
    ]
    assert values(result, "DTR", "group=2") == pytest.approx([1, 0])
    assert result.popularity.most_of_group == (2, 3, 4)


def test_control_has_no_difference_to_itself(result):
    first, second = result.find("CTR")
    assert first.difference is None and first.cuped is None and second.cuped is None
    assert second.difference.value == pytest.approx(0.1) and second.difference.relative == pytest.approx(0.25)
    record = second.plain()
    assert record["difference"] == second.difference.value and record["difference_p_value"] == second.difference.p_value
    assert (record["numerator"], record["denominator"]) == (2, 4)


def test_the_sample_ratio_and_the_aa_check_are_there(result):
    assert result.sample_ratio.counted == {"A": 3, "B": 2} and result.sample_ratio.expected == {"A": 2.5, "B": 2.5}
    assert set(result.aa) == set(result.figures)


def test_the_configured_split_is_what_users_are_held_against(tmp_path):
    chosen = settings(tmp_path, "online.split={A: 3, B: 2}", "online.aa_splits=0")
    log = read_exposures(chosen)
    found = judge(log, popularity_of(log, chosen, None), chosen, seed=1).sample_ratio
    assert found.expected == {"A": 3, "B": 2} and found.p_value == 1


def test_figures_without_a_column_are_left_out(tmp_path):
    chosen = settings(tmp_path, "online.aa_splits=0", "online.groups=0")
    log = read_exposures(chosen)
    found = judge(log, popularity_of(log, chosen, None), chosen, seed=1)
    assert found.figures == ["UCTR", "clicks per user", "CTR", "long-tail share"] and not found.aa
    assert not [record for record in found.records if record.scope.startswith("group=")]


# === Popularity ===


def test_the_tail_takes_equals_of_its_last_item():
    """Half of six items: counts 0, 1, 1, and so the third item of count 1 too."""
    found = popularity(np.array([5, 1, 0, 1, 7, 1]), pa.array(list("abcdef")), np.arange(6), 0.5, 3)
    assert found.tail.tolist() == [False, True, True, True, False, True]
    assert (found.items, found.tail_items, found.most) == (6, 4, 1)
    assert found.group.tolist() == [2, 0, 0, 1, 2, 1]  # equal counts by id


def test_where_popularity_comes_from(tmp_path):
    log = read_exposures(chosen := settings(tmp_path, "online.start=2024-10-05", "online.tail=0.5"))
    assert popularity_of(log, chosen, None).by == "before"  # items 7, 7, 7 and 8 of users 1 and 3, 5 is new
    for by, message in (("train", "needs a run with prepared data"), ("before", "needs exposures before online.start")):
        with pytest.raises(ValueError, match=f"online.popularity={by} {message}"):
            other = settings(tmp_path, f"online.popularity={by}")
            popularity_of(read_exposures(other), other, None)


def test_new_items_are_those_that_nothing_showed_before(tmp_path):
    """On the second day A shows 7 and 9, B shows 8; of these the users of the experiment had not seen 9 on the first."""
    log = read_exposures(chosen := settings(tmp_path, "online.start=2024-10-05", "online.groups=0", "online.aa_splits=0"))
    found = popularity_of(log, chosen, None)
    assert log.items.filter(pa.array(found.unseen)).to_pylist() == ["9"]
    assert [record.ratio.value for record in judge(log, found, chosen, seed=1).find("new-item share")] == [1 / 2, 0]
    pooled = read_exposures(chosen := settings(tmp_path, "online.groups=0", "online.aa_splits=0"))
    assert "new-item share" not in judge(pooled, popularity_of(pooled, chosen, None), chosen, seed=1).figures


def shown(seed, users=400, items=60, share=0.5):
    """Both buckets draw items alike, so that no bucket shows the long tail more than the other."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), 3)
    item = (random.zipf(1.3, user.size) % items).astype(np.int32)
    bucket = (random.random(users) >= share).astype(np.int8)
    zero = np.zeros(user.size)
    return Exposures(
        user.astype(np.int32),
        item,
        np.zeros(user.size, np.int32),
        {"click": zero},
        None,
        bucket,
        ("A", "B"),
        pa.array(list(map(str, range(items)))),
        0,
    )


@pytest.mark.parametrize(("by", "fair"), [("pooled", True), ("control", False)])
def test_popularity_of_all_buckets_favours_none(by, fair):
    """Where nothing differs, the tail by all buckets' exposures is fair even of a split of 1 to 3; control's own is not: see its note."""
    chosen = load([f"online.popularity={by}", "online.aa_splits=0", "online.groups=0"]).online
    wrong, gaps = 0, []
    for seed in range(100):
        log = shown(seed, share=0.25)
        (_, found) = judge(log, popularity_of(log, chosen, None), chosen, 1).find("long-tail share")
        wrong += found.difference.p_value < 0.05
        gaps.append(found.difference.value)
    error = np.std(gaps) / 10
    assert bool(abs(np.mean(gaps)) < 3.3 * error) is fair
    if fair:
        assert wrong <= scipy.stats.binom.ppf(0.999, 100, 0.05)
    else:
        assert np.mean(gaps) > 0 and "seldom by chance" in popularity_of(log, chosen, None).note


def test_an_interval_for_looks_at_any_time_is_wider(tmp_path):
    log = shown(3)
    log.events["click"][:] = np.random.default_rng(0).random(log.user.size) < 0.3
    usual, always = (
        judge(log, popularity_of(log, one, None), one, 1)
        for one in (load([f"online.interval={name}", "online.aa_splits=0"]).online for name in ("fixed", "always_valid"))
    )
    for figure in ("UCTR", "CTR"):
        narrow, wide = (result.find(figure)[1].difference for result in (usual, always))
        assert narrow.value == pytest.approx(wide.value)
        assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
        assert wide.relative_high > narrow.relative_high and wide.p_value > narrow.p_value
    same = [result.find("CTR", "day=1970-01-01")[1].difference.p_value for result in (usual, always)]
    assert same[0] == same[1] and not math.isnan(same[0])
