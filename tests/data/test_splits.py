import numpy as np
import pytest

from ppm_tf.config import SplitSettings
from ppm_tf.data.splits import TimeHistogram, split_by_time, split_by_user, time_cuts


def histogram_of(times, max_bins=1 << 18):
    histogram = TimeHistogram(max_bins=max_bins)
    histogram.add(np.array(times))
    return histogram


def test_cuts_by_hand():
    # 10 rows: the newest 2 are test, the one before valid, the oldest 4 pretrain
    times = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    cuts = time_cuts(histogram_of(times), SplitSettings(pretrain=0.4, valid=0.1, test=0.2))
    assert cuts == (5, 8, 9)
    assert split_by_time(np.array(times), cuts).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 3, 3]


def test_equal_times_fall_on_the_later_side_of_a_cut():
    assert time_cuts(histogram_of([1, 2, 3, 3, 3]), SplitSettings(valid=0.0, test=0.2)) == (1, 3, 3)


def test_histogram_does_not_depend_on_the_order_of_its_parts():
    times = np.random.default_rng(0).integers(0, 10**6, 500)
    whole = histogram_of(times, max_bins=64)
    parts = [histogram_of(part, max_bins=64) for part in np.array_split(times, 7)]
    for order in (parts, parts[::-1]):
        merged = TimeHistogram(max_bins=64)
        for part in order:
            merged.update(part)
        assert (merged.shift, merged.bins.tolist(), merged.counts.tolist()) == (whole.shift, whole.bins.tolist(), whole.counts.tolist())
    assert whole.counts.sum() == 500 and len(whole.bins) <= 64 and whole.shift == 14  # 10^6 / 2^14 = 61.04 seconds


@pytest.mark.parametrize(
    ("settings", "total", "sizes"),
    [
        ({"test": 0.3}, 10, [0, 6, 1, 3]),  # 0.3 * 10 is 2.9999999999999996 in binary
        ({"test": 0.1}, 6, [0, 5, 1, 0]),
        ({"test": 0.1}, 4, [0, 4, 0, 0]),
        ({"pretrain": 0.5}, 20, [10, 6, 2, 2]),
        ({"last": 2}, 7, [0, 3, 2, 2]),
        ({"last": 2}, 3, [0, 0, 1, 2]),
        ({"last": 1, "valid": 0.0}, 3, [0, 2, 0, 1]),
        ({"last": 1, "pretrain": 0.5}, 4, [2, 0, 1, 1]),
    ],
)  # fmt: skip
def test_user_split_sizes(settings, total, sizes):
    split = split_by_user(np.arange(total), np.full(total, total), SplitSettings(by="user", **settings))
    assert np.bincount(split, minlength=4).tolist() == sizes
    assert split.tolist() == sorted(split.tolist())


def test_last_needs_a_split_by_user():
    with pytest.raises(ValueError, match="last needs by: user. Received: last: 1, by: time"):
        SplitSettings(by="time", last=1)
