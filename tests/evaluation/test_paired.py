"""Figures of arms with the same users, by hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppm_tf.evaluation.paired import Shown, compare

DAY = 86_400
FIRST = 19_723  # 2024-01-01


def shown(*rows):
    """(person, item, day, click, order)."""
    person, item, day, click, order = map(np.array, zip(*rows, strict=True))
    return Shown(person, item, FIRST + day, click, order)


@pytest.fixture
def records():
    arms = {
        "A": shown((1, 7, 0, 1, 0), (1, 8, 0, 0, 0), (2, 7, 0, 0, 0), (2, 9, 1, 1, 1), (3, 7, 1, 1, 0)),
        "B": shown((1, 9, 0, 1, 0), (1, 8, 0, 1, 1), (2, 9, 0, 0, 0), (2, 9, 1, 1, 1), (3, 7, 1, 1, 1)),
    }
    found = compare(arms, {"A": None, "B": "A"}, {"tail": np.array([8, 9]), "new": np.array([9])}, 0.95)
    return {(one.arm, one.figure, one.scope): one for one in found}


def test_figures_by_hand(records):
    """Four user-days of two users on the first day and two on the second."""
    expected = {
        ("UCTR", "total"): (3 / 4, 4 / 4), ("UCVR", "total"): (1 / 4, 3 / 4), ("CTR", "total"): (3 / 5, 4 / 5), ("CVR", "total"): (1 / 3, 3 / 4),
        ("long-tail share", "total"): (2 / 5, 4 / 5), ("new-item share", "total"): (1 / 5, 3 / 5), ("UCTR", "day=2024-01-01"): (1 / 2, 2 / 2),
        ("UCTR", "day=2024-01-02"): (2 / 2, 2 / 2),
    }  # fmt: skip
    for (figure, scope), values in expected.items():
        assert tuple(records[arm, figure, scope].ratio.value for arm in "AB") == pytest.approx(values), figure


def test_differences_are_to_the_arms_control(records):
    a, b = records["A", "UCTR", "total"], records["B", "UCTR", "total"]
    assert a.difference is None and a.control is None and b.control == "A"
    assert b.difference.value == 0.25 and b.difference.relative == pytest.approx(1 / 3)
    plain = b.plain()
    assert plain["difference"]["value"] == 0.25 and plain["ratio"]["value"] == 1 and plain["arm"] == "B"
    assert "difference" not in a.plain() or a.plain()["difference"] is None


def test_exposures_are_read(tmp_path):
    for number in range(2):
        table = {"person": [1, 2], "item_id": [7, 8], "time": [(FIRST + number) * DAY + 5, (FIRST + number) * DAY + DAY - 1],
                 "click": pa.array([1, 0], pa.int8()), "order": pa.array([0, 0], pa.int8()), "bucket": ["A", "A"]}  # fmt: skip
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    found = Shown.read([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert (
        found.day.tolist() == [FIRST, FIRST, FIRST + 1, FIRST + 1] and found.person.tolist() == [1, 2, 1, 2] and found.click.tolist() == [1, 0, 1, 0]
    )
