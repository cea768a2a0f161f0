"""Early stopping, whose state a checkpoint holds."""

from __future__ import annotations

import math

import tensorflow as tf


class Stopping:
    """Early stopping whose state lies in variables, so that a checkpoint holds it."""

    def __init__(self, minimize: bool = False):
        self._sign = -1.0 if minimize else 1.0
        self._validated = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(-math.inf, dtype=tf.float64, trainable=False)
        self._misses = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.variables = [self._validated, self._best_step, self._best, self._misses]

    validated = property(lambda self: int(self._validated))
    best_step = property(lambda self: int(self._best_step))
    best = property(lambda self: self._sign * float(self._best))
    misses = property(lambda self: int(self._misses))

    def look(self, step: int, value: float) -> bool:
        """Notes a validation, a finite figure; returns whether it is the best so far."""
        self._validated.assign(step)
        value = self._sign * value
        better = value > float(self._best)
        if better:
            self._best_step.assign(step)
            self._best.assign(value)
        self._misses.assign(0 if better else self.misses + 1)
        return better

    def forgive(self) -> None:
        """Counts the misses from here on."""
        self._misses.assign(0)
