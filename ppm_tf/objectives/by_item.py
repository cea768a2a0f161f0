"""`ItemObjective`: what trainings over a catalog's items have in common."""

from __future__ import annotations

import keras
import tensorflow as tf


class ItemObjective(keras.Model):
    """An objective whose batches hold `"row"` `[B]`, the catalog rows of their items."""

    @staticmethod
    def weight(batch):
        """Items of a batch."""
        return tf.shape(batch["row"])[0]

    @staticmethod
    def identify(batch, outputs):
        """Catalog rows of the batch's items."""
        return batch["row"]
