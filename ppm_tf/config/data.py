"""Where items, users and the log come from."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ppm_tf.config.section import PositiveInt, Section, Share

# === Where the columns of a user's files are ===


class FieldColumn(Section):
    """A categorical column of the raw files."""

    column: str = Field(description="name of the column")
    separator: str | None = Field(None, description="splits one string into several values, such as '|' for 'Comedy|Drama'; list columns need none")
    min_count: PositiveInt = Field(1, description="values seen fewer times than this are treated as unknown")
    type: Literal["auto", "number", "string"] = Field(
        "auto", description="number: 1e3, 1000 and 1000.0 are one value; string: 1e3 is a word; auto: number where every value of all files is one"
    )


class LabelColumn(Section):
    """The column that holds one task's label."""

    column: str = Field(description="name of the column")
    at_least: float | None = Field(
        None,
        description="values from here on are positive, e.g. 4 for ratings; without it the column must hold 0, 1, true, false, yes, no or nothing",
    )
    equals: tuple[str, ...] | None = Field(None, description="words that are positive, e.g. click for an event column; all other words are negative")

    @field_validator("equals", mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_rule(self) -> LabelColumn:
        if self.at_least is not None and self.equals is not None:
            raise ValueError(f"at_least and equals exclude each other. Received: at_least: {self.at_least}, equals: {', '.join(self.equals)}")
        return self


def _column(value: Any) -> Any:
    """`name: column` is short for `name: {column: column}`."""
    return {"column": value} if isinstance(value, str) else value


Fields = dict[str, Annotated[FieldColumn, BeforeValidator(_column)]]
Labels = dict[str, Annotated[LabelColumn, BeforeValidator(_column)]]


IdType = Literal["auto", "int", "string"]
_ID_TYPE = (
    "how ids are kept and served: int: rows with another id are refused or set aside; string: any; auto: int where every id of all files is a whole"
    " number"
)


class CsvSettings(Section):
    """How CSV files are written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="what stands between two cells, such as ';'; default: a tab in .tsv files, else a comma"
    )
    encoding: str = Field("utf-8", description="how characters are written, such as latin-1 or utf-16")

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(f"encoding must be one that Python knows, such as utf-8, latin-1 or cp1252. Received: {value}") from None
        return value


class ItemFiles(Section):
    """The item file: one row an item."""

    files: str = Field(
        "items.parquet",
        description=(
            "file, folder or glob inside data.path (Parquet, CSV, TSV, JSON lines; text also as .gz). {day}, or a format of it such as"
            " {day:%Y%m%d}, in this and any other name of files is the day of the log that is prepared (docs/data.md, Day by day); without a day, any"
        ),
    )
    id: str = Field("item_id", description="column of the item id (integers or strings)")
    id_type: IdType = Field("auto", description=_ID_TYPE)
    text: tuple[str, ...] = Field((), description="columns joined, in this order, to the item's text")
    text_files: str | None = Field(None, description="file that holds the text columns, joined by id, if not the item file")
    image: str | None = Field(
        None, description="column of the encoded image (bytes), or of its path inside data.path or on any Beam file system (gs://...)"
    )
    image_files: str | None = Field(None, description="file that holds the image column, joined by id, if not the item file")
    fields: Fields = Field({}, description="categorical item fields: name -> column")
    numbers: tuple[str, ...] = Field((), description="numeric item columns")
    repeated: Literal["refuse", "first"] = Field(
        "refuse", description="an id in several rows, as in a file of query-item pairs; first: its first row counts"
    )


class UserFiles(Section):
    """The user file: one row a user."""

    files: str = Field("users.parquet", description="file or glob inside data.path")
    id: str = Field("user_id", description="column of the user id")
    fields: Fields = Field({}, description="categorical user fields: name -> column")


class LogFiles(Section):
    """The interaction log: one row a user-item pair that was shown or rated."""

    files: str = Field("interactions.parquet", description="file or glob inside data.path, such as day={day}/*.parquet for a log by days")
    done: str | None = Field(
        None, description="file inside data.path whose presence says that a day of the log is whole, such as day={day}/_SUCCESS; null: its files do"
    )
    user: str = Field("user_id", description="column of the user id")
    user_id_type: IdType = Field("auto", description=_ID_TYPE)
    item: str = Field("item_id", description="column of the item id")
    time: str | None = Field(None, description="column of the time: a timestamp type, its text, or numbers (see time_unit)")
    time_unit: Literal["auto", "s", "ms", "us", "ns", "yyyymmdd", "yyyymmddhhmmss", "step"] = Field(
        "auto",
        description=(
            "what the numbers of the time column count: s, ms, us, ns since 1970; yyyymmdd or yyyymmddhhmmss: dates written as numbers, in UTC; step:"
            " a user's rows, where there is no clock; auto: seconds, refused where the numbers look like another unit"
        ),
    )
    order: str | None = Field(None, description="column that orders a user's rows where there is no time, or within equal times")
    rows_in_order: bool = Field(
        False, description="rows of equal time stand in their order in the files (by file name, then by row); data.log.order says it by a column"
    )
    request: str | None = Field(
        None, description="column of the request (impression) id, for data.requests=column; rows without one enter histories only"
    )
    slot: str | None = Field(None, description="column of the display position of the item in its request (0 = first)")
    labels: Labels = Field(
        {"click": LabelColumn(column="click")}, min_length=1, description="task -> label column; the first task is the one PPM is pre-trained on"
    )
    context: Fields = Field({}, description="categorical columns of the request: name -> column")
    truth: dict[str, str] = Field(
        {}, description="task -> column of the true probability (simulated data only); evaluation reports its AUC as the ceiling"
    )


class QueryFiles(Section):
    """Search queries with the item that was clicked for them."""

    files: str = Field("queries.parquet", description="file or glob inside data.path")
    text: str = Field("query", description="column of the query text")
    item: str = Field("item_id", description="column of the clicked item id")
    label: str | None = Field(None, description="column that grades the match; without it every row is a click")
    at_least: float = Field(1.0, description="grades from here on are a click")


# === data ===


class SplitSettings(Section):
    """How the log is cut into pretrain | train | valid | test, in this order."""

    by: Literal["time", "user"] = Field("time", description="time: one cut in time for all; user: the cut is made in each user's own sequence")
    pretrain: Share = Field(0.0, description="share of the log, oldest first, that only PPM's pre-training sees")
    valid: Share = Field(0.1, description="share of the log just before the test part, used to stop and to choose")
    test: Share = Field(0.1, description="share of the log, newest, that is scored once at the end")
    last: Annotated[int, Field(ge=0)] = Field(
        0,
        description=(
            "with by=user: each user's last so many requests are the test part and as many before them the valid part, whatever the two shares; 0 ="
            " by share"
        ),
    )

    @model_validator(mode="after")
    def _leaves_training_data(self) -> SplitSettings:
        if self.last and self.by != "user":
            raise ValueError(f"last needs by: user. Received: last: {self.last}, by: {self.by}")
        if self.pretrain + self.valid + self.test >= 1.0:
            raise ValueError(f"pretrain + valid + test must be below 1. Received: {self.pretrain} + {self.valid} + {self.test}")
        if self.test <= 0.0:
            raise ValueError("test must be above 0")
        return self


class ShopSplit(SplitSettings):
    """The embedded shop's split: the older half of the log is PPM's alone."""

    pretrain: Share = Field(0.5, description="share of the log, oldest first, that only PPM's pre-training sees")


class UserSplit(SplitSettings):
    """Split inside each user's sequence, for data sets whose users do not share a clock."""

    by: Literal["time", "user"] = Field("user", description="time: one cut in time for all; user: the cut is made in each user's own sequence")
    valid: Share = Field(0.05, description="share of the log just before the test part, used to stop and to choose")


class LastSplit(UserSplit):
    """Leave one out: the last request of each user is the test part, the one before it the valid part."""

    last: Annotated[int, Field(ge=0)] = Field(
        1,
        description=(
            "with by=user: each user's last so many requests are the test part and as many before them the valid part, whatever the two shares; 0 ="
            " by share"
        ),
    )


class DataSettings(Section):
    """Settings that every data source shares."""

    history_length: PositiveInt = Field(30, description="behaviors kept a request, the most recent ones (T)")
    history_task: str | None = Field(None, description="positives of this task form the history; default: the first task")
    requests: Literal["column", "bursts", "single"] = Field(
        "column", description="column: rows of one request id; bursts: up to data.candidates consecutive rows of a user; single: a row a request"
    )
    candidates: PositiveInt = Field(10, description="most candidates a request (N); longer requests are cut into several")
    split: SplitSettings = Field(SplitSettings(), description="how the log is cut")
    shards: PositiveInt = Field(16, description="partitions of users; each becomes one TFRecord shard a split and is held in memory once")
    compression: Literal["gzip", "none"] = Field("gzip", description="compression of the sample shards")
    missing: tuple[str, ...] = Field(
        ("", "\\N", "NULL", "null", "NaN", "nan", "None", "NA", "N/A", "<NA>"),
        description="words that mean: nothing is here, in every file format and column; white space around them does not count",
    )
    repeats: Literal["merge", "drop", "keep", "refuse"] = Field(
        "merge",
        description=(
            "an event in several rows (of one user and item, in one request or at one time): merge: one row, positive where any of them is; drop: the"
            " first row counts; keep: all count, and none is in the history of another; refuse"
        ),
    )
    mixed_requests: Literal["first", "drop", "refuse"] = Field(
        "first", description="a request whose rows differ in a field of the request: first: its first row counts; drop: it is set aside; refuse"
    )
    max_missing_images: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="share of the image files that the item file names which may be missing before preparation is refused"
    )
    max_rejected: Share = Field(0.001, description="share of log rows that may be set aside (unknown item, missing id) before preparation is refused")


class SyntheticData(DataSettings):
    """The embedded shop: a seeded generator with a known truth."""

    source: Literal["synthetic"] = Field("synthetic", description="the embedded shop")
    users: PositiveInt = Field(12000, description="users of the shop")
    items: PositiveInt = Field(5000, description="items of the shop, born over its days")
    days: PositiveInt = Field(28, description="days of the log")
    requests_per_user: PositiveInt = Field(16, description="mean number of requests a user over all days")
    seed: int = Field(1, description="seed of the generator")
    by_day: bool = Field(
        False, description="whether the shop writes a folder a day, each with its interactions, queries and new items, as a log that grows daily does"
    )
    split: ShopSplit = Field(ShopSplit(), description="how the log is cut")


class ColumnarData(DataSettings):
    """Parquet, CSV or JSONL files by a column mapping."""

    source: Literal["columnar"] = Field("columnar", description="files by a column mapping")
    path: str = Field(description="folder of the raw files")
    items: ItemFiles = Field(ItemFiles(), description="the item file")
    users: UserFiles | None = Field(None, description="the user file, if there is one")
    log: LogFiles | None = Field(
        LogFiles(), description="the interaction log; null: a catalog, and queries, alone, to train encoders and write tables"
    )
    queries: QueryFiles | None = Field(None, description="the query file, if there is one")
    csv: CsvSettings = Field(CsvSettings(), description="how CSV files are written")


class MovieLensData(DataSettings):
    """MovieLens folders: the official ml-1m and ml-latest layouts, or Parquet files of the same content."""

    source: Literal["movielens"] = Field("movielens", description="MovieLens")
    path: str = Field(description="folder of the data set")
    positive_from: float = Field(4.0, description="ratings from here on are clicks")
    text_files: str | None = Field(
        None, description="Parquet or CSV with the item texts, joined by the item id; default: items.parquet where present"
    )
    text: tuple[str, ...] = Field((), description="columns joined to the item's text; default: what the folder offers")
    image_files: str | None = Field(None, description="Parquet with the posters, joined by the item id; default: posters.parquet where present")
    requests: Literal["bursts", "single"] = Field(
        "bursts", description="bursts: up to data.candidates consecutive ratings of a user share a history; single: a rating a request"
    )
    split: UserSplit = Field(UserSplit(), description="how the log is cut")


class AmazonData(DataSettings):
    """Amazon review data (2018, 'v2'): reviews and metadata as .json.gz, one sampled negative a positive."""

    source: Literal["amazon"] = Field("amazon", description="Amazon reviews v2")
    path: str = Field(description="folder of the two files")
    reviews: str = Field(description="review file inside data.path, e.g. Sports_and_Outdoors.json.gz")
    metadata: str = Field(description="metadata file inside data.path, e.g. meta_Sports_and_Outdoors.json.gz")
    core: PositiveInt = Field(5, description="users and items with fewer interactions are dropped, repeatedly")
    negatives: Literal["uniform", "popularity"] = Field(
        "uniform", description="how the negative of each positive is drawn, never from the user's own training items"
    )
    seed: int = Field(1, description="seed of the negatives")
    images: str | None = Field(None, description="folder with <asin>.jpg files inside data.path, if there is one")
    requests: Literal["column"] = Field("column", description="a positive and its negative form a request")
    split: LastSplit = Field(LastSplit(), description="the last item of each user is the test part and the one before it the valid part")


Data = Annotated[SyntheticData | ColumnarData | MovieLensData | AmazonData, Field(discriminator="source")]
