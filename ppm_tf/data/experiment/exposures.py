"""The exposure log of an experiment: read, checked, and as arrays. What cannot be used is refused by its place, or set aside and counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ppm_tf.config import OnlineSettings
from ppm_tf.data.experiment.assignment import bucket_names, refuse_crossed, refuse_gaps
from ppm_tf.data.experiment.log import Batch, Codes, Rows, batches, day_number
from ppm_tf.data.experiment.outcomes import attribute
from ppm_tf.data.raw.column_times import TICKS, moments
from ppm_tf.data.raw.columns import numbers
from ppm_tf.data.raw.rejected import Rejected

_DAY = 86_400 * TICKS
_NONE = -1
_MOST_BUCKETS = 100  # a column of more words is another one


@dataclass
class Exposures:
    """The exposures of an experiment and of its pre-period; n rows, U users, I items.

    Attributes:
        user: int32 `[n]`, the user's number.
        item: int32 `[n]`, the item's number.
        day: int32 `[n]`, days since 1970.
        events: event of `EVENTS` -> float64 `[n]`, 1 or 0.
        revenue: float64 `[n]`, money earned; `None` where no log says it.
        bucket: int8 `[U]`, the user's place in `buckets`.
        buckets: names of the buckets, control first.
        items: string ids, `[I]`.
        start: the first day of the experiment.
        counts: what was read, kept, set aside and joined, in words -> number.
        rejected: the rows set aside.
    """

    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    events: dict[str, np.ndarray]
    revenue: np.ndarray | None
    bucket: np.ndarray
    buckets: tuple[str, ...]
    items: pa.Array
    start: int
    counts: dict[str, int] = field(default_factory=dict)
    rejected: Rejected = field(default_factory=Rejected)

    @property
    def days(self) -> list[int]:
        """The days of the experiment."""
        return np.unique(self.day[self.day >= self.start]).tolist()

    @property
    def in_experiment(self) -> np.ndarray:
        """Which rows are of the experiment, bool `[n]`; the others are of the pre-period."""
        return self.day >= self.start


def read_exposures(settings: OnlineSettings) -> Exposures:
    """Reads the logs.

    Raises:
        FileNotFoundError: there are no such files.
        ValueError: a file, a column, a cell or the experiment as a whole cannot be used; the message says where and what to do.
    """
    if settings.exposures is None:
        raise ValueError("The exposure log must be named, exposures=<files>. Received: none.")
    users, items, names, rows, rejected = Codes(), Codes(), Codes(), Rows(), Rejected()
    start = None if settings.start is None else day_number(settings.start)
    parts = []
    for batch in batches(settings, settings, settings.exposures, "online.exposures", "online"):
        parts.append(_read(batch, settings, start, users, items, names, rejected))
        rows.add(batch)
    if not rows.count:
        raise ValueError(f"The exposure log must hold rows. Received: none in {settings.exposures}.")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if settings.repeats == "drop":
        columns["kept"] &= ~_repeated(columns, rows, settings, rejected)
    _refuse_rejected(rejected, rows.count, settings)
    kept = columns.pop("kept")
    columns = {name: values[kept] for name, values in columns.items()}
    return _experiment(columns, settings, start, items, users, names, rows, rejected)


def _read(batch: Batch, settings: OnlineSettings, start: int | None, users: Codes, items: Codes, names: Codes, rejected: Rejected) -> dict:
    """A batch as arrays, and which of its rows can be used (`kept`)."""
    kept = np.ones(len(batch), bool)

    def set_aside(reason: str, setting: str, column: str, at: np.ndarray) -> None:
        rejected.add(reason, batch.place(setting, column), np.flatnonzero(at & kept), batch.columns[column])
        kept[at] = False

    time = moments(batch.columns[settings.time], settings.time_unit, batch.place("time", settings.time), settings.missing)
    day = np.floor_divide(time + int(settings.utc_offset * 3600) * TICKS, _DAY).astype(np.int32)
    before = np.zeros(len(batch), bool) if start is None else day < start
    user, item = users.of(batch.words(settings.user)), items.of(batch.words(settings.item))
    set_aside("no user", "user", settings.user, user == _NONE)
    set_aside("no item", "item", settings.item, item == _NONE)
    words = batch.words(settings.bucket)
    _refuse_unknown(words, before, batch, settings)
    ignored = np.isin(words.to_numpy(zero_copy_only=False), settings.ignore) if settings.ignore else np.zeros(len(batch), bool)
    bucket = names.of(pa.array(np.where(before | ignored, None, words.to_numpy(zero_copy_only=False)), pa.string()))
    set_aside("no bucket", "bucket", settings.bucket, (bucket == _NONE) & ~before & ~ignored)
    found = {"user": user, "item": item, "time": time, "day": day, "bucket": bucket}
    for name, values in batch.events(settings).items():
        if name == "click":
            set_aside("no click label", "click", settings.click.column, (values < 0) & ~ignored)
        found[name] = values > 0
    if settings.revenue:
        found["revenue"] = np.nan_to_num(numbers(batch.columns[settings.revenue], batch.place("revenue", settings.revenue), settings.missing))
    if settings.bid:
        found["bid"] = numbers(batch.columns[settings.bid], batch.place("bid", settings.bid), settings.missing)
        set_aside("no bid", "bid", settings.bid, np.isnan(found["bid"]) & ~ignored)
        set_aside("a bid below 0", "bid", settings.bid, found["bid"] < 0)
    return {**found, "kept": kept & ~ignored}


def _refuse_unknown(words: pa.Array, before: np.ndarray, batch: Batch, settings: OnlineSettings) -> None:
    if not settings.split:
        return
    found = words.to_numpy(zero_copy_only=False)
    unknown = words.is_valid().to_numpy(zero_copy_only=False) & ~before & ~np.isin(found, [*settings.split, *settings.ignore])
    if (bad := np.flatnonzero(unknown)).size:
        raise ValueError(
            f"{batch.place('bucket', settings.bucket).at(bad[0])} must hold a bucket of online.split ({', '.join(settings.split)}). Received:"
            f" {found[bad[0]]!r}. Remedy: name it in online.split, or leave its rows out with online.ignore=[{found[bad[0]]}]."
        )


def _repeated(columns: dict, rows: Rows, settings: OnlineSettings, rejected: Rejected) -> np.ndarray:
    """Which usable rows repeat an earlier one's user, item and time."""
    usable = np.flatnonzero(columns["kept"])
    keys = [columns[name][usable] for name in ("time", "item", "user")]
    order = np.lexsort(keys)  # stable: of equal rows the first comes first
    same = np.ones(max(order.size - 1, 0), bool)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    again = np.zeros(rows.count, bool)
    again[usable[order[1:][same]]] = True
    for row in np.flatnonzero(again).tolist():
        place, number = rows.place(row, "time", settings.time)
        rejected.add_case("an exposure that was there already (same user, item and time)", place, number, None)
    return again


def _refuse_rejected(rejected: Rejected, rows: int, settings: OnlineSettings) -> None:
    if rejected.total <= settings.max_rejected * rows:
        return
    rejected.update(Rejected())  # the cases by file and row
    reasons = ", ".join(f"{count:,} with {reason}" for reason, count in sorted(rejected.counts.items()))
    first = rejected.cases[0]
    coarse = " For a log whose times are as coarse as a day: online.repeats=keep." if any("already" in reason for reason in rejected.counts) else ""
    raise ValueError(
        f"At most a share of {settings.max_rejected:g} of the rows may be set aside (online.max_rejected). Received: {rejected.total:,} of {rows:,}:"
        f" {reasons}. The first is {first['file']}, row {first['row']}, column {first['column']}.{coarse} Remedy: mend the files, or raise"
        " online.max_rejected."
    )


def _experiment(
    columns: dict, settings: OnlineSettings, start: int | None, items: Codes, users: Codes, words: Codes, rows: Rows, rejected: Rejected
) -> Exposures:
    """Users to buckets, days to the experiment or before it, outcomes to exposures."""
    names, user_ids = list(words.numbers), list(users.numbers)
    if len(names) > _MOST_BUCKETS:
        raise ValueError(
            f"online.bucket must name the column of the bucket. Received: {settings.bucket}, with {len(names):,} different words, such as"
            f" {', '.join(names[:3])}. Remedy: name the column of the arm."
        )
    first = int(columns["day"].min()) if start is None and columns["day"].size else start
    after = columns["day"] >= (first or 0)
    if not after.any():
        raise ValueError(
            f"The experiment must have exposures{f' from online.start={settings.start} on' if start is not None else ''}. Received: none."
        )
    seen = np.stack([np.bincount(columns["user"][after & (columns["bucket"] == one)], minlength=len(user_ids)) > 0 for one in range(len(names))])
    buckets = bucket_names([names[one] for one in np.flatnonzero(seen.any(axis=1))], settings)
    in_buckets = seen.sum(axis=0)
    crossed = np.flatnonzero(in_buckets > 1)
    refuse_crossed(crossed, columns, names, user_ids, int((in_buckets > 0).sum()), settings)
    of_user = np.full(len(user_ids), _NONE, np.int8)
    for number, name in enumerate(buckets):
        of_user[seen[names.index(name)] & (in_buckets == 1)] = number
    kept = of_user[columns["user"]] >= 0
    counts = {
        "rows read": rows.count,
        "rows kept": int(kept.sum()),
        **({"rows of the pre-period among them": int((kept & ~after).sum())} if start is not None else {}),
        "rows set aside": rejected.total,
        "users in two buckets, set aside": crossed.size,
        **(
            {"rows of the pre-period whose user is in no bucket, left out": int((~after & (in_buckets[columns["user"]] == 0)).sum())}
            if start is not None
            else {}
        ),
    }
    columns = {name: values[kept] for name, values in columns.items()}
    refuse_gaps(columns, of_user, buckets, first or 0, settings)
    events = {name: columns[name].astype(np.float64) for name in ("click", "order", "download") if name in columns}
    revenue = columns.get("revenue")
    if settings.outcomes.files:
        found = attribute(settings, columns, users, items)
        events |= found.events
        revenue = found.revenue if found.revenue is not None else revenue
        counts |= found.counts
    if settings.bid:
        revenue = columns["bid"] * events[settings.bid_per]
    ids = pa.array(list(items.numbers), pa.string())
    return Exposures(columns["user"], columns["item"], columns["day"], events, revenue, of_user, buckets, ids, first or 0, counts, rejected)
