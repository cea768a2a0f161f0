"""SIGKILL at any moment of a stage: nothing half made, and a new start ends well."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ppm_tf.workspace import Workspace

SMALL = [
    "data.users=300", "data.items=200", "data.days=6", "data.history_length=8", "data.shards=3", "ppm.width=16", "ppm.mlp_units=[16]",
    "text.num_layers=1", "text.width=16", "text.num_heads=2", "text.vocabulary=300", "text.dim=8", "text.max_tokens=16", "text.finetune.epochs=1",
    "image.size=16", "image.dim=8", "image.finetune.epochs=1", "image.finetune.min_count=2",
    "model.backbone={name: urm, width: 16, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, expert_units: [16], tower_units: [8]}",
    "model.train.epochs=2", "model.train.steps_per_loop=10", "model.train.validate_every=20", "model.train.checkpoint_every=20",
    "train.epochs=2", "train.steps_per_loop=10", "train.validate_every=20", "train.checkpoint_every=20", "evaluate.bootstrap=0",
]  # fmt: skip


def start(folder):
    """The evaluation of a ranking model and all before it, in a process of its own; its output goes into a file beside the run."""
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen([sys.executable, "-m", "pipelines.evaluate", f"run={folder}", *SMALL], stdout=log, stderr=subprocess.STDOUT)


def whole(workspace):
    """Every artifact that is there is whole."""
    for name in (
        "raw",
        "data",
        "encoders/text",
        "encoders/image",
        "tables/title",
        "tables/image",
        "ppm",
        "models/urm-finetune",
        "reports/urm-finetune",
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
    killed = 0
    for seconds in (2, 4, 6, 8, 10, 12, 14, 17, 20, 24, 28, 32):
        process = start(tmp_path / "killed")
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        whole(Workspace(tmp_path / "killed"))
        time.sleep(0.1)
    assert killed >= 4
    assert start(tmp_path / "killed").wait() == 0, (tmp_path / "killed.log").read_text()
    metrics = [(tmp_path / name / "reports" / "urm-finetune" / "metrics.jsonl").read_text() for name in ("unbroken", "killed")]
    assert metrics[0] == metrics[1]
    assert os.listdir(tmp_path / "killed" / ".state") == os.listdir(tmp_path / "unbroken" / ".state")
