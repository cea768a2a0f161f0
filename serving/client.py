"""A client of the REST interface, for TF Serving and for `serving.local`. Standard library only: copy this file to use it elsewhere.

    python -m serving.client --model synthetic rank --user 5 --history 3,2,1 --candidates 7,8,9     # or: status, metadata
    python -m serving.client --model synthetic rank --request request.json --by ecpm --bids 0.5,1.2,0.8 --paid-for click

`rank` prints one JSON object: a list of scores for each task, in the order of the candidates; with --by TASK a list of
[candidate, score], the best first. With --by ecpm the score is what a thousand exposures earn, 1000 x bid x probability of the
task that is paid for, as advertisements are ranked (CELA, section 5.7.1). Exits with 1 and a message where the server refuses or
is not there, 2 where the arguments do not fit the model.

Histories are given NEWEST FIRST: the other way round is another history, with other scores. Behaviors with times are written
12@1700000000 and put in order here. Of more than max_history (export.json) behaviors the newest count: send no more.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import sys
import threading
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

Id = int | str


class ServingError(Exception):
    """The base of the family:

    ServingError
    ├── BadInputError       an argument does not fit the model; nothing was sent
    ├── UnreachableError    no answer within the time and the retries
    ├── RefusedError        4xx, with the server's message
    │   └── NotServedError  404: no such model or version, or something is missing inside the model
    ├── FailedError         5xx, with the server's message
    └── BadAnswerError      an answer that is not what was asked for; is there a TF Serving at that address?

    Attributes:
        status: the HTTP code of the answer, None where there was none or it does not matter.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class BadInputError(ServingError, ValueError):
    """An argument does not fit the model."""


class UnreachableError(ServingError):
    """No answer within the time and the retries."""


class RefusedError(ServingError):
    """The server answered 4xx."""


class NotServedError(RefusedError):
    """The server answered 404."""


class FailedError(ServingError):
    """The server answered 5xx."""


class BadAnswerError(ServingError):
    """An answer that is not what was asked for."""


class Client:
    """Asks one model. May be shared by threads; each keeps a connection of its own alive.

    Args:
        url: where the server is, `http://host:8501`; https and a path before `/v1` are fine, for a proxy.
        model: the model's name.
        version: a version's number; None is the latest.
        label: a label of the server's model.config, such as `stable`, instead of a version's number.
        timeout: seconds that one attempt may take.
        retries: further attempts after a 503 or a connection that was refused or broke off.
        deadline: seconds that all attempts of a call may take together.
        headers: sent with each request, such as `Authorization`.

    Raises:
        ValueError: the URL is none, or both a version and a label are given.

    Example:

    ```python
    client = Client("http://127.0.0.1:8501", "synthetic")
    client.rank(user_id=5, history=[(3, 1700000300), (2, 1700000200)], candidates=[7, 8, 9], time=1700000400)
    # {"click": [0.12, 0.34, 0.05]}
    ```
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 2.0,
        retries: int = 3,
        deadline: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be http://host:port or https://host:port. Received: {url}.")
        if version is not None and label is not None:
            raise ValueError(f"A version or a label may be given. Received: version {version} and label {label}.")
        which = f"/labels/{quote(label, safe='')}" if label is not None else "" if version is None else f"/versions/{version}"
        self._address, self._secure = (parts.hostname, parts.port), parts.scheme == "https"
        self._path = f"{parts.path.rstrip('/')}/v1/models/{quote(model, safe='')}{which}"
        self.url, self.model = url, model
        self._timeout, self._retries, self._deadline, self._headers = timeout, retries, deadline, dict(headers or {})
        self._local = threading.local()
        self._metadata: dict[str, Any] | None = None

    def status(self) -> list[dict[str, Any]]:
        """The model's versions, the newest first: `version`, `state`, `status`. A label chooses none: the server tells of all."""
        return _part(self._call("GET", ""), "model_version_status", list)

    def metadata(self) -> dict[str, Any]:
        """The model's signatures: name to `inputs`, `outputs` and `method_name`. Asked for once, and again after a request was refused."""
        if self._metadata is None:
            signatures = _part(_part(self._call("GET", "/metadata"), "metadata", dict), "signature_def", dict)
            self._metadata = _part(signatures, "signature_def", dict)
        return self._metadata

    def predict(self, inputs: Any, signature_name: str = "serving_default") -> Any:
        """Runs a signature in columnar form: a tensor as nested lists by input, or one for the only input, to the same by output."""
        return _part(self._predict({"signature_name": signature_name, "inputs": inputs}), "outputs", object)

    def rank(
        self,
        *,
        candidates: Sequence[Id],
        history: Sequence[Id] | Sequence[tuple[Id, int]] = (),
        user_id: Id | None = None,
        time: int | None = None,
        user: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        by: str | None = None,
        bids: Sequence[float] | Mapping[str, float] | None = None,
        paid_for: str | None = None,
        signature_name: str = "serving_default",
    ) -> dict[str, list[float]] | list[tuple[Id, float]]:
        """Scores candidates for one user.

        Args:
            candidates: item ids.
            history: item ids, newest first; or pairs of id and time in any order. Of more than the model's longest history the newest count.
            user_id: who asks. Not sent to a model that has no users.
            time: when, in the unit of the history's times. Not sent to a model that has no times.
            user: values of user fields by name, a string or a list of strings each; an unknown one is [].
            context: values of context fields, likewise.
            by: a task's name, for a list of (candidate, score), the best first, instead of all scores; or "ecpm", for a list by what a thousand
                exposures earn, 1000 * bid * probability, in the bids' money.
            bids: for by="ecpm": what each candidate's owner pays for one event, a number a candidate, or by the candidate's id as text.
            paid_for: for by="ecpm": the task whose event is paid for, such as "click"; not needed where the model has one task.
            signature_name: which signature.

        Returns:
            Scores by task, in the order of the candidates; or the ranked list.

        Raises:
            BadInputError: the model needs something that is not given, or does not know something that is.
            ServingError: see there.
        """
        signature = self.signature(signature_name)
        outputs = sorted(_part(signature, "outputs", dict))
        earning = by == "ecpm" and (bids is not None or by not in outputs)
        if by is not None and by not in outputs and not earning:
            raise BadInputError(f"by must be ecpm, or a task of the model: {', '.join(outputs)}. Received: {by}.")
        if earning:
            prices, by = check_bids(candidates, bids), _paid_for(paid_for, outputs)
        elif bids is not None or paid_for is not None:
            raise BadInputError(f"Bids, and what they are paid for, go with by=ecpm. Received: by={by}.")
        row = request_row(signature, candidates=candidates, history=history, user_id=user_id, time=time, user=user, context=context)
        predictions = _part(self._predict({"signature_name": signature_name, "instances": [row]}), "predictions", list)
        answer = predictions[0] if len(outputs) > 1 and predictions else dict(zip(outputs, predictions, strict=False))
        scores = {task: _part(answer, task, list) for task in outputs}
        if any(len(values) != len(candidates) for values in scores.values()):
            raise BadAnswerError(
                f"There must be {len(candidates)} scores a task. Received: { {task: len(values) for task, values in scores.items()} }."
            )
        if by is None:
            return scores
        worth = [1000 * price * score for price, score in zip(prices, scores[by], strict=True)] if earning else scores[by]
        return sorted(zip(candidates, worth, strict=True), key=lambda pair: -pair[1])

    def signature(self, name: str) -> dict[str, Any]:
        """What the model says of a signature.

        Raises:
            BadInputError: it has none of that name.
        """
        signatures = self.metadata()
        if name not in signatures:
            raise BadInputError(f"signature_name must be one of {', '.join(sorted(signatures))}. Received: {name}.")
        return signatures[name]

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _predict(self, request: Mapping[str, Any]) -> Any:
        # allow_nan: the server reads NaN and Infinity, and a model's own check names them better than an encoder would
        body = json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
        try:
            return self._call("POST", ":predict", body)
        except RefusedError:
            self._metadata = None  # another version may be up, with other inputs
            raise

    def _call(self, verb: str, suffix: str, body: bytes | None = None) -> Any:
        end, wait, attempt = clock.monotonic() + self._deadline, 0.05, 0
        while True:
            left = end - clock.monotonic()
            try:
                status, content = self._send(verb, self._path + suffix, body, max(0.001, min(self._timeout, left)))
                if status != 503:
                    return _judged(status, content)
                problem: ServingError = FailedError(f"503: {_message(content)}", 503)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                problem = UnreachableError(
                    f"{self.url} must answer within {self._timeout} s. Received: {type(error).__name__}: {error}. Is the server up?"
                )
                if isinstance(error, TimeoutError):  # what was too slow once only gets slower if it is asked again
                    raise problem from error
            attempt += 1
            if attempt > self._retries or clock.monotonic() + wait >= end:
                raise problem
            clock.sleep(wait)
            wait = min(2 * wait, 1.0)

    def _send(self, verb: str, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
        """One attempt. A kept connection that the server has closed meanwhile is no failure of it and is opened anew at once."""
        connection, kept = getattr(self._local, "connection", None), True
        if connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection, kept = kind(*self._address, timeout=timeout), False
            self._local.connection = connection
        try:
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.request(verb, path, body, {"Content-Type": "application/json", **self._headers})
            response = connection.getresponse()
            return response.status, response.read()
        except (ConnectionError, http.client.BadStatusLine):
            if not kept:
                raise
            self.close()
            return self._send(verb, path, body, timeout)


def check_bids(candidates: Sequence[Id], bids: Sequence[float] | Mapping[str, float] | None) -> list[float]:
    """The bid of each candidate.

    Raises:
        BadInputError: there are no bids, a candidate has none, or one is no price.

    >>> check_bids([7, 9], {"9": 0.5, "7": 2})
    [2.0, 0.5]
    """
    if bids is None:
        raise BadInputError("by=ecpm needs the candidates' bids: bids=[...], one a candidate (--bids 0.5,1.2,0.8). Received: none.")
    if isinstance(bids, Mapping):
        if absent := [candidate for candidate in candidates if str(candidate) not in bids]:
            raise BadInputError(f"Each candidate must have a bid. Received: none for {', '.join(map(str, absent[:5]))}.")
        bids = [bids[str(candidate)] for candidate in candidates]
    if isinstance(bids, str) or len(bids) != len(candidates):
        raise BadInputError(f"There must be one bid a candidate, in their order. Received: {len(bids)} bids, {len(candidates)} candidates.")
    for candidate, bid in zip(candidates, bids, strict=True):
        if isinstance(bid, bool) or not isinstance(bid, (int, float)) or not 0 <= bid < math.inf:
            raise BadInputError(f"A bid must be a number from 0 on, in money an event. Received: {bid!r} for candidate {candidate}.")
    return [float(bid) for bid in bids]


def _paid_for(task: str | None, outputs: Sequence[str]) -> str:
    if task is None and len(outputs) != 1:
        raise BadInputError(
            f"by=ecpm needs the task whose event is paid for: paid_for=... (--paid-for). Received: none; the model has {', '.join(outputs)}."
        )
    if task is not None and task not in outputs:
        raise BadInputError(f"paid_for must be a task of the model: {', '.join(outputs)}. Received: {task}.")
    return outputs[0] if task is None else task


def request_row(
    signature: Mapping[str, Any],
    *,
    candidates: Sequence[Id],
    history: Sequence[Any] = (),
    user_id: Id | None = None,
    time: int | None = None,
    user: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One row of a request, of the inputs that the signature has; nothing is padded. The arguments are those of `Client.rank`.

    Raises:
        BadInputError: an input has no value, a value has no input, or is of another type.
    """
    kinds = {name: info["dtype"] for name, info in _part(signature, "inputs", dict).items()}
    if not candidates:
        raise BadInputError("candidates must hold at least one id. Received: none.")
    pairs = [entry for entry in history if isinstance(entry, (tuple, list))]
    if pairs and (len(pairs) < len(history) or any(len(pair) != 2 for pair in pairs)):
        raise BadInputError(f"history must hold ids, newest first, or pairs of id and time. Received: {list(history)[:3]}.")
    if pairs:
        pairs = sorted(pairs, key=lambda pair: -pair[1])
    fields = {f"{side}_{name}": value for side, values in (("user", user), ("context", context)) for name, value in (values or {}).items()}
    unknown = sorted(set(fields) - set(kinds))
    if unknown:
        raise BadInputError(f"The model must have the inputs that are given. Received: {', '.join(unknown)}; it takes {', '.join(sorted(kinds))}.")
    given = {
        "candidate_ids": list(candidates),
        "history_ids": [pair[0] for pair in pairs] or list(history),
        "history_times": [pair[1] for pair in pairs] if pairs or not history else None,
        "user_id": user_id,
        "time": time,
        **{name: [value] if isinstance(value, str) else list(value) for name, value in fields.items()},
    }
    missing = sorted(name for name in kinds if given.get(name) is None)
    if missing:
        raise BadInputError(
            f"The model needs {', '.join(f'{name} ({_HOW.get(name) or _how_field(name)})' for name in missing)}. Received: nothing for it."
        )
    for name, kind in kinds.items():
        _check(name, given[name], kind)
    return {name: given[name] for name in kinds}


_HOW = {
    "candidate_ids": "candidates=[...]",
    "history_times": "history=[(id, time), ...], in any order",
    "user_id": "user_id=...",
    "time": "time=..., when the request is made",
}


def _how_field(name: str) -> str:
    side, _, field = name.partition("_")
    return f"{side}={{'{field}': ...}}" if side in ("user", "context") and field else "an input that rank does not know: use predict"


def _check(name: str, value: Any, kind: str) -> None:
    wanted = {"DT_INT64": int, "DT_STRING": str}.get(kind)
    for one in value if isinstance(value, list) else [value]:
        if wanted and type(one) is not wanted:
            raise BadInputError(f"{name} must be {'integers' if wanted is int else 'strings'}. Received: {one!r}.")


def _judged(status: int, content: bytes) -> Any:
    if status == 200:
        try:
            return json.loads(content.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise BadAnswerError(f"An answer must be JSON. Received: {error}: {content[:80]!r}.") from None
    if not 400 <= status < 600:
        raise BadAnswerError(f"The answer's code must be 200, 4xx or 5xx. Received: {status}.")
    raise (NotServedError if status == 404 else RefusedError if status < 500 else FailedError)(f"{status}: {_message(content)}", status)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, LookupError, TypeError):
        return content[:200].decode("utf-8", "replace").strip() or "no message"


def _part(answer: Any, key: str, kind: type) -> Any:
    if not isinstance(answer, dict) or key not in answer or not isinstance(answer[key], kind):
        raise BadAnswerError(f"An answer must hold '{key}'. Received: {str(answer)[:200]}.")
    return answer[key]


def read_arguments(options: argparse.Namespace, signature: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `rank` out of a command line; ids become integers where the model's are."""
    kinds = {name: info["dtype"] for name, info in _part(signature, "inputs", dict).items()}

    def of(name: str, text: str) -> Id:
        return _integer(name, text) if kinds.get(name) == "DT_INT64" else text

    history = [entry.rsplit("@", 1) for entry in _words(options.history)]
    return {
        "candidates": [of("candidate_ids", word) for word in _words(options.candidates)],
        "history": [
            (of("history_ids", entry[0]), _integer("history_times", entry[1])) if len(entry) == 2 else of("history_ids", entry[0])
            for entry in history
        ],
        "user_id": None if options.user is None else of("user_id", options.user),
        "time": options.time,
        "user": dict(_field(text) for text in options.user_field),
        "context": dict(_field(text) for text in options.context_field),
    }


def read_request(path: str) -> dict[str, Any]:
    """The arguments of `rank` out of a JSON file: an object with any of `REQUEST_KEYS`; behaviors with times are [id, time].

    Raises:
        BadInputError: there is no such file, or it is no such object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise BadInputError(f"The request must be a JSON file. Received: {path}: {error}.") from None
    unknown = sorted(set(found) - set(REQUEST_KEYS)) if isinstance(found, dict) else ["no object"]
    if unknown:
        raise BadInputError(f"{path} must hold an object with the keys {', '.join(REQUEST_KEYS)}. Received: {', '.join(unknown)}.")
    return found


REQUEST_KEYS = ("candidates", "history", "user_id", "time", "user", "context", "bids", "paid_for")


def merged_request(options: argparse.Namespace, signature: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `rank` out of a request file, of which what the command line gives replaces a part."""
    given = {name: value for name, value in read_arguments(options, signature).items() if value not in (None, [], {})}
    given |= {} if options.bids is None else {"bids": [_bid(word) for word in _words(options.bids)]}
    given |= {} if options.paid_for is None else {"paid_for": options.paid_for}
    return {"candidates": [], **(read_request(options.request) if options.request else {}), **given}


def add_rank_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The command line of a ranking request; shared with `serving.grpc_client`."""
    parser.add_argument("--candidates", required=required, default="", help="item ids, 7,8,9")
    parser.add_argument("--history", default="", help="item ids, NEWEST FIRST, 3,2,1; or with times in any order, 3@1700000300,2@1700000200")
    parser.add_argument("--user", help="user id")
    parser.add_argument("--time", type=int, help="when the request is made, in the unit of the history's times")
    parser.add_argument("--user-field", action="append", default=[], metavar="NAME=VALUE,VALUE", help="a field of the user, once a field")
    parser.add_argument("--context-field", action="append", default=[], metavar="NAME=VALUE,VALUE", help="a field of the request, once a field")


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _field(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise BadInputError(f"A field must be NAME=VALUE,VALUE. Received: {text}.")
    return name, _words(values)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInputError(f"{name} must be integers. Received: {text!r}.") from None


def _bid(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInputError(f"A bid must be a number from 0 on, in money an event. Received: {text!r}.") from None


@contextmanager
def printing() -> Iterator[None]:
    """Ends the process in silence where the reader of its output has gone, as in `... | head`; 141 is what a shell calls that."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its own end
        raise SystemExit(141) from None


@printing()
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m serving.client", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8501", help="where the server is (default: %(default)s)")
    parser.add_argument("--model", required=True, help="the model's name")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="a version's number (default: the latest)")
    which.add_argument("--label", help="a label of the server's model.config, such as stable")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds that one attempt may take (default: %(default)s)")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME: VALUE", help="a header of each request, for a proxy that asks for a key"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    rank = commands.add_parser("rank", help="score candidates")
    add_rank_arguments(rank, required=False)
    rank.add_argument("--by", metavar="TASK", help="print candidates and scores by this task, the best first; ecpm: by 1000 x bid x probability")
    rank.add_argument("--bids", metavar="BID,BID", help="for --by ecpm: one a candidate, in their order, in money an event")
    rank.add_argument("--paid-for", metavar="TASK", help="for --by ecpm: the task whose event is paid for (default: the model's only task)")
    rank.add_argument("--request", metavar="FILE", help=f"a JSON file with any of {', '.join(REQUEST_KEYS)}; options given here replace its own")
    commands.add_parser("status", help="the versions and their states")
    commands.add_parser("metadata", help="the signatures, their inputs and outputs")
    options = parser.parse_args(arguments)
    headers = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in options.header)}
    try:
        with Client(options.url, options.model, version=options.version, label=options.label, timeout=options.timeout, headers=headers) as client:
            if options.command == "rank":
                answer: Any = client.rank(**merged_request(options, client.signature("serving_default")), by=options.by)
            else:
                answer = client.status() if options.command == "status" else client.metadata()
    except (ServingError, ValueError) as error:
        print(f"serving.client: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ValueError) else 1) from None
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
