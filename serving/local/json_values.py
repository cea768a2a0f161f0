"""JSON as TF Serving reads and quotes it: integers stay integers, the first of two equal keys wins, what follows the value is ignored."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

from serving.local.status import invalid

# The real server takes 20,000 levels and dies of 50,000. No signature needs more than a handful, and NumPy stops at 64 dimensions.
MAX_NESTING = 32
_MAX_QUOTED = 1000  # characters of a value that an error message repeats; the real server repeats all of it
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def read_json(body: bytes) -> Any:
    """The first JSON value of a body.

    Args:
        body: UTF-8. Bytes that are not UTF-8 come back as lone surrogates, so that `text.encode("utf-8", "surrogateescape")`
            gives the bytes that were sent.

    Returns:
        `dict`, `list`, `str`, `bool`, `None`, `int` for a literal without point and exponent that fits 64 bits, else `float`;
        `NaN`, `Infinity` and `-Infinity` are floats.

    Raises:
        StatusError: INVALID_ARGUMENT; the body is empty, is not JSON, holds a number beyond a double or nests deeper than `MAX_NESTING`.
    """
    if _nesting(body) > MAX_NESTING:
        raise invalid(f"JSON Parse error: lists and objects must nest at most {MAX_NESTING} deep (a limit of the local server).")
    text = body.decode("utf-8", "surrogateescape").lstrip("\ufeff \t\r\n")
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        return _DECODER.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except OverflowError:
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None


def quote(value: Any) -> str:
    """A JSON value as an error message shows it; long ones are cut."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."


def _nesting(body: bytes) -> int:
    """How deep brackets nest outside strings. Known before parsing, so that no parser recurses into what is refused."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING:
        return 0
    brackets = np.frombuffer(_STRING.sub(b"", body).translate(None, _NO_BRACKET), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(steps.cumsum().max(initial=0))


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _integer(literal: str) -> int | float:
    if len(literal) <= 20 and -(2**63) <= (number := int(literal)) < 2**64:
        return number
    return _decimal(literal)


def _decimal(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise OverflowError(literal)
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_int=_integer, parse_float=_decimal)
