"""Vectors whose inner products are cosines."""

from __future__ import annotations

from keras import ops


def unit(vectors):
    """Vectors `[..., D]` of length 1, in float32; a zero vector stays one, and has a finite gradient.

    Example:

    >>> print(unit([[3.0, 4.0], [0.0, 0.0]]).numpy().round(2))
    [[0.6 0.8]
     [0.  0. ]]
    """
    vectors = ops.cast(vectors, "float32")
    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-12)
