"""Runs on shared storage, against a server of the S3 protocol: whole or absent whatever goes wrong, one maker at a time."""

import json
import os
import time

import pytest

from ppm_tf import shared_run
from ppm_tf.shared_run import PublishedMeanwhileError, SharedRun, SharedStorageError
from ppm_tf.workspace import Recipe, Workspace

pytest.importorskip("moto")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def url(server, monkeypatch, tmp_path):
    """A run on the server, and a machine of its own."""
    for name, value in (("ENDPOINT_URL", server), ("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(shared_run, "_WAITS", (0.01, 0.01))
    import s3fs

    bucket = f"bucket-{time.monotonic_ns()}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    monkeypatch.setenv("PPM_TF_MIRRORS", str(tmp_path / "here"))
    return f"s3://{bucket}/runs/shop"


@pytest.fixture
def machine(url, monkeypatch, tmp_path):
    """Opens the run as from another machine: with an empty local folder."""

    def open_from(name="there"):
        monkeypatch.setenv("PPM_TF_MIRRORS", str(tmp_path / name))
        return Workspace(url)

    return open_from


def write(workspace, value, name="models/din"):
    with workspace.commit(name, Recipe({"value": value})) as folder:
        (folder / "weights").write_text(str(value) * 1000)
        (folder / "logs").mkdir()
        (folder / "logs" / "one.txt").write_text("log")
    return workspace


def read(workspace, name="models/din"):
    """What another machine finds: the value, or `None`."""
    if not workspace.exists(name):
        return None
    assert (workspace.path(name) / "logs" / "one.txt").read_text() == "log"
    return (workspace.path(name) / "weights").read_text()


def test_another_machine_finds_what_was_committed_and_then_what_took_its_place(url, machine):
    here, there = Workspace(url), machine()
    assert not here.exists("models/din") and not there.exists("models/din")
    write(here, 1)
    there._looked.clear()
    assert read(there) == "1" * 1000 and there.id("models/din") == here.id("models/din")
    write(here, 2)
    assert read(there) == "1" * 1000  # within a moment what a stage reads stays
    there._looked.clear()
    assert read(there) == "2" * 1000
    assert read(machine("third")) == "2" * 1000


def test_versions_but_the_last_two_go(url):
    here = Workspace(url)
    for value in range(4):
        write(here, value)
    fs = here.shared.fs
    kept = [path.rpartition("/")[2] for path in fs.ls(here.shared._key("models/din"), detail=False, refresh=True)]
    assert len([name for name in kept if name != "CURRENT"]) == 2
    assert [number for number, _ in here.shared._numbered("models/din/CURRENT")] == [4, 3]


@pytest.mark.parametrize("step", ["put_file", "publish", "_replace", "_here"])
def test_a_writer_that_dies_at_any_step_leaves_the_old_version_or_the_new(url, machine, monkeypatch, step):
    here = write(Workspace(url), 1)

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr({"put_file": here.shared.fs, "publish": here.shared}.get(step, here), step, die)
        with pytest.raises(KeyboardInterrupt):
            write(here, 2)
    expected = "1" if step in ("put_file", "publish") else "2"  # from the pointer on, it is the new one
    assert read(machine("third")) == expected * 1000
    again = machine("here")  # the machine of the dead process comes back
    assert read(again) == expected * 1000
    assert read(write(again, 3)) == "3" * 1000


def test_a_first_version_that_was_not_published_is_nowhere(url, machine, monkeypatch):
    here = Workspace(url)
    monkeypatch.setattr(here.shared, "publish", lambda *_: (_ for _ in ()).throw(SharedStorageError("gone")))
    with pytest.raises(SharedStorageError):
        write(here, 1)
    assert read(machine()) is None and read(machine("here")) is None


def test_of_two_writers_that_publish_one_is_told(url, machine):
    here, there = Workspace(url), machine()
    began = there.shared.number("models/din")
    write(here, 1)
    with pytest.raises(PublishedMeanwhileError, match="was published by another process meanwhile"):
        there.shared.publish("models/din", {"version": "20260101T000000Z-00000000", "files": {}}, began)
    assert read(machine("third")) == "1" * 1000


def test_a_second_maker_waits_for_the_first_and_takes_over_what_a_dead_one_left(url, machine):
    here, there = Workspace(url), machine()
    here.shared.lease_seconds = there.shared.lease_seconds = 0.6
    with here.lock("ppm"):
        time.sleep(1)  # longer than a lease: it was renewed
        with pytest.raises(RuntimeError, match=f"is being made by .*process {os.getpid()}"), there.lock("ppm"):
            pass
        with there.lock("models/din"):  # another artifact
            pass
    with there.lock("ppm"):  # given back at once
        pass
    number = there.shared._create(".leases/ppm", 9, there.shared._lease())  # of a process that was killed
    assert number == 9
    with pytest.raises(RuntimeError, match="its lease ends within 0.6 s"), here.lock("ppm"):
        pass
    time.sleep(0.7)
    with here.lock("ppm"):
        assert [number for number, _ in here.shared._numbered(".leases/ppm")][0] == 10


def test_what_fails_for_a_while_is_tried_again(url, machine, monkeypatch):
    """Refused connections, an upload that ends half-way, and an answer that is lost."""
    here = Workspace(url)
    fs, calls = here.shared.fs, {"put": 0, "pipe": 0}
    put_file, pipe_file = fs.put_file, fs.pipe_file

    def refused_then_half(source, to, **more):
        calls["put"] += 1
        if calls["put"] == 1:
            raise ConnectionRefusedError("refused")
        if calls["put"] == 2:
            return pipe_file(to, b"half")
        return put_file(source, to, **more)

    def answer_lost(path, data, **more):
        calls["pipe"] += 1
        pipe_file(path, data, **more)
        if calls["pipe"] <= 2:
            raise TimeoutError("no answer")

    monkeypatch.setattr(shared_run, "_THREADS", 1)
    monkeypatch.setattr(fs, "put_file", refused_then_half)
    monkeypatch.setattr(fs, "pipe_file", answer_lost)
    write(here, 1)
    assert calls["put"] > 2 and calls["pipe"] > 2
    assert read(machine()) == "1" * 1000


def test_what_fails_for_good_is_named_and_leaves_nothing(url, machine, monkeypatch):
    here = write(Workspace(url), 1)
    monkeypatch.setattr(here.shared.fs, "put_file", lambda *_, **__: (_ for _ in ()).throw(ConnectionRefusedError("refused")))
    with pytest.raises(SharedStorageError, match=r"s3://.*/runs/shop: could not write models/din/.*, tried 3 times. Received: refused"):
        write(here, 2)
    assert read(machine()) == "1" * 1000


def test_a_file_that_is_not_what_the_manifest_says_is_refused(url, machine):
    here = write(Workspace(url), 1)
    pointer = here.shared.current("models/din")
    here.shared.fs.pipe_file(here.shared._key(f"models/din/{pointer['version']}/weights"), b"2" * 1000)
    with pytest.raises(SharedStorageError, match="weights must have 1000 bytes and SHA-256 .* Remedy: remove .*/models/din/CURRENT"):
        machine().exists("models/din")


def test_a_pointer_of_which_half_was_written_does_not_count(url, machine):
    here = write(Workspace(url), 1)
    here.shared.fs.pipe_file(here.shared._key("models/din/CURRENT/00000002.json"), b'{"version": "2026')
    assert read(machine()) == "1" * 1000
    assert read(write(machine("here"), 3)) == "3" * 1000
    assert read(machine("third")) == "3" * 1000


def test_a_reader_leaves_alone_what_a_process_of_its_machine_is_making(url, machine):
    here, beside = write(Workspace(url), 1), machine("here")
    with here.lock("models/din"):
        here.shared.publish("models/din", here.shared.upload("models/din", here.path("models/din")), 1)
        beside._looked.clear()
        before = beside.path("models/din").stat().st_ino
        assert read(beside) == "1" * 1000 and beside.path("models/din").stat().st_ino == before  # not replaced under the maker's hands
    beside._looked.clear()
    assert read(beside) == "1" * 1000 and beside._version_file("models/din").read_text() == here.shared.current("models/din")["version"]


def test_a_mounted_folder_is_shared_storage_too(tmp_path, monkeypatch):
    url = (tmp_path / "mounted" / "run").as_uri()
    monkeypatch.setenv("PPM_TF_MIRRORS", str(tmp_path / "one"))
    write(Workspace(url), 5)
    monkeypatch.setenv("PPM_TF_MIRRORS", str(tmp_path / "two"))
    there = Workspace(url)
    assert read(there) == "5" * 1000
    assert json.loads((tmp_path / "mounted/run/models/din/CURRENT/00000001.json").read_text())["files"].keys() == {
        "weights", "logs/one.txt", "made_by.yaml"
    }  # fmt: skip


def test_a_storage_without_its_package_is_refused_with_what_to_install(monkeypatch):
    import fsspec

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(SharedStorageError, match=r"pip install 'ppm-tf\[s3\]'"):
        SharedRun("s3://bucket/run")
