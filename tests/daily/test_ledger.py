"""The ledger: a day once, by content; whole whatever kills its writer."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from ppm_tf.daily import Event, Ledger, LedgerError, day_hash

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl")


def test_events_are_lines_in_order(ledger):
    ledger.prepare("2026-11-18", "a")
    ledger.train("2026-11-18", "head", "ppm", by="2026-11-20")
    ledger.refuse("2026-11-19", "b", by="2026-11-20", reason="half of the labels are gone")
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert [(line["day"], line["what"]) for line in lines] == [("2026-11-18", "prepared"), ("2026-11-18", "trained"), ("2026-11-19", "refused")]
    assert ledger.events()[1] == Event("2026-11-18", "a", "trained", "head", "ppm", "2026-11-20")
    assert (ledger.hash_of("2026-11-18"), ledger.hash_of("2026-11-19")) == ("a", None)
    assert sorted(path.name for path in ledger.path.parent.iterdir()) == [".ledger.jsonl.lock", "ledger.jsonl"]


def test_the_same_command_again_writes_nothing(ledger):
    for _ in range(2):
        ledger.prepare("2026-11-18", "a")
        ledger.train("2026-11-18", "head", "ppm", by="2026-11-20")
        ledger.refuse("2026-11-19", "b", "2026-11-20", "labels")
    assert len(ledger.events()) == 3


def test_a_day_under_another_name_is_refused(ledger):
    ledger.prepare("2026-11-18", day_hash(["x", "y"]))
    with pytest.raises(LedgerError, match="Received: 2026-11-19, whose files are those of 2026-11-18, byte for byte. Remedy: bring the files"):
        ledger.prepare("2026-11-19", day_hash(["y", "x"]))
    assert len(ledger.events()) == 1


def test_days_without_rows_are_alike_and_allowed(ledger):
    for name in ("2026-11-18", "2026-11-19"):
        ledger.prepare(name, day_hash([]))
    assert len(ledger.events()) == 2


def test_a_day_that_changed_after_a_model_learnt_from_it_is_refused_by_name(ledger):
    ledger.prepare("2026-11-18", "a")
    ledger.prepare("2026-11-18", "b")  # nobody has learnt from it yet: it may come again
    ledger.train("2026-11-18", "head", "ranker", by="2026-11-19")
    with pytest.raises(
        LedgerError,
        match=r"Received: 2026-11-18, whose files have changed since ranker \(update of 2026-11-19\) learnt .*restore its files, or train",
    ):
        ledger.prepare("2026-11-18", "c")
    ledger.prepare("2026-11-18", "b")
    ledger.prepare("2026-11-19", "a")  # no day holds it any longer


def test_a_model_learns_a_part_once(ledger):
    ledger.prepare("2026-11-18", "a")
    ledger.train("2026-11-18", "head", "ranker", by="2026-11-19")
    ledger.train("2026-11-18", "tail", "ranker", by="2026-11-20")
    ledger.train("2026-11-18", "head", "ppm", by="2026-11-20")
    ledger.train("2026-11-18", "head", "ranker since 2026-11-20", by="2026-11-20")  # from scratch: another model
    ledger.refuse_trained("2026-11-18", "head", "ranker", by="2026-11-19")  # the same update, after a kill
    with pytest.raises(
        LedgerError, match=r"Received: ranker, to be trained on the head of 2026-11-18 by the update of 2026-11-21; that of 2026-11-19 has done so"
    ):
        ledger.train("2026-11-18", "head", "ranker", by="2026-11-21")
    with pytest.raises(LedgerError, match="to be trained on 2026-11-18 by"):
        ledger.refuse_trained("2026-11-18", "", "ranker", by="2026-11-21")
    with pytest.raises(LedgerError, match="A day must be prepared before it is trained on. Received: 2026-11-17"):
        ledger.train("2026-11-17", "head", "ranker", by="2026-11-21")


def test_what_a_discarded_update_learnt_may_be_learnt_again(ledger):
    ledger.prepare("2026-11-18", "a")
    ledger.train("2026-11-18", "head", "ranker", by="2026-11-19")
    ledger.discard("2026-11-19", "refused by the gate: AUC")
    assert not ledger.trained("2026-11-18")
    ledger.train("2026-11-18", "head", "ranker", by="2026-11-20")
    assert [one.by for one in ledger.trained("2026-11-18")] == ["2026-11-20"]


def test_a_discarded_update_that_runs_again_counts_again(ledger):
    ledger.prepare("2026-11-18", "a")
    for _ in range(2):
        ledger.train("2026-11-18", "head", "ranker", by="2026-11-19")
        ledger.discard("2026-11-19", "refused by the gate")
        assert not ledger.trained("2026-11-18")
    ledger.train("2026-11-18", "head", "ranker", by="2026-11-19")
    assert len(ledger.trained("2026-11-18")) == 1


def test_a_broken_line_is_named(ledger):
    ledger.path.write_text(json.dumps(asdict(Event("2026-11-18", "a", "prepared"))) + '\n{"day": "2026\n')
    with pytest.raises(ValueError, match=r"must hold one event a line. Received, in line 2: '{\"day\": \"2026'.*Remedy: restore the file"):
        ledger.events()


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_writer_killed_at_any_moment_leaves_whole_lines(ledger, moment):
    ledger.prepare("2026-11-18", "a")
    code = (
        "import os, signal, sys\nfrom ppm_tf.daily import Ledger\n"
        f"os.{moment} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Ledger(sys.argv[1]).prepare('2026-11-19', 'b')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ledger.path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    assert [one.day for one in ledger.events()] == ["2026-11-18"]
    ledger.prepare("2026-11-19", "b")  # the lock of the dead is void
    assert [one.day for one in ledger.events()] == ["2026-11-18", "2026-11-19"]
