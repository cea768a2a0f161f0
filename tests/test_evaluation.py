"""Evaluation: slices, masks, baselines, files, against metrics taken by hand from the same rows."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ppm_tf import metrics
from ppm_tf.config import ConfigError, EvaluateSettings, load
from ppm_tf.evaluation import Record, Scores, baselines, bucket_names, collect, compare, evaluate, read_metrics, write_metrics

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


# === Metrics ===


def test_metrics_of_a_task_are_those_of_its_known_rows(scores):
    records = by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=0, precision_at=3))))
    for column, task in enumerate(scores.tasks):
        rows = scores.labels[:, column] >= 0
        labels, values = scores.labels[rows, column], scores.scores[rows, column]
        request, item = scores.request[rows], scores.item_row[rows]
        expected = {
            "auc": metrics.auc(labels, values),
            "group_auc": metrics.group_auc(labels, values, scores.user[rows]),
            "precision_at_3": metrics.precision_at(labels, values, request, 3, item),
            "ndcg": metrics.ndcg_at(labels, values, request, None, item),
            "mrr": metrics.mrr(labels, values, request, item),
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


# === Intervals ===


def test_intervals_resample_users(scores):
    records = by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=50), seed=3)))
    rows = scores.labels[:, 0] >= 0
    labels, values, users = scores.labels[rows, 0], scores.scores[rows, 0], scores.user[rows]
    for metric, of_weights in (
        ("auc", metrics.auc_of_weights(labels, values)),
        ("log_loss", metrics.ratio_of_weights(metrics.row_log_loss(labels, values))),
        ("calibration", metrics.ratio_of_weights(values, labels)),
    ):
        expected = metrics.bootstrap_interval(of_weights, users, 50, 0.95, seed=3)
        record = records["click", "all", metric]
        assert (record.low, record.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    for metric in ("auc", "group_auc", "precision_at_2", "ndcg", "mrr", "log_loss", "calibration"):
        record = records["click", "all", metric]
        assert record.low < record.value < record.high
    assert math.isnan(records["click", "all", "ece"].low)


def test_wider_confidence_gives_wider_intervals(scores):
    low, high = (by_key(list(evaluate(scores, FREQUENCY, EvaluateSettings(bootstrap=100, confidence=level))))["click", "all", "auc"] for level in (0.5, 0.99))
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


def test_compare_needs_the_same_candidates(scores):
    with pytest.raises(ValueError, match="Both models must score the same candidates in the same order"):
        list(compare(scores, dataclasses.replace(scores, item_row=scores.item_row[::-1]), "other", FREQUENCY, NO_INTERVALS))


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
    first = {"item": [[2, 3, 0], [4, 0, 0]], "labels": [[[1, 0], [0, -1], [-1, -1]], [[0, 0], [-1, -1], [-1, -1]]], "request": [7, 8], "user_id": [70, 80]}
    second = {"item": [[5, 6]], "labels": [[[1, 1], [0, 0]]], "request": [9], "user_id": [90]}
    batches = [({name: np.array(value) for name, value in batch.items()}, np.full(np.shape(batch["item"]), score)) for batch, score in ((first, 0.25), (second, 0.75))]
    table = collect(batches, ("click", "order"))
    np.testing.assert_array_equal(table.item_row, [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(table.request, [7, 7, 8, 9, 9])
    np.testing.assert_array_equal(table.user, [70, 70, 80, 90, 90])
    np.testing.assert_array_equal(table.labels, [[1, 0], [0, -1], [0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(table.scores[:, 0], [0.25, 0.25, 0.25, 0.75, 0.75])
    assert table.truth is None


def test_collect_keeps_truth_and_scores_of_several_tasks():
    batch = {"item": np.array([[2, 0]]), "labels": np.ones((1, 2, 2)), "truth": np.full((1, 2, 2), 0.5), "request": np.array([1]), "user_id": np.array([1])}
    table = collect([(batch, np.array([[[0.1, 0.2], [0.3, 0.4]]]))], ("click", "order"))
    np.testing.assert_allclose(table.scores, [[0.1, 0.2]])
    np.testing.assert_array_equal(table.truth, [[0.5, 0.5]])


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


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Metrics must be there. Received: .*metrics.jsonl. Run `python -m pipelines.evaluate` first"):
        read_metrics(tmp_path / "metrics.jsonl")


# === Wrong tables ===


@pytest.mark.parametrize(
    ("change", "message"),
    [
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
