"""Whether a published version is the one that answers: `python -m serving.live --url http://host:8501 --base DIR --model NAME`.

A version counts as published when the running server has loaded it, gives the golden answers of its folder, and gives them to a request
that names no version, all within a bounded time. Otherwise, with --rollback, it is withdrawn and the one before it is live again. Reads
`<base>/<model>/<version>/assets.extra/golden.json`; prints one JSON line; exits with 1 and a reason where the version is not served.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from serving.client import Client, NotServedError, RefusedError, ServingError, printing
from serving.layout import EXTRA, GOLDEN
from serving.pins import Pins
from serving.publish import rollback, versions, withdraw
from serving.verify import TOLERANCE

logger = logging.getLogger(__name__)

SECONDS = 60.0  # as TensorFlow Extended's infrastructure validator gives its sample
_ONE_TRY = 10.0  # seconds; the first request of a version may be slow


@dataclass(frozen=True)
class LiveCheck:
    """What became of a version at its server.

    Attributes:
        version: the version that must answer.
        served: whether it is the one that answers, as its golden file says.
        seconds: how long that took, or how long was waited.
        difference: largest difference to a golden score; nan without an answer.
        reason: why it is not served; "" where it is.
        rolled_back_to: the version that is published in its place; 0: none; `None`: nothing was rolled back.
        restored: whether that version is the one that answers now.
    """

    version: int
    served: bool
    seconds: float
    difference: float = math.nan
    reason: str = ""
    rolled_back_to: int | None = None
    restored: bool = False

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON; nan becomes `None`."""
        return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(self).items()}


def check_live(
    url: str,
    base: Path,
    model: str,
    version: int | None = None,
    seconds: float = SECONDS,
    tolerance: float = TOLERANCE,
    served_as: str | None = None,
    poll: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
) -> LiveCheck:
    """Asks the running server for the golden answers of a published version.

    Args:
        url: where the server is, `http://host:8501`.
        base: folder of the exported models.
        model: the model's name there.
        version: which; `None`: the newest.
        seconds: how long to wait until it answers; a version that failed to load, or answers otherwise, is not waited for.
        tolerance: largest difference to a golden score; as in `serving.verify`.
        served_as: the model's name at the server, where it is another.
        poll: seconds between two looks.
        sleep: waits; for tests.

    Raises:
        ValueError: there is no such version, or its golden file is none.
    """
    folder = Path(base) / model
    published = versions(base, model)
    version = published[-1] if version is None and published else version
    if version not in published:
        raise ValueError(f"The version must be published in {folder}. Received: {version}; there are {published or 'none'}.")
    golden, begun = _golden(folder / str(version)), time.monotonic()
    while True:
        left = max(seconds - (time.monotonic() - begun), 0.1)
        found = _look(url, served_as or model, version, golden, tolerance, min(left, _ONE_TRY))
        took = time.monotonic() - begun
        if not found.reason:
            logger.info("live: version %d of %s answers at %s after %.1f s, as it should to %.2g", version, model, url, took, found.difference)
            return LiveCheck(version, True, took, found.difference)
        if found.final or took >= seconds:
            waited = "" if found.final else f" within {seconds:g} s"
            reason = f"version {version} of {model} must be the one that answers at {url}{waited}. Received: {found.reason}"
            return LiveCheck(version, False, took, found.difference, reason)
        sleep(min(poll, seconds - took))


def ensure_live(
    url: str,
    base: Path,
    model: str,
    version: int | None = None,
    seconds: float = SECONDS,
    pins: Pins | None = None,
    served_as: str | None = None,
    poll: float = 0.5,
) -> LiveCheck:
    """`check_live`, and where the version is not served, back to the one before it; without one before, the version is withdrawn.

    Waits as long again until the version before answers. `serving.publish --restore` brings a withdrawn version back.

    Raises:
        ValueError: as `check_live`; or a later version was published meanwhile, or a withdrawn one is pinned, and nothing was rolled back.
        RuntimeError: another process publishes this model.
    """
    found = check_live(url, base, model, version, seconds, served_as=served_as, poll=poll)
    if found.served:
        return found
    published = versions(base, model)
    if published[-1] != found.version:
        raise ValueError(
            f"Only the newest version is rolled back. Received: {found.reason}; and version {published[-1]} was published meanwhile. Look at the"
            " server; `python -m serving.publish --rollback VERSION` goes back."
        )
    logger.warning("live: %s; rolling back", found.reason)
    if len(published) < 2:
        withdraw(base, model, found.version, pins)
        return replace(found, rolled_back_to=0)
    before = published[-2]
    rollback(base, model, before, pins)
    again = check_live(url, base, model, before, seconds, served_as=served_as, poll=poll)
    if not again.served:
        logger.error("live: after the rollback, %s", again.reason)
    return replace(found, rolled_back_to=before, restored=again.served)


class _Look(NamedTuple):
    """One look: why the version is not the one that answers, whether waiting is of no use, and the largest difference to a golden score."""

    reason: str = ""
    final: bool = False
    difference: float = math.nan


def _look(url: str, model: str, version: int, golden: dict[str, Any], tolerance: float, timeout: float) -> _Look:
    """Its state at the server, its answers by its number, and those to requests that name no version.

    The last may come of another copy of the server behind the same address, which will load it a moment later: they are waited for.
    """
    latest = Client(url, model, timeout=timeout, retries=0, deadline=timeout)
    named = Client(url, model, version=version, timeout=timeout, retries=0, deadline=timeout)
    with latest, named:
        try:
            if (found := _state(latest.status(), version)).reason:
                return found
            difference = 0.0
            for client, asked in ((named, "asked by its number"), (latest, "asked by no number")):
                try:
                    answer = client.predict(golden["inputs"], golden["signature_name"])
                except NotServedError:
                    raise
                except RefusedError as error:
                    return _Look(f"{asked}, it refuses the golden requests: {error}", client is named)
                if (found := _compared(answer, golden["outputs"], tolerance)).reason:
                    return found._replace(reason=f"{asked}, {found.reason}", final=client is named)
                difference = max(difference, found.difference)
            return _Look(difference=difference)
        except ServingError as error:
            return _Look(f"{type(error).__name__}: {error}")


def _state(lines: list[dict[str, Any]], version: int) -> _Look:
    states = {int(one["version"]): one for one in lines}
    if version not in states:
        return _Look(f"the server knows of version {', '.join(map(str, sorted(states)))} alone")
    state, status = states[version]["state"], states[version]["status"]
    if state == "END" and status.get("error_code") != "OK":  # one that was unloaded, and may come back after a rollback, ended with OK
        return _Look(f"it could not be loaded: {status.get('error_message') or 'no reason given'}", final=True)
    if above := [number for number, one in states.items() if number > version and one["state"] == "AVAILABLE"]:
        return _Look(f"version {max(above)} answers in its place")  # for a moment after a rollback
    return _Look() if state == "AVAILABLE" else _Look(f"it is {state}")


def _compared(answer: Any, golden: dict[str, Any], tolerance: float) -> _Look:
    outputs = answer if isinstance(answer, dict) else dict.fromkeys(golden, answer)  # of a single output the server gives it bare
    largest = 0.0
    for task, expected in golden.items():
        if task not in outputs:
            return _Look(f"it gives {', '.join(outputs)} and no {task}")
        difference = _difference(outputs[task], expected)
        if not difference <= tolerance:
            return _Look(f"its scores of {task} differ from the golden ones by {difference:g}, and may by {tolerance:g}", difference=difference)
        largest = max(largest, difference)
    return _Look(difference=largest)


def _golden(folder: Path) -> dict[str, Any]:
    path = folder / EXTRA / GOLDEN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["inputs"] and found["outputs"] and found["signature_name"]:
            return found
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise ValueError(f"A version must hold golden requests with their answers. Received: {path}, which does not. Export it again.")


def _difference(found: Any, expected: Any) -> float:
    """The largest difference of two nested lists of numbers; infinite where their shapes differ or a score is no number."""
    mine, theirs = list(_flat(found)), list(_flat(expected))
    if [place for place, _ in mine] != [place for place, _ in theirs]:
        return math.inf
    largest = max((abs(one - other) for (_, one), (_, other) in zip(mine, theirs, strict=True)), default=0.0)
    return math.inf if any(math.isnan(one) for _, one in mine) else largest


def _flat(values: Any, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], float]]:
    if isinstance(values, list):
        for number, one in enumerate(values):
            yield from _flat(one, (*place, number))
    else:
        yield place, float(values) if isinstance(values, (int, float)) else math.nan


@printing()
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m serving.live", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="where the server is, http://host:8501")
    parser.add_argument("--base", type=Path, required=True, help="folder of the exported models")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--served-as", help="the model's name at the server, where it is another")
    parser.add_argument("--version", type=int, help="the version that must answer (default: the newest)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to wait until it does (default: %(default)s)")
    parser.add_argument("--rollback", action="store_true", help="go back to the version before where it does not")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        which = {"version": asked.version, "seconds": asked.seconds, "served_as": asked.served_as}
        if asked.rollback:
            found = ensure_live(asked.url, asked.base, asked.model, pins=Pins.read(asked.base, asked.model), **which)
        else:
            found = check_live(asked.url, asked.base, asked.model, **which)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"serving.live: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(json.dumps(found.plain()))
    if not found.served:
        print(f"serving.live: {found.reason}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
