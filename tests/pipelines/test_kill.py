"""SIGKILL at any moment of a stage: nothing half made, and a new start ends well."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ppm_tf.workspace import Workspace
from tests.day_logs import digests

SMALL = [
    "data.users=300", "data.items=200", "data.days=6", "data.history_length=8", "data.shards=3", "ppm.width=16", "ppm.mlp_units=[16]",
    "text.num_layers=1", "text.width=16", "text.num_heads=2", "text.vocabulary=300", "text.dim=8", "text.max_tokens=16", "text.finetune.epochs=1",
    "image.size=16", "image.dim=8", "image.finetune.epochs=1", "image.finetune.min_count=2",
    "model.backbone={name: urm, width: 16, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, expert_units: [16], tower_units: [8]}",
    "model.train.epochs=2", "model.train.steps_per_loop=10", "model.train.validate_every=20", "model.train.checkpoint_every=20",
    "train.epochs=2", "train.steps_per_loop=10", "train.validate_every=20", "train.checkpoint_every=20", "evaluate.bootstrap=0",
]  # fmt: skip


def start(folder, module="pipelines.evaluate", settings=SMALL):
    """The evaluation of a ranking model and all before it, in a process of its own; its output goes into a file beside the run."""
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen([sys.executable, "-m", module, f"run={folder}", *settings], stdout=log, stderr=subprocess.STDOUT)


def killed_at(moments, folder, *command):
    """How often a command could be killed, so many seconds after each new start; looks at what is left each time."""
    killed = 0
    for seconds in moments:
        process = start(folder, *command)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        whole(Workspace(folder))
        time.sleep(0.1)
    return killed


def whole(workspace):
    """Every artifact that is there is whole."""
    for name in (
        "raw",
        "data",
        "encoders/text",
        "encoders/image",
        "encoders/aligned",
        "tables/title",
        "tables/aligned",
        "tables/image",
        "ppm",
        "models/urm-finetune",
        "models/din",
        "models/din-aligned",
        "models/din-pretrain",
        "reports/urm-finetune",
        "reports/alternate",
    ):
        if workspace.path(name).exists():
            assert workspace.exists(name), name
    if workspace.exists("data"):
        for split in ("pretrain", "train", "valid", "test"):
            from ppm_tf.data.manifest import Manifest, whole_shards

            whole_shards(workspace.path("data") / "samples" / split, Manifest.read(workspace.path("data") / "samples" / split))


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_an_unbroken_run(tmp_path):
    assert start(tmp_path / "unbroken").wait() == 0, (tmp_path / "unbroken.log").read_text()
    assert killed_at((2, 4, 6, 8, 10, 12, 14, 17, 20, 24, 28, 32), tmp_path / "killed") >= 4
    assert start(tmp_path / "killed").wait() == 0, (tmp_path / "killed.log").read_text()
    metrics = [(tmp_path / name / "reports" / "urm-finetune" / "metrics.jsonl").read_text() for name in ("unbroken", "killed")]
    assert metrics[0] == metrics[1]
    assert os.listdir(tmp_path / "killed" / ".state") == os.listdir(tmp_path / "unbroken" / ".state")


ROUNDS = [
    *(one for one in SMALL if not one.startswith("model.backbone=")),
    "rounds=2", "text.training=[adapt]", "text.adapt.epochs=1", "text.align.batch_size=16", "text.align.epochs=2", "text.align.valid=0.1",
    "text.align.test=0.1", "text.align.steps_per_loop=2",
    "model.backbone={name: din, mlp_units: [16], attention_units: [8]}",
]  # fmt: skip


@pytest.mark.slow
def test_an_alternation_killed_again_and_again_ends_as_an_unbroken_one(tmp_path):
    command = ("pipelines.alternate", ROUNDS)
    assert start(tmp_path / "unbroken", *command).wait() == 0, (tmp_path / "unbroken.log").read_text()
    assert killed_at((3, 6, 9, 12, 15, 18, 22, 26, 30), tmp_path / "killed", *command) >= 4
    assert start(tmp_path / "killed", *command).wait() == 0, (tmp_path / "killed.log").read_text()
    found = []
    for name in ("unbroken", "killed"):
        lines = [json.loads(line) for line in (tmp_path / name / "reports/alternate/rounds.jsonl").read_text().splitlines()]
        found.append([{key: value for key, value in line.items() if key != "model"} for line in lines])
        for number in range(1, len(lines)):
            whole(Workspace(tmp_path / name / "rounds" / str(number)))
    assert len(found[0]) >= 2 and found[0] == found[1]


DAYS = [
    "day=2024-01-06", "data.by_day=true", "data.users=300", "data.items=200", "data.days=6", "data.shards=2", "data.history_length=8",
]  # fmt: skip


@pytest.mark.slow
def test_days_killed_again_and_again_end_as_undisturbed_ones(tmp_path):
    command = ("pipelines.prepare", DAYS)
    assert start(tmp_path / "unbroken", *command).wait() == 0, (tmp_path / "unbroken.log").read_text()
    assert killed_at((3, 6, 9, 10, 11, 12, 13, 14, 15, 16), tmp_path / "killed", *command) >= 4
    assert start(tmp_path / "killed", *command).wait() == 0, (tmp_path / "killed.log").read_text()
    found = [digests(tmp_path / name / "days") for name in ("unbroken", "killed")]
    assert len(found[0]) > 100 and found[0] == found[1]
    assert os.listdir(tmp_path / "killed" / ".state") == os.listdir(tmp_path / "unbroken" / ".state")
