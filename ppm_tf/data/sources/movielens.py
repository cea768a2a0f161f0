"""MovieLens: the official `.dat` and `.csv` folders, or Parquet files of the same content, as a column mapping."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData, DataSettings, MovieLensData
from ppm_tf.data import raw_files
from ppm_tf.data.sources import columnar

logger = logging.getLogger(__name__)

_LAYOUTS = {"dat": ("ratings.dat", "movies.dat"), "csv": ("ratings.csv", "movies.csv"), "parquet": ("interactions.parquet", "items.parquet")}
_NO_GENRES = "(no genres listed)"
_USER_FIELDS = ("gender", "age", "occupation")


def raw_inputs(settings: MovieLensData) -> list[Path]:
    """The raw files that preparation reads.

    Raises:
        FileNotFoundError: the folder has none of the known layouts, or a file that a setting names is not there.
    """
    path = Path(settings.path)
    if _layout(path) == "parquet":
        return columnar.raw_inputs(columns(settings, path))
    files = [path / name for name in (*_LAYOUTS[_layout(path)], "users.dat") if (path / name).is_file()]
    for pattern, name in ((_text_files(settings), "data.text_files"), (_image_files(settings), "data.image_files")):
        files += raw_files.find(path, pattern, name) if pattern else []
    return files


def columns(settings: MovieLensData, folder: Path) -> ColumnarData:
    """The column mapping of a MovieLens folder; files of the official layouts are first converted into `folder`.

    Ratings from `positive_from` on are clicks. Items have the fields genres and, where it is known, year; users have
    gender, age and occupation where the data set gives them. The text of an item is the best that there is: `text_long`,
    `text`, or title and genres.

    Args:
        settings: where the data set is.
        folder: work folder for converted files.

    Raises:
        FileNotFoundError: the folder has none of the known layouts, or a file that a setting names is not there.
        ValueError: a file is not of the form its layout has; the message names the line.
    """
    path = Path(settings.path)
    layout = _layout(path)
    if layout != "parquet":
        folder.mkdir(parents=True, exist_ok=True)
        _convert(path, layout, folder)
    base = path if layout == "parquet" else folder.resolve()
    items = raw_files.column_types(base / "items.parquet")
    log = raw_files.column_types(base / "interactions.parquet")
    has_users = (base / "users.parquet").is_file()
    users = raw_files.column_types(base / "users.parquet") if has_users else {}
    text_files, image_files = _text_files(settings), _image_files(settings)
    text_columns = raw_files.column_types(raw_files.find(path, text_files, "data.text_files")[0]) if text_files else items
    fields = {name: {"column": name, "separator": "|" if name == "genres" else None} for name in ("genres", "year") if name in items}
    return ColumnarData(
        path=str(path),
        items={
            "files": str(base / "items.parquet"),
            "text": settings.text or _best_text(text_columns),
            "text_files": text_files,
            "image": "jpeg" if image_files else None,
            "image_files": image_files,
            "fields": fields,
        },
        users={"files": str(base / "users.parquet"), "fields": {name: name for name in _USER_FIELDS if name in users}} if has_users else None,
        log={
            "files": str(base / "interactions.parquet"),
            "time": "timestamp" if "timestamp" in log else None,
            "order": "seq_pos" if "seq_pos" in log else None,
            "labels": {"click": {"column": "rating", "at_least": settings.positive_from}},
        },
        split=settings.split.model_dump(),
        **{name: getattr(settings, name) for name in DataSettings.model_fields if name != "split"},
    )


def _layout(path: Path) -> str:
    for layout, files in _LAYOUTS.items():
        if all((path / name).is_file() for name in files):
            return layout
    known = "; ".join(" and ".join(files) for files in _LAYOUTS.values())
    present = ", ".join(sorted(file.name for file in path.iterdir())[:20]) if path.is_dir() else "no such folder"
    raise FileNotFoundError(f"data.path must be a MovieLens folder with {known}. Received: {path}, which holds: {present or 'nothing'}.")


def _text_files(settings: MovieLensData) -> str | None:
    """The file of the item texts, if it is not the item file. With an official layout, an items.parquet beside it has the texts."""
    if settings.text_files is not None:
        return settings.text_files
    path = Path(settings.path)
    return "items.parquet" if _layout(path) != "parquet" and (path / "items.parquet").is_file() else None


def _image_files(settings: MovieLensData) -> str | None:
    if settings.image_files is not None:
        return settings.image_files
    return "posters.parquet" if Path(settings.path, "posters.parquet").is_file() else None


def _best_text(available: dict) -> tuple[str, ...]:
    for name in ("text_long", "text"):
        if name in available:
            return (name,)
    return tuple(name for name in ("title", "genres") if name in available)


# === Official layouts ===


def _convert(path: Path, layout: str, folder: Path) -> None:
    if layout == "dat":
        items = _item_table(_records(path / "movies.dat", 3), path / "movies.dat")
        _convert_ratings(path / "ratings.dat", pa.csv.ParseOptions(delimiter=":"), ["user_id", "", "item_id", " ", "rating", "  ", "timestamp"], folder)
        if (path / "users.dat").is_file():
            _, gender, age, occupation, _ = users = list(zip(*(fields for _, fields in _records(path / "users.dat", 5)), strict=True))
            pq.write_table(pa.table({"user_id": _integers(users[0], path / "users.dat"), "gender": gender, "age": age, "occupation": occupation}), folder / "users.parquet")
    else:
        table = pa.csv.read_csv(path / "movies.csv", parse_options=pa.csv.ParseOptions(newlines_in_values=True))
        items = _item_table(((row + 2, [str(value) for value in fields.values()]) for row, fields in enumerate(table.select(["movieId", "title", "genres"]).to_pylist())), path / "movies.csv")
        _convert_ratings(path / "ratings.csv", pa.csv.ParseOptions(), ["user_id", "item_id", "rating", "timestamp"], folder, skip=1)
    pq.write_table(items, folder / "items.parquet")
    logger.info("converted %d items and their ratings: %s", items.num_rows, folder)


def _records(path: Path, width: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line of a `.dat` file. MovieLens-1M is in Latin-1, later ones are in UTF-8."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("::")
        if len(fields) != width:
            raise ValueError(f"{path}:{number} must hold {width} fields separated by '::'. Received: {line[:100]!r}. Mend the line or fetch the file again.")
        yield number, fields


def _item_table(records: Iterator[tuple[int, list[str]]], path: Path) -> pa.Table:
    ids, titles, genres, years = [], [], [], []
    for _, (item, title, genre) in records:
        year = re.search(r"\((\d{4})\)\s*$", title)
        ids.append(item)
        titles.append(title.strip())
        genres.append(None if genre == _NO_GENRES else genre)
        years.append(int(year[1]) if year else None)
    return pa.table({"item_id": _integers(ids, path), "title": pa.array(titles, pa.string()), "genres": pa.array(genres, pa.string()), "year": pa.array(years, pa.int16())})


def _integers(values: list[str] | tuple[str, ...], path: Path) -> pa.Array:
    wrong = [value for value in values if not value.isdigit()]
    if wrong:
        raise ValueError(f"The ids of {path} must be whole numbers. Received: {wrong[0]!r}. Mend the line or fetch the file again.")
    return pa.array([int(value) for value in values], pa.int64())


def _convert_ratings(path: Path, parse: pa.csv.ParseOptions, names: list[str], folder: Path, skip: int = 0) -> None:
    """Streams the ratings into Parquet. To a reader of ':'-separated values, '::' is an empty column between two others."""
    types = {"user_id": pa.int32(), "item_id": pa.int32(), "rating": pa.float32(), "timestamp": pa.int64()}
    schema = pa.schema(types)
    try:
        reader = pa.csv.open_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=skip, use_threads=False),
            parse_options=parse,
            convert_options=pa.csv.ConvertOptions(column_types=types, include_columns=list(types)),
        )
        with pq.ParquetWriter(folder / "interactions.parquet", schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    except pa.ArrowInvalid as error:
        line = re.search(r"Row #(\d+)", str(error))
        place = f"{path}:{line[1]}" if line else str(path)
        raise ValueError(f"{place} must hold user, item, rating and time. Received: {error}. Mend the line or fetch the file again.") from error
