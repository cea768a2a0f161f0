"""The days of the log that an update reads: prepared in order, noted in the ledger, passed over where they cannot be used."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines.prepare import columns_by_day, missing_days, prepare_days, prepared_days
from ppm_tf.config import Config
from ppm_tf.daily import DayStatistics, Ledger, LedgerError, UpdateManifest
from ppm_tf.daily.plan import DAY
from ppm_tf.data.day_errors import DayBrokenError, DayNotThereError, DayOrderError
from ppm_tf.rows import FIRST_ROW
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)


def prepare_up_to(config: Config, newest: date, ledger: Ledger, root: Workspace) -> str:
    """Prepares the days up to `newest` that are not there yet, and enters them into the ledger. An earlier day that cannot be used is passed over.

    Returns:
        Why the newest day is refused; "" where it is not.

    Raises:
        DayNotThereError: a day has not come yet.
        LedgerError: a day that was prepared by hand, and others after it, has the rows of another one.
        ValueError: the first day of all cannot be used.
    """
    for day in prepared_days(root):  # by `pipelines.prepare`, it may be
        if day < newest and (reason := _enter(day, ledger, root)):
            raise LedgerError(reason)
    for day in missing_days(config.model_copy(update={"day": newest}), root):
        try:
            prepare_days(config.model_copy(update={"day": day}), root)
        except DayNotThereError as error:
            if day == newest or config.update.missing_days == "wait":
                raise
            pass_over_day(config, day, str(error), root)
        except DayBrokenError as error:
            if day == newest:
                return str(error)
            pass_over_day(config, day, str(error), root)
            ledger.refuse(day.isoformat(), "", by=(newest + DAY).isoformat(), reason=str(error))
        if (reason := _enter(day, ledger, root)) and day != newest:
            pass_over_day(config, day, reason, root)
        elif reason:
            shutil.rmtree(root.path(f"days/{day}"))
            return reason
    return _enter(newest, ledger, root)


def _enter(day: date, ledger: Ledger, root: Workspace) -> str:
    """Notes a prepared day; gives why it must not be used, as where another day has its rows."""
    from ppm_tf.data.preparation.day_checks import read_ledger
    from ppm_tf.data.preparation.pass_over import passed_over

    folder, name = root.path(f"days/{day}"), day.isoformat()
    if passed_over(folder) or ledger.hash_of(name) == (content := read_ledger(folder)["content"]):
        return ""
    try:
        ledger.prepare(name, content)
    except LedgerError as error:
        return str(error)
    return ""


def content_now(config: Config, day: date, root: Workspace) -> str:
    """What the log of a day holds now, by hash; "" where it has no files."""
    from ppm_tf.data.preparation.day_checks import content_of

    try:
        return content_of(columns_by_day(config, root), day)
    except FileNotFoundError:
        return ""


def take_again(day: date, root: Workspace) -> None:
    """Lets a day that was passed over be prepared once more, where no later day has gone on without it.

    Raises:
        DayOrderError: one has.
    """
    later = [one for one in prepared_days(root) if one > day]
    if later:
        raise DayOrderError(
            f"A day that was refused can be taken again while it is the newest. Received: {day}, after which {later[-1]} was prepared without it."
            " Remedy: go on with the next day; to have it, begin anew with run=<folder>."
        )
    shutil.rmtree(root.path(f"days/{day}"), ignore_errors=True)


def pass_over_day(config: Config, day: date, reason: str, root: Workspace) -> None:
    """Commits a day without rows, in place of what was prepared of it; the first day of all has none before it to go on from.

    Raises:
        ValueError: it is the first day.
    """
    from ppm_tf.data.preparation.day_checks import read_ledger
    from ppm_tf.data.preparation.pass_over import pass_over

    before, artifact = f"days/{day - DAY}", f"days/{day}"
    if not root.exists(before):
        raise ValueError(f"{day}: the first day of the log cannot be passed over. {reason}")
    files: Sequence[dict[str, Any]] = read_ledger(root.path(artifact))["files"] if root.exists(artifact) else ()
    made = root.made_by(before)
    logger.warning("update: %s is passed over: %s", day, reason)
    with root.commit(artifact, Recipe(made["settings"], {"passed over": reason}, {before: root.id(before)})) as folder:
        pass_over(columns_by_day(config, root), root.path(before), day, folder, reason, files)


def passed_over_by(day: date, root: Workspace) -> str:
    """Why a prepared day was passed over; "" of one that was not."""
    from ppm_tf.data.preparation.pass_over import passed_over

    return passed_over(root.path(f"days/{day}")) or ""


def usable_days(root: Workspace) -> list[date]:
    """The prepared days that were not passed over."""
    return [day for day in prepared_days(root) if not passed_over_by(day, root)]


def refused_days(made: Sequence[UpdateManifest]) -> set[date]:
    """Days that nothing may be learnt from: the newest ones of the updates that were refused for good, by their data or by the gate.

    Args:
        made: the manifests of the updates before. One that was refused and published later, under other bounds, is published.
    """
    return {date.fromisoformat(one.day) - DAY for one in made if one.status == "refused" and not one.live}


def counted(day: date, root: Workspace) -> DayStatistics:
    """The counts of a prepared day, as the gate reads them."""
    import numpy as np

    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.preparation.day import HALVES
    from ppm_tf.data.preparation.log_batches import OTHER_DAY, UNKNOWN_ITEM

    folder = root.path(f"days/{day}")
    found = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
    halves, rejected, tasks = found["splits"].values(), found["rows_rejected"], tuple(found["splits"][HALVES[0]]["positives"])
    unknown, outside = rejected.get(UNKNOWN_ITEM, 0), rejected.get(OTHER_DAY, 0)
    catalog, before = ItemCatalog.read(folder / "catalog"), root.path(f"days/{day - DAY}") / "catalog"
    shown = sum(catalog.counts[f"exposures_{half}"] for half in HALVES)  # of all days up to it
    if before.is_dir():
        earlier = ItemCatalog.read(before).counts
        shown[: len(earlier["exposures_head"])] -= sum(earlier[f"exposures_{half}"] for half in HALVES)
    has_text, has_image = (np.concatenate([np.ones(FIRST_ROW, bool), present]) for present in catalog.present("text", "image"))
    return DayStatistics(
        day=found["day"],
        rows=found["rows_read"],
        requests=sum(half["requests"] for half in halves),
        shown=sum(half["candidates"] for half in halves) + unknown,
        positives={task: sum(half["positives"][task] for half in halves) for task in tasks},
        labelled={task: sum(half["positives"][task] + half["negatives"][task] for half in halves) for task in tasks},
        rejected=sum(rejected.values()) - unknown - outside,
        repeated=found["rows_repeated"],
        outside_day=outside,
        unknown_items=unknown,
        without_text=int(shown[~has_text].sum()),
        without_image=int(shown[~has_image].sum()),
    )
