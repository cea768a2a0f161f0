"""The learning rate over a training: it rises, holds, and falls at the end."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from keras import ops

from ppm_tf.config import FitSettings


class RiseHoldFall(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly from zero, holds, and falls linearly to the end of the training.

    Nothing before the fall depends on the length of the training, so that one that is to be longer goes on from where the last one
    began to fall. Without a hold (`falls_from` = `rise`) it is the linear decay of PPM, section 4.2.3.

    Where the training stops improving before `falls_from`, the fall can begin at once: `fall_now`. That is kept in `variables`, which
    a checkpoint holds.

    Args:
        learning_rate: float. What is held.
        final_learning_rate: float. The rate after the last step.
        rise: int. Steps of the rise.
        falls_from: int. Step at which the fall begins.
        steps: int. Steps of the training, at which it ends.

    Example:

    >>> schedule = RiseHoldFall(1.0, 0.0, rise=2, falls_from=4, steps=8)
    >>> [round(float(schedule(step)), 2) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]

    References:
        [Hägele et al., 2024](https://arxiv.org/abs/2405.18392): constant learning rate and cooldown.
    """

    def __init__(self, learning_rate, final_learning_rate, rise, falls_from, steps):
        super().__init__()
        self.learning_rate = learning_rate
        self.final_learning_rate = final_learning_rate
        self.rise = rise
        self.falls_from = max(falls_from, rise)
        self.steps = steps
        # Where the fall began early, and where it ends then; -1 = it did not. Plain variables: Keras' own would count as the optimiser's.
        self._early = tf.Variable([-1, -1], dtype=tf.int64, trainable=False)
        self.begins = 0  # steps that the optimiser had taken in earlier trainings, which it counts on
        self.variables = [self._early]

    @classmethod
    def of(cls, settings: FitSettings, records: int) -> RiseHoldFall:
        """The schedule of a training over `records` examples a pass, as the settings want it."""
        steps = total_steps(settings, records)
        rise = min(round(settings.warmup * records / settings.batch_size), steps)
        return cls(settings.learning_rate, settings.final_learning_rate, rise, steps - round(settings.cooldown * steps), steps)

    @property
    def falling_from(self) -> int:
        """The step at which the fall begins or began."""
        return int(self._early[0]) if int(self._early[0]) >= 0 else self.falls_from

    @property
    def ends(self) -> int:
        """The step at which the rate has fallen, and the training ends."""
        return int(self._early[1]) if int(self._early[0]) >= 0 else self.steps

    @property
    def falls(self) -> bool:
        """Whether it is to fall at all, before the training ends."""
        return self.falls_from < self.steps

    @property
    def holds(self) -> bool:
        """Whether there are steps at the full rate between rise and fall."""
        return self.falls_from > self.rise

    def fall_now(self, step: int) -> None:
        """Lets the fall begin at `step`, for the same share of all steps as the planned one."""
        share = (self.steps - self.falls_from) / max(self.falls_from, 1)
        self._early.assign([step, min(step + max(round(share * step), 1), self.steps)])

    def __call__(self, step):
        step = ops.cast(step - self.begins, "float32")
        early = ops.cast(self._early, "float32")
        start = ops.where(early[0] >= 0, early[0], float(self.falls_from))
        end = ops.where(early[0] >= 0, early[1], float(self.steps))
        fallen = ops.clip((step - start) / ops.maximum(end - start, 1.0), 0.0, 1.0)
        rate = self.learning_rate + (self.final_learning_rate - self.learning_rate) * fallen
        return rate * ops.minimum((step + 1.0) / self.rise, 1.0) if self.rise else rate

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "final_learning_rate": self.final_learning_rate,
            "rise": self.rise,
            "falls_from": self.falls_from,
            "steps": self.steps,
        }


def total_steps(settings: FitSettings, records: int) -> int:
    """Steps of a training over `records` examples a pass, where nothing stops it before."""
    steps = math.ceil(records * settings.epochs / settings.batch_size)
    return min(steps, settings.max_step or steps)


def steps_between_looks(settings: FitSettings, records: int) -> int:
    """Steps between two looks at the validation part: by default a quarter of a pass, whatever the number of passes."""
    return settings.validate_every or math.ceil(records / settings.batch_size / 4)
