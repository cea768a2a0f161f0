"""Users' fields that grow from day to day: `users.npz` as of the end of a day."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ppm_tf.config import ColumnarData
from ppm_tf.data.preparation.day_forms import say_what_is_left_out, survey_fields
from ppm_tf.data.preparation.day_state import DayState, read_codes, write_codes
from ppm_tf.data.preparation.growing_words import GrowingWords
from ppm_tf.data.preparation.user_features import FILE_NAME, read_users
from ppm_tf.data.preparation.vocabulary import FieldBuilder
from ppm_tf.data.schema import Field

USER_CODES = "users.npz"


def grow_users(columns: ColumnarData, state: DayState, earlier: Path | None, folder: Path) -> tuple[Field, ...]:
    """Writes `users.npz`: users of the day's files as these describe them, the others as before.

    A user's values are written into every sample, so that they stay as many as on the first day; further ones are left out.

    Args:
        columns: the mapping of the day's files.
        state: what the days before decided and saw; updated.
        earlier: artifact of the day before; `None` on the first day.
        folder: artifact of the day.

    Raises:
        ValueError: a user id is missing or given twice.
        DayRefusedError: cells do not fit those of the days before.
    """
    users = columns.users
    numeric = survey_fields(state, "user", users.fields, columns, users.files, "data.users")
    builders = {name: FieldBuilder(one.separator, one.min_count, columns.missing, numeric[name]) for name, one in users.fields.items()}
    found, order = read_users(columns, state.user_id_type, builders)
    before = read_codes(earlier, USER_CODES)
    known = before.get("user_id", np.zeros(0, np.int64))
    user_id = np.union1d(known, found)
    # The builders hold the rows of the files, in their order.
    at = np.empty(len(found), np.int64)
    at[order] = np.searchsorted(user_id, found)
    fields, codes, tables = [], {"user_id": user_id}, {"user_id": user_id}
    for name, builder in builders.items():
        words = state.words.setdefault(f"user.{name}", GrowingWords())
        width = before[name].shape[1] if name in before else None
        say_what_is_left_out("users", name, builder.width, width or builder.width)
        placed = np.zeros((len(user_id), width or 1), np.int32)
        if name in before:
            placed[np.searchsorted(user_id, known)] = before[name]
        codes[name], _ = words.put(placed, at, builder, width)
        tables[name] = words.rows_of(codes[name])
        fields.append(Field(name, "user", words.vocabulary, codes[name].shape[1], numeric[name]))
    np.savez(folder / FILE_NAME, **tables)
    write_codes(folder, USER_CODES, codes)
    return tuple(fields)
