"""Daily life: what an update of a day does, and the gate that a new version must pass before it is published."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ppm_tf.config.section import Once, PositiveInt, Section, Share

Days = Annotated[int, Field(ge=0)]
SliceName = Literal["all", "never_seen", "new_users", "no_history"]
ByTask = float | dict[str, float]
_BY_TASK = "one number, or {task: number}; a task that is not named has none"
_MIN_REASON = 15  # characters of gate.override behind its day


def _rises(band: tuple[float, float] | None) -> tuple[float, float] | None:
    if band is not None and not 0 <= band[0] < band[1]:
        raise ValueError(f"a band is [least, most], from 0 on and rising. Received: {list(band)}")
    return band


Band = Annotated[tuple[float, float] | None, AfterValidator(_rises)]


class GateSettings(Section):
    """What a new version must meet on the newest rows before it is published; a bound that is null is off."""

    # === How the newest rows are judged ===
    slices: Annotated[tuple[SliceName, ...], Once] = Field(
        ("all", "never_seen", "new_users"),
        min_length=1,
        description=(
            "rows on which each task is judged: all; never_seen: items that the version's training does not hold; new_users: users that it does not"
            " hold; no_history: requests without a behavior"
        ),
    )
    min_rows: PositiveInt = Field(1000, description="rows with a label below which a slice is reported and not judged")
    min_positives: PositiveInt = Field(100, description="positive labels, and negative ones, below which a slice is reported and not judged")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="level of the intervals")
    resamples: Annotated[int, Field(ge=2)] = Field(200, description="bootstrap resamples (of users, for both models at once) behind each interval")
    difference: Literal["bootstrap", "delong"] = Field(
        "bootstrap", description="interval of a change of AUC: users resampled, or DeLong's formula, which takes rows as independent"
    )
    decide_by: Literal["low", "value", "high"] = Field(
        "high",
        description=(
            "which end of the paired interval a change must meet the bound with: high, the better end: refused only where it is surely worse; value:"
            " the figure itself; low, the worse end: surely not worse, which takes rows enough for an interval narrower than the bound"
        ),
    )
    calibration_by: Literal["interval", "value"] = Field(
        "interval", description="calibration is refused where its whole interval lies outside the band, or where the figure itself does"
    )
    # === The new version, on its own ===
    min_auc: ByTask | None = Field(0.52, description=f"least AUC on all rows; {_BY_TASK}. Set it just below what yours reaches")
    min_auc_of_slices: ByTask | None = Field(None, description=f"least AUC on each other slice; {_BY_TASK}")
    calibration: Band = Field((0.95, 1.05), description="predicted / observed positives on all rows")
    calibration_of_slices: Band = Field((0.9, 1.1), description="predicted / observed positives on each other slice")
    max_nan_share: Share | None = Field(0.0, description="largest share of scores that are no number")
    # === Against the live model, on the same rows ===
    min_auc_change: ByTask | None = Field(
        -0.002, description=f"least change of AUC on all rows; {_BY_TASK}. -0.002 is what TorchEasyRec allows a retraining (its own tests)"
    )
    min_auc_change_of_slices: ByTask | None = Field(
        -0.01, description=f"least change of AUC on each other slice; {_BY_TASK}. Wider: a slice of a 25th of the rows has five times the interval"
    )
    max_log_loss_change: ByTask | None = Field(
        0.01, description=f"largest rise of the log loss on all rows, as a share of the live model's; {_BY_TASK}"
    )
    max_log_loss_change_of_slices: ByTask | None = Field(0.03, description=f"largest rise of the log loss on each other slice, likewise; {_BY_TASK}")
    max_psi: Annotated[float, Field(gt=0)] | None = Field(
        0.25, description="largest population stability index of a task's scores; by convention above .1 is a shift, above .25 a large one"
    )
    max_js: Annotated[float, Field(gt=0)] | None = Field(
        None, description="largest Jensen-Shannon divergence of a task's scores, in bits, from 0 to 1; another measure of the same drift"
    )
    drift_bins: Annotated[int, Field(ge=2)] = Field(20, description="bins of the scores, quantiles of the live model's, for both measures of drift")
    max_golden_change: Annotated[float, Field(gt=0, le=1)] | None = Field(
        0.3, description="largest change of a probability of the golden requests (the fixed requests inside an export)"
    )
    # === The live model, on the newest rows: whether the day can be believed ===
    min_live_auc: ByTask | None = Field(
        0.51,
        description=(
            f"what the lower end of the live model's AUC must reach: where it may be chance, labels do not belong to their rows; {_BY_TASK}"
        ),
    )
    max_live_drop: Annotated[float, Field(gt=0)] | None = Field(
        0.05, description="how far the live model's AUC may fall below its median over the days before"
    )
    # === The day's data, before anything is trained on it ===
    days_before: PositiveInt = Field(7, description="how many published days before are compared with")
    label_rate: Band = Field((0.67, 1.5), description="positives a label of each task, over their median of the days before")
    day_rows: Band = Field((0.3, 3.0), description="log rows of the day, over their median of the days before")
    max_outside_day: Share | None = Field(0.01, description="largest share of log rows whose time lies outside the day: a wrong unit or another day")
    max_repeated: Share | None = Field(0.1, description="largest share of log rows that repeat another row: a part that was delivered twice")
    max_rejected: Share | None = Field(0.05, description="largest share of log rows that are set aside as unreadable")
    max_unknown_items: Share | None = Field(0.2, description="largest share of shown items that the catalog does not hold")
    max_unknown_users: Share | None = Field(None, description="largest share of requests by users of whom nothing is known")
    max_missing_text: Share | None = Field(0.5, description="largest share of shown items without a text; not judged where no item has one")
    max_missing_image: Share | None = Field(None, description="largest share of shown items without an image; not judged where no item has one")
    max_rise: Share | None = Field(
        0.2, description="how far each of these four shares, and that of the rejected rows, may lie above its median of the days before"
    )
    # === The item tables, against those of the live version ===
    table_cosine: Annotated[float, Field(gt=-1, lt=1)] = Field(0.9, description="a vector has moved where its cosine with the earlier one is below")
    max_moved: Share | None = Field(
        0.5, description="largest share of earlier items whose vector has moved; not judged of a table whose encoder was trained anew"
    )
    table_norm: Band = Field((0.8, 1.25), description="mean norm of a table's vectors, over the earlier one; not judged likewise")
    # === By hand ===
    override: str | None = Field(
        None,
        description=(
            "'<day>: <reason>' publishes that day's version whatever the gate finds, as after a change of the schema; the reason is recorded in the"
            " verdict, the manifest and the card"
        ),
    )

    @model_validator(mode="after")
    def _judges(self) -> GateSettings:
        if all(getattr(self, name) is None or getattr(self, name) == {} for name in MODEL_BOUNDS):
            raise ValueError(
                f"a gate without a bound on the model would pass anything: none of {', '.join(MODEL_BOUNDS)} is set. Remedy: set one, or leave them"
                " as they are by default"
            )
        if self.override is not None and not re.fullmatch(rf"\d{{4}}-\d\d-\d\d: *\S.{{{_MIN_REASON - 1},}}", self.override, re.DOTALL):
            raise ValueError(
                f"override must be '<day>: <reason>', the day of the update, YYYY-MM-DD, and a reason of {_MIN_REASON} characters or more, so that it"
                " passes no other day"
            )
        return self


# A gate must have one of these; the others judge data, not the model.
MODEL_BOUNDS = (
    "min_auc", "min_auc_of_slices", "min_auc_change", "min_auc_change_of_slices", "max_log_loss_change", "max_log_loss_change_of_slices",
    "calibration", "calibration_of_slices",
)  # fmt: skip


class CadenceSettings(Section):
    """Every how many days a part that is not trained daily is trained anew; 0: never."""

    adapt: Days = Field(0, description="the text encoder's adaptation to the texts (DAP); CELA: weekly, 7")
    finetune: Days = Field(0, description="the encoders' fine-tuning on queries and entities (PPM: QM and EP)")
    align: Days = Field(0, description="the alignment of texts with ids (ROMA); CELA: daily, 1")
    embed: Days = Field(0, description="all vectors of the tables; those of new and changed items are made every day")


class UpdateSettings(Section):
    """The update of a day: what it trains on, keeps and checks."""

    held_out_hours: Annotated[float, Field(gt=0, lt=24)] = Field(
        3.0, description="newest hours of the newest day, on which the new version is judged before anything is trained on them"
    )
    start_days: Annotated[int, Field(ge=2)] = Field(
        7, description="days that the first update, and one from scratch, trains on: the older half is PPM's, the newer the ranking model's"
    )
    ppm: Literal["replace", "keep", "average"] = Field(
        "replace",
        description="what becomes of PPM inside the ranking model: the newest takes its place (as in the paper), it stays, or both are averaged",
    )
    learning_rate_share: Annotated[float, Field(gt=0)] = Field(
        0.5, description="learning rate of PPM and of the ranking model in a day's pass, in multiples of their own; it neither rises nor falls"
    )
    missing_days: Literal["wait", "pass_over"] = Field(
        "wait", description="a day without files before one that has them: wait for it, or go on without it, which cannot be undone"
    )
    cadence: CadenceSettings = Field(CadenceSettings(), description="what is trained anew every so many days")
    keep_days: PositiveInt = Field(30, description="newest prepared days, and updates, that stay on disk; never fewer than an update needs")
    live_seconds: Annotated[float, Field(gt=0)] = Field(
        60.0, description="seconds in which the server of serve.url must answer from a new version; otherwise it is rolled back"
    )

    @model_validator(mode="after")
    def _keeps_enough(self) -> UpdateSettings:
        if self.keep_days < self.start_days + 2:
            raise ValueError(
                f"keep_days must be at least start_days + 2, what an update from scratch reads. Received: keep_days {self.keep_days} and start_days"
                f" {self.start_days}"
            )
        return self
