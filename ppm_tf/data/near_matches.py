"""Ids that the catalog does not hold, beside those that it does: which change of spelling would make them match."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.raw.column_forms import canonical
from ppm_tf.rows import UNKNOWN_ROW

_CHANGES: dict[str, Callable[[pa.Array], pa.Array]] = {
    "without white space around them": pc.utf8_trim_whitespace,
    "without leading zeros": lambda ids: pc.replace_substring_regex(ids, r"^0+(.)", r"\1"),
    "without a fraction": lambda ids: pc.replace_substring_regex(ids, r"\.0*$", ""),
    "in lower case": pc.utf8_lower,
    "in upper case": pc.utf8_upper,
}


def near_matches(values: list[str], catalog: ItemCatalog, whose: str = "log") -> str:
    """What the catalog's ids look like beside the unknown ones of the log, and which change would make how many match; "" without any.

    Nothing is changed by itself: `007` and `7` may be two items.

    Args:
        values: some unknown ids, as they are written.
        catalog: the items.
        whose: what holds these ids.
    """
    if not values:
        return ""
    ids = pa.array(values, pa.string())
    found = []
    for change, apply in _CHANGES.items():
        count = int((catalog.rows_of(canonical(apply(ids), ())) != UNKNOWN_ROW).sum())
        if count:
            found.append(f"{count} of {len(values)} would match {change}")
    looks = ", ".join(repr(one) for one in catalog.ids[:3].to_pylist())
    theirs = ", ".join(repr(one) for one in dict.fromkeys(values[:3]))
    return (
        f" The catalog's ids look like {looks}, the {whose}'s unknown ones like {theirs};"
        f" {'; '.join(found) or 'no change of spelling makes them match'}. Ids are compared as they are written."
    )
