"""A bare HTTP client for the suite: what was sent is what the test wrote."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Reply:
    """An answer as it came."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON; bytes that are no text, which string outputs may hold, come as surrogates."""
        return json.loads(self.body.decode("utf-8", "surrogateescape"))

    @property
    def error(self) -> str:
        """The message of an error; the body must hold it and nothing else."""
        content = self.json
        assert list(content) == ["error"]
        assert self.headers["content-type"].startswith("application/json")
        return content["error"]


class Asker:
    """Sends requests to one server, each over a connection of its own."""

    def __init__(self, url: str):
        self._address = urlsplit(url).netloc

    def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return self.send("GET", path, None, headers)

    def predict(self, body: Any, model: str = "plain", **headers: str) -> Reply:
        """A predict request; text and bytes go as they are, everything else as JSON."""
        return self.send("POST", f"/v1/models/{model}:predict", body, headers)

    def send(self, verb: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Any request."""
        if body is not None and not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request(verb, path, body, {name.replace("_", "-"): value for name, value in (headers or {}).items()})
            response = connection.getresponse()
            return Reply(response.status, response.read(), {name.lower(): value for name, value in response.getheaders()})
        finally:
            connection.close()
