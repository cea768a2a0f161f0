"""The local server beyond the contract: its limits, its command line, its thread, the real binary in its place."""

import gzip
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.local.loaded_version import LoadedVersion
from serving.local.models import Models
from serving.local.rest import RestApi
from serving.local.server import LocalServer, main
from serving.model_config import Policy, find_models, read_model_config
from tests.serving.asking import Asker
from tests.serving.local.contract_models import LABELS

ROOT = Path(__file__).parents[3]
FLOATS = '{"signature_name": "floats", "inputs": [[1.0]]}'
LIMIT = 4096


@pytest.fixture(scope="module")
def small(contract_folder):
    """A server that takes bodies of 4 KiB."""
    base = contract_folder / "few"
    base.mkdir()
    (base / "plain").symlink_to(contract_folder / "plain")
    with LocalServer(Models(base), port=0, max_body_bytes=LIMIT, poll_seconds=None) as server:
        yield Asker(server.url)


def padded(size):
    return FLOATS.ljust(size).encode()


def test_a_body_of_the_limit_is_answered_and_a_byte_more_is_413(small):
    assert small.predict(padded(LIMIT)).json == {"outputs": [[2.0]]}
    for size in (LIMIT + 1, 8 * LIMIT, 200 * LIMIT, 8000 * LIMIT):  # the last does not fit into the buffers on the way
        reply = small.predict(padded(size), Connection="close")  # as urllib asks: then a server that reads no more resets the connection
        assert reply.status == 413
        assert f"at most {LIMIT} bytes" in reply.error
    assert small.predict(FLOATS).status == 200


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_what_the_local_server_does_not_run_is_501(small, verb):
    reply = small.send("POST", f"/v1/models/plain:{verb}", {"signature_name": "floats", "examples": [{"x": [1.0]}]})
    assert (reply.status, reply.error) == (501, f"The local server does not run :{verb}. Use :predict, or the real server.")


def test_a_packed_body_is_limited_unpacked(small):
    assert small.predict(gzip.compress(padded(LIMIT)), Content_Encoding="gzip").status == 200
    for size in (LIMIT + 1, 1000 * LIMIT):
        packed = gzip.compress(padded(size))
        assert len(packed) <= 8 * LIMIT
        assert small.predict(packed, Content_Encoding="gzip").status == 413


def test_a_client_that_asks_before_it_sends_is_told_at_once(small):
    """Nothing of the body is sent; curl does so with bodies above 1 MB."""
    import socket

    host, _, port = small._address.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"POST /v1/models/plain:predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LIMIT + 1}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def test_requests_are_logged_where_that_is_asked_for(contract_folder, small, caplog):
    caplog.set_level(logging.INFO, "serving")
    small.predict(FLOATS)
    assert not [record for record in caplog.records if record.name == "serving.local.asgi"]
    with LocalServer(Models(contract_folder / "few"), port=0, max_body_bytes=LIMIT, poll_seconds=None, log_requests=True) as server:
        asker = Asker(server.url)
        answered = asker.predict(FLOATS)
        asker.predict({"signature_name": "nope", "instances": [[1.0]]})
        asker.predict(padded(LIMIT + 1))
    lines = [record.getMessage() for record in caplog.records if record.name == "serving.local.asgi"]
    path = "POST /v1/models/plain:predict"
    assert re.fullmatch(rf"{path} 200, {len(FLOATS)} bytes in, {len(answered.body)} out, [0-9.]+ ms", lines[0])
    assert lines[1].startswith(f"{path} 400, ") and "not found in signature def" in lines[1]
    assert lines[2].startswith(f"{path} 413, {LIMIT + 1} bytes in, ")


@pytest.mark.parametrize("body", [b"", FLOATS.encode(), gzip.compress(FLOATS.encode(), mtime=0)[:-4], b"\x1f\x8b"])
def test_a_body_that_is_not_gzip_is_400(small, body):
    reply = small.predict(body, Content_Encoding="gzip")
    assert reply.status == 400
    assert "must be gzip" in reply.error


def test_the_query_is_no_part_of_the_path(small):
    assert small.get("/v1/models/plain?x=1").status == 200


def test_a_model_name_may_be_percent_encoded(small):
    assert small.get("/v1/models/%70lain").status == 200


def test_an_error_in_the_server_is_500_and_json():
    class Broken:
        def known(self, name):
            raise RuntimeError("broken on purpose")

    answer = RestApi(Broken()).answer("GET", "/v1/models/m", b"")
    assert answer.code == 500 and b"broken on purpose" in answer.body


def test_a_run_that_takes_too_long_is_504(contract_folder):
    models = Models(contract_folder / "few", load=lambda folder: LoadedVersion(folder, timeout_ms=100))
    models.poll()
    answer = RestApi(models).answer("POST", "/v1/models/plain:predict", b'{"signature_name": "endless", "inputs": 0.0}')
    models.close()
    assert answer.code == 504 and b"Timed out waiting for notification" in answer.body


def test_an_answer_does_not_wait_for_an_acknowledgement(contract_folder):
    import socket

    with LocalServer(Models(contract_folder / "few"), port=0, poll_seconds=None) as server:
        assert server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # taken over by each connection it accepts


def test_requests_from_several_threads_get_their_own_answers(small):
    wrong = []

    def ask(number):
        for _ in range(10):
            reply = small.predict({"signature_name": "floats", "inputs": [[float(number)]]})
            if reply.json != {"outputs": [[2.0 * number]]}:
                wrong.append(reply)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_stopped_server_listens_no_more(contract_folder):
    with LocalServer(Models(contract_folder / "few"), port=0) as server:
        asker = Asker(server.url)
        assert asker.get("/v1/models/plain").status == 200
    with pytest.raises(ConnectionRefusedError):
        asker.get("/v1/models/plain")


# --- which models


def test_a_model_config_says_folders_policies_and_labels(contract_folder):
    models = {model.name: model for model in read_model_config(contract_folder / "model.config")}
    assert models["latest"].policy == Policy(latest=1) and models["latest"].folder == contract_folder / "latest"
    assert models["versions"].policy == Policy(all=True) and models["versions"].labels == LABELS


def test_a_model_config_may_be_served_from_elsewhere(contract_folder):
    models = read_model_config(contract_folder / "model.config", Path("/elsewhere"))
    assert {model.folder for model in models} == {Path("/elsewhere") / model.name for model in models}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense {", "must be the text form of"),
        ("", r"must hold a model_config_list of models with names of their own. Received: \[\]"),
        ('model_config_list { config { name: "a" model_platform: "torch" } }', "model_platform must be 'tensorflow'. Received: 'torch'"),
        ('model_config_list { config { name: "a" } config { name: "a" } }', "names of their own"),
    ],
)
def test_a_bad_model_config_is_named(tmp_path, text, message):
    (tmp_path / "model.config").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_model_config(tmp_path / "model.config")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(Policy(), {7}), (Policy(latest=2), {3, 7}), (Policy(all=True), {1, 3, 7}), (Policy(specific=(1, 9)), {1})],
)
def test_a_policy_chooses_versions(policy, expected):
    assert policy.choose({1, 3, 7}) == expected


# --- the command line


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "serving.local", *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def test_help_says_what_it_is_not(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for limit in ("It is NOT TF Serving and not for production", "no gRPC, no batching", "one process"):
        assert limit in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--base or --model-config-file must be given"),
        (["--base", "/no/such/folder"], "--base must be a folder of models, <base>/<model>/<version>. Received: /no/such/folder"),
        (["--model-config-file", "/no/such/file"], "--model-config-file must be a file. Received: /no/such/file"),
        (["--base", ".", "--intra-op-threads", "-1"], "--intra-op-threads must be 0 or more. Received: -1"),
    ],
)
def test_wrong_arguments_exit_with_2(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.fixture
def fake_binary(tmp_path):
    """Stands for tensorflow_model_server: prints its flags and its model.config."""
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text('#!/bin/sh\nfor flag; do echo "$flag"; case "$flag" in --model_config_file=*) cat "${flag#*=}";; esac; done\n')
    binary.chmod(0o755)
    return binary


def test_the_real_binary_gets_the_same_models_and_port(contract_folder, fake_binary, tmp_path):
    done = run("--base", str(contract_folder), "--port", "8777", "--tfserving-binary", str(fake_binary))
    assert done.returncode == 0, done.stderr
    assert {"--rest_api_port=8777", "--max_num_load_retries=1", "--tensorflow_intra_op_parallelism=1"} <= set(done.stdout.splitlines())
    (tmp_path / "model.config").write_text(re.search(r"model_config_list \{.*\n\}\n", done.stdout, re.DOTALL)[0])
    expected = [(model.name, model.folder.resolve(), model.policy) for model in find_models(contract_folder)]
    assert expected
    assert [(model.name, model.folder, model.policy) for model in read_model_config(tmp_path / "model.config")] == expected


def test_the_real_binary_keeps_policies_and_labels(contract_folder, fake_binary, tmp_path):
    config = contract_folder / "model.config"
    done = run("--model-config-file", str(config), "--tfserving-binary", str(fake_binary))
    (tmp_path / "model.config").write_text(re.search(r"model_config_list \{.*\n\}\n", done.stdout, re.DOTALL)[0])
    assert read_model_config(tmp_path / "model.config") == read_model_config(config)
    assert done.stderr == ""


def test_before_the_real_binary_absent_versions_are_said(contract_folder, fake_binary, tmp_path):
    config = tmp_path / "labels.config"
    config.write_text((contract_folder / "model.config").read_text().replace('key: "canary" value: 2', 'key: "canary" value: 6'))
    done = run("--model-config-file", str(config), "--tfserving-binary", str(fake_binary))
    assert done.stderr == f"serving.local: versions: version 6, which label canary names, is not in {contract_folder}/versions\n"


def test_a_missing_binary_exits_with_2(contract_folder):
    done = run("--base", str(contract_folder), "--tfserving-binary", "/no/such/binary")
    assert done.returncode == 2 and "--tfserving-binary must be a program. Received: /no/such/binary" in done.stderr


@pytest.mark.parametrize(("given", "expected"), [({}, 1), ({"intra_op_threads": 3}, 3)])
def test_an_operation_gets_its_threads(contract_folder, monkeypatch, given, expected):
    import tensorflow as tf

    session, configs = tf.compat.v1.Session, []
    monkeypatch.setattr(tf.compat.v1, "Session", lambda graph, config: configs.append(config) or session(graph=graph, config=config))
    LoadedVersion(contract_folder / "plain" / "1", **given).close()
    assert [config.intra_op_parallelism_threads for config in configs] == [expected]
