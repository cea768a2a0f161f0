"""`RequestRows`: prepared requests in the rows that an earlier training gave to the values of their fields."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ppm_tf.data.schema import Field, Schema
from ppm_tf.rows import FIRST_ROW, PADDING_ROW, UNKNOWN_ROW


class RequestRows:
    """Turns batches of prepared data into batches that a model of an earlier preparation understands.

    Data that were prepared again number the values of user and request fields anew. Each value gets the row that the training knew
    it by, the unknown row where it did not know it; values and behaviors beyond what the training kept are left out.

    Args:
        data: schema of the prepared requests.
        training: schema of the model's training.

    Raises:
        ValueError: the data lack a field of the training, or its ids or times are of another kind.
    """

    def __init__(self, data: Schema, training: Schema):
        for name in ("item_id_type", "user_id_type", "has_time"):
            if getattr(data, name) != getattr(training, name):
                raise ValueError(
                    f"{name} of the data must be that of the training, {getattr(training, name)!r}. Received: {getattr(data, name)!r}. Train anew"
                    " with `python -m pipelines.train`."
                )
        self._length = training.history_length
        self._fields = {side: [_placed(data, field) for field in training.side(side)] for side in ("user", "context")}

    def __call__(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The batch with `user`, `context`, `history` and `history_time` of the training; all else is as it was."""
        found = {name: value for name, value in batch.items() if name not in self._fields}
        for name in ("history", "history_time"):
            if name in found:
                found[name] = found[name][:, : self._length]
        for side, fields in self._fields.items():
            if fields:
                found[side] = tf.concat([self._rows(batch[side], *one) for one in fields], axis=1)
        return found

    def _rows(self, rows: tf.Tensor, start: int, end: int, row_of: np.ndarray, width: int) -> tf.Tensor:
        kept = tf.gather(row_of, rows[:, start:end])[:, :width]
        return tf.pad(kept, [[0, 0], [0, width - kept.shape[1]]])


def _placed(data: Schema, field: Field) -> tuple[int, int, np.ndarray, int]:
    """Where the values of a field of the training stand in the data, the training's row of each, and how many the training kept."""
    start = 0
    for one in data.side(field.side):
        if one.name == field.name:
            row = {word: place for place, word in enumerate(field.vocabulary, start=FIRST_ROW)}
            known = [row.get(word, UNKNOWN_ROW) for word in one.vocabulary]
            return start, start + one.num_values, np.array([PADDING_ROW, UNKNOWN_ROW, *known], np.int32), field.num_values
        start += one.num_values
    raise ValueError(f"The data must hold the {field.side} field {field.name} of the training. Received: none. Look at data.users and data.log.")
