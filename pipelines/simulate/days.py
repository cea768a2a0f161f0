"""The days of an arm: who chooses, what is shown and answered, and the files that a day leaves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.simulate.arms import SHOP, Arm
from ppm_tf.config import BEST, Config
from ppm_tf.data.sources.shop.live import Choose, Histories, LiveShop, live
from ppm_tf.data.sources.shop.live_files import LOG, day_folder, write_day, write_exposures, write_goods, write_searches
from ppm_tf.data.sources.shop.log import examination
from ppm_tf.data.sources.shop.policies import Score, by_chance, by_list, by_model, by_truth
from ppm_tf.data.sources.shop.synthetic import date_of
from ppm_tf.storage import write_json
from ppm_tf.workspace import Recipe, Workspace, link_or_copy

logger = logging.getLogger(__name__)

HISTORIES, EXPOSURES, DAY = "histories.npz", "exposures.parquet", "day.json"
Update = Callable[[Config, date], dict[str, Any]]  # settings of a run, the day that is served -> "status", "version", "reason", "seconds"
Load = Callable[[Path], Score]


def start(config: Config, shop: LiveShop) -> None:
    """Commits `<run>/shop`: users, items and searches of all days, and the log of the days on which the shop itself chooses."""
    root, first = Workspace(config.run), config.simulate.start_days
    recipe = Recipe({"data": config.data.model_dump(mode="json"), "start_days": first, "pool": config.simulate.pool})
    if root.exists(SHOP):
        root.require(SHOP, recipe, "Choose another folder with run=<folder>, or pass the old values.")
        return
    logger.info("simulate: the shop and its first %d days", first)
    histories = Histories(len(shop.users.user_id), config.data.history_length)
    with root.commit(SHOP, recipe) as folder:
        write_goods(shop, folder)
        for day in range(config.data.days):
            requests, usual = shop.requests(day), shop.usual(day)
            block, where = shop.answer(requests, usual), folder / day_folder(day)
            write_searches(shop, block, day, where)
            if day < first:
                write_day(shop, requests, live(shop, requests, histories, by_list(requests, usual)), where)
        histories.save(folder / HISTORIES)


def share_start(arm: Arm, config: Config) -> None:
    """Gives an arm the first days, by links."""
    root, workspace = Workspace(config.run), arm.workspace
    for day in range(config.simulate.start_days):
        name = f"{SHOP}/{day_folder(day)}"
        if not workspace.exists(name):
            with workspace.commit(name, Recipe({}, parents={SHOP: root.id(SHOP)})) as folder:
                link_or_copy(root.path(name) / LOG, folder / LOG)


def serve(arm: Arm, config: Config, shop: LiveShop, update: Update, load: Load) -> None:
    """Lets an arm choose on each of its days, and updates it before those on which it is."""
    root, workspace, model = Workspace(config.run), arm.workspace, _Live(arm, load)
    before, parents = root.path(SHOP) / HISTORIES, {SHOP: root.id(SHOP)}
    for day in days(config):
        name = f"{SHOP}/{day_folder(day)}"
        recipe = Recipe(_shaping(arm, config), parents=parents)
        if workspace.exists(name):
            workspace.require(name, recipe, "Choose another folder with run=<folder>, or pass the old values.")
        else:
            made = _updated(arm, day, update) if _is_due(arm, day) else {}
            choose, version = model.choose(shop, config)
            histories = Histories.load(before)
            with workspace.commit(name, recipe) as folder:
                about = _live_day(arm, day, shop, histories, choose, folder)
                histories.save(folder / HISTORIES)
                about = {"update": made.get("status"), "version": version, **about, "update_seconds": made.get("seconds", 0.0)}
                write_json(folder / DAY, about)
            logger.info("simulate: %s, %s: %s", arm.name, date_of(day), _told(about))
        before, parents = workspace.path(name) / HISTORIES, {name: workspace.id(name)}


def _live_day(arm: Arm, day: int, shop: LiveShop, histories: Histories, choose: Choose, folder: Path) -> dict[str, Any]:
    """Lives a day and writes its log and exposures; gives its counts."""
    begun, requests = time.monotonic(), shop.requests(day)
    block = live(shop, requests, histories, choose)
    seconds = time.monotonic() - begun
    write_day(shop, requests, block, folder)
    write_exposures(shop, block, arm.name, folder / EXPOSURES)
    expected = examination(block.item.shape[1]) * shop.appeal(requests, block.item)
    return {
        "day": date_of(day).isoformat(), "requests": len(requests.number), "clicks": int(block.labels["click"].sum()),
        "expected_clicks": float(expected.sum()), "serve_seconds": seconds,
    }  # fmt: skip


def days_of(arm: Arm, config: Config) -> Iterator[dict[str, Any]]:
    """What `day.json` says of each day on which an arm chose."""
    for day in days(config):
        yield json.loads((arm.workspace.path(f"{SHOP}/{day_folder(day)}") / DAY).read_text(encoding="utf-8"))


def days(config: Config) -> range:
    """The days on which the arms choose, 0 the first of the log."""
    return range(config.simulate.start_days, config.simulate.start_days + config.simulate.days)


def _shaping(arm: Arm, config: Config) -> dict[str, Any]:
    """What shapes an arm's days, beside the files that it reads."""
    choice = config.simulate.model_dump(mode="json", exclude={"arms", "days", "start_days", "pool"})
    return {"simulate": choice, "arm": arm.settings and arm.settings.model_dump(mode="json", exclude={"control"})}


def _is_due(arm: Arm, day: int) -> bool:
    """Whether an arm is updated before a day, 0 the first of the log; a frozen one is until it has a version."""
    from serving.publish import versions

    if arm.settings is None:
        return False
    return arm.settings.update == "daily" or not versions(*arm.exports())


def _updated(arm: Arm, day: int, update: Update) -> dict[str, Any]:
    begun = time.monotonic()
    made = update(arm.config, date_of(day))
    made = {"seconds": time.monotonic() - begun, **made}
    if made["status"] != "published":
        logger.info("simulate: %s, %s: update %s, goes on with the version before", arm.name, date_of(day), made["status"])
    return made


def _told(about: dict[str, Any]) -> str:
    parts = [f"update {about['update']}, {about['update_seconds']:.0f} s"] if about["update"] else []
    parts += [f"version {about['version']}"] if about["version"] else []
    return ", ".join([*parts, f"{about['clicks']:,} clicks in {about['requests']:,} requests, {about['serve_seconds']:.1f} s"])


class _Live:
    """The newest version of an arm, loaded once."""

    def __init__(self, arm: Arm, load: Load):
        self._arm, self._load = arm, load
        self._version: int | None = None
        self._score: Score | None = None

    def choose(self, shop: LiveShop, config: Config) -> tuple[Choose, int | None]:
        """Who chooses, and the version that it is.

        Raises:
            RuntimeError: there is no version yet.
        """
        from serving.publish import versions

        arm, settings = self._arm, config.simulate
        if arm.settings is None:
            return (by_truth(shop) if arm.name == BEST else by_chance(shop)), None
        base, name = arm.exports()
        newest = max(versions(base, name), default=None)
        if newest is None:
            raise RuntimeError(
                f"The first update of an arm must publish a version, or there is nothing that could choose. Received: none of {arm.name}, in"
                f" {base / name}. Remedy: look at {arm.workspace.folder / 'updates'}, and mend its settings or those of the gate."
            )
        if newest != self._version:
            self._score = None  # before the next one is in memory
            self._score, self._version = self._load(base / name / str(newest)), newest
        return by_model(shop, self._score, settings.rank_by, settings.explore, settings.explore_from, arm.config.serve.pad_id), newest
