"""Metrics on whole arrays: against scikit-learn, against counts of pairs, against cases worked by hand."""

import pickle

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ppm_tf import metrics
from ppm_tf.metrics.roc import auc_of_weights


def precision_at(labels, scores, groups, n=2, identity=None):
    return metrics.precision_by_group(labels, scores, groups, n, identity).mean("equal")


def ndcg_at(labels, scores, groups, n=None, identity=None):
    return metrics.ndcg_by_group(labels, scores, groups, n, identity).mean("equal")


def mrr(labels, scores, groups, identity=None):
    return metrics.reciprocal_rank_by_group(labels, scores, groups, identity).mean("equal")


def ranks_of_equal(groups, identity):
    """The rank of each row inside its group where all scores are equal: that of the group's one positive, row by row."""
    return np.array([round(1 / mrr(np.arange(len(groups)) == row, np.zeros(len(groups)), groups, identity)) for row in range(len(groups))])


def brute_auc(labels, scores, weights=None):
    """Every pair of a positive and a negative, compared."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
    won = total = 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            total += weights[i] * weights[j]
            won += weights[i] * weights[j] * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return won / total


@pytest.fixture
def rows():
    """400 rows in 40 groups, in mixed order, with many ties and some groups of one label or one row."""
    random = np.random.default_rng(0)
    groups = np.r_[random.integers(0, 39, 399), 99]
    probabilities = np.round(random.random(400), 1)
    labels = (random.random(400) < probabilities * (groups % 5 > 0)).astype(int)  # every fifth group has no positive
    return labels, probabilities, groups


# === AUC ===


def test_auc_equals_scikit_learn_with_ties(rows):
    labels, scores, _ = rows
    assert metrics.auc(labels, scores) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_weighted_auc_equals_scikit_learn_and_pairs(rows):
    labels, scores, _ = rows
    weights = np.random.default_rng(1).random(400)
    assert metrics.auc(labels, scores, weights) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    assert metrics.auc(labels[:50], scores[:50], weights[:50]) == pytest.approx(brute_auc(labels[:50], scores[:50], weights[:50]), abs=1e-12)


def test_whole_weights_equal_repeated_rows(rows):
    labels, probabilities, _ = rows
    weights = np.random.default_rng(2).integers(0, 4, 400)
    again = np.repeat(np.arange(400), weights)
    for metric in (metrics.auc, metrics.log_loss, metrics.calibration):
        assert metric(labels, probabilities, weights) == pytest.approx(metric(labels[again], probabilities[again]), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([5, 5, 5, 5], 0.5), ([1, 3, 3, 9], 0.875), ([-np.inf, 0, 0, np.inf], 0.875)],
)
def test_auc_by_hand(scores, expected):
    assert metrics.auc([0, 0, 1, 1], scores) == expected


def test_auc_depends_on_order_of_scores_only(rows):
    labels, scores, _ = rows
    value = metrics.auc(labels, scores)
    assert metrics.auc(labels, 1 / (1 + np.exp(-20 * scores))) == value
    assert metrics.auc(labels, (scores * 10).round().astype(np.uint8)) == value
    assert metrics.auc(labels.astype(bool).reshape(20, 20), scores.astype(np.float32).reshape(20, 20)) == value


def test_nothing_depends_on_the_order_of_rows(rows):
    labels, scores, groups = rows
    identity = np.arange(400)
    order = np.random.default_rng(3).permutation(400)
    for metric in (metrics.auc, metrics.log_loss, metrics.calibration, metrics.expected_calibration_error):
        assert metric(labels[order], scores[order]) == pytest.approx(metric(labels, scores), abs=1e-12)
    assert metrics.group_auc(labels[order], scores[order], groups[order]) == pytest.approx(metrics.group_auc(labels, scores, groups), abs=1e-12)
    for metric in (precision_at, ndcg_at, mrr):
        whole = metric(labels, scores, groups, identity=identity)
        assert metric(labels[order], scores[order], groups[order], identity=identity[order]) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [([], [], "no rows"), ([0, 0], [1, 2], "all labels are 0"), ([1], [1], "all labels are 1"), ([0, 1, 1], [1, np.nan, 2], "1 of 3 scores are nan")],
)
def test_undefined_auc_is_nan_with_a_reason(labels, scores, reason):
    value = metrics.auc(labels, scores)
    assert np.isnan(value) and value.reason == reason and value.rows == len(labels)


def test_auc_without_weight_on_a_class_is_undefined():
    value = metrics.auc([0, 1], [1, 2], weights=[0, 1])
    assert np.isnan(value) and value.reason == "a class has no weight"


# === Group AUC ===


def test_group_auc_equals_a_loop_over_groups(rows):
    labels, scores, groups = rows
    values, sizes = [], []
    for group in np.unique(groups):
        inside = groups == group
        if 0 < labels[inside].sum() < inside.sum():
            values.append(brute_auc(labels[inside], scores[inside]))
            sizes.append(inside.sum())
    value = metrics.group_auc(labels, scores, groups)
    assert value == pytest.approx(np.average(values, weights=sizes), abs=1e-12)
    assert (value.groups, value.rows) == (len(values), sum(sizes))
    assert len(values) < np.unique(groups).size  # some groups were left out
    assert metrics.group_auc(labels, scores, groups, weighting="equal") == pytest.approx(np.mean(values), abs=1e-12)
    assert metrics.group_auc(labels, scores, np.char.add("user", groups.astype(str))) == pytest.approx(value, abs=1e-12)


def test_auc_by_group_points_at_a_row_of_each_group(rows):
    labels, scores, groups = rows
    result = metrics.auc_by_group(labels, scores, groups)
    assert np.unique(groups[result.row]).size == result.row.size
    for row, value in zip(result.row, result.value, strict=True):
        inside = groups == groups[row]
        assert value == pytest.approx(brute_auc(labels[inside], scores[inside]), abs=1e-12)


def test_group_auc_without_a_mixed_group_is_undefined():
    value = metrics.group_auc([0, 0, 1], [1, 2, 3], [1, 1, 2])
    assert np.isnan(value) and value.groups == 0 and value.reason == "no group holds both labels"


def test_group_auc_of_many_groups_needs_no_loop():
    """200,000 rows in 20,000 groups within the time that a loop over groups needs for a few hundred."""
    import time

    random = np.random.default_rng(4)
    labels, scores, groups = random.integers(0, 2, 200_000), random.random(200_000), random.integers(0, 20_000, 200_000)
    start = time.perf_counter()
    value = metrics.group_auc(labels, scores, groups)
    assert time.perf_counter() - start < 1.0  # 0.04 s alone on a core
    assert value == pytest.approx(0.5, abs=0.01)


# === Order inside a group ===


def test_precision_by_hand():
    #          group 1: both best are positive; group 2: one of two; group 3: no positive; group 4: one candidate
    labels = [1, 1, 0, 0, 1, 0, 0, 0, 1]
    scores = [9, 8, 7, 5, 4, 3, 2, 1, 6]
    groups = [1, 1, 1, 2, 2, 2, 3, 3, 4]
    value = precision_at(labels, scores, groups, n=2)
    assert (value, value.groups, value.rows) == (0.75, 2, 6)
    assert precision_at(labels, scores, groups, n=1) == 0.5
    assert precision_at(labels, scores, groups, n=10) == pytest.approx((0.2 + 0.1) / 2)  # short groups are divided by N too
    assert mrr(labels, scores, groups) == 0.75


def test_ties_follow_neither_position_nor_identity():
    """A constant score over many requests finds the positive, wherever it stands, as often as chance would."""
    requests, size = 4000, 4
    groups = np.repeat(np.arange(requests), size)
    for place in (0, size - 1):
        labels = np.tile(np.arange(size) == place, requests)
        for identity in (None, np.tile(np.arange(size), requests)):
            value = precision_at(labels, np.zeros(labels.size), groups, n=1, identity=identity)
            assert value == pytest.approx(1 / size, abs=4 * np.sqrt(3 / 16 / requests))  # four standard errors


def splitmix(value):
    """The published generator's output for a state, in Python's own integers."""
    mask = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_ties_are_broken_alike_on_every_machine():
    assert splitmix(0) == 0xE220A8397B1DCDAF  # the generator's published first output
    identity = [10, 11, 12, 13]
    for group in (0, 5, -5, 3 << 40):
        order = sorted(range(4), key=lambda i: splitmix(splitmix(group % (1 << 64)) ^ identity[i]))
        ranks = ranks_of_equal(np.full(4, group), identity)
        np.testing.assert_array_equal(np.argsort(ranks), order)


def test_ties_of_a_request_do_not_depend_on_other_requests():
    alone = ranks_of_equal(np.full(5, 8), np.arange(5))
    among = ranks_of_equal(np.repeat([-3, 8], 5), np.tile(np.arange(5), 2))
    np.testing.assert_array_equal(among[5:], alone)


@pytest.mark.parametrize("n", [1, 3, None])
def test_ndcg_equals_scikit_learn(n):
    random = np.random.default_rng(5)
    scores, labels = random.random((50, 7)), (random.random((50, 7)) < 0.3).astype(int)
    labels[:, 0] |= labels.sum(axis=1) == 0
    groups = np.repeat(np.arange(50), 7)
    expected = sklearn_metrics.ndcg_score(labels, scores, k=n, ignore_ties=True)
    assert ndcg_at(labels, scores, groups, n) == pytest.approx(expected, abs=1e-12)


def test_mrr_equals_a_loop(rows):
    labels, _, groups = rows
    scores = np.random.default_rng(6).random(400)
    expected = []
    for group in np.unique(groups):
        ranked = labels[groups == group][np.argsort(-scores[groups == group])]
        if ranked.any() and ranked.size > 1:
            expected.append(1 / (1 + np.argmax(ranked)))
    value = mrr(labels, scores, groups)
    assert value == pytest.approx(np.mean(expected), abs=1e-12) and value.groups == len(expected)


@pytest.mark.parametrize(
    ("labels", "scores", "groups", "reason"),
    [
        ([], [], [], "no rows"),
        ([1], [0.5], [1], "no group of two or more candidates holds a positive"),
        ([1, 0], [np.nan, 1], [1, 1], "1 of 2 scores are nan"),
    ],
)
def test_undefined_order_is_nan_with_a_reason(labels, scores, groups, reason):
    for metric in (precision_at, ndcg_at, mrr):
        value = metric(labels, scores, groups)
        assert np.isnan(value) and value.groups == 0 and value.reason == reason


# === Probabilities ===


def test_log_loss_equals_scikit_learn():
    random = np.random.default_rng(7)
    labels, probabilities, weights = random.integers(0, 2, 300), random.random(300), random.random(300)
    assert metrics.log_loss(labels, probabilities) == pytest.approx(sklearn_metrics.log_loss(labels, probabilities), abs=1e-12)
    expected = sklearn_metrics.log_loss(labels, probabilities, sample_weight=weights)
    assert metrics.log_loss(labels, probabilities, weights) == pytest.approx(expected, abs=1e-12)


def test_log_loss_of_a_certain_wrong_prediction_is_finite():
    assert metrics.log_loss([1], [0.0]) == pytest.approx(7 * np.log(10))
    assert metrics.log_loss([0], np.float32([1.0])) == pytest.approx(7 * np.log(10))


def test_calibration_by_hand():
    assert metrics.calibration([1, 0, 1, 0], [0.9, 0.3, 0.9, 0.3]) == pytest.approx(1.2)
    assert metrics.calibration([0, 0], [0.5, 0.5]).reason == "all labels are 0"


def test_expected_calibration_error_by_hand():
    # bins of two rows: |0.15 - 0| and |0.7 - 0.5|, each half of the rows
    assert metrics.expected_calibration_error([0, 0, 1, 0], [0.1, 0.2, 0.6, 0.8], bins=2) == pytest.approx(0.175)
    assert metrics.expected_calibration_error([0, 1, 1, 0], [0.5] * 4, bins=2) == 0.0  # equal probabilities share a bin


def test_expected_calibration_error_of_the_truth_is_small():
    random = np.random.default_rng(8)
    probabilities = random.random(100_000) * 0.1
    labels = random.random(100_000) < probabilities
    assert metrics.expected_calibration_error(labels, probabilities) < 0.004
    assert metrics.expected_calibration_error(labels, probabilities + 0.05) == pytest.approx(0.05, abs=0.002)


# === Values and errors ===


def test_value_is_a_float_that_survives_pickling():
    value = metrics.group_auc([0, 1], [1, 2], [1, 1])
    copy = pickle.loads(pickle.dumps(value))
    assert isinstance(copy, float) and (copy, copy.rows, copy.groups, copy.reason) == (1.0, 2, 1, "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.auc([0, 1], [1.0]), "labels and scores must have as many entries. Received: 2 labels, 1 scores"),
        (lambda: metrics.auc([0, -1, 1], [1, 2, 3]), "labels must be 0 or 1. Received: -1 among 1 others. Leave rows with a missing label out"),
        (lambda: metrics.auc([0, 1], [1, 2], weights=[1]), "weights must have one entry a row. Received: 1 weights, 2 rows"),
        (lambda: metrics.auc([0, 1], [1, 2], weights=[1, -1]), "weights must be finite and not negative"),
        (lambda: metrics.auc([0, 1], [1, 2], weights=[1, np.nan]), "weights must be finite and not negative"),
        (lambda: auc_of_weights([0, 1], [1, np.nan]), "scores must be numbers. Received: 1 of 2 scores are nan"),
        (lambda: metrics.group_auc([0, 1], [1, 2], [1]), "groups must have one entry a row. Received: 1 groups, 2 rows"),
        (lambda: metrics.group_auc([0, 1], [1, 2], [1, 1], "clicks"), "weighting must be one of impressions, equal. Received: 'clicks'"),
        (lambda: precision_at([0, 1], [1, 2], [1, 1], n=0), "n must be at least 1. Received: 0"),
        (lambda: ndcg_at([0, 1], [1, 2], [1, 1], n=0), "n must be at least 1. Received: 0"),
        (lambda: precision_at([0, 1], [1, 2], ["a", "a"]), "groups must be whole numbers. Received: <U1"),
        (lambda: mrr([0, 1], [1, 2], [1, 1], identity=[1]), "identity must be one whole number a row. Received: 1 of type int64, 2 rows"),
        (lambda: metrics.log_loss([0, 1], [-1.5, 2]), r"probabilities must lie in \[0, 1\]. Received: -1.5 to 2. Logits"),
        (lambda: metrics.expected_calibration_error([0, 1], [0, 1], bins=0), "bins must be at least 1. Received: 0"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_exports_are_complete_and_sorted():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_one_sort_gives_the_three_metrics_by_group():
    rng = np.random.default_rng(0)
    labels, scores, groups, items = rng.integers(0, 2, 200), rng.integers(0, 5, 200) / 4, rng.integers(0, 30, 200), rng.integers(0, 50, 200)
    together = metrics.ranked_by_group(labels, scores, groups, 3, items)
    alone = (
        metrics.precision_by_group(labels, scores, groups, 3, items),
        metrics.ndcg_by_group(labels, scores, groups, None, items),
        metrics.reciprocal_rank_by_group(labels, scores, groups, items),
    )
    for one, other in zip(together, alone, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
