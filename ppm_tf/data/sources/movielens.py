"""MovieLens: the official `.dat` and `.csv` folders, or Parquet files of the same content, as a column mapping."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData, DataSettings, MovieLensData
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.sources import columnar

logger = logging.getLogger(__name__)

_LAYOUTS = {"parquet": ("interactions.parquet", "items.parquet"), "dat": ("ratings.dat", "movies.dat"), "csv": ("ratings.csv", "movies.csv")}
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
    base = path.absolute() if layout == "parquet" else folder.resolve()
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
            # Without a clock, how many ratings ago a film was liked still tells recency, and how often the user likes one.
            "time": "timestamp" if "timestamp" in log else "seq_pos" if "seq_pos" in log else None,
            "time_unit": "s" if "timestamp" in log else "step",
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
        # To a reader of ':'-separated values, '::' is an empty column between two others.
        names, skip, parse = ["user_id", "", "item_id", " ", "rating", "  ", "timestamp"], 0, pa.csv.ParseOptions(delimiter=":")
        if (path / "users.dat").is_file():
            pq.write_table(_user_table(path / "users.dat"), folder / "users.parquet")
    else:
        items = _item_table(_csv_records(path / "movies.csv"), path / "movies.csv")
        names, skip, parse = ["user_id", "item_id", "rating", "timestamp"], 1, pa.csv.ParseOptions()
    pq.write_table(items, folder / "items.parquet")
    _convert_ratings(path / f"ratings.{layout}", names, skip, parse, folder / "interactions.parquet")
    logger.info("converted %d items and their ratings: %s", items.num_rows, folder)


def _records(path: Path, width: int) -> Iterator[list[str]]:
    """The fields of each line of a `.dat` file. MovieLens-1M is in Latin-1, later ones are in UTF-8."""
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
            raise ValueError(
                f"{path}:{number} must hold {width} fields separated by '::'. Received: {line[:100]!r}. Mend the line or fetch the file again."
            )
        yield fields


def _csv_records(path: Path) -> Iterator[list[str]]:
    """Id, title and genres of each row of movies.csv."""
    names = ["movieId", "title", "genres"]
    for split in raw_files.splits([path]):
        for _, batch in raw_files.batches(split, names, 65536):
            for row in batch.to_pylist():
                yield [row[name] or "" for name in names]


def _item_table(records: Iterable[list[str]], path: Path) -> pa.Table:
    ids, titles, genres, years = [], [], [], []
    for item, title, genre in records:
        year = re.search(r"\((\d{4})\)\s*$", title)
        ids.append(item)
        titles.append(title.strip())
        genres.append(None if genre == _NO_GENRES else genre)
        years.append(int(year[1]) if year else None)
    return pa.table(
        {
            "item_id": _integers(ids, path),
            "title": pa.array(titles, pa.string()),
            "genres": pa.array(genres, pa.string()),
            "year": pa.array(years, pa.int16()),
        }
    )


def _user_table(path: Path) -> pa.Table:
    users = list(_records(path, 5))  # id, gender, age, occupation, zip code
    columns = {name: pa.array([user[place] for user in users], pa.string()) for place, name in enumerate(_USER_FIELDS, 1)}
    return pa.table({"user_id": _integers([user[0] for user in users], path), **columns})


def _integers(values: list[str], path: Path) -> pa.Array:
    if wrong := [value for value in values if not value.isdigit()]:
        raise ValueError(f"The ids of {path} must be whole numbers. Received: {wrong[0]!r}. Mend the line or fetch the file again.")
    return pa.array([int(value) for value in values], pa.int64())


def _convert_ratings(path: Path, names: list[str], skip: int, parse: pa.csv.ParseOptions, target: Path) -> None:
    """Streams the ratings into Parquet."""
    types = {"user_id": pa.int32(), "item_id": pa.int32(), "rating": pa.float32(), "timestamp": pa.int64()}
    try:
        reader = pa.csv.open_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=skip, use_threads=False),  # without threads errors name the row
            parse_options=parse,
            convert_options=pa.csv.ConvertOptions(column_types=types, include_columns=list(types)),
        )
        with pq.ParquetWriter(target, pa.schema(types)) as writer:
            for batch in reader:
                writer.write_batch(batch)
    except pa.ArrowInvalid as error:
        row = re.search(r"Row #(\d+)", str(error))
        place = f"{path}:{row[1]}" if row else str(path)
        raise ValueError(f"{place} must hold user, item, rating and time. Received: {error}. Mend the line or fetch the file again.") from error
