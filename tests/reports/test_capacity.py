"""Figures of a large system against numbers worked out by hand, and what becomes of rates that nobody measured."""

from dataclasses import replace

import pytest

from ppm_tf.reports.capacity import Rates, Sizes, capacity, capacity_table

SIZES = Sizes(
    items=93_322_811, users=505_439_104, field_rows=0, id_dim=64, tables={"both": 128}, table_dtype="float32", requests=1_242_000,
    days=10, request_bytes=200, peak=1000, utilisation=0.5, hours=4,
)  # fmt: skip
RATES = Rates(embed=1000, ppm=100, ranker=345, request_ms=3, remedy={})


def values(sizes=SIZES, rates=RATES):
    return {line.name: line.value for line in capacity(sizes, rates)}


@pytest.mark.parametrize(("dtype", "gigabytes"), [("float32", 47.8), ("float16", 23.9), ("int8", 12.3)])  # int8: 128 numbers and 4 bytes of scale
def test_a_content_table_of_the_papers_catalog(dtype, gigabytes):
    assert values(replace(SIZES, table_dtype=dtype))["table both"] / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_id_rows_and_their_moments():
    """SKU ids alone, 64 wide: 23.9 GB, with Adam's two moments 71.7."""
    alone = values(replace(SIZES, users=0, tables={}))
    assert alone["id tables"] / 1e9 == pytest.approx(23.9, abs=0.05)
    assert (alone["a training machine"] - alone["id to row"]) / 1e9 == pytest.approx(71.7, abs=0.05)
    assert alone["a serving replica"] == 2 * (alone["id tables"] + alone["id to row"])


def test_work_is_amount_over_rate_and_machines_share_what_takes_too_long():
    found = values()
    assert found["train the ranker on a day"] == pytest.approx(1.0)  # 1,242,000 / 345 / 3600
    assert found["train the ranker on 10 days"] == pytest.approx(10.0)
    assert found["train PPM on a day"] == pytest.approx(3.45) and found["train PPM on a day: machines"] == 1
    assert found["embed all items"] == pytest.approx(25.923, abs=1e-3) and found["embed all items: machines"] == 7
    assert found["the log of a day"] == 248_400_000
    assert found["cores at the peak"] == pytest.approx(6.0)  # 3 cores that are busy, at half of their time


def test_what_was_not_measured_is_named_with_its_remedy_and_reckoned_no_further():
    lines = capacity(SIZES, replace(RATES, ppm=None, request_ms=None, remedy={"ppm": "run `this`", "request_ms": "run `that`"}))
    found = {line.name: line for line in lines}
    assert found["train PPM on a day"].value is None and found["train PPM on a day"].how == "run `this`"
    assert found["cores at the peak"].how == "run `that`"
    assert "train PPM on a day: machines" not in found and "train the ranker on a day: machines" in found
    assert "not measured" in capacity_table(lines)
