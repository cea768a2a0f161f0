"""The interaction log in columnar batches: read, checked, items found in the catalog; what cannot be used is set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.ids import refuse_inexact, stored_ids, typed_ids
from ppm_tf.data.preparation.vocabulary import encode
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import ColumnForm, canonical
from ppm_tf.data.raw.column_survey import flat
from ppm_tf.data.raw.column_times import TICKS, date_units, moments, ordering
from ppm_tf.data.raw.columns import Place, categories, labels, numbers
from ppm_tf.data.raw.rejected import Rejected
from ppm_tf.rows import UNKNOWN_ROW

UNKNOWN_ITEM = "unknown item"
OTHER_DAY = "a time that is not of this day"
DAY_SECONDS = 86_400
_ROW_BITS = 40  # a row's place in the raw files: file << 40 | row


@dataclass
class LogBatch:
    """Rows of the log, with ids and context as in the files and all else as arrays.

    Attributes:
        num_read: rows read, those set aside included.
        users: user ids, without nulls: int64 or strings.
        requests: request ids as int64 or strings, or `None` (also in the survey); null = the row belongs to no request.
        arrays: `item` int32 rows, `origin` (file << 40 | row), `label/<task>` int8, and where there are such columns `moment`
            (nanoseconds), `order`, `slot`, `truth/<task>`.
        context: values of each context field, as `column_values.categories` gives them.
        rejected: rows set aside.
        forms: what the batch holds in the columns whose meaning the survey decides: `user`, `request` and `context.<name>`.
        order_form: see `column_times.ordering`; `None` without an order.
        dates: the calendar units in which every time of the batch is a date, where its numbers have no unit yet.
    """

    num_read: int
    users: pa.Array
    requests: pa.Array | None
    arrays: dict[str, np.ndarray]
    context: dict[str, tuple[np.ndarray, pa.Array]]
    rejected: Rejected
    forms: dict[str, ColumnForm]
    order_form: str | None
    dates: tuple[str, ...]


@dataclass(frozen=True)
class LogForms:
    """What the columns of a log hold as a whole: decided by the survey of all files, before a sample is written.

    Attributes:
        user: `"int"` or `"string"`.
        request: the same of request ids.
        order: `"integer"`, `"number"` or `"time"`.
        numeric: the context fields that hold numbers, see `column_forms.canonical`.
    """

    user: str = "string"
    request: str = "string"
    order: str | None = None
    numeric: frozenset[str] = frozenset()


class LogReader:
    """Reads pieces of the log.

    Args:
        columns: where the columns are.
        catalog: the items.
        forms: what the columns hold; `None` while that is not known, and is gathered in each batch's `forms`.
        batch_rows: most rows a batch.
        day: rows of other days (UTC) are set aside; `None` = rows of any day are read.
    """

    def __init__(self, columns: ColumnarData, catalog: ItemCatalog, forms: LogForms | None, batch_rows: int, day: date | None = None):
        self.columns = columns
        self.catalog = catalog
        self.forms = forms
        self.batch_rows = batch_rows
        self.day = day

    def read(self, split: raw_files.FileSplit) -> Iterator[LogBatch]:
        """The batches of a piece of the log.

        Raises:
            ValueError: the file is damaged, or a cell holds what its column must not hold.
        """
        log = self.columns.log
        fields = [field.column for field in log.context.values()]
        names = [
            log.user,
            log.item,
            log.time,
            log.order,
            log.request,
            log.slot,
            *(label.column for label in log.labels.values()),
            *fields,
            *log.truth.values(),
        ]
        # Numbers of the other columns may be rounded: times, labels, places.
        exact = [name for name in (log.user, log.item, log.request, log.order, *fields) if name]
        for first_row, batch in raw_files.batches(split, [name for name in names if name], self.batch_rows, exact):
            yield self._batch(split, first_row, batch)

    def _batch(self, split: raw_files.FileSplit, first_row: int, batch: pa.RecordBatch) -> LogBatch:
        log, missing = self.columns.log, self.columns.missing

        def place(column: str, setting: str) -> Place:
            return Place(split.path, column, f"data.log.{setting}", first_row)

        def form_of(values: pa.Array) -> ColumnForm:
            form = ColumnForm()
            if self.forms is None:
                form.add(values, missing, split.path, first_row)
            return form

        raw_users, raw_items = batch.column(log.user), batch.column(log.item)
        refuse_inexact(raw_users, place(log.user, "user"))
        refuse_inexact(raw_items, place(log.item, "item"))
        forms = {"user": form_of(raw_users)}
        known = "int" if pa.types.is_signed_integer(raw_users.type) else "string"
        wanted = log.user_id_type if log.user_id_type != "auto" else self.forms.user if self.forms else known
        users, items = typed_ids(raw_users, wanted, missing), typed_ids(raw_items, self.catalog.id_type, missing)
        rows, rejected = self.catalog.rows_of(items), Rejected()
        no_user, no_item = _missing(raw_users, users, missing), _missing(raw_items, items, missing)
        wrong_user = ~no_user & _flags(users.is_null())
        found_moments = moments(batch.column(log.time), log.time_unit, place(log.time, "time"), missing) if log.time else None
        other_day = ~no_user & ~wrong_user & _outside(found_moments, self.day)
        usable = ~no_user & ~wrong_user & ~other_day
        unknown = usable & ~no_item & (rows == UNKNOWN_ROW)
        no_item &= usable
        rejected.add("no user id", place(log.user, "user"), np.flatnonzero(no_user), raw_users)
        rejected.add("no integer user id", place(log.user, "user"), np.flatnonzero(wrong_user), raw_users)
        if self.day:
            rejected.add(OTHER_DAY, place(log.time, "time"), np.flatnonzero(other_day), batch.column(log.time))
        rejected.add("no item id", place(log.item, "item"), np.flatnonzero(no_item), raw_items)
        rejected.add(UNKNOWN_ITEM, place(log.item, "item"), np.flatnonzero(unknown), raw_items)
        arrays = {"item": rows, "origin": np.arange(first_row, first_row + batch.num_rows) + (split.file << _ROW_BITS)}
        for task, label in log.labels.items():
            arrays[f"label/{task}"] = labels(batch.column(label.column), label.at_least, place(label.column, f"labels.{task}"), missing, label.equals)
        dates: tuple[str, ...] = ()
        if log.time:
            arrays["moment"] = found_moments
            dates = date_units(batch.column(log.time), missing) if self.forms is None and log.time_unit == "auto" else ()
        order_form = None
        if log.order:
            arrays["order"], order_form = ordering(batch.column(log.order), place(log.order, "order"), missing, self.forms and self.forms.order)
        if log.slot:
            arrays["slot"] = _slots(batch.column(log.slot), place(log.slot, "slot"), missing)
        for task, column in log.truth.items():
            arrays[f"truth/{task}"] = numbers(batch.column(column), place(column, f"truth.{task}"), missing).astype(np.float32)
        kept = usable & ~no_item & ~unknown
        keep, requests = pa.array(kept), None
        if self.columns.requests == "column":
            requests = batch.column(log.request)
            forms["request"] = form_of(requests)
            requests = typed_ids(requests, self.forms.request, missing).filter(keep) if self.forms else None
        context = {}
        for name, column in log.context.items():
            cells = batch.column(column.column)
            forms[f"context.{name}"] = form_of(flat(cells, column.separator))
            context[name] = categories(cells.filter(keep), column.separator, missing, bool(self.forms) and name in self.forms.numeric)
        arrays = {name: values[kept] for name, values in arrays.items()}
        return LogBatch(batch.num_rows, users.filter(keep), requests, arrays, context, rejected, forms, order_form, dates)


def day_seconds(day: date) -> int:
    """The first second of a day, UTC.

    >>> day_seconds(date(1970, 1, 2))
    86400
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _outside(moments: np.ndarray | None, day: date | None) -> np.ndarray | bool:
    """Which moments lie in another day."""
    if day is None:
        return False
    start = day_seconds(day) * TICKS
    return (moments < start) | (moments >= start + DAY_SECONDS * TICKS)


def _missing(raw: pa.Array, typed: pa.Array, missing: Sequence[str]) -> np.ndarray:
    """Which ids are not there, as against there and of another type; bool."""
    gone = _flags(typed.is_null())
    if gone.any():
        places = np.flatnonzero(gone)
        gone[places] = _flags(canonical(raw.take(pa.array(places)), missing).is_null())
    return gone


def to_arrays(batch: LogBatch, user_id_type: str, vocabularies: Mapping[str, tuple[pa.Array, int]]) -> dict[str, np.ndarray]:
    """A batch as arrays only.

    Args:
        batch: rows of the log.
        user_id_type: `"int"` or `"string"`.
        vocabularies: words and width of each context field, in schema order.

    Returns:
        The batch's arrays and `user_id`; `request_id` and `has_request` where rows have request ids; `context`
        int32 `[rows, values]` where there are context fields.
    """
    arrays = {**batch.arrays, "user_id": stored_ids(batch.users, user_id_type)}
    if batch.requests is not None:
        present = _flags(batch.requests.is_valid())
        arrays["has_request"] = present
        arrays["request_id"] = np.zeros(len(present), np.int64)
        arrays["request_id"][present] = stored_ids(batch.requests.drop_null(), "int" if pa.types.is_integer(batch.requests.type) else "string")
    if vocabularies:
        arrays["context"] = np.concatenate([encode(*batch.context[name], words, width) for name, (words, width) in vocabularies.items()], axis=1)
    return arrays


def _slots(column: pa.Array, place: Place, missing: Sequence[str]) -> np.ndarray:
    values = numbers(column, place, missing)
    if (bad := np.flatnonzero(~np.isnan(values) & ((values < 0) | (values != np.floor(values)) | (values >= 2**31)))).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a display position from 0 on. Received: {values[bad[0]]:g}. Remedy: count positions from 0, and leave"
            " unknown ones empty."
        )
    return np.where(np.isnan(values), -1, values).astype(np.int32)


def _flags(mask: pa.Array) -> np.ndarray:
    return mask.to_numpy(zero_copy_only=False)


# === Between workers ===


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays of equal length as one Arrow IPC message."""
    columns = {
        name: pa.array(values) if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        for name, values in arrays.items()
    }
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_bytes(messages: list[bytes]) -> dict[str, np.ndarray]:
    """The arrays of several messages, one after the other."""
    batches = [pa.ipc.open_stream(message).read_next_batch() for message in messages]
    return {name: np.concatenate([_array(batch.column(name)) for batch in batches]) for name in batches[0].schema.names}


def _array(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)
