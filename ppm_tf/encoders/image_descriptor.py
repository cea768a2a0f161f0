"""`ImageDescriptor`: colours and edges of an image on a grid, projected to a small width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ppm_tf.encoders.image_pixels import read_pixels
from ppm_tf.encoders.saved import content_version, describe_encoder, read_arrays, write_arrays, write_description

_SIZE = 64  # pixels a side after resizing
_CELLS = 4  # cells a side
_ORIENTATIONS = 8


class ImageDescriptor:
    """Mean colours on a 4 x 4 grid, a colour histogram and histograms of oriented gradients, projected by PCA.

    It is fitted on the catalog's images and needs no labels and no training.

    Args:
        dim: int. Width of the vectors.

    Example:

    >>> import io
    >>> from PIL import Image
    >>> def png(color):
    ...     buffer = io.BytesIO(); Image.new("RGB", (8, 8), color).save(buffer, "PNG"); return buffer.getvalue()
    >>> encoder = ImageDescriptor(dim=4).fit([png("red"), png("blue"), png("green")])
    >>> encoder.encode([png("red")]).shape
    (1, 4)
    """

    kind = "image_descriptor"

    def __init__(self, dim: int):
        self.dim = dim
        # of the statistics: mean [240] and scale [240]; of the scaled ones: centre [240] and main directions [rank, 240]
        self._arrays: dict[str, np.ndarray] | None = None

    @property
    def version(self) -> str:
        """Changes whenever equal images may get other vectors."""
        return content_version(self.kind, {"dim": self.dim, "size": _SIZE, "cells": _CELLS, "orientations": _ORIENTATIONS}, self._fitted())

    def fit(self, images: Iterable[bytes | None], most: int = 20_000) -> ImageDescriptor:
        """Learns the directions of the projection from the first `most` images that can be read; the others are passed over."""
        statistics = []
        for image in images:
            try:
                statistics += [describe(image)] if image else []
            except ValueError:
                continue
            if len(statistics) == most:
                break
        return self.fit_statistics(statistics)

    def fit_statistics(self, described: Sequence[np.ndarray]) -> ImageDescriptor:
        """Learns the directions of the projection from what `describe` gave, so that no image is decoded twice."""
        from sklearn.decomposition import PCA

        if len(described) < 2:
            raise ValueError(f"The catalog must hold at least two images. Received: {len(described)}. Look at the image column of the item file.")
        statistics = np.stack(described)
        mean, scale = statistics.mean(0), np.maximum(statistics.std(0), 1e-3)
        scaled = (statistics - mean) / scale
        fitted = PCA(min(self.dim, *scaled.shape), random_state=0).fit(scaled)
        self._arrays = {"mean": mean, "scale": scale, "centre": fitted.mean_, "directions": fitted.components_}
        return self

    def read(self, content: bytes) -> np.ndarray:
        """The statistics of an encoded image, `[240]`.

        Raises:
            ValueError: the image cannot be decoded.
        """
        return describe(content)

    def encode_batch(self, statistics: Sequence[np.ndarray]) -> np.ndarray:
        """Float32 vectors `[len(statistics), dim]`."""
        arrays = self._fitted()
        # In double precision, so that what else is in the batch does not show after rounding.
        scaled = (np.stack(statistics).astype(np.float64) - arrays["mean"]) / arrays["scale"]
        vectors = (scaled - arrays["centre"]) @ arrays["directions"].T
        # Fewer images than dimensions fill the first ones only.
        return np.pad(vectors, ((0, 0), (0, self.dim - vectors.shape[1]))).astype(np.float32)

    def encode(self, images: Sequence[bytes]) -> np.ndarray:
        """Float32 vectors `[len(images), dim]`.

        Raises:
            ValueError: an image cannot be decoded.
        """
        return self.encode_batch([self.read(image) for image in images]) if len(images) else np.zeros((0, self.dim), np.float32)

    def save(self, folder: str | Path) -> None:
        """Writes `encoder.json` and `arrays.npz`."""
        write_description(folder, self)
        write_arrays(folder, self._fitted())

    @classmethod
    def load(cls, folder: str | Path) -> ImageDescriptor:
        """The encoder that was saved into `folder`."""
        encoder = cls(describe_encoder(folder)["dim"])
        encoder._arrays = read_arrays(folder)
        return encoder

    def _fitted(self) -> dict[str, np.ndarray]:
        if self._arrays is None:
            raise ValueError("ImageDescriptor must be fitted before it encodes. Call fit(images) first.")
        return self._arrays


def describe(image: bytes) -> np.ndarray:
    """The statistics of one encoded image, `[240]`: 48 mean colours, 64 colour bins, 128 gradient bins.

    Raises:
        ValueError: the bytes are not an image that Pillow reads.
    """
    pixels = read_pixels(image, _SIZE).astype(np.float32) / 255.0
    cell = _SIZE // _CELLS
    colours = pixels.reshape(_CELLS, cell, _CELLS, cell, 3).mean((1, 3)).ravel()
    bins = (np.minimum(pixels * 4, 3)).astype(int) @ np.array([16, 4, 1])
    histogram = np.sqrt(np.bincount(bins.ravel(), minlength=64) / bins.size)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    dy, dx = np.gradient(grey)
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    orientation = np.minimum((angle / np.pi * _ORIENTATIONS).astype(int), _ORIENTATIONS - 1)
    rows = np.repeat(np.arange(_SIZE) // cell, _SIZE).reshape(_SIZE, _SIZE)
    where = (rows * _CELLS + rows.T) * _ORIENTATIONS + orientation
    edges = np.bincount(where.ravel(), strength.ravel(), _CELLS * _CELLS * _ORIENTATIONS)
    return np.concatenate([colours, histogram, edges / max(np.linalg.norm(edges), 1e-3)]).astype(np.float32)
