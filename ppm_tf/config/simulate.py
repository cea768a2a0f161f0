"""A simulated month: the embedded shop in a closed loop with the models that choose what it shows."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ppm_tf.config.section import PositiveInt, Section, Share


class ArmSettings(Section):
    """One of the ranking models that a month compares."""

    update: Literal["daily", "frozen"] = Field(
        "daily", description="whether it is updated every day, or stays as it was after the first days; nothing of it then, its items neither"
    )
    control: str | None = Field(None, description="name of the arm that it is compared with; null: it is a control itself")
    settings: dict[str, Any] = Field(
        {}, description="settings of its run, as in a config file, such as {model: {backbone: {name: din}, ppm: none}}; dotted names are fine"
    )

    @model_validator(mode="after")
    def _leaves_the_shop_alone(self) -> ArmSettings:
        own = sorted({key.partition(".")[0] for key in self.settings} & {"run", "data", "simulate", "online"})
        if own:
            raise ValueError(f"an arm's settings are of its model and its updates. Received: {', '.join(own)}, which all arms share")
        return self


def _arm(update: Literal["daily", "frozen"], control: str | None, **model: Any) -> ArmSettings:
    return ArmSettings(update=update, control=control, settings={"model": {"backbone": {"name": "din"}, **model}})


def folder_name(name: str) -> str:
    """The folder of an arm.

    >>> folder_name("DIN + PPM daily")
    'din-ppm-daily'
    """
    return "-".join(re.findall(r"[a-z0-9_.]+", name.lower()))


BEST, CHANCE = "best possible", "chance"  # the lines between which all arms lie

ARMS = {
    "DIN frozen": _arm("frozen", None, ppm="none"),
    "DIN daily": _arm("daily", "DIN frozen", ppm="none"),
    "DIN + PPM frozen": _arm("frozen", "DIN frozen"),
    "DIN + PPM daily": _arm("daily", "DIN daily"),
    "DIN + CELA daily": ArmSettings(
        control="DIN daily",
        settings={"model": {"backbone": {"name": "din"}, "ppm": "none", "tables": ["aligned"]}, "update": {"cadence": {"align": 7}}},
    ),
}


class SimulateSettings(Section):
    """A simulated month: arms that choose what the embedded shop shows, each with a log of its own that its updates learn from."""

    days: PositiveInt = Field(30, description="days on which the arms choose")
    start_days: Annotated[int, Field(ge=2)] = Field(
        7, description="days before, on which the shop itself chooses; all arms share them, and their first models learn from them"
    )
    pool: PositiveInt = Field(
        40, description="candidates of a request from which an arm chooses data.candidates, drawn as the shop draws what it shows"
    )
    rank_by: dict[str, float] = Field(
        {"click": 1.0}, min_length=1, description="task -> weight of its probability in the score by which candidates are ranked"
    )
    explore: Share = Field(0.1, description="share of the slots that are filled without regard to the score")
    explore_from: Literal["any", "new"] = Field(
        "any", description="what these slots show of the candidates that are left: any at random, or first those that arrived in the last three days"
    )
    arms: dict[str, ArmSettings] = Field(ARMS, min_length=1, description="name -> the arm; given, it takes the place of all of these")

    @model_validator(mode="after")
    def _go_together(self) -> SimulateSettings:
        folders: dict[str, str] = {}
        for name, arm in self.arms.items():
            folder = folder_name(name)
            if not folder or not folder[0].isalnum() or name in (BEST, CHANCE):
                raise ValueError(f"arms must have names of letters or digits, and not {BEST} or {CHANCE}. Received: {name!r}")
            if folder in folders:
                raise ValueError(f"arms must have names that differ in letters or digits, for their folders. Received: {folders[folder]} and {name}")
            folders[folder] = name
            if arm.control is not None and (arm.control not in self.arms or arm.control == name):
                raise ValueError(f"the control of {name} must be another arm ({', '.join(self.arms)}). Received: {arm.control}")
        if not any(self.rank_by.values()):
            raise ValueError(f"rank_by must give a task a weight. Received: {self.rank_by}")
        return self
