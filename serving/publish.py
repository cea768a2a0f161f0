"""Publication of an exported model: `<base>/<model>/<version>/` is whole or absent, and one command goes back.

TF Serving takes any numeric folder live within a second of its appearance, even one without variables. So a version is completed
under a name that is no number, judged there by a fresh process that loads it as the server does and replays its golden answers
(`serving.verify`), forced to disk, and only then renamed. Reads a staged version folder; writes below `<base>/<model>`.

Beyond the last --keep versions old ones are removed, but never one that a label or a policy of the model.config names, nor one that
the server of --status serves. Without both it is not known what is served: then give --keep enough.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ppm_tf.config import pattern_in
from ppm_tf.storage import writing
from ppm_tf.terminal import printing
from ppm_tf.workspace import sync, sync_folder
from serving.layout import EXTRA, GOLDEN, WARMUP
from serving.pins import CONFIG, Pins
from serving.verify import verify_afresh

logger = logging.getLogger(__name__)

_LOCK = ".publish.lock"
_INCOMING, _OUTGOING, _WITHDRAWN = "incoming-", "outgoing-", "withdrawn-"  # no numbers: the server passes them by
_MOST = 2**63 - 1  # the server reads a version as int64


def publish(
    staged: Path,
    base: Path,
    model: str,
    version: int | None = None,
    keep: int = 3,
    pins: Pins | None = None,
    judge: Callable[[Path], Any] | None = None,
) -> Path:
    """Makes a staged version folder the newest one, and removes versions beyond the last `keep` that nothing pins or serves.

    A folder that lies in `<base>/<model>` already is renamed; one from elsewhere is copied and stays. A process killed at any moment
    leaves whole versions only; what it left under other names is cleared by the next call. Files are made readable for everyone,
    since the server runs as another user.

    Args:
        staged: folder with `saved_model.pb`, `variables/`, the warm-up requests and the golden answers.
        base: folder of the exported models.
        model: name of the model.
        version: number to publish under; None: one above every number ever given out that can still be seen.
        keep: versions that stay. The newest one and the one below it, to go back to, stay in any case.
        pins: what else stays.
        judge: called with the whole version before it goes live; what it raises ends the publication. None: `serving.verify.verify_afresh`.

    Returns:
        The published folder.

    Raises:
        FileNotFoundError: `staged` is not there.
        ValueError: it is not complete or does not answer as it should, or the number is taken or not above the highest.
        RuntimeError: another process publishes this model, or `staged` changed while it was copied.
    """
    start = time.monotonic()
    staged, folder = Path(staged).resolve(), _folder(base, model)
    if keep < 1:
        raise ValueError(f"keep must be at least 1. Received: {keep}")
    require_complete(staged)
    if staged.parent == folder.resolve() and (staged.name.isdigit() or staged.name.startswith((_OUTGOING, _WITHDRAWN))):
        raise ValueError(f"The staged folder must have a name that is no version. Received: {staged}. Restore a withdrawn version with --restore.")
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        _clear(folder, but=staged)
        number = _next(folder, version)
        logger.info("publish: start, %s as version %d of %s", staged, number, folder)
        incoming = staged if staged.parent == folder.resolve() else folder / f"{_INCOMING}{number}"
        try:
            if incoming != staged:
                _copy(staged, incoming)
            (judge or verify_afresh)(incoming)
            _open_to_readers(incoming)
            sync(incoming)
        except BaseException:
            if incoming != staged:
                shutil.rmtree(incoming, ignore_errors=True)
            raise
        size = sum(_contents(incoming).values())
        target = folder / str(number)
        os.rename(incoming, target)
        sync_folder(folder)
        _prune(folder, max(keep, 2), pins or Pins())
    logger.info("publish: done in %.1f s, %d bytes, wrote %s", time.monotonic() - start, size, target)
    return target


def rollback(base: Path, model: str, to: int | None = None, pins: Pins | None = None) -> Path:
    """Goes back to an earlier version by withdrawing those above it; `restore` brings one back.

    Under the server's `latest` policy the highest number is live, so nothing else is needed. Their numbers are not given out again.

    Args:
        base: folder of the exported models.
        model: name of the model.
        to: the version to be live; None: the one below the live one.
        pins: what must stay.

    Returns:
        The folder of the version that is live now.

    Raises:
        ValueError: there is no such version, it is live already, it is not complete, or a version above it is pinned.
        RuntimeError: another process publishes this model.
    """
    start, folder = time.monotonic(), _folder(base, model)
    found = versions(base, model)
    if len(found) < 2:
        raise ValueError(f"Going back needs a version below the live one in {folder}. Received: {found or 'no version'}. Publish one instead.")
    with _lock(folder):
        found = _numbers(folder)
        to = found[-2] if to is None else to
        if to not in found[:-1]:
            raise ValueError(f"The version to go back to must be one of {found[:-1]}, below the live {found[-1]}, in {folder}. Received: {to}")
        target = _numbered(folder)[to]
        require_complete(target)
        pinned = {number: what for number, what in (pins or Pins()).pinned().items() if number in found and number > to}
        if pinned:
            raise ValueError(f"A version that is withdrawn must be pinned by nothing. Received: {_told(pinned)}. Change the {CONFIG} first.")
        logger.info("rollback: start, from version %d to %d of %s", found[-1], to, folder)
        for number in found[found.index(to) + 1 :]:  # upwards: the live one goes last, so that none between is live for a moment
            os.rename(_numbered(folder)[number], folder / f"{_WITHDRAWN}{number}")
        sync_folder(folder)
    logger.info("rollback: done in %.1f s, %d bytes, live is %s", time.monotonic() - start, sum(_contents(target).values()), target)
    return target


def withdraw(base: Path, model: str, version: int, pins: Pins | None = None) -> None:
    """Puts the only version aside, as one that must not be served at all; `restore` brings it back. Of several, `rollback` goes back.

    Raises:
        ValueError: it is not the only version, or it is pinned.
        RuntimeError: another process publishes this model.
    """
    folder = _folder(base, model)
    with _lock(folder):
        found, pinned = _numbers(folder), (pins or Pins()).pinned()
        if found != [version]:
            raise ValueError(f"A version that is withdrawn must be the only one in {folder}. Received: {version}; there are {found}. Roll back.")
        if version in pinned:
            told = _told({version: pinned[version]})
            raise ValueError(f"A version that is withdrawn must be pinned by nothing. Received: {told}. Change the {CONFIG} first.")
        os.rename(_numbered(folder)[version], folder / f"{_WITHDRAWN}{version}")
        sync_folder(folder)
    logger.info("withdraw: done, version %d of %s is aside, and none is published", version, folder)


def restore(base: Path, model: str, version: int) -> Path:
    """Brings a withdrawn version back under its number; it is live if that is the highest.

    Raises:
        ValueError: no version of that number was withdrawn, or it is not complete.
        RuntimeError: another process publishes this model.
    """
    folder = _folder(base, model)
    if version not in withdrawn(base, model):
        raise ValueError(f"The version to restore must be one of the withdrawn {withdrawn(base, model)} in {folder}. Received: {version}")
    with _lock(folder):
        source, target = folder / f"{_WITHDRAWN}{version}", folder / str(version)
        require_complete(source)
        os.rename(source, target)
        sync_folder(folder)
    logger.info("restore: done, %d bytes, wrote %s", sum(_contents(target).values()), target)
    return target


def versions(base: Path, model: str) -> list[int]:
    """The published versions, rising; the last is the one that the server's `latest` policy takes live."""
    return _numbers(_folder(base, model))


def withdrawn(base: Path, model: str) -> list[int]:
    """The versions that `rollback` has put aside, rising."""
    return _numbers(_folder(base, model), _WITHDRAWN)


def require_complete(folder: Path) -> None:
    """Refuses what the server would take live and not answer from.

    Without `variables/` a version replaces the good one and every request is a 404; a warm-up file turns that, and a missing op, into a
    failed load. What is in the files is judged by the export, before.

    Raises:
        FileNotFoundError: the folder is not there.
        ValueError: a file is missing or empty.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"A version must be a folder. Received: {folder}, which is not there. Run `python -m pipelines.export` first.")
    shards = sorted(folder.glob("variables/variables.data-*-of-*"))
    total = int(shards[0].name.rpartition("-")[2]) if shards and shards[0].name.rpartition("-")[2].isdigit() else 1
    needed = [
        "saved_model.pb",
        "variables/variables.index",
        *(f"variables/variables.data-{i:05d}-of-{total:05d}" for i in range(total)),
        f"{EXTRA}/{WARMUP}",
        f"{EXTRA}/{GOLDEN}",
    ]
    missing = [name for name in needed if not (folder / name).is_file() or not (folder / name).stat().st_size]
    if missing:
        raise ValueError(
            f"A version must hold {', '.join(needed)}. Received: {folder}, where {', '.join(missing)} is missing or empty. Export it again."
        )
    try:
        golden = json.loads((folder / EXTRA / GOLDEN).read_text(encoding="utf-8"))
    except ValueError:
        golden = None
    if not isinstance(golden, dict) or not {"inputs", "outputs"} <= set(golden):
        raise ValueError(
            f"{EXTRA}/{GOLDEN} must be a JSON object with inputs and outputs. Received: {folder / EXTRA / GOLDEN}, which is not. Export it again."
        )


def _folder(base: Path, model: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", model):
        raise ValueError(f"A model name must be letters, digits and any of ._-, and begin with none of . and -. Received: {model!r}")
    if reason := pattern_in(base):
        raise ValueError(f"--base: {reason}")
    return Path(base) / model


def _numbered(folder: Path, prefix: str = "") -> dict[int, Path]:
    """Entries named by a number behind `prefix`. As the server does, 007 is read as 7."""
    names = {path: path.name.removeprefix(prefix) for path in folder.glob(f"{prefix}*")}
    return {int(name): path for path, name in names.items() if re.fullmatch("[0-9]+", name)}


def _numbers(folder: Path, prefix: str = "") -> list[int]:
    return sorted(_numbered(folder, prefix))


def _next(folder: Path, version: int | None) -> int:
    """The number to publish under. A withdrawn number stays taken: logs and clients know it as something else."""
    taken = sorted({*_numbers(folder), *_numbers(folder, _WITHDRAWN)})
    highest = taken[-1] if taken else 0
    if version is None:
        version = highest + 1
    if version in taken:
        raise ValueError(f"A version number must be new in {folder}. Received: {version}, which exists. Leave it out to get {highest + 1}.")
    if not highest < version <= _MOST:
        raise ValueError(
            f"A version must be above the highest in {folder}, {highest}, to go live. Received: {version}. Leave it out to get {highest + 1}."
        )
    return version


def _copy(source: Path, target: Path) -> None:
    before = _contents(source)
    with writing(target, sum(before.values())):
        shutil.copytree(source, target)
    if _contents(target) != before or _contents(source) != before:
        raise RuntimeError(
            f"The staged folder must not change while it is copied. Received: {source}, which did. Publish it when its export is done."
        )


def _contents(folder: Path) -> dict[str, int]:
    """Bytes by file name."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _open_to_readers(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _prune(folder: Path, keep: int, pins: Pins) -> None:
    """Removes all but the last `keep` versions, and as many withdrawn ones. The new version is live already, so a failure is only told."""
    published = _numbers(folder)
    old = published[:-keep]
    absent = {number: what for number, what in pins.pinned().items() if number not in published}
    if absent:
        logger.warning("publish: versions that must be there are not: %s", _told(absent))
    try:
        kept = {number: why for number, why in pins.kept(published).items() if number in old}
    except OSError as error:
        logger.warning("publish: no old version is removed, since it is not known what is served: %s", error)
        kept = dict.fromkeys(old, "perhaps served")
    if kept:
        logger.info("publish: beyond the last %d stay %s", keep, _told(kept))
    for prefix in ("", _WITHDRAWN):
        for number in _numbers(folder, prefix)[:-keep]:
            if not prefix and number in kept:
                continue
            path, outgoing = _numbered(folder, prefix)[number], folder / f"{_OUTGOING}{number}"
            try:
                os.rename(path, outgoing)  # never a numeric folder that is half gone: a rollback could make it live
                shutil.rmtree(outgoing)
                logger.info("publish: removed %s, beyond the last %d", path, keep)
            except OSError as error:
                logger.warning("publish: the new version is live, but the old %s could not be removed: %s", path, error)


def _told(versions: dict[int, str]) -> str:
    return ", ".join(f"{number} ({what})" for number, what in versions.items())


def _clear(folder: Path, but: Path) -> None:
    """Removes what a killed publisher left. The caller holds the lock, so none of it is in use."""
    for prefix in (_INCOMING, _OUTGOING):
        for path in folder.glob(f"{prefix}*"):
            if path.resolve() != but:
                shutil.rmtree(path)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keeps a second process from changing the same model. The lock of a killed process is void by itself."""
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"One process at a time may change {folder}. Another one is publishing there. Wait for it.") from None
        yield


def _list(base: Path, model: str, pins: Pins) -> None:
    folder, found, states, pinned = _folder(base, model), versions(base, model), pins.states(), pins.pinned()
    for number in sorted({*found, *pinned}):
        size = f"{sum(_contents(_numbered(folder)[number]).values())} bytes" if number in found else "not there"
        # what is live only the server knows: a version may be published and have failed to load
        state = states.get(number, "unknown to the server" if pins.status else "newest" if number == found[-1] else "")
        print("\t".join(part for part in (str(number), size, state, f"pinned by {pinned[number]}" if number in pinned else "") if part))
    for number in withdrawn(base, model):
        print(f"{number}\t{sum(_contents(folder / f'{_WITHDRAWN}{number}').values())} bytes\twithdrawn")
    if not found:
        print(f"no version in {folder}")


@printing()
def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on wrong usage, 1 on a failure the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m serving.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("staged", nargs="?", type=Path, help="version folder to publish")
    parser.add_argument("--base", type=Path, required=True, help="folder of the exported models")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--version", type=int, help="number to publish under; by default one above the highest")
    parser.add_argument("--keep", type=int, default=3, help="versions that stay (default 3; the newest and the one below it always do)")
    parser.add_argument(
        "--model-config-file",
        "--model_config_file",
        type=Path,
        help=f"a model.config: what its labels and policy name stays (default: <base>/{CONFIG}, if it is there)",
    )
    parser.add_argument(
        "--status",
        metavar="URL",
        help="the model's status at its server, http://host:8501/v1/models/NAME: what it serves stays, and --list tells its states",
    )
    parser.add_argument("--rollback", nargs="?", type=int, const=-1, metavar="VERSION", help="go back to a version, or to the one below the live one")
    parser.add_argument("--restore", type=int, metavar="VERSION", help="bring a withdrawn version back")
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the versions: number, bytes, the server's state (with --status) or which is newest, what pins them; and those withdrawn",
    )
    asked = parser.parse_args(arguments)
    if [asked.staged is not None, asked.rollback is not None, asked.restore is not None, asked.list].count(True) != 1:
        parser.error("give exactly one of: a staged folder, --rollback, --restore, --list")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        pins = Pins.read(asked.base, asked.model, asked.model_config_file, asked.status)
        if asked.list:
            _list(asked.base, asked.model, pins)
        elif asked.restore is not None:
            restore(asked.base, asked.model, asked.restore)
        elif asked.rollback is not None:
            rollback(asked.base, asked.model, None if asked.rollback == -1 else asked.rollback, pins)
        else:
            publish(asked.staged, asked.base, asked.model, asked.version, asked.keep, pins)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"serving.publish: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
