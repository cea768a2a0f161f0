"""The look at a table, and the table of encoders, through the command line."""

import json

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
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
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
        "encoders/image: query, test",
        "",
        "| model | recall_at_10 | mrr_at_100 |",
        "| :-- | --: | --: |",
        "| bert: after | 0.8000 [0.7900, 0.8100] | 0.4000 |",
    ]


def test_one_run_needs_no_name(tmp_path, capsys):
    write_run(tmp_path / "bert", {"before": 0.1})
    report.main(["encoders", str(tmp_path / "bert")])
    assert "| before |" in capsys.readouterr().out


def test_wrong_arguments(tmp_path, capsys):
    for arguments, code, message in (
        (["encoders", str(tmp_path)], 1, "A run must hold metrics of an encoder"),
        (["encoders"], 2, "Arguments must be `table [name]"),
        ([], 2, "Received: none"),
        (["tables"], 2, "Received: tables"),
        (["table", "titel"], 2, "The first argument must be one of: title, image, bow, title_image. Received: titel"),
    ):
        with pytest.raises(SystemExit) as exit:
            report.main(arguments)
        assert exit.value.code == code and message in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit:
        report.main(["--help"])
    assert exit.value.code == 0 and "neighbours.html" in capsys.readouterr().out
    report.main(["table", "--help"])
    assert "report.neighbours" in capsys.readouterr().out
