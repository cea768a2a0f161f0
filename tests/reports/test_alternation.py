"""The report of an alternation, from literal rounds."""

import math

from ppm_tf.reports.alternation import plot_rounds, rounds_table
from tests.test_reports import cells

ROUNDS = [
    {"round": 0, "standing": "done", "valid_auc": 0.7, "auc": 0.69, "auc_never_seen": math.nan, "log_loss": 0.5},
    {
        "round": 1, "standing": "rising", "valid_auc": 0.72, "auc": 0.71, "auc_never_seen": 0.6, "log_loss": 0.49, "recall_at_1": 0.1,
        "recall_at_10": 0.4, "neighbors_changed": 0.8,
    },
]  # fmt: skip


def test_a_row_a_round_with_the_mark_of_its_training():
    header, _, ids, first = cells(rounds_table(ROUNDS))
    assert header[0] == "round" and ids == ["ids alone", "0.7000", "0.6900", "", "0.5000", "", "", ""]
    assert first == ["1", "0.7200 ↑", "0.7100", "0.6000", "0.4900", "0.1000", "0.4000", "0.8000"]


def test_the_plot_takes_a_first_round_without_an_alignment(tmp_path):
    for rounds in (ROUNDS[:1], ROUNDS):
        plot_rounds(rounds, tmp_path / "rounds.png", "shop")
        assert (tmp_path / "rounds.png").stat().st_size > 5_000
