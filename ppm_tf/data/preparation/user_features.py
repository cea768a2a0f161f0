"""The user file: vocabulary rows of each user's fields, in `users.npz`, sorted by stored user id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ppm_tf.config import ColumnarData
from ppm_tf.data.ids import refuse_inexact, stored_ids, typed_ids
from ppm_tf.data.preparation.vocabulary import FieldBuilder
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_survey import is_numeric, survey_column
from ppm_tf.data.raw.columns import Place
from ppm_tf.data.schema import Field

FILE_NAME = "users.npz"


def write_users(columns: ColumnarData, folder: Path, id_type: str, batch_rows: int = 131072) -> tuple[Field, ...]:
    """Writes `users.npz`: `user_id` int64 `[U]`, sorted, and the rows of each field, int32 `[U, num_values]`.

    Raises:
        ValueError: a user id is missing or given twice.
    """
    users = columns.users
    numeric = {
        name: is_numeric(column, survey_column(columns, users.files, "data.users.files", column.column, column.separator))
        for name, column in users.fields.items()
    }
    builders = {name: FieldBuilder(column.separator, column.min_count, columns.missing, numeric[name]) for name, column in users.fields.items()}
    user_id, order = read_users(columns, id_type, builders, batch_rows)
    fields, tables = [], {}
    for name, builder in builders.items():
        words, rows = builder.finish()
        fields.append(Field(name, "user", words, rows.shape[1], numeric[name]))
        tables[name] = rows[order]
    np.savez(folder / FILE_NAME, user_id=user_id, **tables)
    return tuple(fields)


def read_users(columns: ColumnarData, id_type: str, builders: dict[str, FieldBuilder], batch_rows: int = 131072) -> tuple[np.ndarray, np.ndarray]:
    """Reads the user files, and fills the builders of the fields.

    Returns:
        The stored ids, int64 `[U]`, sorted; and which row of the files each stands in.

    Raises:
        ValueError: a user id is missing or given twice.
    """
    users = columns.users
    wanted = [users.id, *(column.column for column in users.fields.values())]
    ids = [np.zeros(0, np.int64)]
    for split in raw_files.splits(raw_files.find(columns.path, users.files, "data.users.files"), columns.csv):
        for first_row, batch in raw_files.batches(split, wanted, batch_rows):
            place = Place(split.path, users.id, "data.users.id", first_row)
            refuse_inexact(batch.column(users.id), place)
            found = typed_ids(batch.column(users.id), id_type, columns.missing)
            if found.null_count:
                index = pc.index(found.is_null(), True).as_py()
                raise ValueError(
                    f"{place.at(index)} must hold a user id{' that is a whole number' if id_type == 'int' else ''}. Received:"
                    f" {batch.column(users.id)[index].as_py()!r}. Remedy: drop the row or give it an id."
                )
            ids.append(stored_ids(found, id_type))
            for name, column in users.fields.items():
                builders[name].add(batch.column(column.column))
    user_id = np.concatenate(ids)
    order = np.argsort(user_id, kind="stable")
    if (again := np.flatnonzero(np.diff(user_id[order]) == 0)).size:
        first, second = order[again[0]], order[again[0] + 1]
        raise ValueError(
            f"User ids must be unique. Received: the user of row {first + 1} again in row {second + 1} of {users.files} (data.users.files). Remedy:"
            " keep one row a user."
        )
    return user_id[order], order


class UserFeatures:
    """The rows of users' fields, side by side in schema order.

    Args:
        path: `users.npz`.
        names: the user fields, in schema order.
    """

    def __init__(self, path: Path, names: tuple[str, ...]):
        with np.load(path) as arrays:
            self.user_id = arrays["user_id"]
            tables = [arrays[name] for name in names]
        self.rows = np.concatenate([np.zeros((len(self.user_id), 0), np.int32), *tables], axis=1)

    def of(self, users: np.ndarray) -> np.ndarray:
        """int32 `[len(users), values]`; all 0 (missing) for a user whom the file does not hold."""
        if not len(self.user_id):
            return np.zeros((len(users), self.rows.shape[1]), np.int32)
        place = np.minimum(np.searchsorted(self.user_id, users), len(self.user_id) - 1)
        return np.where((self.user_id[place] == users)[:, None], self.rows[place], 0)
