"""`Workspace`: the folder of a run, where each artifact lies whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import yaml

from ppm_tf.shared_run import SharedRun, is_url, mirror_of
from ppm_tf.storage import writing

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast, and not everywhere
MADE_BY = "made_by.yaml"
SUMMARY = "summary.json"  # how its making went, and what that cost, where something was trained or encoded for it
SETTINGS = "settings.yaml"  # a file for the command line, which repeats what made an artifact
_FRESH = 2.0  # seconds in which shared storage is not asked again for the same artifact
_PACKAGES = ("ppm_tf", "tensorflow", "keras", "keras-nlp", "tf-models-official", "apache-beam", "numpy", "pyarrow")


@dataclass(frozen=True)
class Recipe:
    """What an artifact is made of. Equal recipes make equal artifacts.

    Attributes:
        settings: config sections that shape the artifact, as plain values.
        inputs: fingerprints of the raw files read, by path.
        parents: ids of the artifacts read, by name.
    """

    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Hash of the recipe, the same on every machine."""
        text = json.dumps([self.settings, self.inputs, self.parents], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class StaleArtifactError(ValueError):
    """An artifact exists, but it was made with other settings or from other files than the run asks for."""


class Workspace:
    """Where the artifacts of a run lie.

    An artifact is a folder with `made_by.yaml` in it. It is written under a temporary name and renamed when it is
    complete, so a process killed at any moment leaves the old artifact or none, never a part.

    A run on shared storage (`s3://bucket/run`) is read and written through a local folder: an artifact that is asked for is copied there, whole,
    when its version is not there yet, and one that is committed is on the shared storage before it is current here. What is under way (checkpoints)
    and what is no artifact lies in the local folder alone.

    Args:
        folder: the run folder, or the URL of one; made when the first artifact is committed.

    Attributes:
        shared: the run on shared storage; `None` for a folder.
        settings: all settings of the run, which `commit` leaves in `settings.yaml` of each artifact; `None` = none are known.
        keeps: by artifact, how many replaced versions `commit` leaves in `replaced(name)`; none where it is not named.

    Example:

    ```python
    workspace = Workspace("runs/shop")
    with workspace.commit("data", Recipe({"data": {"users": 10}})) as folder:
        (folder / "users.txt").write_text("...")
    workspace.require("data", Recipe({"data": {"users": 10}}))
    ```
    """

    def __init__(self, folder: str | Path):
        self.shared = SharedRun(str(folder)) if is_url(folder) else None
        self.folder = mirror_of(str(folder)).absolute() if self.shared else Path(folder).absolute()  # as messages show it
        self._looked: dict[str, float] = {}  # when the shared storage was last asked, by artifact
        self._locked: set[str] = set()  # by this object
        self.keeps: dict[str, int] = {}
        self.settings: dict[str, Any] | None = None

    def path(self, name: str) -> Path:
        """The folder of an artifact, whether it exists or not."""
        return self.folder / name

    def exists(self, name: str) -> bool:
        """Whether a whole artifact of that name is there."""
        return self._made_by(name) is not None

    def made_by(self, name: str) -> dict[str, Any]:
        """The content of the artifact's `made_by.yaml`.

        Raises:
            FileNotFoundError: there is no such artifact.
        """
        text = self._made_by(name)
        if text is None:
            raise FileNotFoundError(f"The run folder {self.folder} must hold the artifact '{name}'. Make it first, or check run=<folder>.")
        return yaml.load(text, _Loader)

    def id(self, name: str) -> str:
        """The recipe id of an existing artifact."""
        return self.made_by(name)["id"]

    def differences(self, name: str, recipe: Recipe) -> list[str]:
        """How an existing artifact's settings and inputs differ from `recipe`, in words; parents are not compared."""
        made = self.made_by(name)
        found = [f"{key} was {_show(old)}, and {_show(new)} is asked for now" for key, old, new in self.other_settings(name, recipe)]
        # A raw file that was archived after preparation is no difference; one that changed is.
        found += [f"the file {path} has changed" for path in changed_inputs(made, recipe.inputs)]
        return found

    def other_settings(self, name: str, recipe: Recipe) -> list[tuple[str, Any, Any]]:
        """The settings in which an existing artifact differs from `recipe`: dotted key, what it was, what it is in `recipe`."""
        return _compare(_flatten(self.made_by(name)["settings"]), _flatten(recipe.settings))

    def is_current(self, name: str, recipe: Recipe) -> bool:
        """Whether the artifact exists and was made by this recipe."""
        return self.exists(name) and not self.differences(name, recipe) and self.made_by(name)["parents"] == recipe.parents

    def require(self, name: str, recipe: Recipe, remedy: str = "") -> Path:
        """The folder of an artifact that must exist and be made by `recipe`.

        Raises:
            FileNotFoundError: it does not exist.
            StaleArtifactError: it was made otherwise; the message names every setting that differs.
        """
        differences = self.differences(name, recipe)
        if differences:
            text = "; ".join(differences[:8]) + (f"; and {len(differences) - 8} more" if len(differences) > 8 else "")
            raise StaleArtifactError(
                f"{self.path(name)} was made otherwise: {text}. {remedy or 'Make it again, or choose another folder with run=<folder>.'}"
            )
        return self.path(name)

    @contextmanager
    def commit(self, name: str, recipe: Recipe) -> Iterator[Path]:
        """Gives an empty folder to write into; when the block ends well, it becomes the artifact.

        An earlier artifact of that name stays in use until then. If the block raises, nothing changes.

        Raises:
            DiskFullError: the block found no room for what it writes.
        """
        with self.lock(name):
            staging = self._hidden("new", name)
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            began = self.shared.number(name) if self.shared else 0
            try:
                with writing(self.path(name), staging=staging):
                    yield staging
                    if self.settings is not None:
                        (staging / SETTINGS).write_text(yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
                    _write_made_by(staging / MADE_BY, name, recipe)
                    sync(staging)
                version = self._publish(name, staging, began)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            self._replace(name, staging)
            self._here(name, version)
            self._retire(name)

    def _replace(self, name: str, staging: Path) -> None:
        """Puts a whole folder in the place of an artifact."""
        final = self.path(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            # A name of its own: a file of an earlier one may still be open, and some file systems keep its folder for that.
            old = self._hidden("old", name) / uuid.uuid4().hex
            old.parent.mkdir(exist_ok=True)
            final.rename(old)  # a kill between the two renames is mended by _recover
        staging.rename(final)
        sync_folder(final.parent)

    def _publish(self, name: str, staging: Path, began: int) -> str:
        """Writes a whole folder to the shared storage, the pointer to it last; its version, empty where nothing is shared."""
        if not self.shared:
            return ""
        pointer = self.shared.upload(name, staging)
        self.shared.publish(name, pointer, began)
        return pointer["version"]

    def _here(self, name: str, version: str) -> None:
        """Notes which version of a shared artifact lies here now: last, so that a process killed before it has it copied again."""
        if version:
            self._version_file(name).write_text(version)
            self._looked[name] = time.monotonic()

    def _pull(self, name: str, shared: SharedRun) -> None:
        """Copies the current version of an artifact from the shared storage, unless it is here; removes one that is not there.

        A moment after the last look nothing is asked: what a stage reads does not change under its hands.
        """
        if time.monotonic() - self._looked.get(name, -math.inf) < _FRESH or name in self._locked:
            return
        with self._lock_file(f"pull-{name}") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for last in (False, True):
                pointer = shared.current(name)
                version_file = self._version_file(name)
                here = version_file.read_text() if version_file.is_file() and self.path(name).exists() else None
                if pointer is None:
                    if self.path(name).exists() and not self.path(name).is_symlink():
                        shutil.rmtree(self.path(name))  # it was made by a process that was killed before it could publish
                elif pointer["version"] != here:
                    staging = self._hidden("pull", name)
                    shutil.rmtree(staging, ignore_errors=True)
                    staging.mkdir(parents=True)
                    try:
                        with writing(self.path(name), staging=staging):
                            shared.download(name, pointer, staging)
                    except FileNotFoundError:
                        if last:
                            raise
                        continue  # a newer one took its place
                    with self._lock_file(name) as maker:
                        if not _taken(maker):  # a process of this machine makes it, and is about to replace it itself
                            shutil.rmtree(staging)
                            return
                        self._replace(name, staging)
                    self._here(name, pointer["version"])
                    shutil.rmtree(self._hidden("old", name), ignore_errors=True)
                self._looked[name] = time.monotonic()
                return

    def _version_file(self, name: str) -> Path:
        """The file that says which version of a shared artifact is here."""
        return self._hidden("version", name)

    def replaced(self, name: str) -> Path:
        """The folder of an artifact's replaced versions, each named by its id."""
        return self._hidden("replaced", name)

    def _retire(self, name: str) -> None:
        """Moves the newest replaced version to where it is kept, and removes those that are too many."""
        count, kept = self.keeps.get(name, 0), self.replaced(name)
        aside = sorted(self._hidden("old", name).glob("*"), key=lambda path: path.stat().st_mtime_ns)
        if count and aside and (aside[-1] / MADE_BY).is_file():
            kept.mkdir(parents=True, exist_ok=True)
            final = kept / yaml.load((aside[-1] / MADE_BY).read_text(encoding="utf-8"), _Loader)["id"]
            shutil.rmtree(final, ignore_errors=True)
            aside[-1].rename(final)
            os.utime(final)  # the order of replacement
        for path in sorted(kept.glob("*"), key=lambda path: path.stat().st_mtime_ns)[: -count or None] if name in self.keeps else []:
            shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self._hidden("old", name), ignore_errors=True)

    def link(self, name: str, other: Workspace) -> bool:
        """Lets this run read another's artifact, unless it has one of that name; whether it was linked now."""
        path = self.path(name)
        if self.shared or other.shared or path.is_symlink() or path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(other.path(name), path.parent), target_is_directory=True)
        return True

    def take(self, name: str, other: Workspace) -> bool:
        """Gives this run a copy of another's artifact, unless it has one of that name; whether it was taken now.

        Files are hard links where both lie on one file system: the copy takes no room, and stays when the other is removed. Nobody
        writes into a whole artifact.

        Raises:
            FileNotFoundError: the other has no such artifact.
        """
        if self.exists(name):
            return False
        other.made_by(name)
        with self.lock(name):
            staging, final = self._hidden("new", name), self.path(name)
            shutil.rmtree(staging, ignore_errors=True)
            staging.parent.mkdir(parents=True, exist_ok=True)
            with writing(final, staging=staging):
                shutil.copytree(other.path(name), staging, copy_function=link_or_copy)
                sync(staging)
            version = self._publish(name, staging, self.shared.number(name) if self.shared else 0)
            final.parent.mkdir(parents=True, exist_ok=True)
            staging.rename(final)
            sync_folder(final.parent)
            self._here(name, version)
        return True

    def work(self, name: str, recipe: Recipe) -> Path:
        """A folder that survives a kill, for the checkpoints of a run under way. Emptied when the recipe changes.

        The caller holds the `lock` of the artifact, as `pipelines.stage.make` does: two that write here would mix their checkpoints.
        """
        folder = self._hidden("work", name)
        marker = folder / "recipe"
        if not marker.is_file() or marker.read_text() != recipe.id:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            marker.write_text(recipe.id)
        return folder

    def clear_work(self, name: str) -> None:
        """Removes the folder given by `work`."""
        shutil.rmtree(self._hidden("work", name), ignore_errors=True)

    def kept(self) -> str:
        """What a process that stops now leaves behind, in a sentence."""
        steps = {
            folder.name.removeprefix("work-"): max((int(path.stem.rpartition("-")[2]) for path in folder.glob("checkpoints/ckpt-*.index")), default=0)
            for folder in sorted((self.folder / ".state").glob("work-*"))
        }
        under_way = ", ".join(f"of {name} the checkpoint of step {step:,}" for name, step in steps.items() if step)
        return f"Every artifact that was finished in {self.folder} is kept{f', and {under_way}' if under_way else ''}."

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keeps a second process from making the same artifact. The lock of a killed process is void by itself.

        `commit` takes it; who writes into the folder of `work` before holds it from then on, and `commit` goes on under it.

        Raises:
            RuntimeError: another process has it.
        """
        if name in self._locked:
            yield
            return
        with self._lock_file(name) as file:
            if not _taken(file):
                raise RuntimeError(f"Another process is making {self.path(name)}. Wait for it, or choose another folder with run=<folder>.")
            with self.shared.lease(name) if self.shared else nullcontext():
                self._locked.add(name)
                try:
                    yield
                finally:
                    self._locked.discard(name)

    def _hidden(self, kind: str, name: str) -> Path:
        return self.folder / ".state" / f"{kind}-{name.replace('/', '-')}"

    def _lock_file(self, name: str) -> IO[str]:
        path = self._hidden("lock", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")

    def _made_by(self, name: str) -> str | None:
        """What `made_by.yaml` holds; `None` without an artifact. Looked for twice, since a commit may replace it meanwhile."""
        if self.shared:
            self._pull(name, self.shared)
        for _ in range(2):
            self._recover(name)
            with suppress(FileNotFoundError):
                return (self.path(name) / MADE_BY).read_text(encoding="utf-8")
        return None

    def _recover(self, name: str) -> None:
        """Puts an artifact back that a process killed between the two renames of `commit` has left aside.

        A process that is between them now holds the lock: what it makes is waited for, a moment.
        """
        while not self.path(name).exists() and (aside := sorted(self._hidden("old", name).glob("*"), key=lambda path: path.stat().st_mtime_ns)):
            with self._lock_file(name) as file:
                if name in self._locked or _taken(file):
                    if not self.path(name).exists():
                        aside[-1].rename(self.path(name))
                    return
            time.sleep(0.001)


def _taken(file: IO[str]) -> bool:
    """Takes the lock of an open file for as long as it is open; whether that could be done."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_made_by(path: Path, name: str, recipe: Recipe) -> None:
    content = {
        "artifact": name,
        "id": recipe.id,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": recipe.settings,
        "inputs": recipe.inputs,
        "digests": {path: _digest(path, mark) for path, mark in recipe.inputs.items() if _mark(Path(path)) == mark and Path(path).is_file()},
        "parents": recipe.parents,
        "packages": {package: _version(package) for package in _PACKAGES},
    }
    # JSON first: tuples and enums become what YAML reads back without tags.
    path.write_text(yaml.safe_dump(json.loads(json.dumps(content, default=str)), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def fingerprint(paths: list[Path]) -> dict[str, str]:
    """Size and change time of raw files, by path: enough to see that a file was replaced, whatever its size."""
    return {str(path): mark for path in sorted(paths) if (mark := _mark(path))}


def changed_inputs(made: dict[str, Any], inputs: dict[str, str]) -> list[str]:
    """Paths of the files that are no longer what an artifact was made from, by `fingerprint`; a copy with the same bytes is the same file.

    Args:
        made: the content of its `made_by.yaml`.
        inputs: fingerprints of the raw files as they are now. One that is in `made` alone was archived since, and has not changed.
    """
    changed = []
    for path, old, new in _compare(made["inputs"], inputs):
        if old is None or new is None:
            continue
        digest = made.get("digests", {}).get(path)
        # Copied again, it has another time; only then is it read.
        if not digest or old.split(",")[0] != new.split(",")[0] or _mark(Path(path)) != new or _digest(path, new) != digest:
            changed.append(path)
    return changed


def _mark(path: Path) -> str:
    """Size and change time of a file; empty where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ""
    return f"{stat.st_size} bytes, {stat.st_mtime_ns}"


@cache
def _digest(path: str, mark: str) -> str:
    """SHA-256 of a file that is as `mark` says; each state of a file is read once a process."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _compare(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """What differs. A switch that one side does not have, and that is off on the other, is no difference: a later release has brought it."""
    plain = json.loads(json.dumps(new, default=str))
    changed = [key for key in sorted({*old, *plain}) if old.get(key) != plain.get(key)]
    return [(key, old.get(key), plain.get(key)) for key in changed if (key in old and key in plain) or (old | plain)[key] is not False]


def _show(value: Any) -> str:
    return "not set" if value is None else str(value)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A second name for a file, or a copy of it where there can be none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sync(folder: Path) -> None:
    """Forces a folder to disk, so that a power cut after it is renamed cannot leave empty files."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for path in [*(path for path in sorted(folder.rglob("*")) if path.is_dir()), folder]:
        sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
