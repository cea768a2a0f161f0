"""Ranking models as they are served, and how long they take: one way for every benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pipelines.benchmark.timing import timed

Batch = dict[str, Any]


class ServedModel(NamedTuple):
    """A ranking model as it is served.

    Attributes:
        predict: the probabilities of a batch, in a graph.
        weights: numbers in it that were trained.
        cached_values: numbers of its item tables, folded.
    """

    predict: Callable[[Batch], Any]
    weights: int
    cached_values: int


def as_served(model) -> ServedModel:
    """A model of ids with its tables folded, as `export` leaves it, so that it trains no more; one that reads texts as it is."""
    import tensorflow as tf

    weights, cached = list(model.trainable_weights), []
    if hasattr(model, "embedding"):  # one that reads texts has none
        model.embedding.fold_tables()
        ppm = model.ppm
        # What was folded is still tracked by Keras, but read no more.
        tables = {
            id(one): one for one in (*model.embedding.frozen.values(), *model.embedding.compared.values(), *(ppm.tables.values() if ppm else ()))
        }
        cached = [table.table for table in tables.values()]
        data = {id(weight) for table in tables.values() for weight in table.weights}
        weights = [table.table for table in model.embedding.id_tables().values()] + list(model.backbone.trainable_weights)
        weights += [weight for weight in (ppm.weights if ppm else ()) if id(weight) not in data]  # frozen here, and trained before
    predict = tf.function(lambda batch: tf.sigmoid(model(batch, training=False)), reduce_retracing=True)
    return ServedModel(predict, *(sum(one.shape.num_elements() for one in some) for some in (weights, cached)))


def median_wait(predict: Callable[[Batch], Any], batches: Sequence[Batch], at_least: float = 0.0) -> float:
    """Seconds that a batch takes, the median over all of them; they are scored again and again, until that has taken `at_least` so many seconds."""
    import numpy as np

    waits: list[float] = []
    while not waits or sum(waits) < at_least:
        waits += [timed(lambda batch=batch: predict(batch).numpy())[0][0] for batch in batches]
    return float(np.median(waits))
