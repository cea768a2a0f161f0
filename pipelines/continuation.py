"""Trainings that go on from a shorter one of the same settings."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ppm_tf.config import TrainSettings
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)

_LENGTH = ("epochs", "max_step", "cooldown", "continuable")  # nothing before the fall depends on these


def work_of(artifact: str, section: str, settings: TrainSettings, records: int, workspace: Workspace, recipe: Recipe) -> Path:
    """The working folder of a training; an empty one takes up the trunk of the artifact that is there, where that was made by the same
    recipe but for the length of its training, and the new one is no shorter.

    Args:
        artifact: what is trained, such as `"ppm"`.
        section: its settings in the recipe, such as `"train"`, or `"model.train"`.
        settings: the same, as they are now.
        records: examples a pass.
        workspace: the run.
        recipe: of the artifact that is to be made.
    """
    from ppm_tf import training

    work = workspace.work(artifact, recipe)
    if (work / training.TRUNK).exists() or (work / "checkpoints").exists() or not workspace.exists(artifact):
        return work
    made, step = workspace.made_by(artifact), training.step_of_trunk(workspace.path(artifact))
    if step is None or step > training.RiseHoldFall.of(settings, records).falls_from:
        return work
    wanted = {"settings": recipe.settings, "inputs": recipe.inputs, "parents": recipe.parents}
    if _but_for_length({name: made[name] for name in wanted}, section) == _but_for_length(wanted, section):
        logger.info("%s was trained for less with the same settings: going on from its step %d, where the rate began to fall", artifact, step)
        training.take_up(workspace.path(artifact), work)
    return work


def _but_for_length(made: dict[str, Any], section: str) -> dict[str, Any]:
    plain = json.loads(json.dumps(made, default=str))
    settings = plain["settings"]
    for name in section.split("."):
        settings = settings[name]
    for name in _LENGTH:
        settings.pop(name, None)
    return plain
