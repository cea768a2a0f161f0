"""Whole updates of a tiny shop, each in a process of its own: killed at every step, and under a running server."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.update import command
from pipelines.update.command import NOTHING_TO_DO
from ppm_tf.daily import UpdateManifest
from ppm_tf.data.manifest import Manifest
from serving.client import Client
from serving.golden import answers
from tests.day_logs import digests
from tests.pipelines.test_kill import start
from tests.pipelines.test_update import POISONS, with_column

DAYS = ("2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11")
TINY = [
    "data.by_day=true", "data.users=300", "data.items=160", "data.days=11", "data.requests_per_user=25", "data.history_length=8", "data.shards=2",
    "data.candidates=6", "text.num_layers=1", "text.width=16", "text.num_heads=2", "text.vocabulary=300", "text.dim=8", "text.max_tokens=16",
    "text.finetune.epochs=1", "image.size=16", "image.dim=8", "image.finetune.epochs=1", "image.finetune.min_count=2",
    "ppm.width=16", "ppm.mlp_units=[16]", "ppm.num_encoder_layers=1", "ppm.num_decoder_layers=1", "train.epochs=1", "train.steps_per_loop=10",
    "model.backbone={name: din, mlp_units: [16], attention_units: [8]}", "model.train.steps_per_loop=10", "evaluate.bootstrap=0",
    "evaluate.baselines=false", "update.start_days=4", "update.keep_days=7",
    # so few rows that one judges nothing but that the model ranks
    "gate.slices=[all]", "gate.min_rows=100", "gate.min_positives=10", "gate.min_auc={click: 0.4}", "gate.calibration=null", "gate.max_psi=null",
    "gate.min_live_auc=null", "gate.max_live_drop=null", "gate.max_golden_change=null", "gate.label_rate=null", "gate.min_auc_change=-0.2",
    "gate.max_log_loss_change=null", "gate.day_rows=null",
]  # fmt: skip
STEPS = ("prepare", "view", "embed", "live", "pretrain", "train", "gate", "export")
KEPT = ("days", "updates", "exports")


def update(folder, *arguments):
    return start(folder, "pipelines.update", [*TINY, *arguments])


def done(folder, *arguments):
    """The exit code of an update that nothing disturbs."""
    return update(folder, *arguments).wait()


def killed_in(folder, step, *arguments):
    """Kills an update once its log says that a step begins; whether it was there to be killed."""
    log = folder.with_suffix(".log")
    begun = log.stat().st_size
    process = update(folder, *arguments)
    while process.poll() is None:
        if f"update: {step}\n".encode() in log.read_bytes()[begun:]:
            time.sleep({"train": 4.0, "pretrain": 4.0}.get(step, 0.3))  # in the midst of it
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)
    return False


def state(folder):
    """Every file that two runs must have alike: but for those that hold times, the folder of the run, or TensorFlow's numbers of functions."""
    found = {}
    for name in KEPT:
        found |= {f"{name}/{path}": digest for path, digest in digests(folder / name).items()}
    volatile = (
        "made_by.yaml",
        "settings.yaml",
        "manifest.json",
        "card",
        "tensorboard",
        "summary.json",
        "log.jsonl",
        "export.json",
        "train.jsonl",
        "metadata.json",
        "made_of.json",
        ".png",
        "tf_serving_warmup_requests",
        "fingerprint.pb",
        "saved_model.pb",
    )
    return {path: digest for path, digest in found.items() if not any(part in path for part in volatile)}


@pytest.mark.slow
def test_a_day_killed_at_every_step_ends_as_an_undisturbed_one(tmp_path):
    first, second = f"day={DAYS[0]}", f"day={DAYS[1]}"
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    assert [done(unbroken, first), done(unbroken, second)] == [0, 0], unbroken.with_suffix(".log").read_text()[-4000:]
    assert done(killed, first) == 0
    assert [step for step in STEPS if killed_in(killed, step, second)] == list(STEPS)
    assert done(killed, second) == 0, killed.with_suffix(".log").read_text()[-4000:]
    assert done(killed, second) == NOTHING_TO_DO
    found = [state(folder) for folder in (unbroken, killed)]
    weights = [path for path in found[0] if path.endswith((".h5", ".npz", "variables.data-00000-of-00001"))]
    assert len(weights) >= 10 and found[0] == found[1]
    ledgers = [[json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()] for folder in (unbroken, killed)]
    assert ledgers[0] == ledgers[1]


class Load(threading.Thread):
    """Asks a server the same requests over and over; keeps each answer, and what went wrong."""

    def __init__(self, url, golden):
        super().__init__(daemon=True)
        self.url, self.golden = url, golden
        self.answers, self.errors, self.stop = [], [], threading.Event()

    def run(self):
        with Client(self.url, "din-finetune", timeout=20.0, retries=0) as client:
            while not self.stop.is_set():
                try:
                    answer = client.predict(self.golden["inputs"], self.golden["signature_name"])
                    self.answers.append({task: np.array(values) for task, values in answer.items()})
                except Exception as error:
                    self.errors.append(repr(error))
                time.sleep(0.02)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_a_week_is_published_day_by_day_under_load_without_a_failed_or_a_mixed_answer(tmp_path):
    folder, port = tmp_path / "run", free_port()
    assert done(folder, f"day={DAYS[0]}") == 0, folder.with_suffix(".log").read_text()[-4000:]
    base = folder / "exports"
    golden = json.loads((base / "din-finetune" / "1" / "assets.extra" / "golden.json").read_text())
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([sys.executable, "-m", "serving.local", "--base", str(base), "--port", str(port)])
    try:
        with Client(url, "din-finetune", timeout=60.0) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    client.status()
                    break
                except Exception:
                    time.sleep(0.2)
        load = Load(url, golden)
        load.start()
        assert done(folder, f"from={DAYS[1]}", f"to={DAYS[6]}", f"serve.url={url}", "serve.keep=8") == 0, folder.with_suffix(".log").read_text()[
            -4000:
        ]
        time.sleep(2.0)
        load.stop.set()
        load.join(30)
    finally:
        server.terminate()
        server.wait(30)
    assert not load.errors and len(load.answers) > 100
    versions = {number: answers(base / "din-finetune" / str(number), golden) for number in range(1, 8)}
    seen = []
    for answer in load.answers:
        of = [
            number for number, expected in versions.items() if all(np.abs(answer[task] - np.array(expected[task])).max() <= 1e-5 for task in expected)
        ]
        assert of, "an answer is of no version"
        seen.append(max(one for one in of))
    assert sorted(set(seen)) == list(range(1, 8)) and seen == sorted(seen)


@pytest.mark.slow
def test_an_item_that_comes_at_noon_is_served_with_its_vectors(tmp_path):
    folder = tmp_path / "run"
    assert done(folder, f"day={DAYS[0]}") == 0, folder.with_suffix(".log").read_text()[-4000:]
    # the first item of a later day comes today
    today, later = (folder / "raw" / f"day={day}" / "items.parquet" for day in (DAYS[0], "2024-01-09"))
    new = pq.read_table(later).slice(0, 1)
    assert len(new) == 1
    pq.write_table(pa.concat_tables([pq.read_table(today), new]) if today.is_file() else new, today)
    assert done(folder, "--items") == 0, folder.with_suffix(".log").read_text()[-4000:]
    assert done(folder, "--items") == NOTHING_TO_DO or json.loads(about(folder, 2).read_text())["tables_only"]
    assert json.loads(about(folder, 2).read_text())["items"] > json.loads(about(folder, 1).read_text())["items"]
    golden = json.loads((folder / "exports" / "din-finetune" / "1" / "assets.extra" / "golden.json").read_text())
    asked = {
        **golden,
        "inputs": {**golden["inputs"], "candidate_ids": [[new.column("item_id")[0].as_py()] * len(row) for row in golden["inputs"]["candidate_ids"]]},
    }
    before, now = (np.array(answers(folder / "exports" / "din-finetune" / str(number), asked)["click"]) for number in (1, 2))
    assert np.abs(before - now).max() > 1e-4  # by its vectors now, and before as one that nobody knows
    same = [np.array(answers(folder / "exports" / "din-finetune" / str(number), golden)["click"]) for number in (1, 2)]
    assert np.abs(same[0] - same[1]).max() <= 1e-6


def shuffled(table):
    """Labels of the day at random over its rows: no count tells it."""
    order = np.random.default_rng(0).permutation(len(table))
    for task in ("click", "order", "cart"):
        table = with_column(table, task, table.column(task).take(order))
    return table


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A run of a larger shop, whose model ranks well enough to tell what is poisoned, after its first update."""
    folder = tmp_path_factory.mktemp("poisons") / "run"
    assert of_larger(folder, DAYS[0]) == 0
    return folder


LARGER = [
    *TINY, "data.users=1500", "data.items=600", "data.requests_per_user=60", "data.candidates=10", "model.ppm=none", "model.train.epochs=1",
    "model.train.batch_size=256", "gate.min_live_auc=0.52", "gate.max_live_drop=0.02", "gate.label_rate=[0.6, 1.6]", "gate.day_rows=[0.5, 1.6]",
]  # fmt: skip


def of_larger(folder, day):
    """The exit code of an update in this process."""
    try:
        command.main([f"run={folder}", *LARGER, f"day={day}"])
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("poison", [*POISONS, "labels at random"])
def test_a_poisoned_day_is_refused_by_models_that_were_trained_and_the_next_one_publishes(published, tmp_path, poison):
    folder = tmp_path / "run"
    shutil.copytree(published, folder)
    how, reason = {**POISONS, "labels at random": (shuffled, "the live model, which has not changed, ranks the day's rows far worse")}[poison]
    log = folder / "raw" / f"day={DAYS[0]}" / "interactions.parquet"
    pq.write_table(how(pq.read_table(log)), log)
    assert of_larger(folder, DAYS[1]) == command.REFUSED_BY_GATE
    made = UpdateManifest.read(folder / "updates" / DAYS[1] / "manifest.json")
    assert any(part in made.reason.lower() for part in reason.split("|")), made.reason
    assert not made.trained and [path.name for path in (folder / "exports" / "din").iterdir() if path.name.isdigit()] == ["1"]
    assert of_larger(folder, DAYS[2]) == 0
    good = UpdateManifest.read(folder / "updates" / DAYS[2] / "manifest.json")
    assert good.version == 2 and good.started == DAYS[0]
    assert not any(DAYS[0] in window for window in good.window["ranker"]) and good.verdict.figures


@pytest.mark.slow
def test_texts_aligned_anew_are_judged_beside_the_live_model(tmp_path):
    """On the day of an encoder's training the live model reads the vectors that it was trained on."""
    folder, more = (
        tmp_path / "run",
        ["model.ppm=none", "model.tables=[aligned]", "update.cadence.align=2", "text.align.batch_size=16", "text.align.valid=0.1"],
    )
    assert [done(folder, f"day={day}", *more) for day in DAYS[:3]] == [0, 0, 0], folder.with_suffix(".log").read_text()[-4000:]
    first, second, third = (UpdateManifest.read(folder / "updates" / day / "manifest.json") for day in DAYS[:3])
    assert first.encoders == second.encoders != third.encoders
    assert (first.started, second.started, third.started) == (DAYS[0], DAYS[0], DAYS[2])
    assert first.verdict.no_live and not second.verdict.no_live and not third.verdict.no_live
    compared = [line for line in third.verdict.lines if line.bound == "min_auc_change"]
    assert compared and all(np.isfinite(line.figure) for line in compared)
    assert Manifest.read(folder / "updates" / DAYS[2] / "as_live" / "tables" / "aligned").about["encoder_version"] == first.encoders["aligned"]


def about(folder, version):
    return folder / "exports" / "din-finetune" / str(version) / "assets.extra" / "export.json"
