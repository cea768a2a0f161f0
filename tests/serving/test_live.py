"""Published means served: a version is asked at the running server, and rolled back where it does not answer as it should."""

import json
import os
import shutil

import numpy as np
import pytest

from serving.layout import EXTRA, GOLDEN
from serving.live import _compared, _difference, _state, check_live, ensure_live, main
from serving.publish import restore, versions, withdraw, withdrawn
from tests.serving.asking import Asker
from tests.serving.staged import published

REQUEST = b'{"inputs": [[3.0]]}'


@pytest.fixture(scope="module")
def made(contract_folder, tmp_path_factory):
    """Versions of `m`: x times 1 and x times 2, each with its warm-up and its golden answer for 1.5."""
    from serving.warmup import write_warmup

    found = {}
    for factor in (1, 2):
        folder = tmp_path_factory.mktemp("made") / str(factor)
        shutil.copytree(contract_folder / "versions" / str(factor), folder)
        (folder / EXTRA).mkdir()
        write_warmup(folder / EXTRA, "m", [("serving_default", {"x": np.float32([[1.0]])})])
        golden(folder, 1.5 * factor)
        found[factor] = folder
    return found


def golden(folder, answer):
    content = {"signature_name": "serving_default", "inputs": {"x": [[1.5]]}, "outputs": {"y": [[answer]]}}
    (folder / EXTRA / GOLDEN).write_text(json.dumps(content))


@pytest.fixture
def base(tmp_path, made):
    base = tmp_path / "exports"
    shutil.copytree(made[1], base / "m" / "1")
    return base


@pytest.fixture
def server(base):
    from serving.local.models import Models
    from serving.local.server import LocalServer

    with LocalServer(Models(base), port=0, poll_seconds=0.02) as server:
        yield server


def put(base, source, version, change=lambda folder: None):
    """Publishes a copy of a version by rename."""
    staged = base / "m" / f"tmp{version}"
    shutil.copytree(source, staged)
    change(staged)
    staged.rename(base / "m" / str(version))


def answer(server):
    return Asker(server.url).predict(REQUEST, model="m").json["outputs"]


def test_a_published_version_is_waited_for_and_found_served(base, server, made):
    put(base, made[2], 2)
    found = ensure_live(server.url, base, "m", poll=0.02)
    assert (found.version, found.served, found.reason, found.rolled_back_to) == (2, True, "", None)
    assert found.difference <= 1e-5 and answer(server) == [[6.0]]
    assert versions(base, "m") == [1, 2]


def test_a_version_that_answers_otherwise_is_rolled_back_and_the_one_before_answers_again(base, server, made):
    put(base, made[2], 2, lambda folder: golden(folder, 3.001))
    found = ensure_live(server.url, base, "m", poll=0.02)
    assert (found.served, found.rolled_back_to, found.restored) == (False, 1, True)
    assert found.difference == pytest.approx(0.001)
    assert f"version 2 of m must be the one that answers at {server.url}. Received: asked by its number, its scores of y differ" in found.reason
    assert (versions(base, "m"), withdrawn(base, "m")) == ([1], [2])
    assert answer(server) == [[3.0]]


def test_a_version_that_cannot_be_loaded_is_rolled_back_at_once(base, server, made):
    put(base, made[2], 2, lambda folder: os.truncate(folder / "saved_model.pb", 2000))
    found = ensure_live(server.url, base, "m", poll=0.02)
    assert (found.served, found.rolled_back_to, found.restored) == (False, 1, True)
    assert "Received: it could not be loaded: " in found.reason and "within" not in found.reason
    assert answer(server) == [[3.0]]


def test_the_only_version_is_withdrawn(base, server):
    golden(base / "m" / "1", 7.0)
    found = ensure_live(server.url, base, "m", poll=0.02)
    assert (found.served, found.rolled_back_to, found.restored) == (False, 0, False)
    assert (versions(base, "m"), withdrawn(base, "m")) == ([], [1])


def test_a_server_that_is_not_there_is_not_waited_for_without_end(base, made):
    put(base, made[2], 2)
    found = ensure_live("http://127.0.0.1:9", base, "m", seconds=0.2, poll=0.02)
    assert (found.served, found.rolled_back_to, found.restored) == (False, 1, False)
    assert "within 0.2 s. Received: UnreachableError: http://127.0.0.1:9 must answer" in found.reason
    restore(base, "m", 2)
    assert versions(base, "m") == [1, 2]


def test_a_server_whose_policy_keeps_an_older_version_is_told(base, made):
    from serving.local.models import Models
    from serving.local.server import LocalServer

    put(base, made[2], 2)
    config = base / "fixed.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}/m" model_platform: "tensorflow" model_version_policy {{ specific {{ versions:'
        " 1 } } } }"
    )
    with LocalServer(Models(config_file=config), port=0, poll_seconds=None) as server:
        found = check_live(server.url, base, "m", seconds=0.2, poll=0.02)
        assert not found.served and found.reason.endswith("within 0.2 s. Received: the server knows of version 1 alone")
        assert check_live(server.url, base, "m", version=1).served


def test_a_model_may_have_another_name_at_the_server(base, server):
    shutil.copytree(base / "m", base / "other")
    assert check_live(server.url, base, "other", served_as="m").served


def test_what_was_published_meanwhile_is_not_rolled_back(base, made):
    put(base, made[2], 2)
    put(base, made[2], 3)
    with pytest.raises(ValueError, match=r"Only the newest version is rolled back. Received: .*; and version 3 was published meanwhile"):
        ensure_live("http://127.0.0.1:9", base, "m", version=2, seconds=0.1, poll=0.02)
    assert versions(base, "m") == [1, 2, 3]


def test_a_version_must_be_there_and_hold_answers(base):
    with pytest.raises(ValueError, match=r"must be published in .*Received: 5; there are \[1\]"):
        check_live("http://127.0.0.1:9", base, "m", version=5)
    with pytest.raises(ValueError, match="Received: None; there are none"):
        check_live("http://127.0.0.1:9", base, "nobody")
    (base / "m" / "1" / EXTRA / GOLDEN).write_text("{}")
    with pytest.raises(ValueError, match="must hold golden requests with their answers. Received: .*golden.json, which does not"):
        check_live("http://127.0.0.1:9", base, "m")


def test_the_command_line(base, server, capsys):
    where = ["--url", server.url, "--base", str(base), "--model", "m"]
    main(where)
    assert json.loads(capsys.readouterr().out) | {"seconds": 0, "difference": 0} == {
        "version": 1, "served": True, "seconds": 0, "difference": 0, "reason": "", "rolled_back_to": None, "restored": False,
    }  # fmt: skip
    golden(base / "m" / "1", 7.0)
    with pytest.raises(SystemExit, match="1"):
        main(where)
    assert "serving.live: version 1 of m must be the one that answers" in capsys.readouterr().err
    assert versions(base, "m") == [1]
    with pytest.raises(SystemExit, match="1"):
        main([*where, "--rollback"])
    assert json.loads(capsys.readouterr().out)["rolled_back_to"] == 0 and withdrawn(base, "m") == [1]
    with pytest.raises(SystemExit, match="1"):
        main(where)
    assert "serving.live: The version must be published" in capsys.readouterr().err


# --- what a server says


def line(version, state, code="OK", message=""):
    return {"version": str(version), "state": state, "status": {"error_code": code, "error_message": message}}


@pytest.mark.parametrize(
    ("lines", "reason", "final"),
    [
        ([line(2, "AVAILABLE"), line(1, "END")], "", False),
        ([line(3, "AVAILABLE"), line(2, "AVAILABLE")], "version 3 answers in its place", False),
        ([line(3, "UNLOADING"), line(2, "END")], "it is END", False),  # after a rollback, before it is loaded again
        ([line(2, "LOADING"), line(1, "AVAILABLE")], "it is LOADING", False),
        ([line(2, "END", "DATA_LOSS", "a checksum"), line(1, "AVAILABLE")], "it could not be loaded: a checksum", True),
        ([line(1, "AVAILABLE")], "the server knows of version 1 alone", False),
    ],
)
def test_the_state_of_a_version(lines, reason, final):
    found = _state(lines, 2)
    assert (found.reason, found.final) == (reason, final)


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([[0.5, 0.25]], [[0.5, 0.2]], 0.05),
        ([[0.5, 0.25]], [[0.5], [0.25]], float("inf")),
        ([[0.5, 0.25]], [[0.5]], float("inf")),
        ([[0.5, None]], [[0.5, 0.2]], float("inf")),
        ([[float("nan")]], [[0.2]], float("inf")),
    ],
)
def test_answers_are_compared_place_by_place(found, expected, difference):
    assert _difference(found, expected) == pytest.approx(difference)


def test_every_task_must_be_answered():
    assert _compared({"click": [[0.5]]}, {"click": [[0.5]], "order": [[0.1]]}, 1e-5).reason == "it gives click and no order"
    assert _compared([[0.5]], {"click": [[0.5]]}, 1e-5) == ("", False, 0.0)


def test_withdrawing_takes_the_only_version(tmp_path, monkeypatch):
    from serving import publish as publishing

    monkeypatch.setattr(publishing, "verify_afresh", lambda folder: None)
    base = published(tmp_path, 2)
    with pytest.raises(ValueError, match=r"must be the only one in .*Received: 2; there are \[1, 2\]. Roll back"):
        withdraw(base, "ranker", 2)
