"""`Ledger`: what became of each day of the log, by its content; `ledger.jsonl`, one event a line, only ever appended to.

A label is learnt once a model: a second pass over a day collapses the AUC of a click model (arXiv 2209.06053). So a day is known by what
it holds, not by its name: the same rows under another name are refused, and so is a day that has changed after a model learnt from it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ppm_tf.storage import writing
from ppm_tf.workspace import sync_folder

PREPARED, TRAINED, REFUSED, DISCARDED = "prepared", "trained", "refused", "discarded"


class LedgerError(ValueError):
    """A day must not be trained on: it was delivered twice, has changed since, or was learnt already."""


@dataclass(frozen=True)
class Event:
    """A line of the ledger.

    Attributes:
        day: the day of the log, YYYY-MM-DD.
        hash: what it held, see `day_hash`; "" of a day without rows.
        what: `PREPARED`; `TRAINED`; `REFUSED`, the day or the version made of it; `DISCARDED`, the weights that an update had trained.
        part: of `TRAINED`, which part of the day: "head", "tail" or "" for all of it.
        model: of `TRAINED`, the model that learns on from day to day, such as "ppm" or "din since 2026-11-01".
        by: the update that did it.
        reason: of `REFUSED` and `DISCARDED`, why.
    """

    day: str
    hash: str
    what: str
    part: str = ""
    model: str = ""
    by: str = ""
    reason: str = ""


class Ledger:
    """The ledger of a run. It is read afresh at each call; a process killed at any moment leaves whole lines only.

    Args:
        path: the file; made with the first event.

    Example:

    ```python
    ledger = Ledger(run / "ledger.jsonl")
    ledger.prepare("2026-11-19", day_hash(digests))           # refuses a day that is there under another name
    ledger.refuse_trained("2026-11-19", "head", "ranker", by="2026-11-20")
    ...
    ledger.train("2026-11-19", "head", "ranker", by="2026-11-20")
    ```
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def events(self) -> list[Event]:
        """Every event, in order.

        Raises:
            ValueError: a line is none.
        """
        if not self.path.is_file():
            return []
        found = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                found.append(Event(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{self.path} must hold one event a line. Received, in line {number}: {line[:80]!r} ({error}). Remedy: restore the file; without"
                    " it nobody knows what was trained on."
                ) from None
        return found

    def hash_of(self, day: str) -> str | None:
        """What a day held when it was last prepared; `None` of one that never was."""
        return next((one.hash for one in reversed(self.events()) if one.day == day and one.what == PREPARED), None)

    def trained(self, day: str) -> list[Event]:
        """What was trained on a day, and not thrown away since."""
        return [one for one in _in_force(self.events()) if one.day == day and one.what == TRAINED]

    def refuse_repeated(self, day: str, digest: str) -> None:
        """Refuses a day that must not be prepared, or prepared anew.

        Args:
            day: the day.
            digest: what it holds; "" without rows, which any number of days may be.

        Raises:
            LedgerError: another day has this content, or this day had another one when it was trained on.
        """
        newest = {one.day: one.hash for one in self.events() if one.what == PREPARED and one.hash}
        held_by = {held: name for name, held in newest.items()}
        if digest and held_by.get(digest, day) != day:
            raise LedgerError(
                f"Each day must hold rows of its own. Received: {day}, whose files are those of {held_by[digest]}, byte for byte. Remedy: bring the"
                f" files of {day}, or leave the day out."
            )
        if (before := self.trained(day)) and before[-1].hash != digest:
            models = ", ".join(dict.fromkeys(f"{one.model or 'a model'} (update of {one.by})" for one in before))
            raise LedgerError(
                f"A day must stay as it was when it was trained on. Received: {day}, whose files have changed since {models} learnt from it. Remedy:"
                " restore its files, or train from scratch on the days as they are now (--from-scratch)."
            )

    def refuse_trained(self, day: str, part: str, model: str, by: str) -> None:
        """Refuses to train a model on rows that it has learnt; the same update may, to do again what a kill has cut off.

        Raises:
            LedgerError: another update trained it on them.
        """
        for one in self.trained(day):
            if one.model == model and one.by != by and (one.part == part or not one.part or not part):
                raise LedgerError(
                    f"A model must learn each label once. Received: {model}, to be trained on {_named(day, part)} by the update of {by}; that of"
                    f" {one.by} has done so. Remedy: go on with the next day, or train from scratch (--from-scratch)."
                )

    def prepare(self, day: str, digest: str) -> None:
        """Notes that a day was prepared, with what it holds.

        Raises:
            LedgerError: as `refuse_repeated`.
        """
        self.refuse_repeated(day, digest)
        self.add(Event(day, digest, PREPARED))

    def train(self, day: str, part: str, model: str, by: str) -> None:
        """Notes that a model has learnt a part of a day.

        Raises:
            LedgerError: as `refuse_trained`, or the day was never prepared.
        """
        digest = self.hash_of(day)
        if digest is None:
            raise LedgerError(f"A day must be prepared before it is trained on. Received: {day}, which {self.path} does not know.")
        self.refuse_trained(day, part, model, by)
        self.add(Event(day, digest, TRAINED, part, model, by))

    def refuse(self, day: str, digest: str, by: str, reason: str) -> None:
        """Notes that a day, or the version made of it, was refused."""
        self.add(Event(day, digest, REFUSED, by=by, reason=reason))

    def discard(self, by: str, reason: str) -> None:
        """Notes that the weights of an update go no further, so that the next one may learn from what it had learnt."""
        self.add(Event(by, "", DISCARDED, by=by, reason=reason))

    def add(self, event: Event) -> None:
        """Appends an event; one that says what the last of its kind said of the day is not written again.

        Raises:
            DiskFullError: there is no room; the ledger is as it was.
        """
        with self._lock():
            known = self.events()
            alike = [one for one in _in_force(known) if replace(one, hash="", reason="") == replace(event, hash="", reason="")]
            if alike and alike[-1] == event:
                return
            self._write([*known, event])

    def _write(self, events: Iterable[Event]) -> None:
        """The whole file anew beside it, then renamed: whole at any moment, whatever the size of a line."""
        temporary = self.path.with_name(f".{self.path.name}.new")
        with writing(self.path):
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in events)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
            sync_folder(self.path.parent)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer at a time; the lock of a killed process is void by itself."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _in_force(events: Iterable[Event]) -> list[Event]:
    """The events without the trainings of updates that were discarded later, and without the discarding itself where it trained again."""
    found: list[Event] = []
    for event in events:
        if event.what == DISCARDED:
            found = [one for one in found if one.what != TRAINED or one.by != event.by]
        elif event.what == TRAINED:
            found = [one for one in found if one.what != DISCARDED or one.by != event.by]
        found.append(event)
    return found


def _named(day: str, part: str) -> str:
    return f"the {part} of {day}" if part else day
