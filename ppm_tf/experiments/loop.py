"""Many trainings in one process, one after another: a failure is noted and the others go on; the log says how far it is."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ppm_tf.storage import DiskFullError

Item = TypeVar("Item")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


def each(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    name: Callable[[Item], str],
    figure: Callable[[Result], float],
    is_done: Callable[[Item], bool],
    kind: str = "cell",
) -> Iterator[tuple[Item, Result | None, str]]:
    """Yields each item with what `work` gave, or with None and the error.

    Args:
        items: what is to be done, in order.
        work: does one item, or looks up what was done before.
        name: an item in words.
        figure: the figure of a result that the log shows.
        is_done: whether `work` has nothing to do but look up; such items do not count for the time left.
        kind: what an item is called in the log. Defaults to `"cell"`.

    Raises:
        DiskFullError: an item found no room.
    """
    to_do = {number for number, item in enumerate(items) if not is_done(item)}
    logger.info("%d %ss, %d of them to be made", len(items), kind, len(to_do))
    made, spent = 0, 0.0
    for number, item in enumerate(items):
        logger.info("%s %d of %d: %s", kind, number + 1, len(items), name(item))
        start = time.monotonic()
        result, error = None, ""
        try:
            result = work(item)
        except DiskFullError:  # none of the others would find room either
            raise
        except Exception as raised:  # whatever it is, the other items do not depend on it
            error = f"{type(raised).__name__}: {raised}"
            logger.error("%s %d of %d failed: %s", kind, number + 1, len(items), error, exc_info=bool(os.environ.get("PPM_TF_TRACEBACK")))
        _clear()
        seconds = time.monotonic() - start
        if number in to_do:
            to_do.remove(number)
            if not error:
                made, spent = made + 1, spent + seconds
        left = (
            f"about {_clock(len(to_do) * spent / made)} left"
            if made and to_do
            else f"{len(to_do)} to be made"
            if to_do
            else "nothing left to be made"
        )
        shown = "failed" if result is None else f"AUC {figure(result):.4f}"
        logger.info("%s %d of %d done in %s, %s; %s: %s", kind, number + 1, len(items), _clock(seconds), left, name(item), shown)
        yield item, result, error


def _clear() -> None:
    """Lets go of the graphs and weights of the last training; Keras is not imported for it."""
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()  # collects garbage, too


def _clock(seconds: float) -> str:
    """
    >>> _clock(42.4), _clock(125), _clock(7300)
    ('42 s', '2 min 05 s', '2 h 01 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
