"""Streams of batches: equal to the metric on the whole, however they are cut and merged."""

import numpy as np
import pytest

from ppm_tf import metrics


@pytest.fixture
def rows():
    """3,000 rows whose groups follow each other; click-like probabilities."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), random.integers(1, 16, 400))[:3000]
    log_odds = random.normal(-2.5, 1.5, groups.size)
    probabilities = 1 / (1 + np.exp(-log_odds))
    labels = (random.random(groups.size) < probabilities).astype(int)
    return labels, probabilities, groups


def cuts(size, pieces, seed):
    """Slices that cover `size` rows, some of them empty."""
    edges = np.sort(np.random.default_rng(seed).integers(0, size + 1, pieces - 1))
    return [slice(start, stop) for start, stop in zip(np.r_[0, edges], np.r_[edges, size], strict=True)]


def check_stream(make, whole, columns, slices, tolerance=1e-12):
    """A stream updated piece by piece, and streams merged in order, give the value of the whole arrays."""
    stream = make()
    parts = []
    for piece in slices:
        batch = [column[piece] for column in columns]
        stream.update(*batch)
        parts.append(make())
        parts[-1].update(*batch)
    merged = make()
    for part in parts:
        merged = merged.merge(part)
    backwards = parts[-1]  # merging is associative
    for part in parts[-2::-1]:
        backwards = part.merge(backwards)
    for result in (stream.result(), merged.result(), backwards.result()):
        assert result == pytest.approx(whole, abs=tolerance)
        assert (result.rows, result.groups) == (whole.rows, whole.groups)


def test_streaming_auc_is_within_1e_4_of_the_exact_one(rows):
    labels, probabilities, _ = rows
    check_stream(metrics.StreamingAUC, metrics.auc(labels, probabilities), (labels, probabilities), cuts(labels.size, 20, 1), tolerance=1e-4)


@pytest.mark.parametrize("bins", [2, 16, 256, 4096])
def test_streaming_auc_keeps_its_bound(rows, bins):
    labels, probabilities, _ = rows
    stream = metrics.StreamingAUC(bins)
    stream.update(labels, probabilities)
    error = abs(stream.result() - metrics.auc(labels, probabilities))
    assert error <= stream.error_bound
    assert stream.error_bound < 5 / bins


def test_streaming_auc_tells_rare_clicks_apart():
    random = np.random.default_rng(1)
    probabilities = 10 ** random.uniform(-5.5, -3, 20_000)
    labels = random.random(20_000) < probabilities / probabilities.max()
    stream = metrics.StreamingAUC()
    stream.update(labels, probabilities.astype(np.float32))
    assert stream.error_bound < 1e-4
    assert stream.result() == pytest.approx(metrics.auc(labels, probabilities), abs=1e-4)


def test_streaming_auc_is_exact_on_equal_scores_and_at_the_ends():
    stream = metrics.StreamingAUC()
    stream.update([0, 1, 0, 1], [0.5, 0.5, 0.0, 1.0])
    assert stream.result() == metrics.auc([0, 1, 0, 1], [0.5, 0.5, 0.0, 1.0]) == 0.875


def test_streaming_log_loss_and_calibration_equal_the_whole(rows):
    labels, probabilities, _ = rows
    slices = cuts(labels.size, 20, 2)
    check_stream(metrics.StreamingLogLoss, metrics.log_loss(labels, probabilities), (labels, probabilities), slices)
    check_stream(metrics.StreamingCalibration, metrics.calibration(labels, probabilities), (labels, probabilities), slices)


def test_streaming_mean_merges(rows):
    left, right = metrics.StreamingMean(), metrics.StreamingMean()
    left.update([1.0, 2.0], [1.0, 3.0])
    right.update([[5.0]], [[1.0]])
    assert left.merge(right).result() == 8 / 5
    assert left.result() == 3 / 4  # a merge changes neither stream


def test_streaming_precision_equals_the_whole_with_ties(rows):
    labels, probabilities, groups = rows
    scores = probabilities.round(1)  # ties, broken by each row's place in its group
    edges = np.flatnonzero(np.diff(groups))[::37] + 1
    slices = [slice(start, stop) for start, stop in zip(np.r_[0, edges], np.r_[edges, labels.size], strict=True)]
    check_stream(metrics.StreamingPrecisionAt, metrics.precision_at(labels, scores, groups), (labels, scores, groups), slices)


@pytest.mark.parametrize("weighting", ["impressions", "equal"])
@pytest.mark.parametrize("pieces", [1, 2, 50, 2500])
def test_streaming_group_auc_equals_the_whole_wherever_it_is_cut(rows, weighting, pieces):
    labels, probabilities, groups = rows
    scores = probabilities.round(2)
    whole = metrics.group_auc(labels, scores, groups, weighting)
    check_stream(lambda: metrics.StreamingGroupAUC(weighting), whole, (labels, scores, groups), cuts(labels.size, pieces, pieces))


def test_streaming_group_auc_keeps_two_groups_in_memory(rows):
    labels, probabilities, groups = rows
    stream = metrics.StreamingGroupAUC()
    for piece in cuts(labels.size, 30, 4):
        stream.update(labels[piece], probabilities[piece], groups[piece])
    kept = [edge.groups for edge in stream.edges]
    assert [np.unique(one).size for one in kept] == [1, 1]
    assert all(one.base is None for one in kept)  # a view would hold its batch


def test_result_can_be_read_between_updates():
    stream = metrics.StreamingGroupAUC()
    stream.update([0, 1], [1, 2], [5, 5])
    assert stream.result() == 1.0
    stream.update([0], [3], [5])
    assert stream.result() == 0.5
    assert stream.result() == 0.5


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (metrics.StreamingAUC(), "no rows"),
        (metrics.StreamingLogLoss(), "no rows"),
        (metrics.StreamingCalibration(), "no rows"),
        (metrics.StreamingPrecisionAt(), "no group of two or more candidates holds a positive"),
        (metrics.StreamingGroupAUC(), "no group holds both labels"),
    ],
)
def test_empty_stream_is_undefined(stream, reason):
    assert np.isnan(stream.result()) and stream.result().reason == reason
    assert np.isnan(stream.merge(stream).result())


def test_streams_of_one_label_are_undefined():
    auc, calibration = metrics.StreamingAUC(), metrics.StreamingCalibration()
    for stream in (auc, calibration):
        stream.update([0, 0], [0.2, 0.3])
        assert np.isnan(stream.result()) and stream.result().reason == "all labels are 0"
    assert auc.error_bound == 0.0


def test_a_refused_update_leaves_the_stream_as_it_was():
    stream = metrics.StreamingGroupAUC()
    stream.update([0, 1], [1, 2], [5, 5])
    with pytest.raises(ValueError, match="The rows of a group must follow each other. Received: a group that comes back"):
        stream.update([0, 1, 0], [1, 2, 3], [6, 5, 6])
    assert stream.result() == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.StreamingAUC(bins=1), "bins must be at least 2. Received: 1"),
        (lambda: metrics.StreamingAUC().update([0], [np.nan]), "probabilities must be numbers. Received: nan"),
        (lambda: metrics.StreamingAUC().update([0], [1.5]), "probabilities must lie in"),
        (lambda: metrics.StreamingAUC(4).merge(metrics.StreamingAUC(8)), "must have as many bins. Received: 4 and 8"),
        (lambda: metrics.StreamingPrecisionAt(1).merge(metrics.StreamingPrecisionAt(2)), "must have one n. Received: 1 and 2"),
        (lambda: metrics.StreamingGroupAUC("rows"), "weighting must be one of impressions, equal. Received: 'rows'"),
        (lambda: metrics.StreamingGroupAUC("equal").merge(metrics.StreamingGroupAUC()), "must have one weighting. Received: equal and impressions"),
        (lambda: metrics.StreamingGroupAUC().update([0, 1], [1, 2], [1]), "groups must have one entry a row. Received: 1 groups, 2 rows"),
        (lambda: metrics.StreamingGroupAUC().update([0], [np.nan], [1]), "scores must be numbers. Received: nan"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
