"""The look at a table, and the table of encoders, through the command line."""

import json
import re

import pytest
import yaml

from pipelines import report
from ppm_tf.evaluation import Record, write_metrics
from tests.raw_logs import write_file
from tests.reports.test_sheet import picture


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A catalog of four kinds of goods with pictures, without a log, and a bag of words over it."""
    folder = tmp_path_factory.mktemp("goods")
    kinds = ["oak table", "wool hat", "steel lamp", "silk shirt"]
    items = {
        "item_id": list(range(40)),
        "title": [f"{kinds[number % 4]} {kinds[number % 4]} number {number}" if number else None for number in range(40)],
        "kind": [kinds[number % 4].split()[1] for number in range(40)],
        "brand": ["one"] * 40,
        "photo": [picture()] * 20 + [None] * 20,
    }
    write_file(folder / "items.parquet", items)
    config = {
        "run": str(folder / "run"),
        "data": {
            "source": "columnar", "path": str(folder), "log": None,
            "items": {"text": ["title"], "image": "photo", "fields": {"kind": "kind", "brand": "brand"}},
        },
        "text": {"encoder": "bag_of_words", "dim": 8},
        "report": {"items": 5, "neighbours": 3, "map": "pca"},
    }  # fmt: skip
    (folder / "goods.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def test_the_look_at_a_table(settings, capsys):
    report.main(["table", "title", str(settings / "goods.yaml")])
    folder = settings / "run" / "reports" / "tables" / "title"
    assert {"neighbours.html", "norms.png", "map.png", "summary.json"} <= {path.name for path in folder.iterdir()}
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["items"], summary["with_vector"], summary["category"]) == (40, 39, "kind")
    assert summary["neighbours_of_same_category"] == 1 and summary["by_chance"] == pytest.approx(9 / 38, abs=0.01)
    sheet = (folder / "neighbours.html").read_text()
    assert sheet.count('<div class="row">') == 5 and sheet.count("cosine ") == 15 + 2 and "data:image/jpeg" in sheet
    printed = capsys.readouterr().out
    assert "39 of 40 (2.5% missing)" in printed and "neighbours of the same kind" in printed and str(folder / "neighbours.html") in printed
    report.main(["table", "title", str(settings / "goods.yaml"), "report.category=brand"])
    assert json.loads((folder / "summary.json").read_text())["by_chance"] == 1


def test_refuses_a_category_that_is_no_item_field(settings, capsys):
    with pytest.raises(SystemExit):
        report.main(["table", "title", str(settings / "goods.yaml"), "report.category=colour"])
    assert "report.category must be an item field of the data. Received: colour. Its item fields are: kind, brand." in capsys.readouterr().err


# === encoders ===


def write_run(folder, recalls, kind="text"):
    for model, recall in recalls.items():
        records = [
            Record("query", "test", "recall_at_10", recall, recall - 0.01, recall + 0.01, 9),
            Record("query", "test", "mrr_at_100", recall / 2),
        ]
        write_metrics(records, folder / "encoders" / kind / "metrics.jsonl", model, 1)


def test_encoders_side_by_side(tmp_path, capsys):
    write_run(tmp_path / "minilm", {"TF-IDF": 0.35, "before": 0.3, "after": 0.4})
    write_run(tmp_path / "bert", {"TF-IDF": 0.35, "before": 0.1, "after": 0.2})
    write_run(tmp_path / "bert", {"after": 0.8}, "image")
    report.main(["encoders", str(tmp_path / "minilm"), str(tmp_path / "bert")])
    printed = [re.sub(r"-{2,}", "--", " ".join(line.split())) for line in capsys.readouterr().out.splitlines()]
    assert printed == [
        "encoders/text: query, test",
        "",
        "| model | recall_at_10 | mrr_at_100 |",
        "| :-- | --: | --: |",
        "| TF-IDF | 0.3500 [0.3400, 0.3600] | 0.1750 |",
        "| minilm: before | 0.3000 [0.2900, 0.3100] | 0.1500 |",
        "| minilm: after | 0.4000 [0.3900, 0.4100] | 0.2000 |",
        "| bert: before | 0.1000 [0.0900, 0.1100] | 0.0500 |",
        "| bert: after | 0.2000 [0.1900, 0.2100] | 0.1000 |",
        "",
        "In brackets: interval over the held-out part alone, resampled, of one training; another seed moves a figure besides.",
        "",
        "encoders/image: query, test",
        "",
        "| model | recall_at_10 | mrr_at_100 |",
        "| :-- | --: | --: |",
        "| bert: after | 0.8000 [0.7900, 0.8100] | 0.4000 |",
        "",
        "In brackets: interval over the held-out part alone, resampled, of one training; another seed moves a figure besides.",
    ]


def test_one_run_needs_no_name(tmp_path, capsys):
    write_run(tmp_path / "bert", {"before": 0.1})
    report.main(["encoders", str(tmp_path / "bert")])
    assert "| before |" in capsys.readouterr().out


# === seeds ===


def write_report(run, seed, auc, count=900, name="ppm"):
    path = run / "reports" / name / "metrics.jsonl"
    records = [Record("click", "all", "auc", auc, auc - 0.001, auc + 0.001, count), Record("click", "train_frequency=0", "auc", auc - 0.1, count=90)]
    write_metrics(records, path, name, seed)
    write_metrics(
        [Record("click", "all", "auc", 0.6, 0.59, 0.61, count), Record("click", "train_frequency=0", "auc", 0.5, count=90)], path, "item_mean", seed
    )
    return str(run)


def test_runs_of_several_seeds_give_mean_deviation_and_students_interval(tmp_path, capsys):
    runs = [write_report(tmp_path / f"shop-{seed}", seed, auc) for seed, auc in ((1, 0.65), (2, 0.66), (3, 0.67))]
    write_report(tmp_path / "shop-1", 1, 0.7, name="urm-finetune")  # which the others do not have
    report.main(["seeds", *runs])
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert printed[0] == "reports/ppm" and "Task click, 900 candidates" in printed
    assert "| ppm | 0.6600 ± 0.0100 [0.6352, 0.6848] | - | - | - |" in printed  # 4.303 * .01 / sqrt(3)
    assert "| item_mean | 0.6000 ± 0.0000 | - | - | - |" in printed
    assert "| 0 | 90 | 10.0% | 0.5600 ± 0.0100 | 0.5000 ± 0.0000 | +0.0600 |" in printed
    assert printed[-1].startswith("Means of 3 seeds (1, 2, 3).") and not any("urm" in line for line in printed)


def test_runs_that_cannot_be_joined_are_refused(tmp_path, capsys):
    first, second = write_report(tmp_path / "a", 1, 0.65), write_report(tmp_path / "b", 1, 0.66)
    other = write_report(tmp_path / "c", 2, 0.66, count=901)
    for runs, message in (
        ([first], "A spread over seeds needs at least two runs. Received:"),
        ([first, str(tmp_path / "none")], "The runs must have a report in common"),
        ([first, second], "Each run must have a seed of its own. Received:"),
        ([first, other], "The runs must be judged on the same test candidates. Received: 900 in"),
    ):
        with pytest.raises(SystemExit) as exit:
            report.main(["seeds", *runs])
        assert exit.value.code == 1 and message in capsys.readouterr().err


def test_wrong_arguments(tmp_path, capsys):
    for arguments, code, message in (
        (["encoders", str(tmp_path)], 1, "A run must hold metrics of an encoder"),
        (["encoders"], 2, "Arguments must be `table [name]"),
        ([], 2, "Received: none"),
        (["tables"], 2, "Received: tables"),
        (["table", "titel"], 2, "The first argument must be one of: title, image, bow, title_image, aligned, aligned_vectors, ids. Received: titel"),
    ):
        with pytest.raises(SystemExit) as exit:
            report.main(arguments)
        assert exit.value.code == code and message in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit:
        report.main(["--help"])
    assert exit.value.code == 0 and "neighbours.html" in capsys.readouterr().out
    report.main(["table", "--help"])
    assert "report.neighbours" in capsys.readouterr().out
