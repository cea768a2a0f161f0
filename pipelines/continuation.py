"""Trainings that go on: from a shorter one of the same settings, or from an earlier one on other data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ppm_tf.config import TrainSettings
from ppm_tf.models.provenance import require_optimizer
from ppm_tf.workspace import Recipe, Workspace, changed_inputs, fingerprint

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
    alike = made["inputs"].keys() == recipe.inputs.keys() and not changed_inputs(made, recipe.inputs) and made["parents"] == recipe.parents
    if alike and {key for key, _, _ in workspace.other_settings(artifact, recipe)} <= length:
        logger.info("%s was trained for less with the same settings: going on from its step %d, where the rate began to fall", artifact, step)
        training.take_up(workspace.path(artifact), work)
    return work


def without_unused(section: dict[str, Any], train: dict[str, Any]) -> None:
    """Takes out of a recipe's settings what has no effect on how a training goes on, so that what was made without them stays as it is.

    Args:
        section: the plain settings `ppm` or `model`, changed in place.
        train: those of its training, the same.
    """
    if not section["warm_start"]:
        section["warm_start_optimizer"] = False
    if section.get("warm_start_ppm") != "average":
        section.pop("warm_start_ppm_share", None)
    for settings, name in ((section, "warm_start_optimizer"), (train, "keep_optimizer")):
        if not settings.get(name):
            settings.pop(name, None)


def files_of(start: str | None) -> dict[str, str]:
    """Fingerprints of the files of an earlier artifact that a training goes on from."""
    return fingerprint(sorted(Path(start).glob("*.*"))) if start else {}


def check_start(start: str | None, with_optimizer: bool, section: str) -> None:
    """Refuses an earlier artifact without the state of its optimiser, where that is to go on; nothing is looked at where it does not exist.

    Raises:
        ValueError: it holds none.
    """
    if start and with_optimizer and Path(start).is_dir():
        require_optimizer(start, section)
