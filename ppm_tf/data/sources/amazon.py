"""Amazon review data of 2018 ("v2"): reviews and metadata, one JSON object a line, to items and a log with sampled negatives."""

from __future__ import annotations

import gzip
import html
import json
import logging
import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from ppm_tf.config import AmazonData, ColumnarData, DataSettings
from ppm_tf.data.sources.amazon_log import Interactions, keep_core, sample_log

logger = logging.getLogger(__name__)

_LINES_A_CHUNK = 131072
_ITEMS_A_CHUNK = 8192
_MAX_BAD_LINES = 0.001  # share of unreadable lines that are passed over
_PRICE = re.compile(r"\$\s*(\d[\d,]*(?:\.\d+)?)")
_LOG_SCHEMA = pa.schema(
    {"user_id": pa.string(), "item_id": pa.string(), "time": pa.int64(), "position": pa.int32(), "request_id": pa.string(), "click": pa.int8()}
)
_ITEM_SCHEMA = pa.schema(
    {
        "item_id": pa.string(),
        "title": pa.string(),
        "description": pa.string(),
        "brand": pa.string(),
        "category": pa.list_(pa.string()),
        "price": pa.float32(),
        "image": pa.string(),
    }
)


def raw_inputs(settings: AmazonData) -> list[Path]:
    """The two raw files.

    Raises:
        FileNotFoundError: one is not there, or the folder of images.
    """
    if settings.images is not None and not Path(settings.path, settings.images).is_dir():
        raise FileNotFoundError(
            f"data.images must name a folder in data.path. Received: {Path(settings.path, settings.images)}, which is not there. Remedy: mend it, or"
            " data.images=null."
        )
    files = []
    for name, setting in ((settings.reviews, "data.reviews"), (settings.metadata, "data.metadata")):
        path = Path(settings.path, name)
        if not path.is_file():
            raise FileNotFoundError(f"{setting} must name a file in data.path. Received: {path}, which is not there.")
        files.append(path)
    return files


def write(settings: AmazonData, folder: Path) -> None:
    """Writes `items.parquet` and `interactions.parquet`.

    Reviews of one user and item count once, the earliest; users and items with fewer than `core` interactions are
    dropped, again and again until none is left. Each interaction after a user's first makes a request of two candidates:
    the item, clicked, and a sampled one, not clicked. The first one enters histories only.

    Raises:
        FileNotFoundError: a raw file is not there.
        ValueError: a file is damaged or of another form, or nothing is left after the core filter.
    """
    started = time.monotonic()
    reviews, metadata = raw_inputs(settings)
    folder.mkdir(parents=True, exist_ok=True)
    interactions = keep_core(_read_reviews(reviews), settings.core)
    if not len(interactions.user):
        raise ValueError(
            f"{reviews} must leave users and items with data.core={settings.core} interactions each. Received: none. Remedy: lower data.core."
        )
    pq.write_table(_log_table(interactions, settings), folder / "interactions.parquet", row_group_size=_LINES_A_CHUNK)
    described = _write_items(settings, metadata, interactions.items, folder / "items.parquet")
    logger.info(
        "%d interactions of %d users and %d items (%d described) in %.1f s: %s",
        len(interactions.user), len(interactions.users), len(interactions.items), described, time.monotonic() - started, folder,
    )  # fmt: skip


def columns(settings: AmazonData, folder: Path) -> ColumnarData:
    """The column mapping of the files that `write` put into `folder`."""
    shared = {name: getattr(settings, name) for name in DataSettings.model_fields if name not in ("split", "candidates")}
    folder = folder.resolve()
    return ColumnarData(
        path=settings.path,
        items={
            "files": str(folder / "items.parquet"),
            "text": ("title", "description"),
            "image": "image" if settings.images else None,
            "fields": {"brand": "brand", "category": {"column": "category", "min_count": 5}},
            "numbers": ("price",),
        },
        log={"files": str(folder / "interactions.parquet"), "time": "time", "order": "position", "request": "request_id"},
        split=settings.split.model_dump(),
        candidates=min(settings.candidates, 2),
        **shared,
    )


# === Reviews ===


def _read_reviews(path: Path) -> Interactions:
    users, items, times = [], [], []
    chunk: list[tuple[str, str, int]] = []

    def flush() -> None:
        user, item, moment = zip(*chunk, strict=True)
        users.append(pa.array(user, pa.string()))
        items.append(pa.array(item, pa.string()))
        times.append(np.array(moment, np.int64))
        chunk.clear()

    for line, review in _objects(path):
        try:
            chunk.append((str(review["reviewerID"]), str(review["asin"]), int(review["unixReviewTime"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}:{line} must hold reviewerID, asin and unixReviewTime. Received: {str(review)[:200]} ({error!r}). Remedy: is this the review"
                " file of the 2018 data?"
            ) from error
        if len(chunk) == _LINES_A_CHUNK:
            flush()
    if chunk:
        flush()
    if not users:
        raise ValueError(f"{path} must hold at least one review. Received: none.")
    user_codes, item_codes = (pa.chunked_array(parts).combine_chunks().dictionary_encode() for parts in (users, items))
    return Interactions(
        user_codes.indices.to_numpy(), item_codes.indices.to_numpy(), np.concatenate(times), user_codes.dictionary, item_codes.dictionary
    )


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line. A few unreadable lines are passed over and counted; more are refused."""
    bad, first, number = 0, "", 0
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as file:
        try:
            for number, line in enumerate(tqdm(file, desc=f"read {path.name}", unit="line", unit_scale=True, dynamic_ncols=True, mininterval=1.0), 1):
                try:
                    found = json.loads(line)
                    if not isinstance(found, dict):
                        raise ValueError("no object")
                except ValueError as error:
                    if line.isspace():
                        continue
                    bad, first = bad + 1, first or f"{path}:{number}: {line[:100].decode(errors='replace')!r} ({error})"
                    continue
                yield number, found
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} must be a whole file. Received: {error} after line {number}. Remedy: fetch it again.") from error
    if bad > _MAX_BAD_LINES * number:
        raise ValueError(
            f"{path} must hold one JSON object a line. Received: {bad} of {number} lines that are none; the first is {first}. Remedy: fetch it again;"
            " the data of 2014 has another form."
        )
    if bad:
        logger.warning("%d of %d lines passed over; the first is %s", bad, number, first)


def _log_table(interactions: Interactions, settings: AmazonData) -> pa.Table:
    log = sample_log(interactions, settings.split, settings.negatives, settings.seed)
    users, items = (
        pa.DictionaryArray.from_arrays(pa.array(codes), words).cast(pa.string())
        for codes, words in ((log.user, interactions.users), (log.item, interactions.items))
    )
    request = pc.binary_join_element_wise(users, pa.array(log.position).cast(pa.string()), "/")
    request = pc.if_else(pa.array(log.position > 0), request, pa.scalar(None, pa.string()))
    return pa.table(
        {"user_id": users, "item_id": items, "time": log.time, "position": log.position, "request_id": request, "click": log.click},
        schema=_LOG_SCHEMA,
    )


# === Metadata ===


def _write_items(settings: AmazonData, path: Path, kept: pa.Array, target: Path) -> int:
    """Writes every kept item, described ones in the order of the metadata file, then those it does not hold."""
    missing = dict.fromkeys(kept.to_pylist())
    described = 0
    chunk: list[dict[str, Any]] = []
    with pq.ParquetWriter(target, _ITEM_SCHEMA) as writer:
        for _, item in _objects(path):
            if item.get("asin") not in missing:
                continue
            del missing[item["asin"]]
            chunk.append(_item(item, settings))
            described += 1
            if len(chunk) == _ITEMS_A_CHUNK:
                writer.write_table(pa.Table.from_pylist(chunk, _ITEM_SCHEMA))
                chunk.clear()
        chunk += [_item({"asin": asin}, settings) for asin in missing]
        writer.write_table(pa.Table.from_pylist(chunk, _ITEM_SCHEMA), row_group_size=_ITEMS_A_CHUNK)
    return described


def _item(item: dict[str, Any], settings: AmazonData) -> dict[str, Any]:
    title = _words(item.get("title"))
    image = f"{settings.images}/{item['asin']}.jpg" if settings.images else None
    return {
        "item_id": item["asin"],
        "title": None if title and "getTime" in title else title,  # script of a broken page instead of a title
        "description": _words(item.get("description")),
        "brand": (_words(item.get("brand")) or "").lower() or None,
        "category": [tag for tag in map(_words, _list(item.get("category"))) if tag],
        "price": mean_price(item.get("price")),
        "image": image if image and Path(settings.path, image).is_file() else None,
    }


def mean_price(text: Any) -> float | None:
    """A price, the mean of a range, or `None` for anything else, such as the page code that some lines hold.

    Example:

    >>> mean_price("$12.99"), mean_price("$1,000 - $3,000"), mean_price(".a-box-inner{}"), mean_price("")
    (12.99, 2000.0, None, None)
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str) or not text.lstrip().startswith("$"):
        return None
    prices = [float(price.replace(",", "")) for price in _PRICE.findall(text)]
    return sum(prices) / len(prices) if prices else None


def _words(value: Any) -> str | None:
    """Text without entities such as `&amp;` and line breaks; the parts of a list are joined."""
    text = " ".join(part for part in _list(value) if isinstance(part, str))
    return " ".join(html.unescape(text).split()) or None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
