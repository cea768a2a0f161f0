"""The training log: what a training cost, over kills and ways back, by a clock that is set by hand."""

import pytest

from ppm_tf.training import log as logs


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved: `clock.now`."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    return clock


def test_seconds_and_examples_go_on_where_a_kill_left_them(tmp_path, clock):
    log = logs.TrainingLog(tmp_path / "train.jsonl", 0)
    for step in (5, 10, 15):
        clock.now += 2
        log.examples += 80
        log.write(step=step, loss=0.5)
    clock.now += 500  # killed, and a day later another process goes on from the checkpoint of step 10
    log.close()
    again = logs.TrainingLog(tmp_path / "train.jsonl", 10)
    assert (again.seconds, again.examples) == (4, 160)
    clock.now += 3
    again.examples += 80
    again.write(step=15, loss=0.4)
    again.close()
    assert [(line["step"], line["seconds"], line["examples"]) for line in logs.read_log(tmp_path / "train.jsonl")] == [
        (5, 2, 80), (10, 4, 160), (15, 7, 240)
    ]  # fmt: skip


def test_steps_that_a_training_goes_back_from_were_paid_for(tmp_path, clock):
    log = logs.TrainingLog(tmp_path / "train.jsonl", 0)
    for step in (5, 10):
        clock.now += 2
        log.examples += 80
        log.write(step=step, loss=0.5)
    log.go_back(5)
    log.write(step=5, falls="patience")
    log.close()
    assert [(line["step"], line["seconds"], line["examples"]) for line in logs.read_log(tmp_path / "train.jsonl")] == [(5, 2, 80), (5, 4, 160)]
    clock.now += 60
    again = logs.TrainingLog(tmp_path / "train.jsonl", 5)
    again.close()
    assert (again.seconds, again.examples) == (4, 160)


def test_a_log_of_before_begins_to_count_now(tmp_path, clock):
    (tmp_path / "train.jsonl").write_text('{"step": 5, "loss": 0.5}\n')
    log = logs.TrainingLog(tmp_path / "train.jsonl", 5)
    log.close()
    assert (log.seconds, log.examples) == (0, 0)
