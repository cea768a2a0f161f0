"""The arguments of the command that runs, so that the commands it names next can be pasted as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_given: list[str] = []


def remember(arguments: Sequence[str]) -> None:
    """Keeps the settings file and the overrides of this process's command line."""
    _given[:] = arguments


def with_settings(command: str) -> str:
    """A command with the settings that were given to this one.

    >>> remember(["my_shop.yaml", "model.tasks={click: 1}"])
    >>> with_settings("python -m pipelines.evaluate")
    "python -m pipelines.evaluate my_shop.yaml 'model.tasks={click: 1}'"
    >>> remember([])
    >>> with_settings("python -m pipelines.evaluate")
    'python -m pipelines.evaluate'
    """
    return " ".join([command, *map(shlex.quote, _given)])
