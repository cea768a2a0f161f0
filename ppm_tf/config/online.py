"""How the log of an online experiment is read and judged."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ppm_tf.config.data import CsvSettings, LabelColumn
from ppm_tf.config.section import Name, PositiveInt, Section, Share

Event = Annotated[LabelColumn, BeforeValidator(lambda value: {"column": value} if isinstance(value, str) else value)]
TimeUnit = Literal["auto", "s", "ms", "us", "ns", "yyyymmdd", "yyyymmddhhmmss"]
_UNIT = "what the numbers of the time column count, as in data.log.time_unit; auto: seconds, refused where they look like another unit"
_AS_COLUMN = "a column of 0 and 1, or {column: event, equals: <word>}"
EVENTS = ("click", "order", "download")


class OutcomeFiles(Section):
    """What followed an exposure, where the exposure log does not say it: one row an outcome, joined by user, item and time."""

    files: str | None = Field(None, description="file, folder or glob of the outcomes; outcomes=<files> is short for it; null: none")
    user: str = Field("user_id", description="column of the user id")
    item: str = Field("item_id", description="column of the item id")
    time: str = Field("time", description="column of the outcome's time")
    time_unit: TimeUnit = Field("auto", description=_UNIT)
    click: Event | None = Field(None, description=f"clicks: {_AS_COLUMN}; null: online.click says them")
    order: Event | None = Field(None, description=f"orders: {_AS_COLUMN}; null: online.order says them, if anything does")
    download: Event | None = Field(None, description=f"downloads: {_AS_COLUMN}; null: online.download says them, if anything does")
    revenue: str | None = Field(None, description="column of what the outcome earned, in money; summed over an exposure's outcomes")
    window: Annotated[float, Field(gt=0)] = Field(
        24.0, description="hours after an exposure in which an outcome of the same user and item belongs to it (to the last such exposure)"
    )


class OnlineSettings(Section):
    """An online experiment (A/B test), judged from its exposure log: UCTR, UCVR, CTR, CVR, eCPM, DTR, long-tail exposure."""

    # === What is read ===
    exposures: str | None = Field(
        None, description="file, folder or glob of the exposure log (Parquet, CSV, TSV, JSON lines); exposures=<files> is short for it"
    )
    name: Name = Field("ab_test", description="name of the experiment: its report lies in <run>/reports/online/<name>")
    user: str = Field("user_id", description="column of the user id, by which buckets are drawn and intervals are clustered")
    item: str = Field("item_id", description="column of the item id")
    time: str = Field("time", description="column of the exposure's time")
    time_unit: TimeUnit = Field("auto", description=_UNIT)
    utc_offset: Annotated[float, Field(ge=-14, le=14)] = Field(0.0, description="hours by which the experiment's days are ahead of UTC")
    bucket: str = Field("bucket", description="column of the user's bucket (arm)")
    click: Event | None = Field("click", validate_default=True, description=f"clicks: {_AS_COLUMN}; null: the outcomes say them")
    order: Event | None = Field(None, description=f"orders (conversions): {_AS_COLUMN}; null: without orders, so without UCVR and CVR")
    download: Event | None = Field(None, description=f"downloads: {_AS_COLUMN}; null: without downloads, so without DTR")
    revenue: str | None = Field(None, description="column of what an exposure earned, in money; null: by the bid, or without eCPM")
    bid: str | None = Field(None, description="column of the bid, in money an event of online.bid_per: an exposure with that event earned it")
    bid_per: Literal["click", "order", "download"] = Field("click", description="the event that a bid is paid for")
    outcomes: OutcomeFiles = Field(OutcomeFiles(), description="a second log, of outcomes")
    csv: CsvSettings = Field(CsvSettings(), description="how CSV files are written")
    missing: tuple[str, ...] = Field(
        ("", "\\N", "NULL", "null", "NaN", "nan", "None", "NA", "N/A", "<NA>"), description="words that mean: nothing is here"
    )
    repeats: Literal["drop", "keep"] = Field(
        "drop", description="exposures of the same user, item and time as an earlier row: drop sets them aside; keep: for times as coarse as a day"
    )
    max_rejected: Share = Field(0.01, description="share of rows that may be set aside before the log is refused")
    max_crossed: Share = Field(0.01, description="share of users that may be set aside because they were in two buckets")
    gaps: bool = Field(False, description="whether a day may be without exposures of a bucket; otherwise the log is refused")
    # === The experiment ===
    control: str | None = Field(None, description="the bucket that the others are compared with; it must be named")
    split: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="bucket -> its share of the users as configured, for the sample-ratio check; any other bucket is refused. {}: equal shares"
    )
    ignore: tuple[str, ...] = Field((), description="buckets whose rows are left out")
    start: str | None = Field(
        None, description="the first day of the experiment, YYYY-MM-DD: earlier exposures are the pre-period, CUPED's covariate; null: there is none"
    )
    # === How it is judged ===
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="level of the intervals")
    interval: Literal["fixed", "always_valid"] = Field(
        "fixed",
        description=(
            "of differences in total: fixed: for one look at an end chosen beforehand; always_valid: may be looked at, and stopped, at any time, and"
            " is wider"
        ),
    )
    tuning: PositiveInt = Field(5000, description="always_valid: number of users at which the interval is meant to be tightest")
    popularity: Literal["train", "before", "pooled", "control"] | None = Field(
        None,
        description=(
            "by what items are popular: train: exposures in the training data of run; before: in the pre-period; pooled: in all buckets; control: in"
            " control, as CELA's figure 7. null: the first of train, before, pooled that there is"
        ),
    )
    tail: Share = Field(0.8, description="share of the items, the least popular ones, that are the long tail")
    groups: Annotated[int, Field(ge=0)] = Field(20, description="groups of equally many items by popularity (CELA, figure 7); 0: none")
    aa_splits: Annotated[int, Field(ge=0)] = Field(200, description="random halvings of control in the A/A check; 0: no check")
    ratio_alarm: Annotated[float, Field(gt=0, lt=1)] = Field(0.001, description="p-value of the sample-ratio check below which it raises an alarm")

    @field_validator("split", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return {str(name): share for name, share in value.items()} if isinstance(value, dict) else value

    @field_validator("control", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("ignore", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)

    @field_validator("start", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        text = str(value) if value is not None else None
        if text is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError("start must be a day, YYYY-MM-DD")
        return text

    @model_validator(mode="after")
    def _go_together(self) -> OnlineSettings:
        for name in EVENTS:
            if self.outcomes.files and getattr(self, name) is not None and getattr(self.outcomes, name) is not None:
                raise ValueError(f"{name} must be said by one log. Received: online.{name} and online.outcomes.{name}; set one of them to null")
        if not self.click and not (self.outcomes.files and self.outcomes.click):
            raise ValueError("clicks must be said by a column: online.click, or online.outcomes.click")
        paid = [name for name in ("revenue", "bid") if getattr(self, name)]
        paid += ["outcomes.revenue"] if self.outcomes.files and self.outcomes.revenue else []
        if len(paid) > 1:
            raise ValueError(f"what was earned must be said once. Received: {' and '.join(f'online.{name}' for name in paid)}")
        if self.bid and not self.has(self.bid_per):
            raise ValueError(
                f"a bid per {self.bid_per} needs the column of {self.bid_per}s: online.{self.bid_per}, or online.outcomes.{self.bid_per}"
            )
        if self.split and self.control is not None and self.control not in self.split:
            raise ValueError(f"control must be a bucket of split ({', '.join(self.split)}). Received: {self.control}")
        if len(self.split) == 1:
            raise ValueError(f"split must hold at least two buckets. Received: {', '.join(self.split)}")
        return self

    def has(self, event: str) -> bool:
        """Whether one of the logs says an event of `EVENTS`."""
        return getattr(self, event) is not None or bool(self.outcomes.files and getattr(self.outcomes, event) is not None)

    @property
    def earns(self) -> bool:
        """Whether one of the logs says what was earned."""
        return bool(self.revenue or self.bid or (self.outcomes.files and self.outcomes.revenue))
