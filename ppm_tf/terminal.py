"""What every command of the product owes the terminal that it runs in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CLOSED_PIPE = 141  # what a shell reports of a program that SIGPIPE ended
INTERRUPTED = 130  # and of one that Ctrl-C ended


@contextmanager
def printing() -> Iterator[None]:
    """Ends the process in silence where the reader of its output has gone, as in `... --help | head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # what is buffered would meet the closed pipe after the last line of the program
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its own end
        raise SystemExit(CLOSED_PIPE) from None


def interrupted(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C, or comes of it: libraries that run code of others make errors of their own of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt) or str(error).startswith(KeyboardInterrupt.__name__):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
