"""What ranking models cost, measured on a small shop with few steps."""

import numpy as np
import pytest

from pipelines import benchmark
from pipelines.benchmark import ranking, served
from tests.models.tiny_ranking import SCHEMA
from tests.pipelines.printed import lines_of
from tests.pipelines.small_shop import SETTINGS


@pytest.fixture
def quick(monkeypatch):
    for name, value in {"_WARM_UP": 1, "_STEPS": 4, "_ROUNDS": 2, "_HISTORY": 6, "_REQUESTS": 4, "_CANDIDATES": 3}.items():
        monkeypatch.setattr(ranking, name, value)


def test_a_wait_is_the_median_over_batches_that_are_scored_until_the_time_is_over(monkeypatch):
    """A batch takes as many seconds as its number says."""
    scored = []
    monkeypatch.setattr(served, "timed", lambda call: ((call(), 0.0), None))

    class Score:
        def __init__(self, batch):
            self.batch = batch

        def numpy(self):
            scored.append(self.batch)
            return float(self.batch)

    assert served.median_wait(Score, [1, 3]) == 2.0 and scored == [1, 3]
    assert served.median_wait(Score, [1, 1, 4], at_least=10.0) == 1.0 and scored[2:] == [1, 1, 4] * 2


def test_one_candidate_each_holds_the_same_candidates(quick):
    many = ranking.random_requests(SCHEMA, 20, np.array([7, 8]), seed=0)
    one = ranking.one_candidate_each(many)
    assert many["item"].shape == (4, 3) and one["item"].shape == (12, 1) and one["labels"].shape == (12, 1, 2)
    np.testing.assert_array_equal(one["item"].ravel(), many["item"].ravel())
    np.testing.assert_array_equal(one["history"][::3], many["history"])
    np.testing.assert_array_equal(one["slot"].ravel(), np.tile([0, 1, 2], 4))
    assert (np.diff(many["history_time"], axis=1) <= 0).all() and many["user"].shape == (4, 1) and many["item"].min() >= 2
    assert len(set(one["request"])) == 12


def test_many_candidates_a_request_give_the_same_scores(quick, small_shop, capsys):
    benchmark.main(["candidates", f"run={small_shop.folder}", *SETTINGS])
    lines = lines_of(capsys)
    assert [line["model"] for line in lines] == ["din", "urm"]
    for line in lines:
        assert float(line["largest_difference_of_logits"]) < 1e-5 < float(line["spread_of_logits"])
        assert line["ms_per_step"] > 0 and line["ratio"] == pytest.approx(line["ms_per_step"] / line["ms_per_step_of_one_candidate_each"], abs=0.01)


def test_efficiency_of_each_backbone(quick, small_shop, capsys, monkeypatch):
    from ppm_tf import backbones

    monkeypatch.setattr(backbones, "BACKBONES", {name: backbones.BACKBONES[name] for name in ("din", "unisrec")})  # the battery builds them all
    benchmark.main(["efficiency", f"run={small_shop.folder}", *SETTINGS])
    *lines, ptab, ctr_bert, p5 = sorted((line for line in lines_of(capsys) if "model" in line), key=lambda line: line["language_weights"] > 0)
    for one in (ptab, ctr_bert, p5):
        assert one["id_table_weights"] == 0 and one["with"] == "" and one["language_weights"] + one["dense_weights"] == one["weights"]
        assert one["train_candidates_per_second"] > 0 and one["inference_ms_per_request"] > 0
    heads = {one["model"]: one["dense_weights"] for one in (ptab, ctr_bert, p5)}  # language models of width 64, three tasks
    assert heads == {"ptab": 64 * 128 + 128 + 128 * 3 + 3, "ctr_bert": 2 * 64 * 128 + 128 + 128 * 3 + 3, "p5": 129 * 64}
    *lines, adaptor = lines
    assert (adaptor["model"], adaptor["with"]) == ("unisrec", "table")  # it reads one, or nothing
    assert [(line["model"], line["with"]) for line in lines] == [("din", more) for more in ("", "PPM", "table")]
    alone, *others = lines
    for one in others:
        assert alone["id_table_weights"] == one["id_table_weights"] > 0 and alone["dense_weights"] < one["dense_weights"]
        assert alone["train_candidates_per_second"] > 0 and one["inference_ms_per_request"] > 0
    assert others[1]["dense_weights"] > alone["dense_weights"] + 384 * 16  # its projection, and wider layers behind it
    folder = small_shop.folder / "benchmark" / "efficiency"
    text = (folder / "table.md").read_text()
    assert "| din + PPM" in text and "| din + table" in text and len((folder / "results.jsonl").read_text().splitlines()) == 7
