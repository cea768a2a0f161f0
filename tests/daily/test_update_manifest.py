"""Manifests of updates: written whole, read back, and what the next update takes from those before."""

import json
import math
import os

import pytest

from ppm_tf.daily import UpdateManifest, data_before, live_before, published, read_manifests
from tests.reports.made_up_updates import manifest


def test_a_manifest_comes_back_and_is_plain_json(tmp_path):
    one = manifest(2)
    path = tmp_path / "updates" / one.day / "manifest.json"
    one.write(path)
    again = UpdateManifest.read(path)
    again.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert (again.version, again.data, again.seconds) == (one.version, one.data, one.seconds)
    content = json.loads(path.read_text())
    auc = next(figure for figure in one.verdict.figures if (figure.metric, figure.task) == ("auc", "click"))
    assert content["metrics"]["click"]["all"]["auc"] == auc.value
    assert list(path.parent.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    manifest(0).write(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        manifest(1).write(path)
    assert path.read_bytes() == before


def test_keys_of_later_releases_are_passed_over_and_other_files_refused(tmp_path):
    path = tmp_path / "manifest.json"
    manifest(0).write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "weather": "fine"}))
    assert UpdateManifest.read(path).day == "2026-11-10"
    path.write_text('{"day": "2026-11-10"}')
    with pytest.raises(ValueError, match="manifest.json must be the manifest of an update. Received: TypeError"):
        UpdateManifest.read(path)
    with pytest.raises(FileNotFoundError, match="The manifest of an update must be there. Received: .*none.json"):
        UpdateManifest.read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="The status of an update must be one of published, refused, nothing. Received: 'done'"):
        UpdateManifest("2026-11-10", "done")


def test_what_the_next_update_compares_with(tmp_path):
    """The first published version has no live model beside it and counts itself; a refused day counts for nothing."""
    made = [manifest(0), manifest(1), manifest(2, poisoned=True), manifest(3)]
    for one in made:
        one.write(tmp_path / "updates" / one.day / "manifest.json")
    (tmp_path / "updates" / "2026-11-14").mkdir()  # under way
    found = read_manifests(tmp_path)
    assert [one.day for one in found] == [one.day for one in made]
    assert [one.day for one in published(found, before="2026-11-13")] == ["2026-11-10", "2026-11-11"]
    figure = [next(f for f in one.verdict.figures if (f.metric, f.task) == ("auc", "click")) for one in made]
    assert math.isnan(figure[0].live)
    assert live_before(found, "2026-11-13")["click"] == [figure[0].value, figure[1].live]
    assert [one.day for one in data_before(found, "2026-11-14")] == ["2026-11-09", "2026-11-10", "2026-11-12"]
