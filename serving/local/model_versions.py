"""`ModelVersions`: which versions of one model are in memory, and how they follow what lies in its folder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.local.loaded_version import LoadedVersion, status_of
from serving.local.status import Code, StatusError, invalid
from serving.model_config import Policy, versions_in

logger = logging.getLogger(__name__)

_Contents = dict[str, tuple[int, int]]  # size and time of change by file


@dataclass
class VersionState:
    """A line of the status answer.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        code, message: why it ended, or OK and nothing.
        loaded: the model, while it is in memory.
        users: requests under way.
    """

    state: str = "START"
    code: Code = Code.OK
    message: str = ""
    loaded: LoadedVersion | None = None
    users: int = 0


class ModelVersions:
    """The versions of a model.

    A folder whose name is no number is no version. A new version is loaded while the old one answers; the old one goes when
    the new one stands, after its last request. A version that fails to load stays END with its error, the old one stays, and it
    is tried again after its folder was gone, or, which TF Serving does not do, when what lies in it has changed and come to rest: a
    copy that was under way. The folder is looked at in `poll` and nowhere else. A version that a label or the policy names and that
    is not there is told once, at the first look or when it goes.

    Args:
        name: the model's name in requests.
        folder: holds one folder a version.
        policy: which versions to serve.
        labels: version numbers by label.
        load: makes a version of a folder.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        policy: Policy | None = None,
        labels: dict[str, int] | None = None,
        load: Callable[[Path], LoadedVersion] = LoadedVersion,
    ):
        self.name, self.folder = name, folder
        self._policy, self._labels, self._load = policy or Policy(), labels or {}, load
        self._states: dict[int, VersionState] = {}
        self._failed: dict[int, _Contents] = {}  # what lay in the folder when it was tried
        self._seen: dict[int, _Contents] = {}  # at the last look
        self._absent: set[int] = set()
        self._lock = threading.Lock()  # held for book-keeping only, never while a model loads or runs

    def poll(self) -> None:
        """Makes memory agree with the folder. To be called from one thread at a time."""
        found = versions_in(self.folder)
        self._tell_absent(found)
        wanted = self._policy.choose(found)
        self._failed = {
            version: tried for version, tried in self._failed.items() if version in found and not self._has_been_completed(version, tried)
        }
        for version in sorted(wanted - set(self._failed)):
            if not self._is_loaded(version):
                self._bring_up(version)
        with self._lock:
            serving = {version for version, state in self._states.items() if state.state == "AVAILABLE"}
            # as long as nothing wanted stands, the old one goes on; an emptied folder ends the model
            retired = serving - wanted if not wanted or wanted & serving else set()
            for version in retired:
                logger.info("%s: version %d is unloaded", self.name, version)
                self._states[version].state = "UNLOADING"
                self._close_if_idle(self._states[version])

    @contextmanager
    def use(self, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, LoadedVersion]]:
        """A version's number and model for one request; it is not unloaded before the block ends.

        Args:
            version: its number; with neither, the highest that is available.
            label: its label.

        Raises:
            StatusError: NOT_FOUND for a version that is not available, INVALID_ARGUMENT for a label that nothing has.
        """
        with self._lock:
            number = self._labelled(label) if label is not None else version
            available = [number for number, state in self._states.items() if state.state == "AVAILABLE"]
            chosen = max(available, default=None) if number is None else number if number in available else None
            loaded = self._states[chosen].loaded if chosen is not None else None
            if chosen is None or loaded is None:
                raise not_served(self.name, number)
            state = self._states[chosen]
            state.users += 1
        try:
            yield chosen, loaded
        finally:
            with self._lock:
                state.users -= 1
                self._close_if_idle(state)

    def status(self, version: int | None = None) -> list[tuple[int, VersionState]]:
        """Version numbers and states, the newest first.

        Raises:
            StatusError: NOT_FOUND for a version that there never was, or where the model never had any.
        """
        with self._lock:
            if version is not None and version not in self._states:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {version} of model {self.name}")
            if not self._states:
                raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {self.name}")
            return [(key, self._states[key]) for key in sorted(self._states, reverse=True) if version in (None, key)]

    def close(self) -> None:
        """Unloads all. No request may be under way."""
        with self._lock:
            for state in self._states.values():
                if state.loaded:
                    state.state = "UNLOADING"
                    self._close_if_idle(state)

    def _tell_absent(self, found: set[int]) -> None:
        absent = absent_pins(self._policy, self._labels, found)
        for version in sorted(set(absent) - self._absent):
            logger.error("%s: version %d, which %s names, is not in %s", self.name, version, absent[version], self.folder)
        self._absent = set(absent)

    def _has_been_completed(self, version: int, tried: _Contents) -> bool:
        """Whether the folder of a version that failed has changed since, and no more since the last look."""
        now, before = _contents(self.folder / str(version)), self._seen.get(version)
        self._seen[version] = now
        return now == before and now != tried

    def _is_loaded(self, version: int) -> bool:
        return version in self._states and self._states[version].state == "AVAILABLE"

    def _bring_up(self, version: int) -> None:
        state, contents = VersionState("LOADING"), _contents(self.folder / str(version))
        with self._lock:
            self._states[version] = state
        try:
            loaded = self._load(self.folder / str(version))
        except Exception as error:  # a model is made elsewhere: whatever is wrong with it must not end the server
            failure = status_of(error)
            logger.error("%s: version %d cannot be served: %s", self.name, version, failure)
            self._failed[version] = self._seen[version] = contents
            with self._lock:
                state.state, state.code, state.message = "END", failure.code, failure.message
            return
        with self._lock:
            state.state, state.loaded = "AVAILABLE", loaded
        logger.info("%s: version %d is served from %s", self.name, version, self.folder / str(version))

    def _close_if_idle(self, state: VersionState) -> None:
        if state.state == "UNLOADING" and not state.users:
            if state.loaded is not None:
                state.loaded.close()
            state.state, state.loaded = "END", None

    def _labelled(self, label: str) -> int:
        number = self._labels.get(label)
        if number is None or not self._is_loaded(number):
            raise invalid(f"Unrecognized servable version label: {label}")
        return number


def absent_pins(policy: Policy, labels: Mapping[str, int], found: Collection[int]) -> dict[int, str]:
    """The versions that a label or the policy names and that are not among those found, with what names them."""
    named = {version: f"label {label}" for label, version in labels.items()}
    named |= {version: "the policy" for version in policy.specific if version not in named}
    return {version: what for version, what in named.items() if version not in found}


def not_served(name: str, version: int | None = None) -> StatusError:
    """What a request for a model or version that is not in memory gets."""
    return StatusError(Code.NOT_FOUND, f"Servable not found for request: {f'Latest({name})' if version is None else f'Specific({name}, {version})'}")


def _contents(folder: Path) -> _Contents:
    found = {}
    for path in folder.rglob("*"):
        try:
            found[str(path.relative_to(folder))] = (path.stat().st_size, path.stat().st_mtime_ns)
        except FileNotFoundError:  # gone between the two looks
            continue
    return found
