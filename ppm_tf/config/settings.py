"""`Config`: all settings of a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ppm_tf.config.capacity import CapacitySettings
from ppm_tf.config.daily import GateSettings, UpdateSettings
from ppm_tf.config.data import Data, SyntheticData
from ppm_tf.config.encoders import EmbedSettings, ImageSettings, TextSettings
from ppm_tf.config.fits import PPMFitSettings
from ppm_tf.config.models import ModelSettings, PPMSettings, RankerFitSettings
from ppm_tf.config.online import OnlineSettings
from ppm_tf.config.outcomes import BeamSettings, EvaluateSettings, ReportSettings, ServeSettings
from ppm_tf.config.section import Section, places_of
from ppm_tf.config.simulate import SimulateSettings
from ppm_tf.config.text_models import TextModelSettings


class Config(Section):
    """All settings of a run."""

    run: str = Field("runs/shop", description="folder that holds every artifact of the run, or its URL on shared storage (docs/shared_storage.md)")
    keep_replaced: Annotated[int, Field(ge=0)] = Field(
        1, description="how many replaced versions of each encoder, PPM and ranking model stay in <run>/.state/replaced"
    )
    seed: int = Field(1, description="seed of initial weights, order of samples and dropout")
    day: date | None = Field(
        None, description="prepare: the day of the log, such as 2026-11-20 (UTC), up to which days are prepared one by one; null: the log as a whole"
    )
    data: Data = Field(default_factory=SyntheticData, description="where items, users and the log come from")
    text: TextSettings = Field(TextSettings(), description="the text encoder")
    image: ImageSettings = Field(ImageSettings(), description="the image encoder")
    embed: EmbedSettings = Field(EmbedSettings(), description="the embedding tables")
    ppm: PPMSettings = Field(PPMSettings(), description="the pre-trained plug-in model")
    train: PPMFitSettings = Field(PPMFitSettings(), description="the training of PPM")
    model: ModelSettings = Field(default_factory=ModelSettings, description="the ranking model")
    rounds: Annotated[int, Field(ge=1)] = Field(3, description="alternate: rounds of alignment and training at most")
    evaluate: EvaluateSettings = Field(EvaluateSettings(), description="metrics and intervals")
    serve: ServeSettings = Field(ServeSettings(), description="the exported model")
    update: UpdateSettings = Field(UpdateSettings(), description="the update of a day")
    gate: GateSettings = Field(GateSettings(), description="what a new version must meet")
    report: ReportSettings = Field(ReportSettings(), description="the look at a table")
    online: OnlineSettings = Field(OnlineSettings(), description="the report of an online experiment")
    capacity: CapacitySettings = Field(CapacitySettings(), description="what a catalog and its traffic take")
    simulate: SimulateSettings = Field(SimulateSettings(), description="a simulated month of the embedded shop")
    beam: BeamSettings = Field(BeamSettings(), description="where batch jobs run")

    @property
    def has_queries(self) -> bool:
        """Whether the data source offers search queries with clicked items."""
        return self.data.source == "synthetic" or getattr(self.data, "queries", None) is not None

    @property
    def has_log(self) -> bool:
        """Whether the data source has an interaction log, and so requests to learn from."""
        return getattr(self.data, "log", True) is not None

    @property
    def ranking_seed(self) -> int:
        """Seed of the ranking model."""
        return self.seed if self.model.seed is None else self.model.seed

    @property
    def ranking_fit(self) -> RankerFitSettings:
        """The training of the ranking model, at the learning rate of a model that reads text where it is one."""
        backbone, fit = self.model.backbone, self.model.train
        if not isinstance(backbone, TextModelSettings):
            return fit
        rate = backbone.learning_rate or (1e-3 if self.text.encoder == "small_bert" else 5e-5)
        return fit.model_copy(update={"learning_rate": rate, "final_learning_rate": rate / 20})

    @property
    def ranking_places(self) -> Callable[[str], str]:
        """Says where a setting of the ranking model's training is; a model that reads text has a learning rate in `model.backbone`."""
        return places_of(self, "model.backbone", "model.train")

    @property
    def start(self) -> str | None:
        """Folder of the ranking model that the training goes on from; `None` where it begins anew."""
        if self.model.warm_start != "interactions":
            return self.model.warm_start
        return str(Path(self.run) / self.interactions)

    @property
    def interactions(self) -> str:
        """The artifact that is a ranking model aligned with the texts of its interactions (CTRL)."""
        return f"interactions/{self.model.backbone.name}"

    @property
    def ppm_splits(self) -> tuple[str, ...]:
        """The sample splits that PPM is trained on; see `ppm.splits`."""
        return self.ppm.splits or self._apart

    @property
    def align_splits(self) -> tuple[str, ...]:
        """The sample splits that the ids which texts are aligned with are learnt from; see `text.align.splits`."""
        return self.text.align.splits or self._apart

    @property
    def _apart(self) -> tuple[str, ...]:
        """The splits for what a ranking model reads and should have learnt from other labels than its own, where the data allows it."""
        return ("pretrain",) if self.data.split.pretrain else ("train",)

    @property
    def scored_together(self) -> int:
        """Requests that the ranking model scores at once; one that reads text, with a prompt a candidate, no more than it trains on."""
        most = self.evaluate.batch_size
        return min(most, self.model.train.batch_size) if self.model.reads_text else most

    @property
    def ranking_tables(self) -> tuple[str, ...]:
        """The item tables that the ranking model reads: its own, and PPM's where it is plugged in."""
        return tuple(dict.fromkeys((*self.model.tables, *(self.ppm.tables if self.model.ppm != "none" else ()))))

    @property
    def text_training(self) -> tuple[str, ...]:
        """The trainings of the text encoder, in their order; see `text.training`."""
        if self.text.training is not None:
            return tuple(name for name in ("adapt", "finetune") if name in self.text.training)
        if self.text.encoder != "small_bert":
            return ()
        return ("finetune",) if self.has_queries else ("adapt",)
