"""What is asked of a system whose size is to be reckoned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ppm_tf.config.section import PositiveInt, Section

Positive = Annotated[float, Field(gt=0)]


class CapacitySettings(Section):
    """A catalog, its users and their traffic; the rates are those that the run measured."""

    items: PositiveInt | None = Field(None, description="items of the catalog; null: those of the run")
    users: PositiveInt | None = Field(None, description="users with a row of their own; null: those of the run")
    requests: PositiveInt | None = Field(None, description="requests a day in the log; null: those of the run's log, by the days that it spans")
    days: PositiveInt = Field(180, description="days of the log that the first training reads once; an update reads one")
    tables: dict[str, PositiveInt] = Field({}, description="content table -> its width; {}: those that PPM reads in the run")
    table_dtype: Literal["float32", "float16", "int8"] = Field("float16", description="type of the content tables; int8: and a scale a row")
    peak: Positive = Field(100.0, description="requests a second to be answered at the busiest time")
    scored: PositiveInt = Field(100, description="candidates of a request to be answered")
    utilisation: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of its time that a serving core may be busy at the peak")
    hours: Positive = Field(4.0, description="hours that a day's update may take: more machines share what takes longer")
    embed_rate: Positive | None = Field(None, description="items a second that one machine encodes, all tables; null: as the run's `embed` did")
    ppm_rate: Positive | None = Field(None, description="requests a second that one machine trains PPM on; null: as the run's PPM was trained")
    ranker_rate: Positive | None = Field(None, description="requests a second that one machine trains the ranker on; null: as the run's ranker was")
    request_ms: Positive | None = Field(
        None, description="milliseconds of a core for a request of `scored` candidates; null: as `pipelines.benchmark serving` measured in the run"
    )
