"""`Predictor`: a model's probabilities over batches, with one graph for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

AS_SERVED = "-as-served"  # behind a model's name: the same weights on candidates without a display position


def without_slots(batch: dict) -> dict:
    """A batch as a server meets it: its page is not laid out yet, so no candidate has a display position."""
    return {name: value for name, value in batch.items() if name != "slot"}


class Predictor:
    """Runs a model over a dataset of batches.

    Args:
        model: `model(batch, training=False)` gives logits `[R, N, K]`.
        dataset: batches of requests; the last one may be smaller.
    """

    def __init__(self, model: keras.Model, dataset: tf.data.Dataset):
        self.dataset = dataset
        self._probabilities = tf.function(
            lambda batch: tf.sigmoid(tf.cast(model(batch, training=False), tf.float32)), input_signature=[dataset.element_spec]
        )

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """Yields each batch as arrays and its probabilities `[R, N, K]`."""
        for batch in self.dataset:
            probabilities = self._probabilities(batch)
            yield {name: value.numpy() for name, value in batch.items()}, probabilities.numpy()
