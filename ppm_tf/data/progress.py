"""A progress bar for work that other threads or processes do, fed by what they leave on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


@contextmanager
def watch(title: str, unit: str, total: int, count: Callable[[], int], seconds: float = 0.5) -> Iterator[None]:
    """Shows, while the block runs, how much `count()` finds of `total`."""
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(seconds):
            bar.update(count() - bar.n)

    with tqdm(total=total, desc=title, unit=unit, dynamic_ncols=True) as bar, logging_redirect_tqdm():
        thread = threading.Thread(target=poll, name=f"watch {title}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            bar.update(count() - bar.n)
