"""A grid of ranking models, with stages that stand in for training: cells, resuming, failures, tables, plots."""

import json

import pytest

from pipelines import benchmark
from pipelines.benchmark.command import BENCHMARKS
from tests.pipelines import fake_stages
from tests.pipelines.fake_stages import BREAKS, MADE

FILE = """
layout: ppm_table2
seeds: [1, 2]
settings: {evaluate.bootstrap: 20}
axes:
  data: {Small: {model.newest: 0.5}, Large: }
  model: {DIN: {model.backbone.name: din}, URM: }
  ppm: {wo.PPM: {model.ppm: none}, w.PPM: {model.ppm: random}}
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    fake_stages.replace_real_ones(monkeypatch)
    path = tmp_path / "table.yaml"
    path.write_text(FILE)
    return lambda *overrides: benchmark.main([str(path), f"run={tmp_path / 'run'}", *overrides])


def kinds():
    return [kind for kind, _ in MADE]


def test_a_grid_is_trained_evaluated_and_reported(grid, tmp_path, capsys):
    grid()
    assert kinds() == ["data"] + ["train", "evaluate"] * 16
    assert len(set(MADE)) == 33  # none twice
    folder = tmp_path / "run" / "benchmark" / "table"
    assert {path.name for path in folder.iterdir()} == {"results.jsonl", "gains.jsonl", "table.md", "plots"}
    drawn = {path.stem for path in (folder / "plots").iterdir()}
    assert drawn == {"table2", "data_efficiency", "gain_by_bucket", "learning_curves"}
    text = (folder / "table.md").read_text()
    assert "16 of 16 cells" in text and f"`python -m pipelines.benchmark {tmp_path / 'table.yaml'} run=" in text
    assert "- PPM helps every backbone (Small): yes (2 of 2; interval above 0 in 2): DIN +0." in text
    out = capsys.readouterr().out
    assert text in out and str(folder) in out and "keeps to itself" not in out


def test_the_figures_are_those_of_the_scores(grid, tmp_path):
    from ppm_tf.evaluation import load_scores
    from ppm_tf.metrics import auc

    grid("seeds=[2]")
    lines = [json.loads(line) for line in (tmp_path / "run/benchmark/table/results.jsonl").read_text().splitlines()]
    (line,) = [
        line
        for line in lines
        if (*line["place"].values(), line["task"], line["slice"], line["metric"]) == ("Small", "DIN", "w.PPM", "order", "all", "auc")
    ]
    scores = load_scores(tmp_path / "run" / "reports" / line["model"] / "scores.npz")
    assert (
        line["seed"] == 2
        and line["value"] == pytest.approx(auc(scores.labels[:, 1], scores.scores[:, 1]))
        and line["low"] < line["value"] < line["high"]
    )
    slices = {
        line["slice"]: line["count"]
        for line in lines
        if line["model"].startswith("urm-random") and (line["task"], line["metric"]) == ("click", "auc")
    }
    assert slices["train_frequency=0"] == (scores.item_row < 4).sum() and slices["train_frequency=5-9"] == (scores.item_row == 5).sum()
    assert slices["history=0"] == 100 and slices["user_frequency=0"] == ((scores.user == 0) | (scores.user >= 40)).sum()


def test_a_second_run_only_looks_up(grid, tmp_path):
    grid()
    first = (tmp_path / "run/benchmark/table/results.jsonl").read_bytes()
    MADE.clear()
    grid()
    assert MADE == [] and (tmp_path / "run/benchmark/table/results.jsonl").read_bytes() == first
    grid("seeds=[1, 2, 3]")
    assert kinds() == ["train", "evaluate"] * 8  # the third seed alone


def test_an_interrupted_run_goes_on(grid, monkeypatch):
    real, calls = fake_stages.REPORTS.run, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        real(*arguments)

    object.__setattr__(fake_stages.REPORTS, "run", interrupted)
    try:
        with pytest.raises(SystemExit) as stopped:
            grid()
        assert stopped.value.code == 130
        done = kinds().count("train")
        MADE.clear()
        grid()
    finally:
        object.__setattr__(fake_stages.REPORTS, "run", real)
    assert done == 5 and kinds().count("train") == 11 and kinds().count("evaluate") == 12


def test_other_ways_of_judging_score_anew_but_train_nothing(grid):
    grid()
    MADE.clear()
    grid("evaluate.bootstrap=30")
    assert kinds() == ["evaluate"] * 16


def test_a_failing_cell_is_noted_and_the_rest_goes_on(grid, tmp_path, capsys):
    BREAKS.add("din")
    with pytest.raises(SystemExit) as stopped:
        grid()
    assert stopped.value.code == 1
    assert "8 of 16 cells failed; the same command tries them again" in capsys.readouterr().err
    text = (tmp_path / "run/benchmark/table/table.md").read_text()
    assert "8 of 16 cells" in text and "- Small, DIN, wo.PPM, seed 1: RuntimeError: no memory for it" in text
    assert "yes (1 of 1; interval above 0 in 1; 1 not measured): URM" in text
    errors = [json.loads(line) for line in (tmp_path / "run/benchmark/table/results.jsonl").read_text().splitlines() if '"error"' in line]
    assert len(errors) == 8 and {line["place"]["model"] for line in errors} == {"DIN"}
    BREAKS.clear()
    grid()
    assert "16 of 16 cells" in (tmp_path / "run/benchmark/table/table.md").read_text()


def test_a_run_folder_of_its_own_reads_the_same_data(tmp_path, monkeypatch):
    fake_stages.replace_real_ones(monkeypatch)
    path, run = tmp_path / "table3.yaml", tmp_path / "run"
    path.write_text("layout: ppm_table3\naxes: {model: {Base: {run: '{run}-base', text.training: [adapt], model.ppm: none}, URM: }}\n")
    benchmark.main([str(path), f"run={run}", "evaluate.bootstrap=20"])
    assert [made for made in MADE if made[0] == "data"] == [("data", str(run))]
    assert (tmp_path / "run-base" / "data").resolve() == (run / "data").resolve()
    assert (run / "benchmark/table3/plots/table3.png").is_file() and not (tmp_path / "run-base/benchmark/table3").exists()
    benchmark.main([str(path), f"run={run}", "evaluate.bootstrap=20"])
    assert kinds().count("data") == 1 and kinds().count("train") == 2


def test_ids_to_align_with_are_those_of_the_cell_that_is_the_same_model(tmp_path, monkeypatch):
    fake_stages.replace_real_ones(monkeypatch)
    path, run = tmp_path / "cela.yaml", tmp_path / "run"
    path.write_text(
        "seeds: [1, 2]\nsettings: {run: '{run}-{seed}', model.backbone.name: din, model.ppm: none}\n"
        "axes: {texts: {none:, CELA: {model.tables: [aligned]},"
        " cosine: {run: '{run}-{seed}-c', text.align.similarity: cosine, model.tables: [aligned]}}}\n"
    )
    benchmark.main([str(path), f"run={run}", "evaluate.bootstrap=20"])
    # 2 x 3 cells, and no ids beside them: those of the last ones, in a folder of their own, are read in the first one's
    assert kinds().count("train") == 6 and [made[1] for made in MADE if made[0] == "align"] == [1, 1, 2, 2]
    found = (tmp_path / "run-1" / "models" / "din").resolve()
    assert found.name.startswith("din-s1-") and json.loads((found / "summary.json").read_text())["noise"] == pytest.approx(0.25)
    MADE.clear()
    benchmark.main([str(path), f"run={run}", "evaluate.bootstrap=20"])
    assert kinds() == []


COSTS = """
layout: cela_table2
seeds: [1, 2]
settings: {run: '{run}-{seed}', evaluate.bootstrap: 20, model.ppm: none, model.backbone.name: din}
axes: {model: {DIN:, DIN + CELA: {model.tables: [aligned]}}}
"""


@pytest.fixture
def timings(monkeypatch):
    """The models that were timed, a list of each time; the n-th takes n milliseconds, all a tenth longer at each time."""
    from pipelines.benchmark import costs
    from ppm_tf.experiments.costs import Served

    found = []

    def time_together(configs):
        found.append([(config.model.folder, config.model.seed) for config in configs])
        slower = 1 + 0.1 * (len(found) - 1)
        return [Served(50, 0, tuple(slower * number * turn for turn in (1, 2, 1))) for number, _ in enumerate(configs, start=1)], "by hand"

    monkeypatch.setattr(costs, "time_together", time_together)
    return found


def test_costs_are_timed_together_at_the_end_and_kept_while_no_model_changes(tmp_path, monkeypatch, timings, caplog):
    fake_stages.replace_real_ones(monkeypatch)
    path, folder = tmp_path / "costs.yaml", tmp_path / "run" / "benchmark" / "costs"
    path.write_text(COSTS)
    run = lambda *more: benchmark.main([str(path), f"run={tmp_path / 'run'}", *more])
    run()
    assert [[seed for _, seed in once] for once in timings] == [[1, 1]]  # of the first seed alone
    lines = [json.loads(line) for line in (folder / "costs.jsonl").read_text().splitlines()]
    assert [(line["place"]["model"], line["seed"], line["served"] is None) for line in lines] == [
        ("DIN", 1, False), ("DIN + CELA", 1, False), ("DIN", 2, True), ("DIN + CELA", 2, True)
    ]  # fmt: skip
    assert [[stage["part"] for stage in line["stages"]] for line in lines[:2]] == [["ranker"], ["ids", "vectors", "ranker"]]
    assert [stage["seconds"] for stage in lines[1]["stages"]] == [10, None, 10]  # the stage that stands in for the table says nothing
    text = (folder / "table.md").read_text()
    assert "4 of 4 cells. Inference: by hand." in text and "| 2.00 [2.00, 4.00] | 2.00 [2.00, 2.00] |" in text
    assert "or less: not (0 of 1; in 0 of 3 rounds): DIN + CELA 2.00 [2.00, 2.00]" in text and (folder / "plots" / "costs.png").is_file()
    run()
    assert len(timings) == 1 and (folder / "table.md").read_text() == text
    path.write_text(COSTS.replace("DIN + CELA:", "UniSRec: {model.dim: 32}, DIN + CELA:"))
    run()
    assert [len(once) for once in timings] == [2, 3] and "| 3.30 [3.30, 6.60] | 3.00 [3.00, 3.00] |" in (folder / "table.md").read_text()
    (folder / "inference.json").unlink()
    run()
    assert len(timings) == 3


def test_a_cell_that_failed_is_not_timed(tmp_path, monkeypatch, timings):
    fake_stages.replace_real_ones(monkeypatch)
    path = tmp_path / "costs.yaml"
    path.write_text(COSTS.replace("DIN + CELA: {model.tables: [aligned]}", "DeepFM: {model.backbone.name: deepfm}"))
    BREAKS.add("deepfm")
    with pytest.raises(SystemExit):
        benchmark.main([str(path), f"run={tmp_path / 'run'}", "seeds=[1]"])
    assert [len(once) for once in timings] == [1]
    BREAKS.clear()
    benchmark.main([str(path), f"run={tmp_path / 'run'}", "seeds=[1]"])
    assert [len(once) for once in timings] == [1, 2]


def test_what_is_timed_together_reads_the_same_requests(tmp_path, capsys):
    path = tmp_path / "costs.yaml"
    path.write_text(COSTS.replace("{model.tables: [aligned]}", "{run: '{run}-other', data.users: 50}"))
    with pytest.raises(SystemExit) as stopped:
        benchmark.main([str(path)])
    assert stopped.value.code == 2 and "models that are timed together must read the same requests" in capsys.readouterr().err


def test_wrong_files_and_words_exit_with_2(tmp_path, capsys):
    path = tmp_path / "wrong.yaml"
    path.write_text("layout: ppm_table3\naxes: {model: {A: {model.dimm: 3}}}\n")
    for arguments, message in (
        ([str(path)], "cell A: Setting model.dimm is not known. Did you mean model.dim?"),
        ([str(tmp_path / "none.yaml")], "The file must exist. Received"),
        (
            ["fast"],
            f"The first argument must be a file of configs/benchmark, all, or one of {', '.join(BENCHMARKS)}. Received: fast",
        ),
        ([], "Received: none"),
    ):
        with pytest.raises(SystemExit) as stopped:
            benchmark.main(arguments)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
