"""The embedded shop: writes, from a seed, the raw files that a user would bring, and `truth.json` with what is known of them.

The files are read by the columnar path like anybody's own; nothing behind this module knows that they are simulated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ppm_tf.config import ColumnarData, DataSettings, SyntheticData
from ppm_tf.data.sources.shop.images import draw_images
from ppm_tf.data.sources.shop.language import write_queries, write_texts
from ppm_tf.data.sources.shop.log import DEVICES, TASKS, Block, Policy, examination, simulate
from ppm_tf.data.sources.shop.world import AGE_GROUPS, CATEGORIES, EPOCH, GENDERS, STRENGTHS, Items, Users, generator, make_items, make_users
from ppm_tf.storage import write_json

logger = logging.getLogger(__name__)

_ITEMS_A_BLOCK = 1024
_REQUESTS_A_BLOCK = 20_000  # held in memory at once; a block is also a row group of the log
_QUERY_SHARE = 1 / 3  # share of requests that a search came before
_NEW_SHARE = 0.1  # items born in this last share of the days are the new items of `truth.json`


def write(settings: SyntheticData, folder: Path) -> None:
    """Writes items, users, interactions and queries as Parquet, and `truth.json` last.

    With `by_day` items, interactions and queries lie in a folder a day, `day=2024-01-01/` being the first: items on the day they are
    born; the requests of sessions that go on after the last day are left out. The files depend on `settings` alone: users, items,
    days, requests_per_user, candidates, seed and by_day.

    Raises:
        ValueError: there are too few items to fill a request on the first day.
    """
    if settings.items < 2 * settings.candidates:
        raise ValueError(
            "data.items must be at least twice data.candidates, because half of the items are there on day 0. "
            f"Received: {settings.items} items, {settings.candidates} candidates."
        )
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth.json").unlink(missing_ok=True)
    items = make_items(settings.seed, settings.items, settings.days)
    write_items(settings, items, folder)
    statistics = _write_log(settings, items, folder)
    truth = {
        "settings": settings.model_dump(mode="json"),
        "strengths": asdict(STRENGTHS),
        "examination": examination(settings.candidates).tolist(),
        **statistics.summary(),
    }
    write_json(folder / "truth.json", truth)
    seconds = time.monotonic() - started
    logger.info("embedded shop: %d items, %d requests, %d rows in %.1f s", settings.items, statistics.requests, statistics.rows, seconds)


def columns(settings: SyntheticData, folder: Path) -> ColumnarData:
    """The column mapping of the files that `write` puts into `folder`."""
    shared = {name: getattr(settings, name) for name in DataSettings.model_fields if name != "split"}
    where = "day={day}/" if settings.by_day else ""
    return ColumnarData(
        path=str(folder),
        items={
            "files": f"{where}items.parquet",
            "text": ("title", "description"),
            "image": "image",
            "fields": {"brand": "brand", "category": "category", "shop": "shop"},
            "numbers": ("price",),
        },
        users={"fields": {"gender": "gender", "age_group": "age_group"}},
        log={
            "files": f"{where}interactions.parquet",
            "time": "time",
            "request": "request_id",
            "slot": "slot",
            "labels": {task: task for task in TASKS},
            "context": {"hour": "hour", "device": "device"},
            "truth": {task: f"p_{task}" for task in TASKS},
        },
        queries={"files": f"{where}queries.parquet"},
        split=settings.split.model_dump(),
        **shared,
    )


# === Files ===


def write_items(settings: SyntheticData, items: Items, folder: Path) -> None:
    """Writes the items, with their texts and pictures."""
    seed = settings.seed
    with _table(settings, folder, "items.parquet") as table:
        for block, first in enumerate(range(0, len(items.item_id), _ITEMS_A_BLOCK)):
            rows = slice(first, first + _ITEMS_A_BLOCK)
            values = {attribute: column[rows] for attribute, column in items.values.items()}
            titles, descriptions = write_texts(values, items.brand[rows], generator(seed, "texts", block))
            images = draw_images(values, generator(seed, "images", block))
            table.write(
                items.born_day[rows],
                item_id=items.item_id[rows],
                title=pa.array(titles, mask=~items.has_text[rows]),
                description=pa.array(descriptions, mask=~items.has_text[rows]),
                brand=pa.array(items.brand[rows]),
                category=_names(CATEGORIES, items.values["category"][rows]),
                shop=pa.array(items.shop[rows]),
                price=items.price[rows],
                born_day=items.born_day[rows],
                image=pa.array(images, pa.binary(), mask=~items.has_image[rows]),
            )


def _write_log(settings: SyntheticData, items: Items, folder: Path) -> _Statistics:
    policy = Policy(items)
    statistics = _Statistics(new_from=(1 - _NEW_SHARE) * settings.days)
    with (
        _Table(folder / "users.parquet") as user_file,
        _table(settings, folder, "interactions.parquet") as log_file,
        _table(settings, folder, "queries.parquet") as query_file,
        tqdm(total=settings.users, desc="simulate the shop", unit="user", dynamic_ncols=True, mininterval=1.0) as bar,
    ):
        for number, users in enumerate(user_blocks(settings)):
            rng = generator(settings.seed, "log", number)
            block = simulate(users, items, policy, settings.days, settings.requests_per_user, settings.candidates, rng)
            block = _within(block, settings.days) if settings.by_day else block
            user_file.write(None, **user_columns(users))
            request = statistics.requests + np.arange(len(block.user))
            log_file.write(np.repeat(block.day, block.item.shape[1]), **log_columns(block, users, items, request))
            asked = asked_before(block, rng := generator(settings.seed, "queries", number))
            query_file.write(block.day[asked], **query_columns(block, asked, users, items, rng))
            statistics.add(block, items)
            bar.update(len(users.user_id))
        statistics.queries = query_file.rows
    return statistics


def user_blocks(settings: SyntheticData) -> Iterator[Users]:
    """All users, by blocks."""
    size = max(1, _REQUESTS_A_BLOCK // settings.requests_per_user)
    for block, first in enumerate(range(0, settings.users, size)):
        yield make_users(settings.seed, first, min(size, settings.users - first), block)


def user_columns(users: Users) -> dict[str, np.ndarray | pa.Array]:
    """The rows of the user file."""
    return {"user_id": users.user_id, "gender": _names(GENDERS, users.gender), "age_group": _names(AGE_GROUPS, users.age_group)}


def log_columns(block: Block, users: Users, items: Items, request: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    """The rows of the log of a block whose requests have these numbers, int64 [R]."""
    requests, slots = block.item.shape
    return {
        "request_id": np.repeat(request, slots),
        "user_id": np.repeat(users.user_id[block.user], slots),
        "item_id": items.item_id[block.item].ravel(),
        "time": np.repeat(block.time, slots),
        "slot": np.tile(np.arange(slots, dtype=np.int32), requests),
        "hour": np.repeat(block.hour.astype(np.int32), slots),
        "device": _names(DEVICES, np.repeat(block.device, slots)),
        **{task: block.labels[task].ravel().astype(np.int32) for task in TASKS},
        **{f"p_{task}": block.probability[task].ravel().astype(np.float32) for task in TASKS},
    }


def _within(block: Block, days: int) -> Block:
    """The requests of a block on days that are over when the log ends."""
    kept = block.day < days
    arrays = {name: getattr(block, name)[kept] for name in ("user", "time", "device", "interest", "item")}
    tables = {name: {key: values[kept] for key, values in getattr(block, name).items()} for name in ("parts", "probability", "labels")}
    return replace(block, **arrays, **tables)


def asked_before(block: Block, rng: np.random.Generator) -> np.ndarray:
    """The requests that a search came before."""
    return np.flatnonzero(rng.random(len(block.user)) < _QUERY_SHARE)


def query_columns(block: Block, asked: np.ndarray, users: Users, items: Items, rng: np.random.Generator) -> dict[str, np.ndarray | pa.Array]:
    """Searches made shortly before a request, and the item clicked for each: drawn beside the log, so no query tells a label."""
    likely = np.log(block.probability["click"][asked])
    place = np.argmax(likely + rng.gumbel(size=likely.shape), axis=1)
    item = block.item[asked, place]
    values = {attribute: column[item] for attribute, column in items.values.items()}
    return {
        "query": pa.array(write_queries(values, items.brand[item], rng), pa.string()),
        "item_id": items.item_id[item],
        "user_id": users.user_id[block.user[asked]],
        "time": block.time[asked] - rng.integers(1, 20, size=len(asked)),
    }


def date_of(day: int) -> date:
    """The date of a day of the log, 0 the first.

    >>> date_of(0).isoformat()
    '2024-01-01'
    """
    return datetime.fromtimestamp(EPOCH, UTC).date() + timedelta(day)


def _names(names: tuple[str, ...], rows: np.ndarray) -> pa.Array:
    return pa.array(names).take(pa.array(rows))


class _Table:
    """A Parquet file written in row groups."""

    def __init__(self, path: Path):
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> _Table:
        return self

    def write(self, day: np.ndarray | None, **data: np.ndarray | pa.Array) -> None:
        """Appends one row group, of rows of whatever day."""
        self.append(pa.table(data))

    def append(self, table: pa.Table) -> None:
        """Appends one row group."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self.rows += table.num_rows

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()


class _DayTables:
    """A Parquet file a day, written in row groups; a day without rows has a file without rows."""

    def __init__(self, folder: Path, name: str, days: int):
        self._tables = [_Table(folder / f"day={date_of(day)}" / name) for day in range(days)]
        self._schema: pa.Schema | None = None

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(table.rows for table in self._tables)

    def __enter__(self) -> _DayTables:
        return self

    def write(self, day: np.ndarray, **data: np.ndarray | pa.Array) -> None:
        """Appends rows, each to the file of its day."""
        table = pa.table(data)
        self._schema = table.schema
        for number in np.unique(day).tolist():
            self._tables[number].append(table.take(pa.array(np.flatnonzero(day == number))))

    def __exit__(self, *error: object) -> None:
        for table in self._tables:
            if not table.rows and self._schema is not None:
                table.append(self._schema.empty_table())
            table.__exit__()


def _table(settings: SyntheticData, folder: Path, name: str) -> _Table | _DayTables:
    return _DayTables(folder, name, settings.days) if settings.by_day else _Table(folder / name)


# === What truth.json says of the log ===


class _StreamingAUC:
    """AUC of probabilities that do not fit into memory together.

    The upper bits of a positive float32 sort like the number, so they serve as 2^18 histogram bins with a relative width of
    2^-11; two scores in one bin count as a tie, which moves the AUC by less than 1e-4.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, 1 << 18), np.int64)  # negatives, positives

    def add(self, scores: np.ndarray, labels: np.ndarray) -> None:
        bins = scores.astype(np.float32).view(np.uint32) >> 12
        for label in (0, 1):
            self.counts[label] += np.bincount(bins[labels == label], minlength=self.counts.shape[1])

    def result(self) -> float | None:
        negatives, positives = self.counts
        pairs = float(negatives.sum()) * float(positives.sum())
        if pairs == 0:
            return None
        below = np.cumsum(negatives) - negatives
        return float((positives * (below + 0.5 * negatives)).sum() / pairs)


@dataclass
class _Statistics:
    """Counts over all blocks. `new_from` is the first day of birth of a new item."""

    new_from: float
    requests: int = 0
    rows: int = 0
    queries: int = 0
    new_rows: int = 0
    positives: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TASKS, 0))
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    auc: dict[tuple[str, str, str], _StreamingAUC] = field(default_factory=dict)

    def add(self, block: Block, items: Items) -> None:
        new = (items.born_day[block.item] >= self.new_from).ravel()
        looks = examination(block.item.shape[1])
        self.requests += block.item.shape[0]
        self.rows += block.item.size
        self.new_rows += int(new.sum())
        for part, values in block.parts.items():
            self.sums[part] = self.sums.get(part, 0) + np.array([values.sum(), np.square(values).sum()])
        for task in TASKS:
            labels = block.labels[task].ravel()
            self.positives[task] += int(labels.sum())
            for form, scale in (("slot_unknown", 1.0), ("slot_known", looks / looks.mean())):
                scores = (block.probability[task] * scale).ravel()
                for rows, mask in (("all", slice(None)), ("new_items", new)):
                    self.auc.setdefault((task, form, rows), _StreamingAUC()).add(scores[mask], labels[mask])

    def summary(self) -> dict:
        bayes: dict = {}
        for (task, form, rows), auc in self.auc.items():
            bayes.setdefault(task, {}).setdefault(form, {})[rows] = auc.result()
        return {
            "requests": self.requests,
            "rows": self.rows,
            "queries": self.queries,
            "new_item_rows": self.new_rows,
            "positive_rate": {task: count / self.rows for task, count in self.positives.items()},
            "bayes_auc": bayes,
            "logit_variance": {part: float(square / self.rows - (total / self.rows) ** 2) for part, (total, square) in self.sums.items()},
        }
