"""A sheet of nearest neighbours as one HTML file, with texts and small pictures, that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.rows import FIRST_ROW

_THUMBNAIL = 96  # pixels, the longer side
_MOST_TEXT = 120  # characters
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
h1 { font-size: 1.3rem; } table.figures { border-collapse: collapse; } .figures td { padding: .1rem 1rem .1rem 0; }
.figures td + td { font-variant-numeric: tabular-nums; } img.plot { max-width: 40rem; width: 49%; vertical-align: top; }
.row { display: flex; gap: .5rem; overflow-x: auto; padding: .6rem 0; border-top: 1px solid #ddd; }
.item { flex: 1 0 8.5rem; overflow-wrap: anywhere; } .item.asked { background: #eef4fa; padding: 0 .5rem; margin-right: .5rem; }
.item img { max-width: 96px; max-height: 96px; display: block; } .note { color: #666; font-size: .85em; }
"""


@dataclass(frozen=True)
class Shown:
    """What is shown of an item: raw id, text, encoded image or `None`, category or ""."""

    item_id: Any
    text: str
    image: bytes | None
    category: str = ""


def read_shown(catalog: ItemCatalog, rows: np.ndarray, categories: Sequence[str] | None = None) -> dict[int, Shown]:
    """What is shown of some items, by catalog row. Texts and images are read in the order of the file, each row group once.

    Args:
        catalog: the catalog.
        rows: catalog rows of items; others are passed over.
        categories: `[V]`, "" where there is none. Defaults to `None`.
    """
    wanted = [int(row) for row in np.unique(rows) if FIRST_ROW <= row < catalog.num_rows]
    texts: dict[int, str] = {}
    remaining = set(wanted)
    for first, batch in catalog.batches(("text",)):
        column = batch.column("text")
        for row in [row for row in remaining if first <= row < first + batch.num_rows]:
            texts[row] = column[row - first].as_py() or ""
            remaining.discard(row)
        if not remaining:
            break
    images = catalog.images
    return {
        row: Shown(catalog.ids[row - FIRST_ROW].as_py(), texts[row], images[row - FIRST_ROW], categories[row] if categories is not None else "")
        for row in wanted
    }


def write_sheet(
    path: str | Path,
    title: str,
    figures: Mapping[str, str],
    rows: np.ndarray,
    neighbours: np.ndarray,
    similarity: np.ndarray,
    shown: Mapping[int, Shown],
    plots: Sequence[Path] = (),
) -> None:
    """Writes the sheet: the figures, the plots, then a line an item with its neighbours.

    Args:
        path: HTML file.
        title: heading.
        figures: lines of the table of figures.
        rows: int `[S]`, catalog rows.
        neighbours: int `[S, k]`, rows, -1 where there is none.
        similarity: `[S, k]`, cosines.
        shown: what is shown of each of these rows.
        plots: PNG files, put into the sheet.
    """
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in figures.items())
    pictures = "".join(f'<img class="plot" alt="{escape(plot.stem)}" src="{_data_uri(plot.read_bytes(), "png")}">' for plot in plots)
    items = []
    for row, near, cosines in zip(rows.tolist(), neighbours.tolist(), similarity.tolist(), strict=True):
        cells = [_item(shown[row], "asked", "")]
        cells += [_item(shown[other], "", f"cosine {cosine:.3f}") for other, cosine in zip(near, cosines, strict=True) if other >= 0]
        items.append(f'<div class="row">{"".join(cells)}</div>')
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><table class="figures">{lines}</table>{pictures}'
        "<h1>Nearest neighbours</h1><p>Each line begins with an item; beside it are the items with the most similar"
        f" vectors.</p>{''.join(items)}</body></html>"
    )
    Path(path).write_text(page, encoding="utf-8")


def _item(shown: Shown, kind: str, note: str) -> str:
    text = shown.text if len(shown.text) <= _MOST_TEXT else shown.text[: _MOST_TEXT - 1] + "…"
    notes = [part for part in (note, shown.category, f"item {shown.item_id}") if part]
    return f'<div class="item {kind}">{_thumbnail(shown.image)}<div>{escape(text)}</div><div class="note">{escape(" · ".join(notes))}</div></div>'


def _thumbnail(image: bytes | None) -> str:
    """The picture as an `img` with its data; a note where the bytes are no picture; nothing without a picture."""
    if not image:
        return ""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(image), formats=_FORMATS)
        if picture.mode in ("F", "I"):  # of an unknown scale, which no encoder reads
            raise ValueError(picture.mode)
        picture.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
        picture = picture.convert("RGB")
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
    except Exception:  # damaged bytes make Pillow's readers raise almost anything
        return '<div class="note">(image not readable)</div>'
    return f'<img alt="" src="{_data_uri(buffer.getvalue(), "jpeg")}">'


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
