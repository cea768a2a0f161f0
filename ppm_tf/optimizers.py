"""Optimisers: Adam or AdamW whose learning rate rises for a while and then falls linearly, for dense weights."""

from __future__ import annotations

import keras


def dense_optimizer(learning_rate: float, final_learning_rate: float, steps: int, weight_decay: float = 0.0, warmup: float = 0.0) -> keras.optimizers.Optimizer:
    """Adam from `learning_rate` to `final_learning_rate`, linearly over `steps` (PPM, section 4.2.3: 0.0004 to 0.0001).

    In the first share `warmup` of the steps the rate rises from zero. With `weight_decay` it is AdamW; biases, norms and
    embeddings are not decayed.
    """
    rising = round(warmup * steps)
    falling = keras.optimizers.schedules.PolynomialDecay(learning_rate, decay_steps=max(steps - rising, 1), end_learning_rate=final_learning_rate)
    schedule = RisingFirst(falling, learning_rate, rising) if rising else falling
    if not weight_decay:
        return keras.optimizers.Adam(schedule)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "positions", "recencies", "slots", "no_more", "missing", "embedding"])
    return optimizer


class RisingFirst(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly from zero over `steps`, and then follows another schedule from its start.

    Args:
        after: the schedule that follows.
        learning_rate: float. Where the rise ends.
        steps: int. Steps of the rise.

    Example:

    >>> schedule = RisingFirst(keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0), 1.0, 4)
    >>> [round(float(schedule(step)), 2) for step in (0, 1, 3, 4, 9)]
    [0.25, 0.5, 1.0, 1.0, 0.5]
    """

    def __init__(self, after, learning_rate, steps):
        super().__init__()
        self.after = after
        self.learning_rate = learning_rate
        self.steps = steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rising = self.learning_rate * (step + 1.0) / self.steps
        return keras.ops.where(step < self.steps, rising, self.after(keras.ops.maximum(step - self.steps, 0.0)))

    def get_config(self):
        return {"after": keras.optimizers.schedules.serialize(self.after), "learning_rate": self.learning_rate, "steps": self.steps}
