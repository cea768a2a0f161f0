"""Whether the items have the texts and images that tables are made of; looked at before any encoder is trained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ppm_tf.config import Config, named_contents


class Making(NamedTuple):
    """What an embedding table is made of.

    The columns of the catalog that are a content, and the artifacts `encoders/<name>` that encode it; a table without an encoder is
    written from a ranking model's ids.
    """

    contents: tuple[str, ...]
    encoders: tuple[str, ...]


TABLES = {
    "title": Making(("text",), ("text",)),
    "image": Making(("image",), ("image",)),
    "bow": Making(("text",), ("bow",)),
    "aligned": Making(("text",), ("aligned",)),
    "aligned_vectors": Making(("text",), ()),
    "ids": Making((), ()),
    "title_image": Making(("text", "image"), ("text", "image")),
}


def check_contents(config: Config, tables: Iterable[str], data: Path | None = None) -> None:
    """Refuses tables whose contents no item has: by the settings alone, and by the prepared data where it is there.

    Args:
        config: all settings.
        tables: the tables that are to be made.
        data: folder of the prepared data; one that is not there is passed over.

    Raises:
        ValueError: no item has the content of a table; the message names it and the setting.
    """
    for table, columns in lacking(config, tables, data).items():
        raise ValueError(refusal(table, columns[0]))


def lacking(config: Config, tables: Iterable[str], data: Path | None = None) -> dict[str, list[str]]:
    """The tables among `tables` that no item has a content for, each with the columns that are empty; arguments as in `check_contents`."""
    has = named_contents(config)
    path = data and data / "statistics.json"
    if path and path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        has = {column: has[column] and bool(found[f"items_with_{column}"]) for column in has}
    empty = {table: [column for column in TABLES[table].contents if not has[column]] for table in tables}
    return {table: columns for table, columns in empty.items() if columns}


def refusal(table: str, column: str) -> str:
    """Why a table cannot be made where no item has a `column`, `"text"` or `"image"`."""
    others = {"title": "leave title out, as in ppm.tables=[image]", "image": "leave image out, as in ppm.tables=[title]"}
    left_out = others.get(table, f"leave {table} out of ppm.tables and model.tables")
    return (
        f"An item must have {'an image' if column == 'image' else 'a text'} for the table `{table}`. Received: none. Remedy: set data.items.{column},"
        f" or {left_out}."
    )
