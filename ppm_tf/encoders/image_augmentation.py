"""Random changes of a training image that leave what it shows the same: a graph of stateless ops, so that a seed repeats them."""

from __future__ import annotations

import tensorflow as tf

_SHIFT = 1 / 32  # of a side, the most that an image is moved
_BRIGHTNESS = _CONTRAST = 0.1
_CAST = 0.05  # of each channel


def augment(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A random view of an image: moved by a few pixels, a little brighter or darker, with another contrast and colour cast.

    Every choice follows from `seed` alone, so an image is changed in the same way whenever and wherever it is read. The
    changes are small, and nothing is mirrored: the photos of a catalog are taken alike, shoes point the same way, and views
    that no photo shows cost a short training more than they give.

    Args:
        pixels: uint8 `[size, size, 3]`, of static shape.
        seed: integers `[2]`, such as (seed of the run, number of the example).

    Returns:
        uint8 `[size, size, 3]`.
    """
    size = pixels.shape[0]
    draws = tf.random.stateless_uniform([7], seed, -1.0, 1.0)
    picture = tf.cast(_move(pixels, size, draws[:2]), tf.float32)
    mean = tf.reduce_mean(picture)
    picture = (mean + (picture - mean) * (1.0 + _CONTRAST * draws[2])) * (1.0 + _BRIGHTNESS * draws[3]) * (1.0 + _CAST * draws[4:])
    return tf.cast(tf.round(tf.clip_by_value(picture, 0.0, 255.0)), tf.uint8)


def _move(pixels, size, draws):
    """Moves the image down and right by a few pixels; what comes into view repeats the edge, mirrored."""
    most = max(1, round(_SHIFT * size))
    padded = tf.pad(pixels, [[most, most], [most, most], [0, 0]], "SYMMETRIC")
    start = most + tf.cast(tf.round(draws * most), tf.int32)
    return padded[start[0] : start[0] + size, start[1] : start[1] + size]
