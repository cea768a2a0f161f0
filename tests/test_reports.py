"""Reports: the table, cell by cell, and what the plots show."""

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.image import imread

from ppm_tf.evaluation import Record
from ppm_tf.reports import metrics_table, plot_bucket_auc, plot_learning_curve, ranking


@pytest.fixture
def records():
    """Two models and the bayes baseline, `all` and two buckets; one AUC is undefined."""
    result = []
    for model, auc in (("bayes", 0.9), ("item_mean", 0.6), ("ppm", 0.7)):
        result += [
            Record("click", "all", "auc", auc, auc - 0.01, auc + 0.02, 12000, model=model),
            Record("click", "all", "group_auc", auc - 0.05, count=9000, groups=80, model=model),
            Record("click", "all", "precision_at_3", 0.25, count=8000, groups=300, model=model),
            Record("click", "all", "log_loss", 0.4321, 0.43, 0.44, 12000, model=model),
            Record("click", "train_frequency=100+", "auc", auc + 0.05, auc, auc + 0.1, 9000, model=model),
            Record("click", "train_frequency=0-99", "auc", math.nan if model == "item_mean" else auc - 0.1, count=3000, model=model),
        ]
    return result


def cells(table):
    """The cells of each table, line by line."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]


def test_table_holds_every_figure(records):
    lines = cells(metrics_table(records))
    assert lines[0] == ["model", "AUC", "group AUC", "P@3", "log loss", "calibration"]
    assert lines[2] == ["ppm", "0.7000 [0.6900, 0.7200]", "0.6500", "0.2500", "0.4321 [0.4300, 0.4400]", "-"]
    assert [line[0] for line in lines[2:5]] == ["ppm", "item_mean", "bayes"]  # the models, then the baselines
    assert lines[5] == ["train frequency", "candidates", "share", "AUC ppm", "AUC item_mean", "AUC bayes", "ppm - item_mean"]
    assert lines[7] == ["0-99", "3,000", "25.0%", "0.6000", "-", "0.8000", "-"]
    assert lines[8] == ["100+", "9,000", "75.0%", "0.7500", "0.6500", "0.9500", "+0.1000"]
    assert lines[9][:3] == ["all", "12,000", "100.0%"]


def test_table_is_aligned_markdown(records):
    for block in metrics_table(records).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) <= 1
        assert len({tuple(i for i, letter in enumerate(line) if letter == "|") for line in lines}) <= 1
        assert not lines or set(lines[1]) == set("|:- ")


def test_table_prefers_the_paired_gain(records):
    gain = Record("click", "train_frequency=100+", "auc_gain_over_item_mean", 0.0995, 0.08, -0.01, 9000, model="ppm")
    assert cells(metrics_table([*records, gain]))[8][-1] == "+0.0995 [+0.0800, -0.0100]"


def test_several_seeds_become_mean_deviation_and_students_interval(records):
    again = [dataclasses.replace(record, seed=1, value=record.value + 0.02) for record in records if record.model == "ppm"]
    lines = cells(metrics_table([*records, *again]))
    assert lines[2][1] == "0.7100 ± 0.0141 [0.5829, 0.8371]"  # of 0.70 and 0.72: 12.706 * 0.0141 / sqrt(2) to each side
    assert lines[3][1] == "0.6000 [0.5900, 0.6200]"


def test_each_task_has_its_tables(records):
    table = metrics_table([*records, *(dataclasses.replace(record, task="order") for record in records)])
    assert [line.split(",")[0] for line in table.splitlines() if line.startswith("Task")] == ["Task click", "Task click", "Task order", "Task order"]


def test_table_without_buckets_or_records():
    assert metrics_table([]) == ""
    assert metrics_table([Record("click", "all", "auc", 0.5, count=2, model="ppm")]).count("Task") == 1


# === Plots ===


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    figures = []
    save = ranking._save
    monkeypatch.setattr(ranking, "_save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def is_picture(path):
    pixels = imread(path)
    return pixels.shape[0] > 300 and pixels.shape[1] > 500 and np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20


def test_bucket_plot_shows_values_intervals_and_shares(records, drawn, tmp_path):
    plot_bucket_auc(records, tmp_path / "plots" / "bucket.png", title="Shop, PPM")
    assert is_picture(tmp_path / "plots" / "bucket.png")
    top, bottom = drawn[0].axes
    assert top.get_title(loc="left") == "Shop, PPM"
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["ppm", "item_mean", "bayes"]
    points = {container.get_label(): container.lines[0].get_ydata() for container in top.containers}
    np.testing.assert_allclose(points["ppm"], [0.6, 0.75])
    np.testing.assert_allclose(points["item_mean"], [math.nan, 0.65])
    bars = top.containers[0].lines[2][0].get_segments()[1]
    np.testing.assert_allclose(bars[:, 1], [0.7, 0.8])
    assert [bar.get_height() for bar in bottom.patches] == [0.25, 0.75]
    assert [label.get_text() for label in bottom.get_xticklabels()] == ["0–99", "100+"]
    assert bottom.get_xlabel() and bottom.get_ylabel() and "resampled users" in top.get_ylabel()


def test_a_table_says_what_its_brackets_hold(records):
    assert metrics_table(records).endswith(
        "\n\nIn brackets: 95% interval over users alone, resampled, of one training; another seed or processor moves a figure besides."
    )
    again = [dataclasses.replace(record, seed=1) for record in records]
    last = metrics_table([*records, *again], confidence=0.9).split("\n\n")[-1]
    assert last.startswith(
        "Means of 2 seeds (0, 1). After ±: standard deviation over the seeds. In brackets: 90% interval over seeds (Student's t), on the same test"
        " users"
    )
    assert "In brackets" not in metrics_table([dataclasses.replace(record, low=math.nan, high=math.nan) for record in records])


def test_bucket_plot_of_several_seeds_shows_students_intervals(records, drawn, tmp_path):
    again = [dataclasses.replace(record, seed=1, value=record.value + 0.02) for record in records]
    plot_bucket_auc([*records, *again], tmp_path / "bucket.png")
    assert "interval over seeds (Student's t)" in drawn[0].axes[0].get_ylabel()
    bars = drawn[0].axes[0].containers[0].lines[2][0].get_segments()[1]
    np.testing.assert_allclose(bars[:, 1], 0.76 + 12.7062 * 0.01 * np.array([-1, 1]), atol=1e-5)  # of 0.75 and 0.77


def test_a_baseline_looks_the_same_in_every_plot(records, drawn, tmp_path):
    plot_bucket_auc(records, tmp_path / "all.png")
    plot_bucket_auc([record for record in records if record.model != "ppm"], tmp_path / "some.png")
    colors = [{one.get_label(): one.lines[0].get_color() for one in figure.axes[0].containers} for figure in drawn]
    assert colors[0]["bayes"] == colors[1]["bayes"] and len(set(colors[0].values())) == 3


def test_bucket_plot_needs_buckets(records, tmp_path):
    with pytest.raises(ValueError, match=r"The plot needs records of buckets.*Received: tasks \['click'\], none with buckets for task 'order'"):
        plot_bucket_auc(records, tmp_path / "bucket.png", task="order")
    with pytest.raises(ValueError, match="The plot needs records of buckets"):
        plot_bucket_auc([], tmp_path / "bucket.png")


def test_learning_curve_shows_loss_and_best_validation(drawn, tmp_path):
    rows = [{"step": step, "loss": 1 / step, "candidates_per_second": 9} for step in range(1, 41)]
    rows += [
        {"step": 10, "valid_auc": 0.6, "valid_log_loss": 0.5},
        {"step": 20, "valid_auc": 0.8, "valid_log_loss": 0.4},
        {"step": 30, "valid_auc": 0.7, "valid_log_loss": 0.45},
    ]
    plot_learning_curve(rows, tmp_path / "curve.png", "Shop, PPM")
    assert is_picture(tmp_path / "curve.png")
    top, bottom = drawn[0].axes
    assert top.get_title(loc="left") == "Shop, PPM" and top.get_ylabel() and bottom.get_xlabel() == "training step"
    np.testing.assert_allclose(top.lines[0].get_ydata(), [1 / step for step in range(1, 41)])
    np.testing.assert_allclose(top.lines[-1].get_ydata(), [0.5, 0.4, 0.45])
    assert bottom.get_legend().get_texts()[0].get_text() == "best: 0.8000 at step 20"


def test_learning_curve_takes_the_later_row_of_a_step_and_skips_nan(drawn, tmp_path):
    rows = [{"step": 2, "loss": 9.0}, {"step": 4, "loss": 0.4}, {"step": 2, "loss": 0.5}, {"step": 6, "loss": math.nan}]
    plot_learning_curve(rows, tmp_path / "curve.png")
    assert len(drawn[0].axes) == 1  # nothing was validated
    np.testing.assert_allclose(drawn[0].axes[0].lines[0].get_xydata(), [[2, 0.5], [4, 0.4]])


def test_learning_curve_needs_losses(tmp_path):
    with pytest.raises(ValueError, match="A learning curve needs rows with step and loss. Received: none"):
        plot_learning_curve([{"step": 1, "valid_auc": 0.5}], tmp_path / "curve.png")


def test_running_mean_by_hand():
    np.testing.assert_allclose(ranking._running_mean(np.array([1.0, 2.0, 6.0, 4.0, 0.0]), 1), [1, 3, 4, 10 / 3, 0])


def test_plots_leave_pyplot_alone(records, tmp_path):
    import matplotlib.pyplot as pyplot

    plot_bucket_auc(records, tmp_path / "bucket.png")
    assert pyplot.get_fignums() == []
