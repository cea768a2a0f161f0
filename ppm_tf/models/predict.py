"""`Predictor`: a model's probabilities over batches, with one graph for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf


class Predictor:
    """Runs a model over a dataset of batches.

    Args:
        model: `model(batch, training=False)` gives logits `[R, N, K]`.
        dataset: batches of requests; the last one may be smaller.
    """

    def __init__(self, model: keras.Model, dataset: tf.data.Dataset):
        self.dataset = dataset
        self._probabilities = tf.function(lambda batch: tf.sigmoid(tf.cast(model(batch, training=False), tf.float32)), input_signature=[dataset.element_spec])

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """Yields each batch as arrays and its probabilities `[R, N, K]`."""
        for batch in self.dataset:
            probabilities = self._probabilities(batch)
            yield {name: value.numpy() for name, value in batch.items()}, probabilities.numpy()
