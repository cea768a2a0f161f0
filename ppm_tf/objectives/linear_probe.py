"""How much of a set of classes frozen vectors tell: a linear classifier fitted on them."""

from __future__ import annotations

import warnings

import numpy as np


def linear_probe(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, num_classes: int) -> np.ndarray:
    """Fits logistic regression on standardised vectors and scores other vectors.

    Args:
        vectors: float `[n, D]`.
        labels: int `[n]`, class numbers, at least two different ones.
        others: float `[m, D]`.
        num_classes: classes to score.

    Returns:
        Log probabilities `[m, num_classes]`; minus infinity for a class that is not among `labels`.

    References:
        Alain and Bengio, *Understanding intermediate layers using linear classifier probes*, 2016.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits do not matter here
        probe.fit(vectors, labels)
    scores = np.full((len(others), num_classes), -np.inf)
    scores[:, probe.classes_] = probe.predict_log_proba(others)
    return scores


def probe_sample(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Places of at most about `most` labels, each class at least once, drawn at random and in rising order."""
    if len(labels) <= most:
        return np.arange(len(labels))
    drawn = np.random.default_rng(seed).choice(len(labels), most, replace=False)
    return np.union1d(drawn, np.unique(labels, return_index=True)[1])
