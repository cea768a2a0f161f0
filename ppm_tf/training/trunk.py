"""The trunk of a training: its state before the learning rate fell, from which a longer one goes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import tensorflow as tf

from ppm_tf.config import TrainSettings
from ppm_tf.models.provenance import OPTIMIZER
from ppm_tf.training.log import LOG

BEST_WEIGHTS = "best.weights.h5"
BEST_OPTIMIZER = "best.optimizer.npz"  # where it is kept
TRUNK = "trunk"


class Trunk:
    """The one checkpoint in `<folder>/trunk`, and the weights that were best until then.

    Args:
        checkpoint: all that the next step depends on.
        folder: working folder of the training.
        step: its step counter.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, folder: Path, step: tf.Variable):
        self._folder = folder
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / TRUNK), max_to_keep=1)
        self._step = step

    @property
    def latest(self) -> str | None:
        """The checkpoint, or `None`."""
        return self._manager.latest_checkpoint

    def save(self) -> None:
        """Keeps the state as it is now in place of the one before."""
        for best in _best_in(self._folder):
            (self._folder / TRUNK).mkdir(exist_ok=True)
            part = self._folder / TRUNK / f"{best.name}.part"
            shutil.copy(best, part)
            os.replace(part, self._folder / TRUNK / best.name)
        self._manager.save(checkpoint_number=self._step)


def step_of_trunk(artifact: Path) -> int | None:
    """The step of the trunk that a trained artifact holds; `None` where it holds none."""
    latest = tf.train.latest_checkpoint(str(artifact / TRUNK)) if (artifact / TRUNK).is_dir() else None
    return int(latest.rpartition("-")[2]) if latest else None


def keep_trunk(work: Path, artifact: Path, settings: TrainSettings) -> None:
    """Copies the trunk of a training into its artifact, if it has one and the settings want it kept."""
    if settings.continuable and (work / TRUNK).is_dir():
        shutil.copytree(work / TRUNK, artifact / TRUNK)


def keep_best_optimizer(work: Path, artifact: Path, settings: TrainSettings) -> None:
    """Copies the optimiser's state of a training's best weights into its artifact, if the settings want it kept."""
    if settings.keep_optimizer:
        shutil.copy(work / BEST_OPTIMIZER, artifact / OPTIMIZER)


def take_up(artifact: Path, work: Path) -> None:
    """Lets the training in the empty folder `work` go on from the trunk of `artifact`."""
    shutil.copy(artifact / LOG, work / LOG)
    for best in _best_in(artifact / TRUNK):
        shutil.copy(best, work / best.name)
    shutil.copytree(artifact / TRUNK, work / f"{TRUNK}.part", dirs_exist_ok=True)
    os.replace(work / f"{TRUNK}.part", work / TRUNK)  # last: a kill before it leaves a training that begins anew


def _best_in(folder: Path) -> list[Path]:
    """The best weights in a folder, and the optimiser's state beside them."""
    return [folder / name for name in (BEST_WEIGHTS, BEST_OPTIMIZER) if (folder / name).is_file()]
