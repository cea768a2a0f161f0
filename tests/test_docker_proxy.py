"""The proxy of docker/, run for real in front of a server that only notes what reaches it."""

import http.client
import json
import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.docker_tools import DOCKER, METRICS, Server, run, tool

NJS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """nginx with our configuration in front of a `Server`; gives (port, server)."""
    nginx = tool("nginx")
    if not NJS.exists():
        pytest.skip("nginx has no njs module here")
    folder, server = tmp_path_factory.mktemp("proxy"), Server()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "api_keys").write_text(f'"{KEY}" shop;\n')
    text = (DOCKER / "proxy/nginx.conf").read_text()
    upstream = (DOCKER / "proxy/upstream.conf").read_text().replace("resolver 127.0.0.11 valid=5s;", "")
    (folder / "upstream.conf").write_text(upstream.replace("model:8501 resolve", f"127.0.0.1:{server.server_port}"))
    changes = {  # addresses and files; `resolve` above is what the nginx of Debian 12 does not know
        "/run/secrets/api_keys": f"{folder}/api_keys",
        "/etc/nginx/guard.js": f"{DOCKER}/proxy/guard.js",
        "/tmp/": f"{folder}/",
        "/dev/stdout": f"{folder}/access.log",
        "/etc/nginx/upstream.conf": f"{folder}/upstream.conf",
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "worker_processes auto;": "worker_processes 1; daemon off;" + (" user root;" if os.geteuid() == 0 else ""),
    }
    assert all(old in text for old in changes)
    text = re.sub("|".join(map(re.escape, changes)), lambda found: changes[found[0]], text)
    (folder / "nginx.conf").write_text(text)
    command = [nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    run(*command, "-t")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
    assert process.poll() is None, process.communicate()[1]
    yield port, server
    process.terminate()
    process.communicate()
    server.shutdown()
    server.server_close()


def ask(proxy, method="POST", path="/v1/models/ranker:predict", body=b"{}", headers=(("X-Api-Key", KEY),), chunked=False):
    """(status, parsed answer, what reached the server)."""
    port, server = proxy
    server.seen.clear()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path)
    for name, value in (*headers, ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders()
    try:
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused by its length alone
    answer = connection.getresponse()
    content = answer.read()
    assert answer.getheader("Content-Type") == "application/json"
    connection.close()
    return answer.status, json.loads(content), list(server.seen)


@pytest.mark.parametrize("path", ["/v1/models/ranker:predict", "/v1/models/ranker/versions/3:predict", "/v1/models/ranker/labels/stable:predict"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_reaches_the_server_unchanged_but_for_the_key(proxy, path, chunked):
    body = json.dumps({"instances": [{"candidate_ids": ["é", "日本", "["], "history_ids": []}]}, ensure_ascii=False).encode()
    status, answer, ((method, reached, headers, content),) = ask(proxy, path=path, body=body, chunked=chunked)
    assert (status, answer) == (200, {"predictions": [[0.5]]})
    assert (method, reached, content) == ("POST", path, body)
    assert "X-Api-Key" not in headers
    assert headers["Content-Length"] == str(len(body))


def test_the_largest_body_passes(proxy):
    body = b'{"instances": [' + b"1," * 131_000 + b"1]}"
    body += b" " * (256 * 1024 - len(body))
    status, _, ((*_, content),) = ask(proxy, body=body)
    assert status == 200
    assert content == body


def test_the_servers_own_errors_pass(proxy):
    server = proxy[1]
    try:
        for server.status in (400, 404, 503, 504):
            server.body = b'{ "error": "of the server" }'
            assert ask(proxy)[:2] == (server.status, {"error": "of the server"})
    finally:
        server.status, server.body = 200, b'{"predictions": [[0.5]]}'


@pytest.mark.parametrize("path", ["/v1/models/ranker", "/v1/models/ranker/versions/3/metadata", "/v1/models/ranker/labels/stable"])
def test_status_and_metadata_pass(proxy, path):
    status, _, ((method, reached, headers, content),) = ask(proxy, "GET", path, body=b"[[[[")
    assert (status, method, reached, content) == (200, "GET", path, b"")
    assert "X-Api-Key" not in headers
    assert ask(proxy, "DELETE", path)[::2] == (403, [])


GZIP = ("Content-Encoding", "gzip")


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"headers": ()}, 401, "X-Api-Key must hold a known key"),
        ({"headers": (("X-Api-Key", "wrong"),)}, 401, "X-Api-Key must hold a known key"),
        ({"headers": (("X-Api-Key", ""),)}, 401, "X-Api-Key must hold a known key"),
        ({"headers": (), "method": "GET", "path": "/v1/models/ranker"}, 401, "X-Api-Key must hold a known key"),
        ({"headers": (("X-Api-Key", KEY), GZIP)}, 415, "must not be compressed"),
        ({"body": b" " * (256 * 1024 + 1)}, 413, "at most 256 kB"),
        ({"body": b" " * (256 * 1024 + 1), "chunked": True}, 413, "at most 256 kB"),
        ({"body": b"[" * 4097}, 400, "at most 4096 opening brackets"),
        ({"body": b'{"a":' * 4097, "chunked": True}, 400, "at most 4096 opening brackets"),
        ({"body": b'["]"' * 3000 + b'{"a":' * 1097}, 400, "at most 4096 opening brackets"),
        ({"body": b"\xff\xfe" + b"[" * 200_000}, 400, "at most 4096 opening brackets"),
        ({"path": "/v1/models/ranker:classify"}, 404, "No such path"),
        ({"path": f"/v1/models/ranker/../../..{METRICS}", "method": "GET"}, 404, "No such path"),
        ({"path": "/v1/models/a%20b:predict"}, 404, "No such path"),
        ({"path": METRICS, "method": "GET"}, 404, "No such path"),
        ({"path": "/_refused", "method": "GET"}, 404, "No such path"),
        ({"path": "/v1/models/" + "r" * 9000}, 414, "URL is too long"),
        ({"headers": (("X-Api-Key", KEY), ("X-Long", "r" * 9000))}, 400, "Malformed request"),
    ],
)
def test_what_must_not_reach_the_server_does_not(proxy, change, status, error):
    got, answer, seen = ask(proxy, **change)
    assert got == status
    assert error in answer["error"]
    assert seen == []


def test_brackets_up_to_the_limit_pass(proxy):
    assert ask(proxy, body=b"[" * 2048 + b"{" * 2048)[0] == 200


def test_no_content_encoding_reaches_the_server(proxy):
    for second in (GZIP, ("Content-Encoding", "identity")):
        _, _, seen = ask(proxy, headers=(("X-Api-Key", KEY), ("Content-Encoding", "identity"), second))
        assert all("Content-Encoding" not in headers for _, _, headers, _ in seen)


def test_a_server_that_is_gone_is_a_503(proxy):
    server = proxy[1]
    server.gone = True  # first by hanging up on a request, then by not listening
    try:
        for _ in range(2):
            assert ask(proxy) == (503, {"error": "The model server cannot be reached. Try again later"}, [])
            assert ask(proxy, "GET", "/healthz")[:2] == (200, {"status": "ok"})
            if server.socket.fileno() >= 0:
                server.shutdown()
                server.socket.close()
    finally:
        server.gone, server.socket = False, socket.create_server(server.server_address)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    assert ask(proxy)[0] == 200


def test_the_path_that_was_judged_is_the_path_that_is_asked(proxy):
    for path in (
        "/v1/models/x/../ranker:predict",
        "/monitoring/prometheus/metrics/../../../v1/models/ranker:predict",
        "//v1/models/%72anker:predict?a=b",
    ):
        status, _, ((_, reached, _, _),) = ask(proxy, path=path)
        assert (status, reached) == (200, "/v1/models/ranker:predict")
    _, _, ((_, reached, _, _),) = ask(proxy, "GET", "/v1/models/x/../ranker/metadata")
    assert reached == "/v1/models/ranker/metadata"
