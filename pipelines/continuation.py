"""Trainings that go on from a shorter one of the same settings."""

from __future__ import annotations

import logging
from pathlib import Path

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
    step = training.step_of_trunk(workspace.path(artifact))
    if step is None or step > training.RiseHoldFall.of(settings, records).falls_from:
        return work
    made, length = workspace.made_by(artifact), {f"{section}.{name}" for name in _LENGTH}
    alike = made["inputs"] == recipe.inputs and made["parents"] == recipe.parents
    if alike and {key for key, _, _ in workspace.other_settings(artifact, recipe)} <= length:
        logger.info("%s was trained for less with the same settings: going on from its step %d, where the rate began to fall", artifact, step)
        training.take_up(workspace.path(artifact), work)
    return work
