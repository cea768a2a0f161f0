"""The month: what the arms share, their first versions, their days, and the report."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.simulate import judgement
from pipelines.simulate.arms import Arm, arms_of
from pipelines.simulate.days import Items, Load, Update, serve, share_start, start
from pipelines.update.folders import LEDGER
from ppm_tf.config import Config
from ppm_tf.daily import Ledger
from ppm_tf.data.sources.shop.live import LiveShop
from ppm_tf.data.sources.shop.policies import Score
from ppm_tf.data.sources.shop.synthetic import date_of
from ppm_tf.workspace import Workspace, link_or_copy

logger = logging.getLogger(__name__)

_SHARED = ("encoders/adapted", "encoders/text", "encoders/bow", "encoders/image")  # learnt from the first days, whatever the ranking model


def run(config: Config, update: Update | None = None, load: Load | None = None, items: Items | None = None) -> Path:
    """Simulates the month, or what is left of it; gives the folder of its report.

    Args:
        config: the settings, of a data set `synthetic` of all days.
        update: updates an arm's run by a day, and gives what it says in its manifest, `status` and `version`; `pipelines.update` by default.
        load: loads a version; its answers are those of `serving.in_process.Scorer`, which is the default.
        items: publishes the live version with the items that arrive on its day, as `pipelines.update --items` does, which is the default.

    Raises:
        StaleArtifactError: some days are there, and were simulated with other settings.
        RuntimeError: an arm's first update publishes nothing; or another process simulates here.
    """
    update, load, items = update or _update, load or _load, items or _items
    root = Workspace(config.run)
    with root.lock("simulate"):
        shop = LiveShop(config.data, config.simulate.pool)
        start(config, shop)
        arms = arms_of(config)
        for arm in arms:
            share_start(arm, config)
        first_versions(arms, update)
        for arm in arms:
            serve(arm, config, shop, update, load, items)
        return judgement.write(config, shop, arms)


def first_versions(arms: Sequence[Arm], update: Update) -> None:
    """Makes the first versions: one for arms of equal settings, and days and encoders once for all that read and train them alike.

    Raises:
        RuntimeError: an arm's first update publishes nothing.
    """
    from serving.publish import versions

    leaders: dict[str, Arm] = {}
    for arm in sorted((arm for arm in arms if arm.settings), key=lambda arm: arm.settings.update):  # the daily ones first
        leader = leaders.setdefault(arm.model, arm)
        if versions(*arm.exports()):
            continue
        if leader is not arm and _take_version(arm, leader, update):
            continue
        for other in leaders.values():
            if other is not arm:
                _take_days(arm, other)
                _take_encoders(arm, other)
        made = update(arm.config, _first_day(arm))
        if made["status"] != "published":
            raise RuntimeError(
                f"The first update of an arm must publish a version, or there is nothing that could choose. Received: {made['status']} of {arm.name}:"
                f" {made.get('reason', '')} Remedy: mend its settings or those of the gate; {arm.workspace.folder / 'updates'} says more."
            )


def _first_day(arm: Arm) -> date:
    return date_of(arm.config.simulate.start_days)


def _update(config: Config, day: date) -> dict[str, Any]:
    from pipelines.update.day import update_day

    made, _ = update_day(config, day)
    return {"status": made.status, "version": made.version, "reason": made.reason, "seconds": sum(made.seconds.values())}


def _items(config: Config) -> str:
    from pipelines.update.items import publish_items

    return publish_items(config)


def _load(version: Path) -> Score:
    from serving.in_process import Scorer

    return Scorer(version)


def _take_version(arm: Arm, leader: Arm, update: Update) -> bool:
    """Gives an arm the first version of another one, which has the same; whether it is still there."""
    made = update(leader.config, _first_day(leader))
    (base, name), (its_base, its_name) = arm.exports(), leader.exports()
    source = its_base / its_name / str(made.get("version"))
    if not source.is_dir():
        return False
    staging, target = arm.workspace.folder / ".state" / "version", base / name / source.name
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(source, staging, copy_function=link_or_copy)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging.rename(target)
    logger.info("simulate: %s begins with the version of %s", arm.name, leader.name)
    return True


def _take_days(arm: Arm, other: Arm) -> None:
    """Gives an arm the first days as another arm has prepared them: they are the same days."""
    from ppm_tf.data.preparation.day_checks import read_ledger

    if arm.config.update.held_out_hours != other.config.update.held_out_hours:
        return
    for day in range(arm.config.simulate.start_days):
        name = f"days/{date_of(day)}"
        if other.workspace.exists(name) and arm.workspace.take(name, other.workspace):
            Ledger(arm.workspace.folder / LEDGER).prepare(f"{date_of(day)}", read_ledger(arm.workspace.path(name))["content"])


def _take_encoders(arm: Arm, other: Arm) -> None:
    """Gives the first update of an arm the encoders of another's, where both are to train them alike."""
    if any(getattr(arm.config, section) != getattr(other.config, section) for section in ("seed", "text", "image")):
        return
    mine, its = (Workspace(one.workspace.folder / "updates" / _first_day(one).isoformat()) for one in (arm, other))
    for name in _SHARED:
        if its.exists(name) and mine.take(name, its):
            logger.info("simulate: %s takes %s of %s", arm.name, name, other.name)
