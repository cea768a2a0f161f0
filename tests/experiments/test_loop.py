import logging
from types import SimpleNamespace

from ppm_tf.experiments import loop


def test_a_failure_is_noted_and_the_others_go_on(caplog, monkeypatch):
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))  # its own clock alone: other threads look at time, too

    def work(item):
        if item == "b":
            raise RuntimeError("no memory")
        return 0.5

    with caplog.at_level(logging.INFO, "ppm_tf"):
        found = list(loop.each(["a", "b", "c", "d"], work, str.upper, lambda auc: auc, lambda item: item == "a"))
    assert found == [("a", 0.5, ""), ("b", None, "RuntimeError: no memory"), ("c", 0.5, ""), ("d", 0.5, "")]
    lines = [record.message for record in caplog.records]
    assert lines[0] == "4 cells, 3 of them to be made"
    assert "cell 2 of 4 failed: RuntimeError: no memory" in lines
    assert "cell 1 of 4 done in 1 min 00 s, 3 to be made; A: AUC 0.5000" in lines  # looked up, so it tells nothing of the time
    assert "cell 3 of 4 done in 1 min 00 s, about 1 min 00 s left; C: AUC 0.5000" in lines
    assert lines[-1] == "cell 4 of 4 done in 1 min 00 s, nothing left to be made; D: AUC 0.5000"


def test_an_interruption_ends_the_loop():
    import pytest

    def work(item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(loop.each([1, 2], work, str, float, bool))
