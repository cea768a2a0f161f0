"""The client: what it sends, what it makes of answers, when it tries again. Against the server under test, and against a stub that misbehaves."""

import ast
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import serving.client
from serving.client import (
    BadAnswerError,
    BadInputError,
    Client,
    FailedError,
    NotServedError,
    RefusedError,
    ServingError,
    UnreachableError,
    main,
    request_row,
)

ROOT = Path(__file__).parents[2]
REQUEST = {"candidates": [700, 900, 800], "history": [(1, 20), (2, 30), (3, 10)], "user_id": 5, "time": 40, "user": {"city": "Oslo"}}
# worked out by hand from contract_models.write_ranker: click = candidate / 1000 + 3 behaviors, order = click + 40 + 5 + 4 letters
CLICK, ORDER = [3.7, 3.9, 3.8], [52.7, 52.9, 52.8]
SIGNATURE = {
    "inputs": {
        "candidate_ids": {"dtype": "DT_INT64"},
        "history_ids": {"dtype": "DT_INT64"},
        "history_times": {"dtype": "DT_INT64"},
        "time": {"dtype": "DT_INT64"},
        "user_id": {"dtype": "DT_STRING"},
        "context_page": {"dtype": "DT_STRING"},
    },
    "outputs": {"click": {}},
}


@pytest.fixture
def client(server_url):
    with Client(server_url, "ranker") as client:
        yield client


# --- against a server


def test_scores_come_by_task_in_the_order_of_the_candidates(client):
    scores = client.rank(**REQUEST)
    assert set(scores) == {"click", "order"}
    assert scores["click"] == pytest.approx(CLICK, abs=1e-5)
    assert scores["order"] == pytest.approx(ORDER, abs=1e-4)


def test_a_ranked_list_is_the_best_first(client):
    ranked = client.rank(**REQUEST, by="order")
    assert [candidate for candidate, _ in ranked] == [900, 800, 700]
    assert [score for _, score in ranked] == pytest.approx(sorted(ORDER, reverse=True), abs=1e-4)


def test_an_empty_history_and_field_are_sent_as_such(client):
    scores = client.rank(candidates=[500], user_id=1, time=2, user={"city": []})
    assert scores["click"] == pytest.approx([0.5]) and scores["order"] == pytest.approx([3.5])


def test_string_ids(client):
    assert client.rank(candidates=["abc", "d\u00e9"], history=["x"], signature_name="by_word") == {"click": [3.0, 3.0]}


def test_status_and_metadata(client):
    assert client.status() == [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    assert {"serving_default", "by_word"} <= set(client.metadata())


def test_predict_runs_any_signature(server_url):
    with Client(server_url, "plain") as client:
        assert client.predict([[1.0, 2.0]], signature_name="floats") == [[2.0, 4.0]]
        assert client.predict({"a": [1.0], "b": [2.0, 3.0]}, signature_name="lengths") == {"a_total": 1.0, "b_total": 5.0}
        assert client.predict([["\udcff"]], signature_name="raw_bytes") == [[{"b64": "/w=="}]]


def test_a_version_may_be_asked_for(server_url):
    for version, expected in ((1, 3.0), (2, 6.0), (None, 6.0)):
        with Client(server_url, "versions", version=version) as client:
            assert client.predict([[3.0]]) == [[expected]]


def test_a_refusal_carries_the_servers_message(server_url):
    with Client(server_url, "plain") as client, pytest.raises(RefusedError, match="400: Encountered list at unexpected size") as caught:
        client.predict([[1.0], []], signature_name="floats")
    assert caught.value.status == 400 and not isinstance(caught.value, NotServedError)
    with Client(server_url, "nobody") as client, pytest.raises(NotServedError, match="Servable not found for request: Latest"):
        client.rank(**REQUEST)


def test_the_command_prints_json(server_url, capsys):
    arguments = [
        "--url",
        server_url,
        "--model",
        "ranker",
        "rank",
        "--user",
        "5",
        "--history",
        "1@20,2@30,3@10",
        "--candidates",
        "700,900,800",
        "--time",
        "40",
    ]
    main([*arguments, "--user-field", "city=Oslo"])
    scores = json.loads(capsys.readouterr().out)
    assert scores["click"] == pytest.approx(CLICK, abs=1e-5) and scores["order"] == pytest.approx(ORDER, abs=1e-4)
    main([*arguments, "--user-field", "city=Oslo", "--by", "click"])
    assert [candidate for candidate, _ in json.loads(capsys.readouterr().out)] == [900, 800, 700]
    main(["--url", server_url, "--model", "ranker", "status"])
    assert json.loads(capsys.readouterr().out)[0]["state"] == "AVAILABLE"


@pytest.mark.parametrize(("label", "factor"), [("stable", 1.0), ("canary", 2.0)])
def test_a_label_chooses_a_version(server_url, label, factor):
    with Client(server_url, "versions", label=label) as client:
        assert client.predict({"x": [[3.0]]}) == [[3.0 * factor]]


def test_the_command_takes_a_label(server_url, capsys):
    """Of a label that nothing has, the server says so."""
    main(["--url", server_url, "--model", "versions", "--label", "stable", "metadata"])
    assert "serving_default" in json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit, match="1"):
        main(["--url", server_url, "--model", "versions", "--label", "nothing", "metadata"])
    assert "400: Unrecognized servable version label: nothing" in capsys.readouterr().err


def test_a_label_and_a_version_are_one_too_many(capsys):
    with pytest.raises(ValueError, match="A version or a label may be given. Received: version 1 and label stable"):
        Client("http://127.0.0.1:8501", "m", version=1, label="stable")
    with pytest.raises(SystemExit, match="2"):
        main(["--model", "m", "--version", "1", "--label", "stable", "status"])
    assert "not allowed with argument --version" in capsys.readouterr().err


def test_every_help_says_that_histories_are_newest_first(capsys):
    from pipelines import export
    from serving import grpc_client
    from serving.local import server

    for command in (main, grpc_client.main, server.main, export.main):
        try:
            command(["--help"])
        except SystemExit as stop:
            assert stop.code == 0
        assert "newest first" in " ".join(capsys.readouterr().out.split()).lower()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "nobody", "status"], 1, "404: Could not find any versions of model nobody"),
        (["--model", "ranker", "rank", "--candidates", "1"], 2, r"The model needs time \(time="),
        (["--model", "ranker", "rank", "--candidates", "one"], 2, "candidate_ids must be integers. Received: 'one'"),
        (["--model", "ranker", "rank", "--candidates", "1", "--user-field", "city"], 2, "A field must be NAME=VALUE,VALUE. Received: city"),
    ],
)
def test_the_command_exits_with_a_message(server_url, capsys, arguments, code, message):
    import re

    with pytest.raises(SystemExit, match=str(code)):
        main(["--url", server_url, *arguments])
    assert re.search(message, capsys.readouterr().err)


def test_the_client_imports_the_standard_library_only():
    tree = ast.parse((ROOT / "serving" / "client.py").read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found and {name.split(".")[0] for name in found} <= sys.stdlib_module_names
    subprocess.run([sys.executable, "-S", str(ROOT / "serving" / "client.py"), "--help"], check=True, capture_output=True)


# --- rows


def test_a_row_holds_what_the_model_takes():
    row = request_row(SIGNATURE, candidates=[7], history=[(1, 20), (2, 30), (3, 20)], user_id="u", time=40, context={"page": ["home", "app"]})
    assert row == {
        "candidate_ids": [7],
        "history_ids": [2, 1, 3],  # the newest first, equal times as they came
        "history_times": [30, 20, 20],
        "time": 40,
        "user_id": "u",
        "context_page": ["home", "app"],
    }


def test_what_a_model_without_users_and_times_takes():
    signature = {"inputs": {name: {"dtype": "DT_INT64"} for name in ("candidate_ids", "history_ids")}}
    assert request_row(signature, candidates=[7], history=[(1, 20), (2, 30)], user_id=5, time=40) == {"candidate_ids": [7], "history_ids": [2, 1]}


FULL = {"candidates": [7], "history": [(1, 2)], "user_id": "u", "time": 3, "context": {"page": "home"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": []}, "candidates must hold at least one id. Received: none"),
        ({"candidates": [7, "8"]}, "candidate_ids must be integers. Received: '8'"),
        ({"candidates": [7.0]}, "candidate_ids must be integers. Received: 7.0"),
        ({"candidates": [True]}, "candidate_ids must be integers. Received: True"),
        ({"user_id": 5}, "user_id must be strings. Received: 5"),
        ({"user_id": None}, r"The model needs user_id \(user_id=...\)"),
        ({"time": None}, r"The model needs time \(time=..., when the request is made\)"),
        ({"history": [1, 2]}, r"The model needs history_times \(history=\[\(id, time\), ...\], in any order\)"),
        ({"history": [1, (2, 3)]}, "history must hold ids, newest first, or pairs of id and time"),
        ({"history": [(1, 2, 3)]}, "history must hold ids, newest first, or pairs of id and time"),
        ({"context": {}}, r"The model needs context_page \(context=\{'page': ...\}\)"),
        ({"context": {"page": "home", "pgae": "x"}}, "Received: context_pgae; it takes candidate_ids, context_page"),
        ({"context": {"page": [1]}}, "context_page must be strings. Received: 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(change, message):
    assert request_row(SIGNATURE, **FULL)
    with pytest.raises(BadInputError, match=message):
        request_row(SIGNATURE, **{**FULL, **change})


# --- against a stub


class Stub(ThreadingHTTPServer):
    """Answers by a script of (code, body); the last line repeats. Keeps what it was asked, and by how many connections."""

    def __init__(self, script):
        self.script, self.asked, self.connections = list(script), [], set()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        stub = self.server
        stub.connections.add(self.client_address)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        stub.asked.append((self.command, self.path, body, dict(self.headers)))
        code, content = stub.script.pop(0) if len(stub.script) > 1 else stub.script[0]
        if code == "drop":  # answers, and then closes a connection that was to be kept
            code, self.close_connection = 200, True
        if code == "hang up":
            self.close_connection = True
            return
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def stub():
    """Starts stubs, and stops them."""
    started = []

    def start(*script):
        server = Stub(script)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def naps(monkeypatch):
    """Lets time pass without waiting; gives the seconds slept."""
    slept = []

    class Clock:
        monotonic = staticmethod(lambda: float(sum(slept)))
        sleep = staticmethod(slept.append)

    monkeypatch.setattr(serving.client, "clock", Clock)
    return slept


BUSY, GOOD = (503, {"error": "loading"}), (200, {"outputs": [1.0]})


def test_503_is_tried_again_with_growing_waits(stub, naps):
    server = stub(BUSY, BUSY, GOOD)
    with Client(server.url, "m") as client:
        assert client.predict([1.0]) == [1.0]
    assert naps == [0.05, 0.1]
    assert len(server.asked) == 3 and len(server.connections) == 1


def test_503_ends_after_the_retries(stub, naps):
    server = stub(BUSY)
    with Client(server.url, "m", retries=2) as client, pytest.raises(FailedError, match="503: loading") as caught:
        client.predict([1.0])
    assert caught.value.status == 503
    assert len(server.asked) == 3


def test_the_deadline_ends_the_retries(stub, naps):
    server = stub(BUSY)
    with Client(server.url, "m", retries=1000, deadline=5.0) as client, pytest.raises(FailedError):
        client.predict([1.0])
    assert 4.0 < sum(naps) < 5.0 and max(naps) == 1.0
    assert len(server.asked) == len(naps) + 1


@pytest.mark.parametrize(
    ("code", "kind"), [(400, RefusedError), (404, NotServedError), (413, RefusedError), (429, RefusedError), (500, FailedError), (504, FailedError)]
)
def test_no_other_code_is_tried_again(stub, naps, code, kind):
    server = stub((code, {"error": "because"}))
    with Client(server.url, "m") as client, pytest.raises(kind, match=f"{code}: because") as caught:
        client.predict([1.0])
    assert caught.value.status == code and isinstance(caught.value, ServingError)
    assert len(server.asked) == 1 and naps == []


def test_a_refused_connection_is_tried_again(stub, naps):
    server = stub(GOOD)
    url = server.url
    server.server_close()
    with Client(url, "m", retries=2) as client, pytest.raises(UnreachableError, match="ConnectionRefusedError.*Is the server up?"):
        client.predict([1.0])
    assert naps == [0.05, 0.1]


def test_a_connection_that_breaks_off_is_tried_again(stub, naps):
    server = stub(("hang up", b""), GOOD)
    with Client(server.url, "m") as client:
        assert client.predict([1.0]) == [1.0]
    assert len(server.asked) == 2 and naps == [0.05]


def test_a_server_that_is_too_slow_is_asked_once(naps):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", "m", timeout=0.05)
        with client, pytest.raises(UnreachableError, match="must answer within 0.05 s. Received: TimeoutError"):
            client.predict([1.0])
    assert naps == []


def test_one_connection_serves_many_calls(stub):
    server = stub(GOOD)
    with Client(server.url, "m") as client:
        for _ in range(5):
            client.predict([1.0])
    assert len(server.connections) == 1


def test_a_kept_connection_that_was_closed_is_opened_anew(stub, naps):
    server = stub(("drop", {"outputs": [1.0]}), GOOD)
    with Client(server.url, "m", retries=0) as client:
        assert client.predict([1.0]) == client.predict([1.0]) == [1.0]
    assert len(server.connections) == 2 and naps == []


def test_each_thread_has_its_own_connection(stub):
    server = stub(GOOD)
    with Client(server.url, "m") as client:

        def ask():
            client.predict([1.0])
            client.close()

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.connections) == 3


def test_path_prefix_version_and_headers_are_sent(stub):
    server = stub(GOOD)
    with Client(f"{server.url}/shop/", "a model", version=3, headers={"Authorization": "Bearer key"}) as client:
        client.predict([1.0], signature_name="s")
    verb, path, body, headers = server.asked[0]
    assert (verb, path) == ("POST", "/shop/v1/models/a%20model/versions/3:predict")
    assert json.loads(body) == {"signature_name": "s", "inputs": [1.0]}
    assert headers["Authorization"] == "Bearer key"


def metadata_of(signature):
    return 200, {"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}


def test_metadata_is_asked_for_once_and_again_after_a_refusal(stub):
    signature = {"inputs": {"candidate_ids": {"dtype": "DT_INT64"}}, "outputs": {"click": {}}}
    good = (200, {"predictions": [[0.5]]})
    server = stub(metadata_of(signature), good, good, (400, {"error": "other inputs"}), metadata_of(signature), good)
    with Client(server.url, "m") as client:
        for _ in range(2):
            assert client.rank(candidates=[1]) == {"click": [0.5]}
        with pytest.raises(RefusedError, match="other inputs"):
            client.rank(candidates=[1])
        client.rank(candidates=[1])
    assert [verb for verb, *_ in server.asked] == ["GET", "POST", "POST", "POST", "GET", "POST"]


def test_nothing_is_sent_when_an_argument_is_missing(stub):
    server = stub(metadata_of(SIGNATURE))
    with Client(server.url, "m") as client, pytest.raises(BadInputError, match="The model needs context_page"):
        client.rank(**{**FULL, "context": {}})
    assert [verb for verb, *_ in server.asked] == ["GET"]


def test_a_task_or_signature_that_the_model_lacks_is_named(stub):
    with Client(stub(metadata_of(SIGNATURE)).url, "m") as client:
        with pytest.raises(BadInputError, match="by must be ecpm, or a task of the model: click. Received: order"):
            client.rank(**FULL, by="order")
        with pytest.raises(BadInputError, match="signature_name must be one of serving_default. Received: other"):
            client.rank(**FULL, signature_name="other")


@pytest.mark.parametrize(
    ("code", "content", "message"),
    [
        (200, b"<html>", "An answer must be JSON"),
        (200, {}, "An answer must hold 'outputs'"),
        (200, [1], "An answer must hold 'outputs'"),
        (302, b"", "must be 200, 4xx or 5xx. Received: 302"),
    ],
)
def test_an_answer_of_something_else_is_named(stub, code, content, message):
    with Client(stub((code, content)).url, "m") as client, pytest.raises(BadAnswerError, match=message):
        client.predict([1.0])


@pytest.mark.parametrize("predictions", [[], [[0.1]], [0.1], [{"other": [0.1, 0.2]}], "no list"])
def test_scores_that_do_not_fit_the_candidates_are_named(stub, predictions):
    signature = {"inputs": {"candidate_ids": {"dtype": "DT_INT64"}}, "outputs": {"click": {}}}
    with Client(stub(metadata_of(signature), (200, {"predictions": predictions})).url, "m") as client, pytest.raises(BadAnswerError):
        client.rank(candidates=[1, 2])


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b'{"message": 1}'])
def test_a_refusal_in_another_form_is_quoted(stub, content):
    with Client(stub((400, content)).url, "m") as client, pytest.raises(RefusedError, match=f"400: {content.decode() or 'no message'}"):
        client.predict([1.0])


@pytest.mark.parametrize("url", ["127.0.0.1:8501", "ftp://host", "http://"])
def test_a_url_that_is_none_is_named(url):
    with pytest.raises(ValueError, match="url must be http://host:port"):
        Client(url, "m")
