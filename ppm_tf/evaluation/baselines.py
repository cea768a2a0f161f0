"""What a ranking model is measured beside: the item's mean rate, its popularity and, on simulated data, the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.evaluation.scores import Scores


def baselines(
    scores: Scores, exposures: ArrayLike, positives: ArrayLike, prior_strength: float = 20.0, content: Scores | None = None
) -> dict[str, Scores]:
    """The same candidates under trivial models; a ranking model has to beat all but the last, and cannot beat that.

    - `item_mean`: the item's smoothed train rate, `(positives + s * base) / (exposures + s)`, where base is the rate over all items and s
      the `prior_strength`; an item never seen gets the base rate.
    - `popularity`: the item's positives in the training data; no probability.
    - `content`, where it is given: see `ContentBaseline`; what any model of texts and images has to beat.
    - `bayes`: the true probabilities, where the data is simulated: the best that any model can do.

    Args:
        scores: the candidates; the tasks scored there are scored here.
        exposures: `[V]`, times each item row was a candidate in the training data.
        positives: `[V, K]`, positive labels of each item row in the training data.
        prior_strength: float. Exposures that the base rate counts for. Defaults to 20.
        content: the same candidates, in the same order, under `ContentBaseline`.
    """
    num_tasks, exposures = scores.scores.shape[1], np.asarray(exposures, dtype=np.float64)[:, None]
    positives = np.asarray(positives, dtype=np.float64)[:, :num_tasks]
    if exposures.sum() <= 0 or prior_strength <= 0:
        raise ValueError(f"Baselines need training data and a positive prior_strength. Received: {exposures.sum():g} exposures, {prior_strength}.")
    base_rate = positives.sum(axis=0) / exposures.sum()
    rate = (positives + prior_strength * base_rate) / (exposures + prior_strength)
    result = {
        "item_mean": replace(scores, scores=rate[scores.item_row], probability=True),
        "popularity": replace(scores, scores=positives[scores.item_row], probability=False),
    }
    if content is not None:
        result["content"] = replace(scores, scores=content.scores[:, :num_tasks], probability=True)
    if scores.truth is not None:
        result["bayes"] = replace(scores, scores=scores.truth[:, :num_tasks], probability=True)
    return result
