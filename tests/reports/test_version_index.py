"""The index of versions: a line an update, plots over the days, links to the cards."""

import numpy as np
import pytest

from ppm_tf.reports.version_index import _of_metric, write_index
from tests.reports.made_up_updates import manifest
from tests.reports.test_model_card import Page, row_of, size_of


@pytest.fixture(scope="module")
def week():
    return [manifest(number, poisoned=number == 4) for number in range(7)]


def test_the_newest_comes_first_and_leads_to_its_card(week, tmp_path):
    path = write_index(week[::-1], tmp_path)
    text = (tmp_path / "index.md").read_text()
    assert text.startswith("# Versions of urm-finetune\n\nLive: version 7, of 2026-11-16.\n\n7 updates: 6 published, 1 refused, 0 with nothing")
    days = [line.split("]")[0].removeprefix("| [") for line in text.splitlines() if line.startswith("| [")]
    assert days == [one.day for one in week][::-1]
    refused = row_of(text, "[2026-11-14](updates/2026-11-14/card/card.md)")
    assert refused[1:3] == ["-", "refused"] and refused[-1].startswith("AUC of the live model (click, all) must be at least 0.51")
    assert refused[-3].endswith(" of 32") and row_of(text, "[2026-11-13]")[-3] == "32 of 32"
    page = Page(path.read_text())
    assert [link for link in page.links if not link.startswith("data:")] == [f"updates/{one.day}/card/card.html" for one in week[::-1]]
    assert sum(link.startswith("data:image/png") for link in page.links) == 4
    for name in ("auc", "log_loss", "calibration", "seconds"):
        assert min(size_of(tmp_path / "plots" / f"{name}.png")) > 300


def test_the_plot_shows_the_figures_of_the_published_and_the_live_model(week):
    panel = _of_metric(week, "auc").axes[0]
    done = [number for number in range(7) if number != 4]
    click = [next(one for one in manifest.verdict.figures if (one.metric, one.task) == ("auc", "click")) for manifest in week]
    dots = next(line for line in panel.lines if line.get_marker() == "o")
    assert dots.get_ydata() == pytest.approx([click[number].value for number in done])
    live = next(line for line in panel.lines if line.get_marker() == "s").get_ydata()
    assert np.isnan(live[0]) and live[[1, 2, 3, 5, 6]] == pytest.approx([click[number].live for number in (1, 2, 3, 5, 6)])
    low, high = panel.get_ylim()
    assert low > 0.6 and live[4] == low  # the poisoned day, at chance, lies at the edge
    assert [text.get_text() for text in panel.texts] == [f"{click[4].value:.3f}"]


def test_a_newest_refusal_stands_out(week, tmp_path):
    write_index(week[:5], tmp_path)
    text = (tmp_path / "index.md").read_text()
    assert "Live: version 4, of 2026-11-13.\n\nALARM: the newest update, 2026-11-14, was refused: AUC of the live model (click, all)" in text


def test_updates_without_figures_have_a_line_and_no_plots(tmp_path):
    bare = type(manifest(0))("2026-11-20", "nothing", "no new day")
    write_index([bare], tmp_path)
    text = (tmp_path / "index.md").read_text()
    assert "No version was published yet." in text and row_of(text, "[2026-11-20]")[1:] == ["-", "nothing", "-", "0", "no new day"]
    assert not (tmp_path / "plots").exists()
    write_index([], tmp_path)
    assert "0 updates" in (tmp_path / "index.md").read_text()


def test_a_pass_by_hand_is_marked(week, tmp_path):
    from dataclasses import replace

    forced = replace(week[4], status="published", version=5, verdict=replace(week[4].verdict, override="the owners agreed on it"))
    write_index([*week[:4], forced], tmp_path)
    assert row_of((tmp_path / "index.md").read_text(), "[2026-11-14]")[2] == "published, by hand"
