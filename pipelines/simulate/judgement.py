"""What came of a month: exposures in one folder, `report online` for each control, the table and the plot."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.report import ONLINE
from pipelines.simulate.arms import SHOP, Arm
from pipelines.simulate.days import EXPOSURES, days, days_of
from pipelines.stage import make
from ppm_tf.config import BEST, CHANCE, Config, folder_name
from ppm_tf.data.sources.shop.live import LiveShop
from ppm_tf.data.sources.shop.live_files import day_folder, write_exposures
from ppm_tf.data.sources.shop.synthetic import date_of
from ppm_tf.rows import FIRST_ROW
from ppm_tf.storage import finite
from ppm_tf.workspace import Recipe, Workspace, link_or_copy

logger = logging.getLogger(__name__)

REPORT, FOLDER = "reports/simulate", "exposures"


def write(config: Config, shop: LiveShop, arms: Sequence[Arm]) -> Path:
    """Commits `<run>/reports/online/<control>` for each control, and `<run>/reports/simulate`; gives the folder of the latter."""
    from ppm_tf.evaluation.paired import Shown, compare
    from ppm_tf.evaluation.popularity import popularity
    from ppm_tf.reports.simulation import arms_table, month_text, plot_days

    root, settings = Workspace(config.run), config.online
    root.settings = config.model_dump(mode="json")
    files = gather(config, shop, arms)
    counts = count(config, shop)
    controls = {arm.name: arm.settings and arm.settings.control for arm in arms}
    compared = [name for name in controls if name in controls.values()]
    for control in compared:
        report(config, control, [name for name in controls if name != control and controls[name] != control])
    ids = shop.items.item_id
    tail = popularity(counts, pa.array(ids), np.arange(len(ids)), settings.tail, settings.groups)
    marked = {"tail": ids[tail.tail], "new": ids[tail.unseen]}
    records = compare({name: Shown.read(some) for name, some in files.items()}, controls, marked, settings.confidence)
    lived = {arm.name: list(days_of(arm, config)) for arm in arms}
    updates = {name: _updates(some) for name, some in lived.items()}
    about = {
        **config.simulate.model_dump(include={"days", "start_days"}), "users": config.data.users, "items": config.data.items,
        "requests": sum(one["requests"] for one in lived[BEST]), "tail": settings.tail, "confidence": settings.confidence,
        "reports": ", ".join(f"reports/online/{folder_name(name)}" for name in compared) or "reports/online",
        "seconds": _seconds(lived),
    }  # fmt: skip
    table = month_text(arms_table(records, updates, (BEST, CHANCE)), about)
    recipe = Recipe({"simulate": config.simulate.model_dump(mode="json"), "tail": settings.tail, "confidence": settings.confidence})
    with root.commit(REPORT, recipe) as folder:
        (folder / "table.md").write_text(table, encoding="utf-8")
        lines = (json.dumps(finite(one.plain()), allow_nan=False) + "\n" for one in records)
        (folder / "figures.jsonl").write_text("".join(lines), encoding="utf-8")
        frozen = [arm.name for arm in arms if arm.settings and arm.settings.update == "frozen"]
        plot_days(records, (BEST, CHANCE), frozen, folder / "days.png", f"{config.simulate.days} simulated days")
        with (folder / "days.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"arm": name, **one}) + "\n" for name, some in lived.items() for one in some)
    return root.path(REPORT)


def gather(config: Config, shop: LiveShop, arms: Sequence[Arm]) -> dict[str, list[Path]]:
    """Puts the exposures of all arms and days into `<run>/exposures/day=<D>/<arm>.parquet`; gives those of the days on which the arms chose."""
    folder, found = Path(config.run) / FOLDER, {}
    for day in range(config.simulate.start_days):
        missing = [arm for arm in arms if not (folder / day_folder(day) / arm.file).is_file()]
        if missing:
            block = shop.answer(shop.requests(day), shop.usual(day))
            for arm in missing:
                path = folder / day_folder(day) / arm.file
                write_exposures(shop, block, arm.name, path.with_suffix(".part"))
                path.with_suffix(".part").rename(path)
    for arm in arms:
        found[arm.name] = [folder / day_folder(day) / arm.file for day in days(config)]
        for day, path in zip(days(config), found[arm.name], strict=True):
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(arm.workspace.path(f"{SHOP}/{day_folder(day)}") / EXPOSURES, path)
    return found


def count(config: Config, shop: LiveShop) -> np.ndarray:
    """How often the first days showed each item, `[V]`; commits `<run>/data`, the catalog with it, by which `report online` tells the long tail."""
    root = Workspace(config.run)
    shown = [shop.usual(day).ravel() for day in range(config.simulate.start_days)]
    counts = np.bincount(np.concatenate(shown), minlength=len(shop.items.item_id))
    recipe = Recipe({"data": config.data.model_dump(mode="json")}, parents={SHOP: root.id(SHOP)})
    if not root.is_current("data", recipe):
        with root.commit("data", recipe) as folder:
            (folder / "catalog").mkdir()
            pq.write_table(pa.table({"item_id": shop.items.item_id}), folder / "catalog" / "items.parquet")
            np.savez(folder / "catalog" / "counts.npz", exposures_train=np.concatenate([np.zeros(FIRST_ROW, np.int64), counts]))
    return counts


def report(config: Config, control: str, others: Sequence[str]) -> None:
    """Makes the report of an experiment against one control, as `pipelines.report online` does."""
    online = {
        "exposures": f"{config.run}/{FOLDER}/day=*/*.parquet", "name": folder_name(control), "control": control, "ignore": tuple(others),
        "start": date_of(config.simulate.start_days).isoformat(), "order": config.online.order or {"column": "order"}, "popularity": "train",
    }  # fmt: skip
    settings = type(config.online).model_validate({**config.online.model_dump(), **online})
    make(ONLINE, config.model_copy(update={"online": settings}), Workspace(config.run), asked=False)


def _updates(lived: Sequence[dict[str, Any]]) -> str:
    """What became of an arm's updates, such as `29 published, 1 refused`."""
    found = Counter(one["update"] for one in lived if one["update"])
    return ", ".join(f"{number} {status}" for status, number in found.items())


def _seconds(lived: dict[str, list[dict[str, Any]]]) -> str:
    totals = {name: [sum(one[part] for one in some) for part in ("update_seconds", "serve_seconds")] for name, some in lived.items()}
    told = "; ".join(f"{name}: {update / 60:.1f} and {serve / 60:.1f} min" for name, (update, serve) in totals.items())
    return f"Time in updates and in serving: {told}."
