"""`SharedRun`: the artifacts of a run on shared storage, where nothing can be renamed, each whole or not at all.

Layout under the run's URL:

```
<artifact>/CURRENT/00000007.json    the pointer: which version is current, its files with bytes and SHA-256
<artifact>/<version>/...            the files of a version, which are never changed
.leases/<artifact>/00000003.json    who makes the artifact, and until when that holds without a word
```

What is numbered is created and never replaced by another's: of two that create the same number the store lets one
(`If-None-Match` on S3, generation 0 on Google Cloud Storage, an exclusive file elsewhere). The highest number that can be read counts. Files come
first and the pointer last, so a writer that is killed at any moment leaves the version before, or none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
CURRENT, LEASES = "CURRENT", ".leases"
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # those of setup.py
_WAITS = (0.2, 1.0, 3.0, 9.0)  # seconds before each further try
_THREADS = 8


class SharedStorageError(RuntimeError):
    """The shared storage cannot be reached, refuses, or holds what its own manifest does not say."""


class PublishedMeanwhileError(RuntimeError):
    """Another process published a version of the artifact since this one began to make its own."""


def is_url(folder: str | Path) -> bool:
    """Whether a run folder lies on shared storage.

    >>> is_url("s3://bucket/run"), is_url("runs/shop"), is_url("/a:/b")
    (True, False, False)
    """
    return "://" in str(folder)


def mirror_of(url: str) -> Path:
    """The local folder that holds copies of a shared run: under `PPM_TF_MIRRORS`, or the user's cache."""
    base = os.environ.get("PPM_TF_MIRRORS") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ppm_tf" / "runs"
    words = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in url.partition("://")[2])
    return Path(base) / f"{words}-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:8]}"


class SharedRun:
    """A run's artifacts on shared storage, through fsspec.

    Args:
        url: of the run, such as `s3://bucket/runs/shop`; credentials and endpoints are those of the environment (`AWS_ENDPOINT_URL`, ...).
        lease_seconds: after how long without a word from its maker another process may make an artifact.
        waits: seconds before each further try of what the store did not do.

    Raises:
        SharedStorageError: no package is installed for the URL.
    """

    def __init__(self, url: str, lease_seconds: float = 60.0, waits: tuple[float, ...] | None = None):
        import fsspec

        self.url, self.lease_seconds, self.waits = url.rstrip("/"), lease_seconds, _WAITS if waits is None else waits
        protocol = url.partition("://")[0]
        try:
            how = {"auto_mkdir": True} if protocol in ("file", "local") else {}
            self.fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, skip_instance_cache=True, **how)
        except (ImportError, ValueError) as error:
            known = f"pip install 'ppm-tf[{EXTRAS[protocol]}]'" if protocol in EXTRAS else "see fsspec's list of protocols"
            raise SharedStorageError(f"run={url} must be on a storage that can be opened. Received: {error} Remedy: {known}.") from error
        self.root = str(root).rstrip("/")

    # === Versions ===

    def current(self, name: str) -> dict[str, Any] | None:
        """The pointer of an artifact: `version` and `files` (path -> bytes, SHA-256); `None` without one."""
        return self._latest(f"{name}/{CURRENT}")[1]

    def number(self, name: str) -> int:
        """The number of the pointer that was written last; 0 without one."""
        return self._latest(f"{name}/{CURRENT}")[0]

    def upload(self, name: str, folder: Path) -> dict[str, Any]:
        """Writes the files of a folder under a version of their own; what `publish` takes. Nothing points to it yet."""
        version = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{uuid.uuid4().hex[:8]}"
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in paths]

        def put(path: Path, to: str) -> list:
            size, key = path.stat().st_size, f"{name}/{version}/{to}"
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()

            def send() -> None:
                self.fs.put_file(str(path), self._key(key))
                if (written := self.fs.info(self._key(key), refresh=True)["size"]) != size:
                    raise SharedStorageError(f"{self.url}/{key} must have {size} bytes. Received: {written}.")

            self._tries(send, f"write {key}")
            return [size, digest]

        with ThreadPoolExecutor(_THREADS) as pool:
            files = dict(zip(names, pool.map(put, paths, names), strict=True))
        return {"version": version, "files": files}

    def publish(self, name: str, pointer: dict[str, Any], after: int) -> None:
        """Makes a version the current one, if none was published since number `after`; removes versions but it and the one before.

        Raises:
            PublishedMeanwhileError: one was.
        """
        before = self.current(name)
        number = self._create(f"{name}/{CURRENT}", after + 1, pointer)
        if not number:
            raise PublishedMeanwhileError(
                f"{self.url}/{name} was published by another process meanwhile, and stays as that one made it. Remedy: run the command again: it"
                " takes what is there, or makes its own anew."
            )
        self._tidy(name, {pointer["version"], *([before["version"]] if before else [])}, number)

    def download(self, name: str, pointer: dict[str, Any], folder: Path) -> None:
        """Copies a version into an empty folder, each file held against its bytes and SHA-256.

        Raises:
            FileNotFoundError: the version was removed meanwhile: there is a newer one.
            SharedStorageError: a file is not what its manifest says.
        """

        def get(item: tuple[str, list]) -> None:
            path, (size, digest) = item
            to, key = folder / path, f"{name}/{pointer['version']}/{path}"
            to.parent.mkdir(parents=True, exist_ok=True)

            def fetch() -> None:
                self.fs.get_file(self._key(key), str(to))
                with to.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if (to.stat().st_size, found) != (size, digest):
                    raise SharedStorageError(
                        f"{self.url}/{key} must have {size} bytes and SHA-256 {digest[:12]}. Received: {to.stat().st_size} bytes, {found[:12]}."
                        f" Remedy: remove {self.url}/{name}/{CURRENT} and make {name} again."
                    )

            self._tries(fetch, f"read {key}")

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(get, pointer["files"].items()))

    def _tidy(self, name: str, versions: set[str], number: int) -> None:
        """Removes what is neither current nor was just before; whatever cannot be removed now is the next one's to remove."""
        with suppress(Exception):
            for one, path in self._numbered(f"{name}/{CURRENT}"):
                if one < number - 1:
                    self.fs.rm_file(path)
            for path in self.fs.ls(self._key(name), detail=False):
                version = path.rstrip("/").rpartition("/")[2]
                if _is_version(version) and version not in versions and version < max(versions):
                    self.fs.rm(path, recursive=True)

    # === Leases ===

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Keeps other machines from making the same artifact; renewed in the background, void by itself after `lease_seconds` without a word.

        Raises:
            RuntimeError: another process has it.
        """
        place = f"{LEASES}/{name}"
        number, held = self._latest(place)
        if held and held["until"] > time.time():
            silent = held["lease"] - (held["until"] - time.time())
            raise RuntimeError(
                f"{self.url}/{name} is being made by {held['by']} (heard of {silent:.0f} s ago). Wait for it: if it was killed, its lease ends within"
                f" {held['lease']:g} s. Or choose another folder with run=<folder>."
            )
        mine = self._create(place, number + 1, self._lease())
        if not mine:
            raise RuntimeError(f"{self.url}/{name} is being made by another process, which came first by a moment. Wait for it.")
        stop = threading.Event()
        keeper = threading.Thread(target=self._renew, args=(place, mine, stop), daemon=True)
        keeper.start()
        try:
            yield
        finally:
            stop.set()
            keeper.join()
            with suppress(Exception):
                self._write(place, mine, self._lease(ended=True))
                for one, path in self._numbered(place):
                    if one < mine:
                        self.fs.rm_file(path)

    def _lease(self, ended: bool = False) -> dict[str, Any]:
        by = f"{socket.gethostname()}, process {os.getpid()}"  # no user: a container's may have no name
        return {"by": by, "lease": self.lease_seconds, "until": 0 if ended else time.time() + self.lease_seconds}

    def _renew(self, place: str, number: int, stop: threading.Event) -> None:
        while not stop.wait(self.lease_seconds / 3):
            try:
                self._write(place, number, self._lease())
            except Exception as error:
                logger.warning("the lease of %s could not be renewed: %s", place, error)

    # === Numbered objects ===

    def _numbered(self, place: str) -> list[tuple[int, str]]:
        try:
            paths = self._tries(lambda: self.fs.ls(self._key(place), detail=False, refresh=True), f"list {place}")
        except FileNotFoundError:
            return []
        found = [(int(path.rpartition("/")[2].partition(".")[0]), path) for path in paths if path.rpartition("/")[2].partition(".")[0].isdigit()]
        return sorted(found, reverse=True)

    def _latest(self, place: str) -> tuple[int, dict[str, Any] | None]:
        """The highest number, and the content of the highest that can be read: a writer killed amid a file leaves one that cannot."""
        found = self._numbered(place)
        for _, path in found:
            with suppress(FileNotFoundError, ValueError):
                return found[0][0], json.loads(self._tries(lambda path=path: self.fs.cat_file(path), f"read {path}"))
        return (found[0][0] if found else 0), None

    def _create(self, place: str, number: int, content: dict[str, Any]) -> int:
        """Writes a number that is not there; the number, or 0 where another process has written it."""
        token = uuid.uuid4().hex
        data = json.dumps({**content, "token": token}).encode()
        path = f"{self._key(place)}/{number:08d}.json"
        self.fs.makedirs(self._key(place), exist_ok=True)
        try:
            self._tries(lambda: self.fs.pipe_file(path, data, mode="create"), f"create {path}")
        except FileExistsError:
            # An upload whose answer was lost is tried again, and then meets itself.
            with suppress(FileNotFoundError, ValueError):
                return number if json.loads(self.fs.cat_file(path))["token"] == token else 0
            return 0
        return number

    def _write(self, place: str, number: int, content: dict[str, Any]) -> None:
        self._tries(lambda: self.fs.pipe_file(f"{self._key(place)}/{number:08d}.json", json.dumps(content).encode()), f"write {place}")

    def _key(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _tries(self, do: Callable[[], T], what: str) -> T:
        """Does it, again after a while where the store did not; what it denies for good is not tried again.

        Raises:
            SharedStorageError: it was tried often enough.
        """
        for wait in (*self.waits, None):
            try:
                return do()
            except (FileNotFoundError, FileExistsError):
                raise
            except PermissionError as error:
                raise SharedStorageError(f"{self.url}: may not {what}. Received: {error}. Remedy: check the credentials and rights.") from error
            except Exception as error:
                if wait is None:
                    if isinstance(error, SharedStorageError):
                        raise
                    raise SharedStorageError(
                        f"{self.url}: could not {what}, tried {len(self.waits) + 1} times. Received: {str(error) or repr(error)}."
                    ) from error
                time.sleep(wait)
        raise AssertionError


def _is_version(name: str) -> bool:
    return re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}", name) is not None
