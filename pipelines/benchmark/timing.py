"""Taking and printing of timings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


def timed(call: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds and CPU seconds of a call, and its result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    return (time.perf_counter() - start, time.process_time() - cpu), result


def in_turns(calls: Mapping[Key, Callable[[], Result]], rounds: int) -> dict[Key, list[Result]]:
    """What each call gave in each round; they take turns, so that other work on the machine slows each alike."""
    found: dict[Key, list[Result]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            found[key].append(call())
    return found


def memory() -> float:
    """Resident memory of this process now, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def show(**values: Any) -> None:
    """Prints one JSON object, fractions to three places."""
    print(json.dumps({key: _rounded(value) for key, value in values.items()}), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value
