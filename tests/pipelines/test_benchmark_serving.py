"""What serving costs, measured on a small shop with few calls."""

import pytest

from pipelines import benchmark
from pipelines.benchmark import serving
from tests.pipelines.printed import lines_of
from tests.pipelines.small_shop import SETTINGS


@pytest.fixture
def quick(monkeypatch):
    few = {
        "_HISTORY": 6,
        "_SIZES": (1, 3, 5),
        "_SMALL": 3,
        "_LARGE": 5,
        "_ROUNDS": 2,
        "_CALLS": 2,
        "_CLIENTS": (1, 2),
        "_CALLS_A_CLIENT": 2,
        "_MANY_ITEMS": 1000,
        "_WIDTH": 4,
    }
    for name, value in few.items():
        monkeypatch.setattr(serving, name, value)


def test_every_model_size_and_way_is_timed(quick, small_shop, capsys):
    benchmark.main(["serving", f"run={small_shop.folder}", *SETTINGS, "model.backbone.name=din"])
    lines = lines_of(capsys)
    timed = {(line["model"], line["through"], line["candidates"]): line for line in lines if "calls" in line}
    models = ("without PPM", "with PPM", "with PPM, int8 tables")
    assert set(timed) == {(model, how, size) for model in models for how in ("session", "rest") for size in (1, 3, 5)} | {
        (model, "session", "flat") for model in models
    }
    assert all(0 < line["p50_ms"] <= line["p99_ms"] and line["history"] == 6 for line in timed.values())
    assert timed["with PPM", "rest", 5]["calls"] == 4 and timed["with PPM", "session", "flat"]["calls"] == 2
    loads = [line for line in lines if "clients" in line]
    assert [(line["through"], line["clients"]) for line in loads] == [
        (how, clients) for how in ("session", "rest") for _ in models for clients in (1, 2)
    ]
    assert all(line["requests_per_second"] > 0 for line in loads)
    ratios = {line["ratio"]: line for line in lines if "ratio" in line}
    assert list(ratios) == ["5_over_3_candidates", "5_rows_over_5_candidates", "with_over_without_ppm", "int8_over_float16", "encoding_over_cached"]
    assert all(line["quartiles"][0] <= line["median"] <= line["quartiles"][1] for line in ratios.values())
    folder = small_shop.folder / "benchmark" / "serving"
    assert len((folder / "din.jsonl").read_text().splitlines()) == len(lines) - 1  # all but the memory
    assert (folder / "din.png").stat().st_size > 10_000


def test_ratios_are_taken_round_by_round():
    """The second round is ten times slower for both: the ratio does not see it, that of the medians of all calls would."""
    times = serving._Times()
    for seconds in ([0.002, 0.004, 0.9], [0.04], [0.004]):
        times.add(("slow",), seconds)
    for seconds in ([0.001, 0.002, 0.003], [0.02], [0.001]):
        times.add(("fast",), seconds)
    assert times.ratio(("slow",), ("fast",)) == pytest.approx([2.0, 2.0, 3.0])
    assert times.quartiles(("fast",)) == pytest.approx([1.5, 2.0, 11.0])


def test_lookup_finds_every_vector(quick, small_shop, capsys):
    benchmark.main(["lookup", f"run={small_shop.folder}", *SETTINGS])
    (line,) = lines_of(capsys)
    assert line["items"] == 1000 and line["ids"] == 11 and line["right"] is True


def test_threads_of_a_running_process_stay(caplog, monkeypatch):
    """TensorFlow keeps what it started with; the benchmark says so and reports what holds."""
    import tensorflow as tf

    tf.constant(0) + 1
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    before = tf.config.threading.get_intra_op_parallelism_threads()
    assert serving._set_threads()["intra_op_threads"] == before != 7
    assert "operations keep their" in caplog.text
