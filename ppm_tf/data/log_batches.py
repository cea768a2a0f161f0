"""The interaction log in columnar batches: read, checked, items found in the catalog; what cannot be used is set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ppm_tf.config import ColumnarData
from ppm_tf.data import raw_files
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.column_values import Place, categories, labels, numbers, ordering, seconds
from ppm_tf.data.ids import stored_ids, typed_ids
from ppm_tf.data.rejected import Rejected
from ppm_tf.data.schema import UNKNOWN_ROW
from ppm_tf.data.vocabulary import encode

_ROW_BITS = 40  # a row's place in the raw files: file << 40 | row


@dataclass
class LogBatch:
    """Rows of the log, with ids and context as in the files and all else as arrays.

    Attributes:
        num_read: rows read, those set aside included.
        users: raw user ids, without nulls.
        requests: raw request ids, or `None`; null = the row belongs to no request.
        arrays: `item` int32 rows, `origin` (file << 40 | row), `label/<task>` int8, and where there are such columns `time`,
            `order`, `slot`, `truth/<task>`.
        context: values of each context field, as `column_values.categories` gives them.
        rejected: rows set aside.
    """

    num_read: int
    users: pa.Array
    requests: pa.Array | None
    arrays: dict[str, np.ndarray]
    context: dict[str, tuple[np.ndarray, pa.Array]]
    rejected: Rejected


class LogReader:
    """Reads pieces of the log.

    Args:
        columns: where the columns are.
        catalog: the items.
        user_id_type: `"int"`, `"string"`, or `None` while it is not known (CSV).
        batch_rows: most rows a batch.
    """

    def __init__(self, columns: ColumnarData, catalog: ItemCatalog, user_id_type: str | None, batch_rows: int):
        self.columns = columns
        self.catalog = catalog
        self.user_id_type = user_id_type
        self.batch_rows = batch_rows

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
        for first_row, batch in raw_files.batches(split, [name for name in names if name], self.batch_rows, times=[log.time]):
            yield self._batch(split, first_row, batch)

    def _batch(self, split: raw_files.FileSplit, first_row: int, batch: pa.RecordBatch) -> LogBatch:
        log = self.columns.log

        def place(column: str, setting: str) -> Place:
            return Place(split.path, column, f"data.log.{setting}", first_row)

        users, items = batch.column(log.user), batch.column(log.item)
        if self.user_id_type is not None:
            users = typed_ids(users, self.user_id_type)
        rows, rejected = self.catalog.rows_of(items), Rejected()
        no_user = _flags(users.is_null())
        no_item = ~no_user & _flags(items.is_null())
        unknown = ~no_user & ~no_item & (rows == UNKNOWN_ROW)
        rejected.add("no user id", place(log.user, "user"), np.flatnonzero(no_user), batch.column(log.user))
        rejected.add("no item id", place(log.item, "item"), np.flatnonzero(no_item), items)
        rejected.add("unknown item", place(log.item, "item"), np.flatnonzero(unknown), items)
        arrays = {"item": rows, "origin": np.arange(first_row, first_row + batch.num_rows) + (split.file << _ROW_BITS)}
        for task, label in log.labels.items():
            arrays[f"label/{task}"] = labels(batch.column(label.column), label.at_least, place(label.column, f"labels.{task}"))
        if log.time:
            arrays["time"] = seconds(batch.column(log.time), log.time_unit, place(log.time, "time"))
        if log.order:
            arrays["order"] = ordering(batch.column(log.order), place(log.order, "order"))
        if log.slot:
            arrays["slot"] = _slots(batch.column(log.slot), place(log.slot, "slot"))
        for task, column in log.truth.items():
            arrays[f"truth/{task}"] = numbers(batch.column(column), place(column, f"truth.{task}")).astype(np.float32)
        kept = ~(no_user | no_item | unknown)
        keep = pa.array(kept)
        return LogBatch(
            batch.num_rows,
            users.filter(keep),
            batch.column(log.request).filter(keep) if self.columns.requests == "column" else None,
            {name: values[kept] for name, values in arrays.items()},
            {name: categories(batch.column(column.column).filter(keep), column.separator) for name, column in log.context.items()},
            rejected,
        )


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
        kind = "int" if pa.types.is_integer(batch.requests.type) else "string"
        arrays["has_request"] = present
        arrays["request_id"] = np.zeros(len(present), np.int64)
        arrays["request_id"][present] = stored_ids(batch.requests.drop_null(), kind)
    if vocabularies:
        arrays["context"] = np.concatenate([encode(*batch.context[name], words, width) for name, (words, width) in vocabularies.items()], axis=1)
    return arrays


def _slots(column: pa.Array, place: Place) -> np.ndarray:
    values = numbers(column, place)
    if (bad := np.flatnonzero(~np.isnan(values) & ((values < 0) | (values != np.floor(values)) | (values >= 2**31)))).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a display position from 0 on. Received: {values[bad[0]]:g}. Remedy: count positions from 0, and leave unknown ones empty."
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
