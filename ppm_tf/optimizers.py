"""Optimisers: Adam or AdamW with a linear learning-rate decay for dense weights."""

from __future__ import annotations

import keras


def dense_optimizer(learning_rate: float, final_learning_rate: float, steps: int, weight_decay: float = 0.0) -> keras.optimizers.Optimizer:
    """Adam from `learning_rate` to `final_learning_rate`, linearly over `steps` (PPM, section 4.2.3: 0.0004 to 0.0001).

    With `weight_decay` it is AdamW; biases, norms and embeddings are not decayed.
    """
    schedule = keras.optimizers.schedules.PolynomialDecay(learning_rate, decay_steps=max(steps, 1), end_learning_rate=final_learning_rate)
    if not weight_decay:
        return keras.optimizers.Adam(schedule)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "positions", "recencies", "slots", "no_more", "missing", "embedding"])
    return optimizer
