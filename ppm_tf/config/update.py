"""How a run lives from day to day."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ppm_tf.config.section import Section


class UpdateSettings(Section):
    """The daily update of a run."""

    held_out_hours: Annotated[float, Field(gt=0, lt=24)] = Field(
        3.0, description="newest hours of a day of the log on which models are judged before they are trained on them; the day's tail"
    )
