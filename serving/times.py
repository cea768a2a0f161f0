"""Times of a request inside a graph: in the unit of the log, inside the years of the log, in the order of a history."""

from __future__ import annotations

import tensorflow as tf

from ppm_tf.data.raw.column_times import TICKS, UNITS
from ppm_tf.data.schema import Schema

# How far a request may lie outside the training's time: far enough for years of service, too near for seconds taken as milliseconds.
YEARS = 20
_YEAR = 366 * 86400
UNIT_NAMES = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "step": "steps of the user, as in the log",
}


def units_per_second(unit: str) -> int:
    """How many of a time unit make a second; a step is taken as one.

    >>> units_per_second("s"), units_per_second("ms")
    (1, 1000)
    """
    return TICKS // UNITS[unit]


def in_seconds(times: tf.Tensor, unit: str) -> tf.Tensor:
    """Times as samples hold them: whole seconds, or steps."""
    return times // units_per_second(unit) if unit not in ("s", "step") else times


def window(schema: Schema) -> tuple[int, int] | None:
    """The first and the last time that a request may have, in the unit of the log; `None` where there is no clock."""
    if not schema.has_time or schema.time_range is None or schema.time_unit == "step":
        return None
    first, last = schema.time_range
    scale = units_per_second(schema.time_unit)
    return max(0, first - YEARS * _YEAR) * scale, (last + YEARS * _YEAR) * scale


def check_times(time: tf.Tensor, history_times: tf.Tensor, padding: tf.Tensor, schema: Schema) -> list[tf.Operation]:
    """Assertions that a server answers with 400.

    Args:
        time: int64 `[B]`, when the request is made.
        history_times: int64 `[B, T]`, newest first.
        padding: bool `[B, T]`, which behaviors are none.
        schema: that of the training.
    """
    unit = UNIT_NAMES[schema.time_unit]
    # The shape comes first: the other checks set times and ids side by side.
    same = tf.debugging.assert_equal(
        tf.shape(history_times), tf.shape(padding), "history_times must have the shape of history_ids, a time for each behavior, newest first."
    )
    with tf.control_dependencies([same]):
        late = tf.where(padding, tf.expand_dims(time, 1), history_times)
    checks = [
        same,
        tf.debugging.assert_less_equal(late, tf.expand_dims(time, 1), f"history_times must not be after time. Both count {unit}."),
        # A padding behavior between others stands at the request's own time: only real neighbours are compared.
        tf.debugging.assert_less_equal(
            tf.where(padding[:, 1:] | padding[:, :-1], late[:, :-1], late[:, 1:]),
            late[:, :-1],
            "history_ids and history_times must be newest first: times must not grow along a history.",
        ),
    ]
    bounds = window(schema)
    if bounds is not None:
        first, last = (tf.constant(bound, tf.int64) for bound in bounds)
        words = f"must count {unit} and lie between {bounds[0]} and {bounds[1]}, around the time of the training."
        behaviors = tf.where(padding, first, history_times)
        checks += [
            tf.debugging.assert_greater_equal(time, first, f"time {words}"),
            tf.debugging.assert_less_equal(time, last, f"time {words}"),
            tf.debugging.assert_greater_equal(behaviors, first, f"history_times {words}"),
        ]
    else:
        checks.append(tf.debugging.assert_non_negative(time, f"time must not be negative. It counts {unit}."))
    return checks
