"""The start of an encoder's projection: the main directions of a sample."""

from __future__ import annotations

import numpy as np


def fit_projection(vectors: np.ndarray, dim: int) -> list[np.ndarray]:
    """Kernel `[D, dim]` and bias `[dim]` that centre vectors `[B, D]` and turn them to their main directions (PCA).

    With fewer vectors than `dim` the last directions are zero.
    """
    from sklearn.decomposition import PCA

    rank = min(dim, *vectors.shape)
    fitted = PCA(rank, random_state=0).fit(np.asarray(vectors, np.float64))
    kernel = np.zeros((vectors.shape[1], dim), np.float32)
    kernel[:, :rank] = fitted.components_.T
    return [kernel, (-fitted.mean_ @ kernel).astype(np.float32)]
