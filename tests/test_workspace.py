import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from ppm_tf.workspace import Recipe, StaleArtifactError, Workspace, fingerprint

RECIPE = Recipe({"data": {"users": 100, "split": {"test": 0.1}}}, parents={"raw": "abc"})


def write(workspace, text="whole", recipe=RECIPE):
    with workspace.commit("data", recipe) as folder:
        (folder / "a.txt").write_text(text)


def content(workspace):
    return (workspace.path("data") / "a.txt").read_text()


def test_an_artifact_is_absent_until_its_block_ends(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.commit("data", RECIPE) as folder:
        (folder / "a.txt").write_text("x")
        assert not workspace.exists("data")
    assert workspace.exists("data")
    assert workspace.made_by("data")["settings"]["data"]["users"] == 100
    assert workspace.made_by("data")["packages"]["keras"][0] == "3"


def test_a_failed_block_leaves_the_old_artifact(tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace, "old")
    with pytest.raises(KeyError), workspace.commit("data", RECIPE) as folder:
        (folder / "a.txt").write_text("new")
        raise KeyError
    assert content(workspace) == "old"


@pytest.mark.parametrize("place", ["while writing", "between the renames"])
def test_a_kill_leaves_a_whole_artifact(tmp_path, place):
    write(Workspace(tmp_path), "old")
    code = f"""
    import os, pathlib, signal
    from ppm_tf.workspace import Recipe, Workspace
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
    if {place!r} == "between the renames":
        real, calls = pathlib.Path.rename, []
        def rename(self, target):
            calls.append(self)
            return kill() if len(calls) == 2 else real(self, target)
        pathlib.Path.rename = rename
    with Workspace({str(tmp_path)!r}).commit("data", Recipe({{}})) as folder:
        (folder / "a.txt").write_text("half")
        if {place!r} == "while writing":
            kill()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    workspace = Workspace(tmp_path)
    assert workspace.exists("data")
    assert content(workspace) == "old"
    write(workspace, "new")  # the killed process holds no lock
    assert content(workspace) == "new"


def test_require_names_the_setting_that_differs(tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace)
    assert workspace.require("data", RECIPE) == workspace.path("data")
    other = Recipe({"data": {"users": 200, "split": {"test": 0.1}}}, parents=RECIPE.parents)
    with pytest.raises(StaleArtifactError, match=r"data\.users was 100, and 200 is asked for now.*run=<folder>"):
        workspace.require("data", other)


def test_require_of_a_missing_artifact(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold the artifact 'data'"):
        Workspace(tmp_path).require("data", RECIPE)


def test_a_changed_raw_file_is_named_and_an_archived_one_is_not(tmp_path):
    raw = tmp_path / "raw.csv"
    raw.write_text("a")
    workspace = Workspace(tmp_path / "run")
    with workspace.commit("data", Recipe({}, fingerprint([raw]))):
        pass
    assert workspace.is_current("data", Recipe({}, fingerprint([raw])))
    raw.write_text("bb")
    os.utime(raw, ns=(1, 1))
    with pytest.raises(StaleArtifactError, match=r"the file .*raw\.csv has changed"):
        workspace.require("data", Recipe({}, fingerprint([raw])))
    raw.unlink()
    workspace.require("data", Recipe({}, fingerprint([raw])))


def test_a_raw_file_that_was_copied_again_is_the_same_file(tmp_path):
    """Mounted, synchronised or downloaded anew it has another time; one of the same size with other bytes has changed."""
    raw, workspace = tmp_path / "raw.csv", Workspace(tmp_path / "run")
    raw.write_text("one")
    with workspace.commit("data", Recipe({}, fingerprint([raw]))):
        pass
    os.utime(raw, ns=(1, 1))
    assert workspace.is_current("data", Recipe({}, fingerprint([raw])))
    raw.write_text("two")
    with pytest.raises(StaleArtifactError, match=r"the file .*raw\.csv has changed"):
        workspace.require("data", Recipe({}, fingerprint([raw])))


def test_a_raw_file_that_changes_while_it_is_read_is_told_by_its_time_alone(tmp_path):
    raw, workspace = tmp_path / "raw.csv", Workspace(tmp_path / "run")
    raw.write_text("one")
    recipe = Recipe({}, fingerprint([raw]))
    with workspace.commit("data", recipe):
        raw.write_text("two")
        os.utime(raw, ns=(1, 1))
    with pytest.raises(StaleArtifactError, match=r"the file .*raw\.csv has changed"):
        workspace.require("data", Recipe({}, fingerprint([raw])))


def test_new_parents_make_an_artifact_stale(tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace)
    assert workspace.is_current("data", RECIPE)
    assert not workspace.is_current("data", Recipe(RECIPE.settings, parents={"raw": "other"}))


def test_two_processes_cannot_make_one_artifact(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.commit("data", RECIPE), pytest.raises(RuntimeError, match="Another process is making"), Workspace(tmp_path).commit("data", RECIPE):
        pass


def test_the_lock_is_held_over_the_checkpoints_and_the_commit(tmp_path):
    """Two trainings of one artifact would go on from each other's checkpoints."""
    workspace = Workspace(tmp_path)
    with workspace.lock("ppm"):
        workspace.work("ppm", RECIPE)
        with pytest.raises(RuntimeError, match="Another process is making .*ppm"), Workspace(tmp_path).lock("ppm"):
            pass
        with workspace.commit("ppm", RECIPE):
            pass
        with pytest.raises(RuntimeError, match="Another process is making"), Workspace(tmp_path).lock("ppm"):
            pass
    with Workspace(tmp_path).lock("ppm"):
        pass


def test_a_reader_between_the_renames_of_a_commit_sees_the_artifact_and_does_not_disturb_it(tmp_path, monkeypatch):
    write(Workspace(tmp_path), "old")
    real, seen = Path.rename, []

    def rename(path, target):
        if path.name == "new-data":  # the old artifact is aside, the new one is not yet there
            reader = threading.Thread(target=lambda: seen.append(Workspace(tmp_path).made_by("data")["settings"]))
            reader.start()
            reader.join(0.05)
            assert reader.is_alive() and not seen
            real(path, target)
            reader.join()
        else:
            real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    write(Workspace(tmp_path), "new", Recipe({"data": {"users": 7}}))
    assert content(Workspace(tmp_path)) == "new" and seen == [{"data": {"users": 7}}]


def test_an_earlier_artifact_that_cannot_be_removed_yet_does_not_hinder_the_next(tmp_path, monkeypatch):
    """Its files may be open on a file system that keeps a folder for that."""
    workspace = Workspace(tmp_path)
    monkeypatch.setattr("ppm_tf.workspace.shutil.rmtree", lambda *arguments, **named: None)
    for text in ("one", "two", "three"):
        with workspace.commit("data", RECIPE) as folder:
            (folder / "a.txt").write_text(text)
    assert content(workspace) == "three"


def test_work_survives_until_the_recipe_changes(tmp_path):
    workspace = Workspace(tmp_path)
    (workspace.work("ppm", RECIPE) / "checkpoint").write_text("x")
    assert (workspace.work("ppm", RECIPE) / "checkpoint").exists()
    assert not (workspace.work("ppm", Recipe({"seed": 2})) / "checkpoint").exists()


def test_an_artifact_taken_from_another_run_stays_when_that_is_removed(tmp_path):
    other, mine = Workspace(tmp_path / "other"), Workspace(tmp_path / "mine")
    with other.commit("encoders/text", Recipe({"text": {"dim": 4}})) as folder:
        (folder / "weights").write_text("1 2 3")
    assert mine.take("encoders/text", other)
    assert (mine.path("encoders/text") / "weights").samefile(other.path("encoders/text") / "weights")
    shutil.rmtree(other.folder)
    assert (mine.path("encoders/text") / "weights").read_text() == "1 2 3"
    assert mine.is_current("encoders/text", Recipe({"text": {"dim": 4}}))


def test_taking_leaves_an_artifact_that_is_there(tmp_path):
    other, mine = Workspace(tmp_path / "other"), Workspace(tmp_path / "mine")
    for workspace, value in ((other, "theirs"), (mine, "mine")):
        with workspace.commit("ppm", Recipe({})) as folder:
            (folder / "weights").write_text(value)
    assert not mine.take("ppm", other)
    assert (mine.path("ppm") / "weights").read_text() == "mine"


def test_only_what_is_there_can_be_taken(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold the artifact 'ppm'"):
        Workspace(tmp_path / "mine").take("ppm", Workspace(tmp_path / "other"))


def test_a_switch_of_a_later_release_that_is_off_is_no_difference(tmp_path):
    """So that a run goes on under a new release; one that is on, and any other new setting, is named."""
    workspace, settings = Workspace(tmp_path), RECIPE.settings["data"]
    write(workspace)
    for new in ({"by_day": False}, {"by_day": None}):
        assert workspace.is_current("data", Recipe({"data": settings | new}, parents=RECIPE.parents))
    for name, value in (("by_day", True), ("days", 0)):
        assert workspace.other_settings("data", Recipe({"data": settings | {name: value}}, parents=RECIPE.parents)) == [(f"data.{name}", None, value)]
    gone = {name: value for name, value in settings.items() if name != "users"}
    assert workspace.other_settings("data", Recipe({"data": gone}, parents=RECIPE.parents)) == [("data.users", 100, None)]
