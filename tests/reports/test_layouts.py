"""The layouts of benchmarks: tables cell by cell, what the plots show, what the report says."""

import math

import numpy as np
import pytest
from matplotlib.image import imread

from ppm_tf.evaluation import Measure
from ppm_tf.reports import experiment_plots
from ppm_tf.reports.efficiency import efficiency_table
from ppm_tf.reports.layouts import LAYOUTS, write_report
from ppm_tf.reports.sweep import trials_table
from tests.experiments.literal_results import measures, results
from tests.experiments.test_results import AXES, table2
from tests.test_reports import cells


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    figures, save = [], experiment_plots._save
    monkeypatch.setattr(experiment_plots, "_save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def ablation(place, seed):
    auc = {"Base": 0.70, "QM": 0.71, "PPM": 0.73}[place["model"]] + 0.002 * (seed - 1)
    return measures(auc, (math.nan, auc - 0.05, auc), error=0.01, precision=0.3)


ABLATION = {"model": ["Base", "QM", "PPM"]}


def test_table2_has_the_papers_columns():
    lines = cells(LAYOUTS["ppm_table2"].table(results(AXES, table2)))
    assert lines[0][:8] == ["data", "model", "wo click AUC", "wo click P@2", "wo order AUC", "wo order P@2", "wo average AUC", "wo average P@2"]
    assert lines[0][8:] == [
        "w click AUC",
        "w click P@2",
        "w order AUC",
        "w order P@2",
        "w average AUC",
        "w average P@2",
        "improv. AUC",
        "improv. P@2",
    ]
    assert [line[:2] for line in lines[2:]] == [["Small", "DIN"], ["Small", "URM"], ["Large", "DIN"], ["Large", "URM"]]
    assert lines[2][2] == "0.6500 ± 0.0000" and lines[2][6] == "0.7000 ± 0.0000" and lines[2][12] == "0.7315 ± 0.0007"
    assert lines[2][14] == "+0.0315 ± 0.0007 [+0.0251, +0.0379]"


def test_table2_of_one_seed_has_no_deviation_and_one_task_no_average():
    def click_alone(place, seed):
        return {("click", *key[1:]): one for key, one in table2(place, seed).items() if key[0] == "mean"} if seed == 1 else None

    lines = cells(LAYOUTS["ppm_table2"].table(results(AXES, click_alone)))
    assert lines[0][2:] == ["wo click AUC", "wo click P@2", "w click AUC", "w click P@2", "improv. AUC", "improv. P@2"]
    assert lines[2][2] == "0.7000" and lines[2][6] == "+0.0310 [+0.0310, +0.0310]"


def test_table2_shows_what_is_missing_as_such():
    lines = cells(LAYOUTS["ppm_table2"].table(results(AXES, lambda place, seed: table2(place, seed) if place["ppm"] == "wo" else None)))
    assert lines[2][6] == "0.7000 ± 0.0000" and lines[2][12:] == ["-"] * 4


def test_table3_compares_with_the_first_row():
    lines = cells(LAYOUTS["ppm_table3"].table(results(ABLATION, ablation)))
    assert lines[0] == ["model", "click AUC", "click P@2", "order AUC", "order P@2", "average AUC", "average P@2", "AUC over Base", "P@2 over Base"]
    assert lines[2][5:] == ["0.7010 ± 0.0014", "0.3000 ± 0.0000", "-", "-"]
    assert lines[4][7].startswith("+0.0300 ± 0.0000 [+0.0300")


GRID = {"backbone": ["DIN", "URM"], "text": ["none", "bow"]}


def of_grid(place, seed):
    auc = {"DIN": 0.70, "URM": 0.72}[place["backbone"]] + (0.03 if place["text"] == "bow" else 0.0) + 0.002 * (seed - 1)
    found = measures(auc, error=0.01)
    for task, loss in (("click", 0.5), ("order", 0.3)):
        found[task, "all", "log_loss"] = Measure(loss - auc / 10, 1000, None, "", np.full(200, loss - auc / 10))
    return found


def test_a_plain_table_has_any_axes_and_metrics():
    found = results(GRID, of_grid, metrics=("auc", "log_loss"), over={"text": "none"})
    lines = cells(LAYOUTS["plain"].table(found))
    assert lines[0] == [
        *("backbone", "text", "click auc", "order auc", "average auc", "click log_loss", "order log_loss"),
        *("average auc over none", "click log_loss over none", "order log_loss over none"),
    ]
    assert [line[:2] for line in lines[2:]] == [["DIN", "none"], ["DIN", "bow"], ["URM", "none"], ["URM", "bow"]]
    assert lines[2][4:] == ["0.7010 ± 0.0014", "0.4299 ± 0.0001", "0.2299 ± 0.0001", "-", "-", "-"]
    assert (
        lines[5][4] == "0.7510 ± 0.0014"
        and lines[5][7].startswith("+0.0300 ± 0.0000 [+0.0300")
        and lines[5][8].startswith("-0.0030 ± 0.0000 [-0.0030")
    )
    names = [(tuple(one.values()), tuple(over.values())) for one, over in LAYOUTS["plain"].pairs(found)]
    assert names == [(("DIN", "bow"), ("DIN", "none")), (("URM", "bow"), ("URM", "none"))]


def test_without_a_name_a_plain_table_compares_with_the_first_row(tmp_path):
    found = results(GRID, of_grid)
    lines = cells(LAYOUTS["plain"].table(found))
    assert lines[0] == ["backbone", "text", "click auc", "order auc", "average auc", "average auc over DIN, none"]
    assert [line[5][:7] for line in lines[2:]] == ["-", "+0.0300", "+0.0200", "+0.0500"]
    text = write_report(found, LAYOUTS["plain"], tmp_path, "a grid")
    assert "What the paper claims" not in text and {path.name for path in (tmp_path / "plots").iterdir()} == {"rows.png", "learning_curves.png"}


def test_figure2_goes_by_train_frequency():
    lines = cells(LAYOUTS["ppm_figure2"].table(results(ABLATION, ablation)))
    assert lines[0] == ["train frequency", "candidates", "share", "AUC Base", "AUC QM", "AUC PPM", "QM over Base", "PPM over Base"]
    assert [line[0] for line in lines[2:]] == ["0", "1-4", "5+", "all"]
    assert lines[2][1:] == ["100", "10.0%", "-", "-", "-", "-", "-"]
    assert lines[3][3] == "0.6510 ± 0.0014" and lines[3][7].startswith("+0.0300")


def test_pairs_are_those_of_the_tables():
    found = results(AXES, table2)
    pairs = [(tuple(one.values()), tuple(over.values())) for one, over in LAYOUTS["ppm_table2"].pairs(found)]
    assert pairs[:3] == [
        (("Small", "DIN", "w"), ("Small", "DIN", "wo")),
        (("Large", "DIN", "w"), ("Large", "DIN", "wo")),
        (("Small", "DIN", "w"), ("Large", "DIN", "wo")),
    ]
    assert len(pairs) == 6
    found = results(ABLATION, ablation)
    names = [(one["model"], over["model"]) for one, over in LAYOUTS["ppm_table3"].pairs(found)]
    assert names == [("QM", "Base"), ("PPM", "Base"), ("PPM", "QM")]
    assert [(one["model"], over["model"]) for one, over in LAYOUTS["ppm_figure2"].pairs(found)] == names[:2]


def test_a_report_holds_table_claims_failures_and_plots(tmp_path):
    found = results(AXES, table2, {("Large", "URM", "w"): "RuntimeError: out of memory\nat line 7"})
    text = write_report(found, LAYOUTS["ppm_table2"], tmp_path, "shop", "`command`: 14 of 16 cells.")
    assert text == (tmp_path / "table.md").read_text() and text.startswith("# shop\n\n`command`: 14 of 16 cells.\n\n| data ")
    assert (
        "seeds 1, 2. After ±: standard deviation over seeds. In brackets: 95% interval over users, resampled for both models at once, and over seeds:"
        " Student's t" in text
    )
    assert "- PPM helps every backbone (Small): yes" in text
    assert text.endswith(
        "Cells that failed:\n\n- Large, URM, w, seed 1: RuntimeError: out of memory\n- Large, URM, w, seed 2: RuntimeError: out of memory\n"
    )
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "table2.png",
        "data_efficiency.png",
        "gain_by_bucket.png",
        "learning_curves.png",
    }


def test_a_report_of_nothing_has_no_plots(tmp_path):
    text = write_report(results(ABLATION, lambda place, seed: None), LAYOUTS["ppm_table3"], tmp_path, "shop")
    assert "not measured" in text and not (tmp_path / "plots").exists()


def test_bars_of_table2(tmp_path, drawn):
    experiment_plots.plot_table2(results(AXES, table2), tmp_path / "table2.png", "shop")
    small, large = drawn[0].axes
    assert [small.get_title(loc="left"), large.get_title(loc="left")] == ["Small", "Large"]
    assert [round(bar.get_height(), 4) for bar in small.patches] == [0.7, 0.7, 0.7315, 0.7215]
    assert [text.get_text() for text in large.get_legend().get_texts()] == ["wo", "w"]
    assert small.get_ylim()[0] > 0.5 and "95% interval" in small.get_ylabel()
    pixels = imread(tmp_path / "table2.png")
    assert pixels.shape[0] > 300 and np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20


def test_learning_curves_have_a_panel_a_row_a_colour_a_place_and_a_line_a_seed(tmp_path, drawn):
    found = results(AXES, table2)
    for one in found.outcomes:
        one.curve.extend([(10, 0.6), (20, 0.6 + 0.01 * one.cell.seed)])
    experiment_plots.plot_learning_curves(found, tmp_path / "curves.png", "shop")
    panels = drawn[0].axes
    assert [panel.get_title(loc="left") for panel in panels] == AXES["data"]
    lines = panels[0].get_lines()
    assert len(lines) == 2 * 2 * 2 and len({line.get_color() for line in lines}) == 4  # models, with and without, seeds
    assert [text.get_text() for text in panels[1].get_legend().get_texts()] == ["DIN · wo", "DIN · w", "URM · wo", "URM · w"]
    np.testing.assert_allclose(lines[4].get_xydata(), [[10, 0.6], [20, 0.62]])


def test_data_efficiency_compares_less_data_with_more(tmp_path, drawn):
    experiment_plots.plot_data_efficiency(results(AXES, table2), tmp_path / "data.png")
    points = {one.get_label(): one.lines[0].get_xdata() for one in drawn[0].axes[0].containers}
    np.testing.assert_allclose(points["Large, wo"], [0.705, 0.705])
    np.testing.assert_allclose(points["Small, w"], [0.7315, 0.7215])
    single = {**AXES, "data": ["Large"]}
    experiment_plots.plot_data_efficiency(results(single, table2), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_gains_by_bucket_and_figure2(tmp_path, drawn):
    experiment_plots.plot_gain_by_bucket(results(AXES, table2), tmp_path / "gain.png")
    lines = {one.get_label(): one.lines[0].get_ydata() for one in drawn[0].axes[0].containers}
    np.testing.assert_allclose(lines["DIN"], [0.0615, 0.0315, 0.0315], atol=1e-9)
    experiment_plots.plot_figure2(results(ABLATION, ablation), tmp_path / "figure2.png")
    panel = drawn[1].axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "1–4", "5+"]
    assert "gain of PPM" in [text.get_text() for text in panel.get_legend().get_texts()]
    experiment_plots.plot_rows(results(ABLATION, ablation), tmp_path / "table3.png")
    assert [round(bar.get_height(), 4) for bar in drawn[2].axes[0].patches] == [0.701, 0.711, 0.731]


def test_plots_of_a_table_that_is_not_complete(tmp_path):
    some = results(AXES, lambda place, seed: table2(place, seed) if place["model"] == "DIN" and place["ppm"] == "wo" else None)
    for name, draw in LAYOUTS["ppm_table2"].plots.items():
        draw(some, tmp_path / f"{name}.png", "")
    base = results(ABLATION, lambda place, seed: ablation(place, seed) if place["model"] == "Base" else None)
    for layout in ("ppm_table3", "ppm_figure2"):
        for name, draw in LAYOUTS[layout].plots.items():
            draw(base, tmp_path / f"{name}.png", "")
    assert len(list(tmp_path.iterdir())) == 5


def test_efficiency_table():
    line = {
        "model": "din",
        "with": "",
        "id_table_weights": 1000,
        "dense_weights": 50,
        "language_weights": 0,
        "train_candidates_per_second": 2000.0,
        "inference_ms_per_request": 1.5,
    }
    line |= {"batch_size": 32, "candidates": 10, "history": 30}
    with_ppm = {**line, "with": "PPM", "train_candidates_per_second": 500.0, "inference_ms_per_request": 3.0}
    text = efficiency_table([line, with_ppm, {**line, "model": "ptab", "id_table_weights": 0, "language_weights": 9000}])
    assert cells(text)[2:] == [
        ["din", "1,000", "50", "", "2,000", "1.50"],
        ["din + PPM", "1,000", "50", "", "500 (0.25 x)", "3.00 (2.00 x)"],
        ["ptab", "0", "50", "9,000", "2,000", "1.50"],
    ]
    assert text.endswith("Steps of 32 requests; a request has up to 10 candidates and 30 behaviors.")


def test_trials_table_has_the_best_first_and_failures_last():
    done = {"best_step": 50, "steps": 100, "seconds": 61.4}
    lines = cells(
        trials_table(
            [
                ({"model.dim": 8}, {"error": "ValueError: no"}),
                ({"model.dim": 16}, {"valid_auc": 0.6, **done}),
                ({"model.dim": 32}, {"valid_auc": 0.7, **done}),
            ]
        )
    )
    assert lines[0] == ["rank", "dim", "validation AUC", "best step", "seconds"]
    assert lines[2:] == [
        ["1", "32", "0.7000", "50 of 100", "61"],
        ["2", "16", "0.6000", "50 of 100", "61"],
        ["-", "8", "failed", "ValueError: no", "-"],
    ]


def of_variants(place, seed):
    auc = {"DIN": 0.70, "w/o ROMA": 0.71, "CELA": 0.73}[place["model"]] + 0.002 * (seed - 1)
    found = measures(auc, (auc - 0.1, auc - 0.05, auc), error=0.01)
    return found | {(task, "all", metric): Measure(value, 1000, None, "", np.full(200, value))
                    for task in ("click", "order", "mean") for metric, value in (("log_loss", 1 - auc), ("group_auc", auc - 0.02))}  # fmt: skip


def test_the_ablation_of_cela_compares_with_the_backbone_and_with_cela(tmp_path):
    found = results({"model": ["DIN", "w/o ROMA", "CELA"]}, of_variants)
    lines = cells(LAYOUTS["cela_table3"].table(found))
    assert lines[0] == ["model", "AUC", "log loss", "group AUC", "AUC, items never seen", "AUC over DIN", "AUC of CELA over it"]
    assert lines[2][:5] == ["DIN", "0.7010 ± 0.0014", "0.2990 ± 0.0014", "0.6810 ± 0.0014", "0.6010 ± 0.0014"] and lines[2][5] == "-"
    assert lines[3][5].startswith("+0.0100") and lines[3][6].startswith("+0.0200") and lines[4][5].startswith("+0.0300") and lines[4][6] == "-"
    pairs = [(one["model"], over["model"]) for one, over in LAYOUTS["cela_table3"].pairs(found)]
    assert pairs == [("w/o ROMA", "DIN"), ("CELA", "DIN"), ("CELA", "w/o ROMA")]
    text = write_report(found, LAYOUTS["cela_table3"], tmp_path, "table 3")
    assert "- CELA beats DIN: yes" in text and "- CELA beats every variant of it: yes (1 of 1;" in text
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {"table3", "by_frequency", "learning_curves"}
