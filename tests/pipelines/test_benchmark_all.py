"""All benchmark files as one evidence: their order, which settings reach which file, what is left out, and what a failure does."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.benchmark import everything
from ppm_tf.config import ConfigError

OWN = "# A table of one's own: as small as can be.\nrun: runs/own\nlayout: plain\naxes: {model: {din: {model.backbone.name: din, model.ppm: none}}}\n"
DATA = "# On data of yours, data.path=<folder>.\nrun: runs/log\naxes: {model: {din: {model.backbone.name: din, model.ppm: none}}}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "cela_figure3.yaml").write_text(OWN.replace("own", "cela"))
    (tmp_path / "a_log.yaml").write_text(DATA.replace("axes", "settings: {data.source: columnar}\naxes"))
    return tmp_path


@pytest.fixture
def ran(monkeypatch):
    """The commands that were run, in place of running them; those of `own.yaml` fail."""
    commands = []

    def run(command, check):
        commands.append(command)
        return subprocess.CompletedProcess(command, int("own.yaml" in command[3]))

    monkeypatch.setattr(everything.subprocess, "run", run)
    return commands


def test_the_repositorys_files_have_a_place_each_and_models_come_before_what_reads_them():
    parts = everything.parts_of([], Path(__file__).parent.parent.parent / everything.FOLDER)
    names = [part.path.stem for part in parts]
    assert set(everything._ORDER) <= set(names) and names[: len(everything._ORDER)] == list(everything._ORDER)
    for first, then in (("ppm_table3", "ppm_figure2"), ("cela_table1", "cela_table2"), ("cela_table3", "cela_figure3")):
        assert names.index(first) < names.index(then)
        assert {part.path.stem: part.cells[0].config.run for part in parts}[first] == parts[names.index(then)].cells[0].config.run
    assert {part.path.stem: part.wanted for part in parts}["cela_movielens"] == ("data.path", "text.preset")
    assert len(next(part for part in parts if part.path.stem == "ppm_table2").cells) == 72


def test_each_file_gets_what_is_said_for_it_and_one_that_wants_data_waits_for_it(folder, ran, capsys):
    assert everything.everything(["data.users=7", "own:seeds=[3]", "run=elsewhere"], folder) == 1  # own fails
    said = capsys.readouterr()
    assert [Path(command[3]).name for command in ran] == ["cela_figure3.yaml", "own.yaml"]
    assert ran[0][:3] == [sys.executable, "-m", "pipelines.benchmark"]
    assert ran[0][4:] == ["data.users=7", "run=elsewhere/cela"] and ran[1][4:] == ["data.users=7", "seeds=[3]", "run=elsewhere/own"]
    assert "wants a_log:data.path=<folder>" in said.out and "1 of 3 files failed: own" in said.err
    ran.clear()
    everything.everything(["a_log:data.path=here"], folder)
    assert [command[4:] for command in ran] == [[], ["data.path=here"], []]
    ran.clear()
    everything.everything(["data.users=7", "a_log:data.path=here"], folder)  # users of the embedded shop
    assert [command[4:] for command in ran] == [["data.users=7"], ["data.path=here"], ["data.users=7"]]


def test_list_runs_nothing_and_counts_what_is_there(folder, ran, capsys, monkeypatch):
    monkeypatch.setattr(everything.Workspace, "exists", lambda self, name: self.folder.name == "own")
    assert everything.everything(["list"], folder) == 0 and not ran
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:5]] for line in capsys.readouterr().out.splitlines()}
    assert rows["own"] == ["A table of one's own", "1", "1 of 1"] and rows["cela_figure3"][2] == "0 of 1"


@pytest.mark.parametrize("wrong", ["nosuch:seeds=[1]", "own", "data.userz=3"])
def test_what_no_file_takes_is_refused_before_anything_runs(folder, ran, wrong):
    with pytest.raises(ConfigError):
        everything.everything(["data.users=7", wrong], folder)
    assert not ran
