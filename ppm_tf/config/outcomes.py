"""What comes of a model: figures, an export, a look at a table; and where batch jobs run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ppm_tf.config.section import Name, Once, PositiveInt, Section


class EvaluateSettings(Section):
    """How scores become the figures of a report."""

    batch_size: PositiveInt = Field(256, description="requests scored at once")
    precision_at: PositiveInt = Field(2, description="N of Precision@N")
    bootstrap: Annotated[int, Field(ge=0)] = Field(200, description="bootstrap resamples (of users) behind each interval; 0 = no intervals")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="level of the intervals")
    bucket_edges: tuple[int, ...] = Field(
        (0, 1, 5, 10, 20, 50, 100, 500), description="first train frequency of each bucket of target items; the last bucket is open"
    )
    history_edges: tuple[int, ...] = Field(
        (0, 1, 5, 10, 20), description="first number of behaviors of each bucket of requests by their history; the last bucket is open"
    )
    user_edges: tuple[int, ...] = Field(
        (0, 1, 5, 20), description="first number of training requests of each bucket of users; the last bucket is open"
    )
    baselines: bool = Field(
        True,
        description="also judge the trivial answers: item mean, popularity, cosines alone where tables are read (content), and the best possible",
    )
    against: Annotated[tuple[Name, ...], Once] = Field(
        (), description="names of other models of the run, evaluated before, with which the model is compared in pairs"
    )
    difference: Literal["bootstrap", "delong"] = Field(
        "bootstrap",
        description=(
            "interval of the AUC of one model over another's: users resampled for both at once, or DeLong's formula, which takes rows as independent"
        ),
    )

    @model_validator(mode="after")
    def _can_be_computed(self) -> EvaluateSettings:
        for name in ("bucket_edges", "history_edges", "user_edges"):
            edges = getattr(self, name)
            if edges[:1] != (0,) or any(right <= left for left, right in zip(edges, edges[1:], strict=False)):
                raise ValueError(f"{name} must start at 0 and rise. Received: {list(edges)}")
        if self.bootstrap == 1:
            raise ValueError("bootstrap must be 0 or at least 2, to have a spread. Received: 1")
        return self


class ServeSettings(Section):
    """The exported model, as TF Serving loads it."""

    base: str | None = Field(None, description="folder of the exported models, <base>/<model>/<version>; null: <run>/exports")
    model: Name | None = Field(None, description="name under which the model is served; null: that of model.name")
    table_dtype: Literal["stored", "float16", "float32", "int8"] = Field(
        "stored", description="how the item tables lie in the export; stored: as they were written; int8: a scale a row"
    )
    max_candidates: PositiveInt = Field(1000, description="most candidates of a request; longer ones are answered with 400")
    pad_id: int = Field(-1, description="item id that stands for no item where ids are integers; string ids have the empty string")
    keep: PositiveInt = Field(3, description="versions that stay, besides those that are pinned or served")
    server_config: str | None = Field(
        None, description="the server's model.config: versions that its labels or policies name stay; null: <base>/model.config, if it is there"
    )
    status: str | None = Field(
        None, description="URL of the model's status at its server, http://host:8501/v1/models/<name>: versions that it serves stay"
    )
    url: str | None = Field(
        None, description="the running server, http://host:8501: a daily update counts as published when it answers from the new version there"
    )
    requests: PositiveInt = Field(4, description="requests of the test split that become the warm-up and the golden answers")
    warmup_batches: tuple[PositiveInt, ...] = Field(
        (1,), min_length=1, description="requests at once in the warm-up: the batch sizes that clients send, or the server's allowed ones"
    )
    check_requests: PositiveInt = Field(
        2000, description="requests of the valid split on which the exported tables are compared with the trained ones"
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("url must be http://host:port or https://host:port")
        return value


class ReportSettings(Section):
    """How a person is shown an embedding table."""

    category: str | None = Field(
        None, description="item field that colours the map and is compared between neighbours; default: the first item field"
    )
    items: PositiveInt = Field(24, description="items on the sheet of neighbours")
    neighbours: PositiveInt = Field(8, description="nearest items beside each of them")
    sample: Annotated[int, Field(ge=2)] = Field(2000, description="items on the map and behind the figures")
    map: Literal["tsne", "pca"] = Field(
        "tsne", description="how the vectors become two-dimensional: tsne keeps who is near whom, pca what is far apart"
    )


class BeamSettings(Section):
    """Where batch jobs run."""

    runner: str = Field(
        "FnApiRunner", description="FnApiRunner (in this process), or any Beam runner name: FlinkRunner, SparkRunner, DataflowRunner, PortableRunner"
    )
    options: tuple[str, ...] = Field((), description="further Beam pipeline options, such as --region=europe-west1")
    batch_rows: PositiveInt = Field(131072, description="log rows in one columnar batch")
    timeout: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds after which a job on a remote runner is cancelled and reported")
