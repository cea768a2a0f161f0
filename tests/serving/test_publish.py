import json
import logging
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serving import publish as publishing
from serving.publish import main, publish, require_complete, restore, rollback, versions, withdrawn
from tests.serving.staged import FILES, graph, published, stage

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """fsync is counted where a test is about it; its time is not."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def judged(monkeypatch):
    """The folders here hold no models: what would be judged is noted. See test_publish_verified for the judgement."""
    seen = []
    monkeypatch.setattr(publishing, "verify_afresh", seen.append)
    return seen


def test_numbers_rise_by_one_and_files_arrive_whole(tmp_path):
    base = published(tmp_path, 2)
    assert versions(base, "ranker") == [1, 2]
    assert (graph(base, 1), graph(base, 2)) == ("graph 1", "graph 2")
    found = {str(path.relative_to(base / "ranker" / "2")) for path in (base / "ranker" / "2").rglob("*") if path.is_file()}
    assert found == set(FILES)
    assert (tmp_path / "export-2" / "saved_model.pb").exists()  # copied, not moved


def test_a_folder_staged_beside_the_versions_is_renamed(tmp_path):
    base = tmp_path / "exports"
    staged = stage(base / "ranker" / "staged")
    inode = (staged / "saved_model.pb").stat().st_ino
    target = publish(staged, base, "ranker")
    assert target == base / "ranker" / "1"
    assert (target / "saved_model.pb").stat().st_ino == inode
    assert not staged.exists()


@pytest.mark.parametrize("name", ["7", "withdrawn-7", "outgoing-7"])
def test_a_version_is_no_staged_folder(tmp_path, name):
    base = tmp_path / "exports"
    with pytest.raises(ValueError, match="must have a name that is no version"):
        publish(stage(base / "ranker" / name), base, "ranker")
    assert (base / "ranker" / name / "saved_model.pb").exists()


def test_a_number_that_exists_or_is_not_the_highest_is_refused(tmp_path):
    base = published(tmp_path, 1)
    staged = stage(tmp_path / "new", "new")
    assert publish(staged, base, "ranker", version=5).name == "5"
    with pytest.raises(ValueError, match=r"must be new in .*Received: 5, which exists. Leave it out to get 6"):
        publish(staged, base, "ranker", version=5)
    with pytest.raises(ValueError, match=r"above the highest in .*, 5, to go live. Received: 3"):
        publish(staged, base, "ranker", version=3)
    with pytest.raises(ValueError, match=r"Received: 9223372036854775808"):  # does not fit the server's int64
        publish(staged, base, "ranker", version=2**63)
    assert versions(base, "ranker") == [1, 5]


def test_leading_zeros_are_the_number_that_the_server_reads(tmp_path):
    base = tmp_path / "exports"
    stage(base / "ranker" / "007")
    with pytest.raises(ValueError, match="Received: 7, which exists"):
        publish(stage(tmp_path / "new"), base, "ranker", version=7)
    assert publish(stage(tmp_path / "new"), base, "ranker").name == "8"


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("export.json")])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_half_a_version_is_refused(tmp_path, name, how):
    staged = stage(tmp_path / "half")
    (staged / name).unlink() if how == "missing" else (staged / name).write_text("")
    with pytest.raises(ValueError, match=f"where {name if 'data-' not in name else 'variables/variables.data-00000-of-00001'} is missing or empty"):
        publish(staged, tmp_path / "exports", "ranker")
    assert versions(tmp_path / "exports", "ranker") == []


def test_a_version_without_variables_is_refused(tmp_path):
    staged = stage(tmp_path / "half")
    shutil.rmtree(staged / "variables")
    with pytest.raises(ValueError, match=r"variables/variables.index, variables/variables.data-00000-of-00001 is missing"):
        publish(staged, tmp_path / "exports", "ranker")


def test_every_shard_must_be_there(tmp_path):
    staged = stage(tmp_path / "half")
    (staged / "variables/variables.data-00000-of-00001").rename(staged / "variables/variables.data-00000-of-00002")
    with pytest.raises(ValueError, match=r"where variables/variables.data-00001-of-00002 is missing"):
        require_complete(staged)
    (staged / "variables/variables.data-00001-of-00002").write_text("weights")
    require_complete(staged)


@pytest.mark.parametrize("text", ["{", "[1]", '{"inputs": {}}'])
def test_golden_answers_must_be_answers(tmp_path, text):
    staged = stage(tmp_path / "half")
    (staged / "assets.extra/golden.json").write_text(text)
    with pytest.raises(ValueError, match="golden.json must be a JSON object with inputs and outputs"):
        publish(staged, tmp_path / "exports", "ranker")


def test_what_is_not_there_is_not_published(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a folder. Received: .*nothing, which is not there. Run `python -m pipelines.export`"):
        publish(tmp_path / "nothing", tmp_path / "exports", "ranker")
    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize("model", ["", "..", ".a", "-a", "a/b", "a b", "é"])
def test_a_model_name_is_one_folder(tmp_path, model):
    with pytest.raises(ValueError, match="A model name must be letters"):
        publish(stage(tmp_path / "new"), tmp_path / "exports", model)


@pytest.mark.parametrize(("keep", "stay"), [(1, [4, 5]), (2, [4, 5]), (3, [3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_the_last_versions_stay_and_always_one_to_go_back_to(tmp_path, keep, stay):
    base = published(tmp_path, 5, keep=keep)
    assert versions(base, "ranker") == stay
    assert sorted(path.name for path in (base / "ranker").iterdir()) == sorted([".publish.lock", *map(str, stay)])


def test_keep_counts_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1. Received: 0"):
        publish(stage(tmp_path / "new"), tmp_path / "exports", "ranker", keep=0)


def test_a_failed_removal_does_not_undo_the_publication(tmp_path, monkeypatch, caplog):
    base = published(tmp_path, 2, keep=2)

    def refuse(path):
        raise PermissionError("not yours")

    with monkeypatch.context() as broken:
        broken.setattr(publishing.shutil, "rmtree", refuse)
        assert publish(stage(tmp_path / "new", "new"), base, "ranker", keep=2).name == "3"
    assert versions(base, "ranker") == [2, 3]
    assert "the new version is live, but the old" in caplog.text
    publish(stage(tmp_path / "new", "new"), base, "ranker", keep=2)
    assert not list((base / "ranker").glob("outgoing-*"))


def test_the_whole_version_is_judged_before_it_goes_live(tmp_path, monkeypatch, judged):
    base = published(tmp_path, 1)
    assert judged == [base / "ranker" / "incoming-1"]

    def refuse(folder):
        require_complete(folder)
        assert not (base / "ranker" / "2").exists()
        raise ValueError("it answers otherwise")

    monkeypatch.setattr(publishing, "verify_afresh", refuse)
    with pytest.raises(ValueError, match="it answers otherwise"):
        publish(stage(tmp_path / "new"), base, "ranker")
    assert sorted(path.name for path in (base / "ranker").iterdir()) == [".publish.lock", "1"]
    staged = stage(base / "ranker" / "staged")
    with pytest.raises(ValueError, match="it answers otherwise"):
        publish(staged, base, "ranker")
    assert versions(base, "ranker") == [1] and staged.exists()


def test_going_back_withdraws_and_restore_brings_back(tmp_path):
    base = published(tmp_path, 3)
    assert rollback(base, "ranker") == base / "ranker" / "2"
    assert versions(base, "ranker") == [1, 2]
    assert withdrawn(base, "ranker") == [3]
    assert publish(stage(tmp_path / "new", "new"), base, "ranker").name == "4"  # 3 is not given out twice
    with pytest.raises(ValueError, match="Received: 3, which exists"):
        publish(stage(tmp_path / "new", "new"), base, "ranker", version=3)
    assert rollback(base, "ranker", to=1) == base / "ranker" / "1"
    assert (versions(base, "ranker"), withdrawn(base, "ranker")) == ([1], [2, 3, 4])
    assert restore(base, "ranker", 3) == base / "ranker" / "3"
    assert graph(base, 3) == "graph 3"
    assert (versions(base, "ranker"), withdrawn(base, "ranker")) == ([1, 3], [2, 4])


def test_going_back_never_makes_a_version_between_live(tmp_path, monkeypatch):
    base = published(tmp_path, 3)
    live, rename = [], os.rename

    def seen(source, target):
        rename(source, target)
        live.append(versions(base, "ranker")[-1])

    monkeypatch.setattr(publishing.os, "rename", seen)
    rollback(base, "ranker", to=1)
    assert live == [3, 1]


def test_there_must_be_something_to_go_back_to(tmp_path):
    with pytest.raises(ValueError, match="needs a version below the live one in .*Received: no version"):
        rollback(tmp_path / "exports", "ranker")
    base = published(tmp_path, 1)
    with pytest.raises(ValueError, match=r"needs a version below the live one in .*Received: \[1\]"):
        rollback(base, "ranker")
    base = published(tmp_path, 3)
    for to in (9, versions(base, "ranker")[-1]):
        with pytest.raises(ValueError, match=rf"must be one of \[2, 3\], below the live 4, .*Received: {to}"):
            rollback(base, "ranker", to=to)
    with pytest.raises(ValueError, match=r"must be one of the withdrawn \[\] in .*Received: 2"):
        restore(base, "ranker", 2)


def test_no_going_back_to_half_a_version(tmp_path):
    base = published(tmp_path, 2)
    shutil.rmtree(base / "ranker" / "1" / "variables")
    with pytest.raises(ValueError, match="variables.index"):
        rollback(base, "ranker")
    assert versions(base, "ranker") == [1, 2]


def test_two_publishers_do_not_meet(tmp_path):
    base = published(tmp_path, 2)
    with publishing._lock(base / "ranker"):
        for change in (lambda: publish(stage(tmp_path / "new"), base, "ranker"), lambda: rollback(base, "ranker")):
            with pytest.raises(RuntimeError, match="Another one is publishing there"):
                change()
    assert versions(base, "ranker") == [1, 2]
    publish(stage(tmp_path / "new"), base, "ranker")
    assert versions(base, "ranker") == [1, 2, 3]


def test_many_publishers_at_once_give_whole_versions_with_distinct_numbers(tmp_path):
    base = tmp_path / "exports"
    unjudged = "from serving import publish as p; p.verify_afresh = lambda folder: None; p.main()"
    command = [sys.executable, "-c", unjudged, str(stage(tmp_path / "new")), "--base", str(base), "--model", "ranker", "--keep", "9"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    ends = [(process.communicate()[1], process.returncode) for process in running]
    won = [error for error, code in ends if code == 0]
    assert won
    assert all("Another one is publishing there" in error for error, code in ends if code)
    assert versions(base, "ranker") == list(range(1, len(won) + 1))
    for number in versions(base, "ranker"):
        require_complete(base / "ranker" / str(number))


def test_a_failed_write_to_disk_publishes_nothing(tmp_path, monkeypatch):
    base = published(tmp_path, 1)

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(publishing.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        publish(stage(tmp_path / "new", "new"), base, "ranker")
    assert sorted(path.name for path in (base / "ranker").iterdir()) == [".publish.lock", "1"]


def test_a_staged_folder_that_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    staged, copytree = stage(tmp_path / "new"), shutil.copytree

    def copy(source, target, *rest, **options):  # copytree calls itself for the folders below
        copytree(source, target, *rest, **options)
        (staged / "saved_model.pb").write_text("the export writes on")

    monkeypatch.setattr(publishing.shutil, "copytree", copy)
    with pytest.raises(RuntimeError, match="must not change while it is copied"):
        publish(staged, tmp_path / "exports", "ranker")
    assert [path.name for path in (tmp_path / "exports" / "ranker").iterdir()] == [".publish.lock"]


def test_files_reach_the_disk_before_the_rename(tmp_path, monkeypatch):
    events, rename = [], os.rename
    monkeypatch.setattr(publishing.os, "fsync", lambda descriptor: events.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(publishing.os, "rename", lambda source, target: (events.append("rename"), rename(source, target)))
    target = publish(stage(tmp_path / "new"), tmp_path / "exports", "ranker")
    at = events.index("rename")
    assert {path.stat().st_ino for path in [target, *target.rglob("*")]} == set(events[:at])
    assert events[at + 1 :] == [target.parent.stat().st_ino]


# Runs publish in a child for every n and kills it at its n-th step on the file system, until a child gets through.
KILLS = """
import json, os, shutil, signal, sys
from pathlib import Path
from serving import publish as publishing
from tests.serving.staged import published, stage

folder, action = Path(sys.argv[1]), sys.argv[2]
os.fsync = lambda descriptor: None  # a step like the others, without its time
publishing.verify_afresh = lambda folder: None  # these are no models
for n in range(1, 200):
    base = published(folder / str(n), 3)
    new = stage(folder / str(n) / "new", "new") if action == "copy" else stage(base / "ranker" / "staged", "new")
    child = os.fork()
    if not child:
        left = n
        def guard(real):
            def step(*arguments, **keywords):
                global left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **keywords)
            return step
        for module, names in ((os, ("rename", "fsync", "mkdir", "unlink", "rmdir", "chmod")), (shutil, ("copyfile",))):
            for name in names:
                setattr(module, name, guard(getattr(module, name)))
        if action == "rollback":
            publishing.rollback(base, "ranker", to=1)
        else:
            publishing.publish(new, base, "ranker", keep=2)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    state = {"killed": os.WIFSIGNALED(status), "versions": publishing.versions(base, "ranker")}
    for number in state["versions"]:
        publishing.require_complete(base / "ranker" / str(number))
        assert (base / "ranker" / str(number) / "saved_model.pb").read_text() == f"graph {'new' if number == 4 else number}"
    after = publishing.publish(stage(folder / str(n) / "later", "later"), base, "ranker", keep=2)
    state["after"] = int(after.name)
    state["left"] = sorted(path.name for path in (base / "ranker").iterdir() if path.name.startswith(("incoming", "outgoing")))
    print(json.dumps(state))
    if not state["killed"]:
        break
"""


@pytest.mark.parametrize(
    ("action", "states"),
    [
        ("copy", [[1, 2, 3], [1, 2, 3, 4], [2, 3, 4], [3, 4]]),
        ("rename", [[1, 2, 3], [1, 2, 3, 4], [2, 3, 4], [3, 4]]),
        ("rollback", [[1, 2, 3], [1, 3], [1]]),
    ],
)
def test_a_kill_at_any_step_leaves_whole_versions(tmp_path, action, states):
    done = subprocess.run([sys.executable, "-c", KILLS, str(tmp_path), action], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert [state["killed"] for state in seen] == [True] * (len(seen) - 1) + [False]
    order = [states.index(state["versions"]) for state in seen]  # no other set of versions is ever seen
    assert order == sorted(order)
    assert set(order) == set(range(len(states)))
    assert all(state["left"] == [] for state in seen)  # the next publication clears up
    assert all(state["after"] >= 4 for state in seen)


def test_the_server_can_read_what_another_user_exported(tmp_path):
    staged = stage(tmp_path / "new")
    staged.chmod(0o700)
    (staged / "saved_model.pb").chmod(0o600)
    target = publish(staged, tmp_path / "exports", "ranker")
    assert stat.S_IMODE(target.stat().st_mode) & 0o055 == 0o055
    assert stat.S_IMODE((target / "saved_model.pb").stat().st_mode) & 0o044 == 0o044


def test_start_and_end_are_logged_with_bytes_and_path(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    published(tmp_path, 1)
    size = sum(len(text) for text in FILES.values()) + len(" 1")
    start, end = (record.getMessage() for record in caplog.records)  # nothing was removed, and nothing stays for a reason
    assert start.startswith("publish: start, ") and "as version 1 of" in start
    assert end.startswith("publish: done in ") and f" s, {size} bytes, wrote {tmp_path / 'exports' / 'ranker' / '1'}" in end


def test_the_command_line_publishes_lists_and_goes_back(tmp_path, capsys):
    where = ["--base", str(tmp_path / "exports"), "--model", "ranker"]
    for mark in ("1", "2"):
        main([str(stage(tmp_path / "new", mark)), *where, "--keep", "2"])
    main(["--rollback", *where])
    main(["--list", *where])
    size = sum(len(text) for text in FILES.values()) + len(" 1")
    assert capsys.readouterr().out == f"1\t{size} bytes\tnewest\n2\t{size} bytes\twithdrawn\n"
    main(["--restore", "2", *where])
    assert versions(tmp_path / "exports", "ranker") == [1, 2]
    main(["--rollback", "1", *where])
    assert versions(tmp_path / "exports", "ranker") == [1]


def test_the_command_line_tells_usage_from_failure(tmp_path, capsys):
    where = ["--base", str(tmp_path / "exports"), "--model", "ranker"]
    for wrong in (where, [str(tmp_path), "--list", *where]):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2
        assert "give exactly one of" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["--rollback", *where])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("serving.publish: Going back needs a version below the live one")


def test_importing_it_imports_no_framework():
    code = "import sys, serving.publish; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
