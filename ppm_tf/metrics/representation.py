"""How good a space of vectors is: alignment of pairs that belong together, uniformity over the sphere."""

from __future__ import annotations

import numpy as np


def alignment(left, right) -> float:
    """Mean squared distance of normalised vectors that belong together; 0 is best.

    `E |f(x) / |f(x)| - f(y) / |f(y)||^2`

    Args:
        left: float array `[B, D]`.
        right: float array `[B, D]`; row i belongs to row i of `left`.

    Example:

    >>> alignment([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]])
    2.0

    References:
        Wang and Isola, *Understanding Contrastive Representation Learning through Alignment and Uniformity*, 2020.
    """
    difference = _unit(left) - _unit(right)
    return float(np.mean(np.sum(difference * difference, axis=1)))


def uniformity(vectors, scale: float = 2.0) -> float:
    """Logarithm of the mean Gaussian potential of normalised vectors; 0 where all coincide, lower is more uniform.

    `log E exp(-scale |f(x) - f(y)|^2)` over all pairs of different rows.

    Args:
        vectors: float array `[B, D]`, at least two rows.
        scale: the Gaussian's inverse width, t in the paper.

    Example:

    >>> uniformity([[1.0, 0.0], [3.0, 0.0]])
    0.0
    """
    unit = _unit(vectors)
    if len(unit) < 2:
        raise ValueError(f"uniformity needs at least two vectors. Received: {len(unit)}.")
    potential, count = 0.0, len(unit)
    for start in range(0, count, 1024):
        distances = 2.0 - 2.0 * (unit[start : start + 1024] @ unit.T)
        potential += float(np.exp(-scale * distances).sum())
    potential = (potential - count) / (count * (count - 1))  # without each row's pair with itself
    return float(min(np.log(max(potential, 1e-300)), 0.0)) + 0.0


def _unit(vectors) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
