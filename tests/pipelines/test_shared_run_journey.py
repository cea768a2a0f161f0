"""From the shop to an export, each stage on a machine of its own that has nothing but the run's URL."""

import importlib
import json

import pytest

from pipelines import export, prepare, pretrain, train
from pipelines.stage import main
from ppm_tf.workspace import Workspace
from tests.test_shared_run import machine, server, url  # noqa: F401

SMALL = [
    "data.users=300", "data.items=120", "data.days=8", "data.requests_per_user=8", "data.history_length=6", "data.candidates=4", "data.shards=2",
    "text.encoder=bag_of_words", "text.dim=16", "ppm.tables=[title]", "ppm.width=16", "ppm.mlp_units=[16]", "ppm.num_encoder_layers=1",
    "ppm.num_decoder_layers=1", "train.max_step=20", "train.batch_size=64", "evaluate.bootstrap=5", "evaluate.baselines=false",
    "model.backbone={name: din, mlp_units: [16], attention_units: [8]}", "model.train.max_step=20", "model.train.batch_size=64",
]  # fmt: skip


def test_each_stage_finds_on_its_machine_what_the_others_made(url, machine, tmp_path, caplog):  # noqa: F811
    caplog.set_level("INFO")
    for name, stage in (("first", prepare.STAGE), ("second", pretrain.STAGE), ("third", train.STAGE)):
        machine(name)
        main(stage, [f"run={url}", *SMALL])
    fourth = machine("fourth")
    base = tmp_path / "served"
    export.main([f"run={url}", *SMALL, f"serve.base={base}", "serve.check_requests=50"])
    (version,) = (base / "din-finetune").glob("[0-9]*")
    assert (version / "saved_model.pb").is_file()
    parents = fourth.made_by("models/din-finetune")["parents"]
    assert parents["ppm"] == fourth.id("ppm") and parents["data"] == fourth.id("data")
    assert json.loads((fourth.path("models/din-finetune") / "summary.json").read_text())["steps"] > 0
    made = [record.getMessage() for record in caplog.records if ": done in" in record.getMessage()]
    assert sum("pipelines.prepare" in line for line in made) == 1 and sum("pipelines.pretrain" in line for line in made) == 1
    caplog.clear()
    machine("fifth")
    main(train.STAGE, [f"run={url}", *SMALL])
    assert "is up to date" in caplog.text


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("update.command", ["day=2026-01-01"]),
        ("simulate.command", []),
        ("alternate", []),
        ("prepare", ["day=2026-01-01"]),
        ("benchmark", ["efficiency"]),
    ],
)
def test_what_keeps_more_than_artifacts_refuses_a_url(command, more, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PPM_TF_MIRRORS", str(tmp_path))
    module = importlib.import_module(f"pipelines.{command}")
    arguments = [*more, "run=s3://bucket/run"]
    with pytest.raises(SystemExit) as stopped:
        module.main(arguments) if command != "prepare" else main(module.STAGE, arguments, module.by_days)
    assert stopped.value.code == 2 and "run=<folder> on a local or mounted disk" in capsys.readouterr().err


def test_an_export_of_a_shared_run_wants_a_folder_that_the_server_reads(url, capsys):  # noqa: F811
    Workspace(url)
    with pytest.raises(SystemExit) as stopped:
        export.main([f"run={url}", *SMALL])
    assert stopped.value.code == 2 and "Setting serve.base" in capsys.readouterr().err


def test_a_storage_that_does_not_answer_is_said_in_a_sentence(url, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SystemExit) as stopped:
        main(prepare.STAGE, [f"run={url}", *SMALL])
    assert stopped.value.code == 1 and f"{url}: could not list" in capsys.readouterr().err
