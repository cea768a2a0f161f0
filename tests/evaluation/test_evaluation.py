"""Evaluation: slices, masks, baselines, files, against metrics taken by hand from the same rows."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ppm_tf import metrics
from ppm_tf.config import ConfigError, EvaluateSettings, load
from ppm_tf.evaluation import (
    Measure,
    Record,
    Scores,
    baselines,
    bucket_names,
    collect,
    compare,
    evaluate,
    first_of,
    load_measures,
    load_scores,
    mean_of,
    measure,
    minus,
    read_metrics,
    save_measures,
    save_scores,
    write_metrics,
)

NO_INTERVALS = EvaluateSettings(bootstrap=0)
FREQUENCY = np.array([0, 0, 0, 1, 4, 5, 600])  # of item rows 0 to 6; rows 0 and 1 are padding and unknown


@pytest.fixture
def scores():
    """300 requests of 6 candidates, 60 users, two tasks, some labels missing."""
    random = np.random.default_rng(0)
    requests, size = 300, 6
    truth = random.random((requests * size, 2)) * [0.6, 0.3]
    labels = (random.random(truth.shape) < truth).astype(np.int8)
    labels[random.random(truth.shape) < 0.1] = -1
    return Scores(
        scores=np.clip(truth + random.normal(0, 0.1, truth.shape), 0.01, 0.99),
        labels=labels,
        request=np.repeat(np.arange(requests) + (1 << 40), size),
        user=np.repeat(np.arange(requests) % 60 * 7, size),
        item_row=random.permuted(np.tile(np.arange(1, 7), (requests, 1)), axis=1).ravel(),
        tasks=("click", "order"),
        truth=truth,
    )


def by_key(records):
    result = {(record.task, record.slice, record.metric): record for record in records}
    assert len(result) == len(records)
    return result


# === Slices ===


def test_buckets_of_the_default_settings():
    names = bucket_names(EvaluateSettings().bucket_edges)
    assert [name.removeprefix("train_frequency=") for name in names] == ["0", "1-4", "5-9", "10-19", "20-49", "50-99", "100-499", "500+"]


@pytest.mark.parametrize("edges", [(), (1, 5), (0, 5, 5), (0, 5, 2)])
def test_wrong_edges_are_refused(edges):
    with pytest.raises(ValueError, match="bucket_edges must start at 0 and rise"):
        bucket_names(edges)
    with pytest.raises(ConfigError, match="bucket_edges must start at 0 and rise"):
        load([f"evaluate.bucket_edges={list(edges)}"])


def test_one_resample_is_refused_before_a_run():
    with pytest.raises(ConfigError, match="bootstrap must be 0 or at least 2"):
        load(["evaluate.bootstrap=1"])


def test_buckets_are_closed_on_the_left_and_cover_every_candidate(scores):
    records = by_key(list(evaluate(scores, FREQUENCY, NO_INTERVALS)))
    known = scores.labels[:, 0] >= 0
    expected = {"0": (1, 2), "1-4": (3, 4), "5-9": (5,), "10-19": (), "20-49": (), "50-99": (), "100-499": (), "500+": (6,)}
    for name, items in expected.items():
        rows = known & np.isin(scores.item_row, items)
        record = records["click", f"train_frequency={name}", "auc"]
        assert record.count == rows.sum()
        if items:
            assert record.value == metrics.auc(scores.labels[rows, 0], scores.scores[rows, 0])
        else:
            assert math.isnan(record.value) and record.reason == "no rows"
    assert records["click", "all", "auc"].count == known.sum()


def test_wrong_edges_of_histories_and_users_are_refused():
    with pytest.raises(ConfigError, match="history_edges must start at 0 and rise"):
        load(["evaluate.history_edges=[1, 2]"])
    with pytest.raises(ConfigError, match="user_edges must start at 0 and rise"):
        load(["evaluate.user_edges=[0, 5, 5]"])


def test_slices_by_history_and_by_user(scores):
    history, requests = scores.request % 25, scores.user % 30
    table = dataclasses.replace(scores, history=history)
    records = by_key(list(evaluate(table, FREQUENCY, NO_INTERVALS, user_frequency=requests)))
    known = scores.labels[:, 1] >= 0
    for name, rows in {
        "history=0": history == 0,
        "history=1-4": (history >= 1) & (history <= 4),
        "history=20+": history >= 20,
        "user_frequency=0": requests == 0,
        "user_frequency=5-19": (requests >= 5) & (requests <= 19),
        "user_frequency=20+": requests >= 20,
    }.items():
        rows = rows & known
        assert records["order", name, "auc"].count == rows.sum()
        assert records["order", name, "auc"].value == metrics.auc(scores.labels[rows, 1], scores.scores[rows, 1])
    names = {name for _, name, _ in records}
    assert {name for name in names if name.startswith("history=")} == {"history=0", "history=1-4", "history=5-9", "history=10-19", "history=20+"}
    assert first_of("history=10-19") == 10 and first_of("user_frequency=20+") == 20


def test_without_histories_or_user_counts_there_are_no_such_slices(scores):
    assert {record.slice.split("=")[0] for record in evaluate(scores, FREQUENCY, NO_INTERVALS)} == {"all", "train_frequency"}
    with pytest.raises(ValueError, match="user_frequency must have one entry a candidate, 1800 in all. Received: shape"):
        list(evaluate(scores, FREQUENCY, NO_INTERVALS, user_frequency=[1, 2]))


# === Metrics ===


def test_precision_is_not_shown_where_it_cannot_tell_orders_apart(scores):
    """Of two candidates, two are always the best two."""
    _, place = np.unique(scores.request, return_index=True)
    two = np.isin(np.arange(len(scores.request)), [*place, *(place + 1)])
    pairs = dataclasses.replace(
        scores, **{name: value[two] for name, value in vars(scores).items() if isinstance(value, np.ndarray) and len(value) == len(two)}
    )
    found = {metric for _, _, metric in by_key(list(evaluate(pairs, FREQUENCY, NO_INTERVALS)))}
    assert "ndcg" in found and not any(metric.startswith("precision_at") for metric in found)
    assert "precision_at_1" in {metric for _, _, metric in by_key(list(evaluate(pairs, FREQUENCY, EvaluateSettings(bootstrap=0, precision_at=1))))}


def test_metrics_of_a_task_are_those_of_its_known_rows(scores):
    records = by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=0, precision_at=3))))
    for column, task in enumerate(scores.tasks):
        rows = scores.labels[:, column] >= 0
        labels, values = scores.labels[rows, column], scores.scores[rows, column]
        request, item = scores.request[rows], scores.item_row[rows]
        expected = {
            "auc": metrics.auc(labels, values),
            "group_auc": metrics.group_auc(labels, values, scores.user[rows]),
            "precision_at_3": metrics.precision_by_group(labels, values, request, 3, item).mean("equal"),
            "ndcg": metrics.ndcg_by_group(labels, values, request, None, item).mean("equal"),
            "mrr": metrics.reciprocal_rank_by_group(labels, values, request, item).mean("equal"),
            "log_loss": metrics.log_loss(labels, values),
            "calibration": metrics.calibration(labels, values),
            "ece": metrics.expected_calibration_error(labels, values),
        }
        found = {metric: record for (one, name, metric), record in records.items() if (one, name) == (task, "all")}
        assert found.keys() == expected.keys()
        for metric, value in expected.items():
            assert found[metric].value == pytest.approx(value, abs=1e-12)
            assert (found[metric].count, found[metric].groups) == (value.rows, value.groups)
            assert math.isnan(found[metric].low) and found[metric].reason == ""


def test_rows_with_a_missing_label_equal_dropped_rows(scores):
    rows = scores.labels[:, 1] >= 0
    columns = ("scores", "labels", "request", "user", "item_row", "truth")
    kept = dataclasses.replace(scores, **{name: getattr(scores, name)[rows] for name in columns})
    masked, dropped = ([one for one in evaluate(table, FREQUENCY, EvaluateSettings(bootstrap=20)) if one.task == "order"] for table in (scores, kept))
    np.testing.assert_equal([dataclasses.asdict(one) for one in masked], [dataclasses.asdict(one) for one in dropped])  # nan equals nan


def test_order_of_rows_changes_no_value(scores):
    order = np.random.default_rng(1).permutation(scores.user.size)
    columns = ("scores", "labels", "request", "user", "item_row", "truth")
    mixed = dataclasses.replace(scores, **{name: getattr(scores, name)[order] for name in columns})
    for one, other in zip(evaluate(scores, FREQUENCY, NO_INTERVALS), evaluate(mixed, FREQUENCY, NO_INTERVALS), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-12, nan_ok=True)
        assert (one.metric, one.count, one.groups) == (other.metric, other.count, other.groups)


def test_one_score_column_is_the_first_task(scores):
    single = dataclasses.replace(scores, scores=scores.scores[:, 0])
    both = [record for record in evaluate(scores, FREQUENCY, NO_INTERVALS) if record.task == "click"]
    np.testing.assert_equal([dataclasses.asdict(one) for one in evaluate(single, FREQUENCY, NO_INTERVALS)], [dataclasses.asdict(one) for one in both])


def test_the_mean_over_tasks(scores):
    records = by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=60))))
    for metric in ("auc", "group_auc", "precision_at_2", "log_loss"):
        for name in ("all", "train_frequency=1-4"):
            tasks = [records[task, name, metric] for task in ("click", "order")]
            mean = records["mean", name, metric]
            assert mean.value == pytest.approx((tasks[0].value + tasks[1].value) / 2, abs=1e-12)
            assert mean.count == max(task.count for task in tasks)
            assert mean.low < mean.value < mean.high
            # Errors of two tasks that do not go together cancel in part.
            assert mean.high - mean.low < max(task.high - task.low for task in tasks)
    assert {metric for task, _, metric in records if task == "mean"} == {"auc", "group_auc", "precision_at_2", "log_loss"}
    undefined = records["mean", "train_frequency=10-19", "auc"]
    assert math.isnan(undefined.value) and undefined.reason == "click: no rows"


def test_scores_that_are_no_probabilities_have_no_mean_log_loss(scores):
    found = measure(dataclasses.replace(scores, probability=False), FREQUENCY, NO_INTERVALS)
    assert {metric for task, _, metric in found if task == "mean"} == {"auc", "group_auc", "precision_at_2"}


def test_the_mean_over_tasks_meets_the_same_users_in_each(scores):
    """Two tasks of equal labels and scores are one task: so is the interval of their mean."""
    twice = dataclasses.replace(scores, scores=scores.scores[:, [0, 0]], labels=scores.labels[:, [0, 0]], truth=None)
    records = by_key(list(evaluate(twice, FREQUENCY, EvaluateSettings(bootstrap=40))))
    for end in ("value", "low", "high"):
        assert getattr(records["mean", "all", "auc"], end) == pytest.approx(getattr(records["click", "all", "auc"], end), abs=1e-12)


def test_no_task_may_be_named_mean(scores):
    with pytest.raises(ValueError, match="No task may have the name of the mean over tasks, 'mean'. Received: tasks"):
        measure(dataclasses.replace(scores, tasks=("click", "mean")), FREQUENCY, NO_INTERVALS)


# === Intervals ===


def drawn_weights(users, resamples, seed):
    """How often each row counts in each resample of the users: as many draws of users as there are, with replacement."""
    random, (names, place) = np.random.default_rng(seed), np.unique(users, return_inverse=True)
    for _ in range(resamples):
        drawn = random.integers(names.size, size=names.size)
        yield np.array([(drawn == user).sum() for user in range(names.size)])[place]


def test_intervals_resample_users(scores):
    records = by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=50), seed=3)))
    rows = scores.labels[:, 0] >= 0
    labels, values, users = scores.labels[rows, 0], scores.scores[rows, 0], scores.user[rows]
    groups = metrics.auc_by_group(labels, values, users)
    for metric, of_weights in (
        ("auc", lambda weights: metrics.auc(labels, values, weights)),
        ("log_loss", lambda weights: np.average(metrics.row_log_loss(labels, values), weights=weights)),
        ("calibration", lambda weights: weights @ values / (weights @ labels)),
        ("group_auc", lambda weights: np.average(groups.value, weights=weights[groups.row] * groups.size)),
    ):
        expected = np.quantile([of_weights(weights) for weights in drawn_weights(users, 50, 3)], [0.025, 0.975])
        record = records["click", "all", metric]
        assert (record.low, record.high) == pytest.approx(tuple(expected))
    for metric in ("auc", "group_auc", "precision_at_2", "ndcg", "mrr", "log_loss", "calibration"):
        record = records["click", "all", metric]
        assert record.low < record.value < record.high
    assert math.isnan(records["click", "all", "ece"].low)


def test_wider_confidence_gives_wider_intervals(scores):
    low, high = (
        by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=100, confidence=level))))["click", "all", "auc"] for level in (0.5, 0.99)
    )
    assert high.low < low.low < low.high < high.high


def test_few_users_get_no_interval(scores):
    few = dataclasses.replace(scores, user=scores.user % 9)
    record = by_key(list(evaluate(few, FREQUENCY, EvaluateSettings(bootstrap=20))))["click", "all", "auc"]
    assert record.value > 0.5 and math.isnan(record.low) and record.reason == "no interval: fewer than 10 users behind a label"


def test_compare_gives_the_paired_difference(scores):
    truth = dataclasses.replace(scores, scores=scores.truth)
    records = by_key(list(compare(scores, truth, "bayes", FREQUENCY, EvaluateSettings(bootstrap=100))))
    separate = by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=100))))["click", "all", "auc"]
    record = records["click", "all", "auc_gain_over_bayes"]
    rows = scores.labels[:, 0] >= 0
    expected = metrics.auc(scores.labels[rows, 0], scores.scores[rows, 0]) - metrics.auc(scores.labels[rows, 0], scores.truth[rows, 0])
    assert record.value == pytest.approx(expected, abs=1e-12) and record.low < record.value < record.high
    assert record.high - record.low < separate.high - separate.low
    assert math.isnan(records["click", "train_frequency=10-19", "auc_gain_over_bayes"].value)


def test_compare_equals_the_paired_bootstrap_of_the_metrics(scores):
    tied = dataclasses.replace(scores, scores=np.round(scores.truth, 1))
    records = by_key(list(compare(scores, tied, "tied", FREQUENCY, EvaluateSettings(bootstrap=40), seed=5)))
    rows = scores.labels[:, 1] >= 0
    labels = scores.labels[rows, 1]
    gain = lambda weights: metrics.auc(labels, scores.scores[rows, 1], weights) - metrics.auc(labels, tied.scores[rows, 1], weights)
    record = records["order", "all", "auc_gain_over_tied"]
    expected = np.quantile([gain(weights) for weights in drawn_weights(scores.user[rows], 40, 5)], [0.025, 0.975])
    assert record.value == pytest.approx(gain(np.ones(rows.sum())))
    assert (record.low, record.high) == pytest.approx(tuple(expected))
    mean, gains = records["mean", "all", "auc_gain_over_tied"], [records[task, "all", "auc_gain_over_tied"].value for task in scores.tasks]
    assert mean.value == pytest.approx(np.mean(gains)) and mean.low < mean.value < mean.high
    assert not math.isnan(records["click", "all", "precision_at_2_gain_over_tied"].low)


def test_compare_by_delong(scores):
    truth = dataclasses.replace(scores, scores=scores.truth)
    records = by_key(list(compare(scores, truth, "bayes", FREQUENCY, EvaluateSettings(bootstrap=20, difference="delong", confidence=0.9))))
    rows = scores.labels[:, 0] >= 0
    tested = metrics.delong_test(scores.labels[rows, 0], scores.scores[rows, 0], scores.truth[rows, 0])
    record = records["click", "all", "auc_gain_over_bayes"]
    assert record.low == pytest.approx(tested.difference - 1.6448536 * tested.standard_error)
    assert record.high == pytest.approx(tested.difference + 1.6448536 * tested.standard_error)
    mean = records["mean", "all", "auc_gain_over_bayes"]
    assert math.isnan(mean.low) and mean.reason == "no interval: DeLong's test has none for a mean over tasks"


def test_compare_needs_the_same_candidates(scores):
    with pytest.raises(ValueError, match="Both models must score the same candidates in the same order"):
        list(compare(scores, dataclasses.replace(scores, item_row=scores.item_row[::-1]), "other", FREQUENCY, NO_INTERVALS))


def test_slices_of_other_candidates_have_no_difference(scores):
    first, second = (measure(scores, frequency, EvaluateSettings(bootstrap=10)) for frequency in (FREQUENCY, FREQUENCY[::-1].copy()))
    gains = minus(first, second)
    assert gains["click", "all", "auc"].value == 0
    cold = gains["click", "train_frequency=0", "auc"]
    assert math.isnan(cold.value) and cold.reason == "the two have other candidates in the slice"


# === Seeds ===


def test_the_interval_of_several_seeds_adds_their_spread():
    random = np.random.default_rng(0)
    users = random.normal(0, 0.01, 400)
    found = mean_of([Measure(value, 9, None, "", value + users) for value in (0.5, 0.6, 0.7)])
    assert (found.value, found.spread, found.seeds) == (pytest.approx(0.6), pytest.approx(0.1), 3)
    low, high, reason = found.interval(0.95)
    variances = users.var(ddof=1), 0.1**2 / 3
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 399 + variances[1] ** 2 / 2)
    assert 2 < freedom < 2.2  # the seeds' spread is most of it
    reach = metrics.t_quantile(0.95, freedom) * math.sqrt(sum(variances))
    assert reach > 4 * math.sqrt(sum(variances))
    assert (low, high, reason) == (pytest.approx(0.6 - reach), pytest.approx(0.6 + reach), "")
    missing = mean_of([Measure(0.5), Measure(math.nan, reason="no rows")])
    assert math.isnan(missing.value) and missing.interval(0.95)[2] == "no rows"


# === Baselines ===


def test_baselines_by_hand():
    table = Scores(scores=np.full(3, 0.5), labels=np.array([0, 1, 1]), request=np.zeros(3, int), user=np.zeros(3, int), item_row=np.array([2, 3, 4]))
    found = baselines(table, exposures=[0, 0, 30, 10, 0], positives=[[0], [0], [3], [5], [0]], prior_strength=10)
    # base rate 8 / 40 = 0.2
    np.testing.assert_allclose(found["item_mean"].scores[:, 0], [(3 + 2) / 40, (5 + 2) / 20, 0.2])
    np.testing.assert_array_equal(found["popularity"].scores[:, 0], [3, 5, 0])
    assert "bayes" not in found


def test_baselines_score_each_task_by_its_own_labels(scores):
    exposures, positives = np.array([0, 0, 5, 10, 20, 40, 80]), np.array([[0, 0], [0, 0], [1, 0], [2, 2], [10, 0], [10, 1], [30, 9]])
    found = baselines(scores, exposures, positives)
    assert list(found) == ["item_mean", "popularity", "bayes"]
    for column in range(2):
        np.testing.assert_array_equal(found["popularity"].scores[:, column], positives[scores.item_row, column])
    np.testing.assert_array_equal(found["bayes"].scores, scores.truth)
    assert found["item_mean"].scores[scores.item_row == 1, 1] == pytest.approx(12 / 155)  # never seen: the base rate


def test_popularity_is_no_probability(scores):
    popularity = baselines(scores, FREQUENCY, np.stack([FREQUENCY, FREQUENCY], 1))["popularity"]
    measured = {record.metric for record in evaluate(popularity, FREQUENCY, NO_INTERVALS)}
    assert measured == {"auc", "group_auc", "precision_at_2", "ndcg", "mrr"}


def test_the_truth_is_the_best_model(scores):
    found = {**baselines(scores, FREQUENCY, np.stack([FREQUENCY, FREQUENCY], 1) // 3), "model": scores}
    losses = {name: by_key(list(evaluate(table, FREQUENCY, NO_INTERVALS)))["click", "all", "auc"].value for name, table in found.items()}
    assert max(losses, key=losses.get) == "bayes"


@pytest.mark.parametrize(("exposures", "strength"), [([0] * 7, 20), ([1] * 7, 0)])
def test_baselines_need_training_data(scores, exposures, strength):
    with pytest.raises(ValueError, match="Baselines need training data and a positive prior_strength"):
        baselines(scores, exposures, np.zeros((7, 2)), strength)


# === From batches ===


def test_collect_drops_padding_and_keeps_requests_together():
    first = {
        "item": [[2, 3, 0], [4, 0, 0]],
        "labels": [[[1, 0], [0, -1], [-1, -1]], [[0, 0], [-1, -1], [-1, -1]]],
        "request": [7, 8],
        "user_id": [70, 80],
    }
    second = {"item": [[5, 6]], "labels": [[[1, 1], [0, 0]]], "request": [9], "user_id": [90]}
    batches = [
        ({name: np.array(value) for name, value in batch.items()}, np.full(np.shape(batch["item"]), score))
        for batch, score in ((first, 0.25), (second, 0.75))
    ]
    table = collect(batches, ("click", "order"))
    np.testing.assert_array_equal(table.item_row, [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(table.request, [7, 7, 8, 9, 9])
    np.testing.assert_array_equal(table.user, [70, 70, 80, 90, 90])
    np.testing.assert_array_equal(table.labels, [[1, 0], [0, -1], [0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(table.scores[:, 0], [0.25, 0.25, 0.25, 0.75, 0.75])
    assert table.truth is None


def test_collect_keeps_truth_and_scores_of_several_tasks():
    batch = {
        "item": np.array([[2, 0]]),
        "labels": np.ones((1, 2, 2)),
        "truth": np.full((1, 2, 2), 0.5),
        "request": np.array([1]),
        "user_id": np.array([1]),
    }
    table = collect([(batch, np.array([[[0.1, 0.2], [0.3, 0.4]]]))], ("click", "order"))
    np.testing.assert_allclose(table.scores, [[0.1, 0.2]])
    np.testing.assert_array_equal(table.truth, [[0.5, 0.5]])


def test_collect_counts_the_behaviors_of_a_request():
    batch = {"item": np.array([[2, 3], [4, 0]]), "labels": np.ones((2, 2, 1)), "request": np.arange(2), "user_id": np.arange(2)}
    table = collect([({**batch, "history": np.array([[7, 8, 0], [0, 0, 0]])}, np.full((2, 2), 0.5))], ("click",))
    np.testing.assert_array_equal(table.history, [2, 2, 0])
    assert collect([(batch, np.full((2, 2), 0.5))], ("click",)).history is None


def test_collect_names_items_and_times_as_the_log_does(tmp_path):
    batch = {
        "item": np.array([[3, 2], [4, 0]]),
        "labels": np.zeros((2, 2, 1)),
        "request": np.array([1, 2]),
        "user_id": np.array([5, 6]),
        "time": np.array([70, 80]),
    }
    for ids, expected in ((np.array([10, 20, 30]), [20, 10, 30]), (np.array(["b1", "\u00fcx", "c"], object), ["\u00fcx", "b1", "c"])):
        save_scores(collect([(batch, np.full((2, 2), 0.5))], ("click",), ids), tmp_path / "scores.npz")
        with np.load(tmp_path / "scores.npz") as columns:  # without pickles
            assert columns["item_id"].tolist() == expected
            assert columns["time"].tolist() == [70, 70, 80]


def test_collect_needs_a_batch():
    with pytest.raises(ValueError, match="There must be a batch to evaluate. Received: none"):
        collect([], ("click",))


# === Files ===


def test_records_survive_the_file(scores, tmp_path):
    path = tmp_path / "reports" / "ppm" / "metrics.jsonl"
    records = list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=20)))
    write_metrics(records, path, model="ppm", seed=4)
    expected = [dataclasses.asdict(dataclasses.replace(record, model="ppm", seed=4)) for record in records]
    np.testing.assert_equal([dataclasses.asdict(record) for record in read_metrics(path)], expected)
    assert [child.name for child in path.parent.iterdir()] == ["metrics.jsonl"]
    line = json.loads(path.read_text().splitlines()[0])
    assert {"model", "task", "slice", "metric", "value", "low", "high", "count", "seed"} <= line.keys()


def test_nan_is_null_in_the_file(tmp_path):
    write_metrics([Record("click", "all", "auc", math.nan, reason="no rows")], tmp_path / "metrics.jsonl", "ppm", 1)
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["value"] is None and line["low"] is None and line["reason"] == "no rows"
    assert math.isnan(read_metrics(tmp_path / "metrics.jsonl")[0].value)


def test_writing_replaces_the_records_of_the_same_model_and_seed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for value, model, seed in ((1, "ppm", 1), (2, "bayes", 1), (3, "ppm", 2), (4, "ppm", 1)):
        write_metrics([Record("click", "all", "auc", float(value))], path, model, seed)
    assert [(record.value, record.model, record.seed) for record in read_metrics(path)] == [(2, "bayes", 1), (3, "ppm", 2), (4, "ppm", 1)]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_metrics([Record("click", "all", "auc", 0.5)], path, "ppm", 1)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        write_metrics([Record("click", "all", "auc", math.inf)], path, "ppm", 2)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_metrics([Record("click", "all", "auc", 0.5)], path, "ppm", 1)
    path.write_text(path.read_text() + '{"task": "cli')
    with pytest.raises(ValueError, match='must hold one metric a line. Received, in line 2: \'{"task": "cli\''):
        read_metrics(path)


def test_scores_survive_the_file(scores, tmp_path):
    for table in (scores, dataclasses.replace(scores, history=scores.request % 9, truth=None, probability=False)):
        save_scores(table, tmp_path / "report" / "scores.npz")
        found = load_scores(tmp_path / "report" / "scores.npz")
        np.testing.assert_equal(dataclasses.asdict(found), dataclasses.asdict(table))
    assert [child.name for child in (tmp_path / "report").iterdir()] == ["scores.npz"]
    with pytest.raises(FileNotFoundError, match="Scores must be there. Received: .*other.npz. Run `python -m pipelines.evaluate` first"):
        load_scores(tmp_path / "other.npz")


def test_measures_survive_the_file(scores, tmp_path):
    measures = measure(scores, FREQUENCY, EvaluateSettings(bootstrap=10))
    save_measures(measures, tmp_path / "measures.npz")
    found = load_measures(tmp_path / "measures.npz")
    assert list(found) == list(measures)
    np.testing.assert_equal([dataclasses.asdict(one) for one in found.values()], [dataclasses.asdict(one) for one in measures.values()])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Metrics must be there. Received: .*metrics.jsonl. Run `python -m pipelines.evaluate` first"):
        read_metrics(tmp_path / "metrics.jsonl")


# === Wrong tables ===


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"history": np.zeros(3, int)}, "Each column of Scores must have one entry a candidate"),
        ({"user": np.zeros(3, int)}, "Each column of Scores must have one entry a candidate"),
        ({"request": np.zeros((1800, 1), int)}, "Each column of Scores must have one entry a candidate"),
        ({"labels": np.zeros((1800, 3))}, "labels must have a column for each of the tasks"),
        ({"scores": np.zeros((1800, 3))}, "labels must have a column for each of the tasks"),
        ({"truth": np.zeros((1800, 1))}, "truth must have the shape of labels"),
        ({"labels": np.full((1800, 2), 0.5)}, r"labels must be 0, 1 or -1 \(missing\). Received: 0.5"),
    ],
)
def test_a_wrong_table_is_refused(scores, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(scores, **change)


def test_items_outside_the_catalog_are_refused(scores):
    with pytest.raises(ValueError, match="item_row must be a row of train_frequency, which has 4. Received: 1 to 6"):
        list(evaluate(scores, FREQUENCY[:4], NO_INTERVALS))
