"""`RestApi`: TF Serving's REST interface, without the network: a verb, a path and a body in, a code and a body out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from serving.local.json_tensors import answer_of, inputs_of
from serving.local.json_values import quote, read_json
from serving.local.loaded_version import status_of
from serving.local.models import Models
from serving.local.status import HTTP, Code, StatusError, invalid
from serving.model_config import MAX_VERSION

logger = logging.getLogger(__name__)

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_RUN = re.compile(rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<verb>classify|regress|predict)", re.IGNORECASE)
_LOOK = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?", re.IGNORECASE)
_NO_PAGE = b"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"


@dataclass(frozen=True)
class Answer:
    """What goes back: HTTP code, body and its type."""

    code: int
    body: bytes
    content_type: str = "application/json"


class RestApi:
    """Answers requests of the paths under `/v1/`.

    Args:
        models: what is served.
    """

    def __init__(self, models: Models):
        self._models = models

    def answer(self, verb: str, path: str, body: bytes, has_origin: bool = False) -> Answer:
        """The answer to one request; never raises.

        Args:
            verb: HTTP method.
            path: path as sent, percent-encoded, without the query.
            body: unpacked body.
            has_origin: whether the request names its origin, as browsers do.
        """
        if not _API.fullmatch(path):
            return Answer(404, _NO_PAGE, "text/html")
        if verb == "OPTIONS" and has_origin:
            return Answer(200, b"")
        try:
            match = {"POST": _RUN, "GET": _LOOK}[verb].fullmatch(path) if verb in ("POST", "GET") else None
            if match is None:
                raise _malformed(verb, path)
            found: dict[str, Any] = {name: unquote(value) if value is not None else None for name, value in match.groupdict().items()}
            if found["version"] is not None:
                digits = found["version"].lstrip("0") or "0"
                if len(digits) > 19 or int(digits) > MAX_VERSION:
                    return Answer(400, b"")  # the one error without a message, on the real server too
                found["version"] = int(digits)
            return Answer(200, self._run(verb, path, found, body) if verb == "POST" else self._look(found))
        except StatusError as error:
            return error_answer(error)
        except Exception as error:
            logger.exception("%s %s failed", verb, path)
            return error_answer(status_of(error))

    def _run(self, verb: str, path: str, found: Mapping[str, Any], body: bytes) -> bytes:
        if found["verb"] == "predict":
            return self._predict(found, body)
        if found["verb"] in ("classify", "regress"):
            raise StatusError(Code.UNIMPLEMENTED, f"The local server does not run :{found['verb']}. Use :predict, or the real server.")
        raise _malformed(verb, path)  # the path is matched without regard to case, the verb is not

    def _look(self, found: Mapping[str, Any]) -> bytes:
        if not found["model"]:
            raise invalid("Missing model name in request.")
        return self._metadata(found) if found["metadata"] else self._status(found)

    def _predict(self, found: Mapping[str, Any], body: bytes) -> bytes:
        document = _document(body)
        with self._models.serving(found["model"], found["version"]).use(found["version"], found["label"]) as (_, loaded):
            signature = loaded.signature(document.get("signature_name", ""))
            inputs, row = inputs_of(document, signature.inputs)
            return answer_of(loaded.run(signature, inputs), signature.outputs, row)

    def _status(self, found: Mapping[str, Any]) -> bytes:
        lines = self._models.known(found["model"]).status(found["version"])  # a label is read over, as the real server does: all versions
        states = [
            {"version": str(version), "state": state.state, "status": {"error_code": state.code.name, "error_message": state.message}}
            for version, state in lines
        ]
        return _json({"model_version_status": states})

    def _metadata(self, found: Mapping[str, Any]) -> bytes:
        from google.protobuf.json_format import MessageToDict

        with self._models.serving(found["model"], found["version"]).use(found["version"], found["label"]) as (version, loaded):
            signatures = {
                name: MessageToDict(definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
                for name, definition in sorted(loaded.meta_graph.signature_def.items())
            }
        spec = {"name": found["model"], "signature_name": "", "version": str(version)}
        return _json({"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}})


def error_answer(error: StatusError) -> Answer:
    """The answer to a request that failed."""
    return Answer(HTTP[error.code], error_body(error.message))


def error_body(message: str) -> bytes:
    """An error as JSON; ASCII, whatever bytes the message quotes."""
    return f'{{\n    "error": {json.dumps(message)}\n}}'.encode()


def _document(body: bytes) -> dict[str, Any]:
    document = read_json(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quote(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid(f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string value.")
    return document


def _malformed(verb: str, path: str) -> StatusError:
    return invalid(f"Malformed request: {verb} {path}")


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()
