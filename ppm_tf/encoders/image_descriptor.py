"""`ImageDescriptor`: colours and edges of an image on a grid, projected to a small width."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

_SIZE = 64  # pixels a side after resizing
_CELLS = 4  # cells a side
_ORIENTATIONS = 8


class ImageDescriptor:
    """Mean colours on a 4 x 4 grid, a colour histogram and histograms of oriented gradients, projected by PCA.

    It is fitted on the catalog's images and needs no labels and no training.

    Args:
        dim: int. Width of the vectors.

    Example:

    >>> from PIL import Image
    >>> def png(color):
    ...     buffer = io.BytesIO(); Image.new("RGB", (8, 8), color).save(buffer, "PNG"); return buffer.getvalue()
    >>> encoder = ImageDescriptor(dim=4).fit([png("red"), png("blue"), png("green")])
    >>> encoder.encode([png("red")]).shape
    (1, 4)
    """

    def __init__(self, dim: int):
        self.dim = dim
        self._projection = None

    @property
    def version(self) -> str:
        """Changes whenever equal images may get other vectors."""
        return f"image_descriptor-1-{self.dim}"

    def fit(self, images: Sequence[bytes]) -> ImageDescriptor:
        """Learns the directions of the projection from encoded images."""
        return self.fit_statistics([describe(image) for image in images])

    def fit_statistics(self, described: Sequence[np.ndarray]) -> ImageDescriptor:
        """Learns the directions of the projection from what `describe` gave, so that no image is decoded twice."""
        from sklearn.decomposition import PCA

        statistics = np.stack(described) if len(described) else np.zeros((0, 1))
        if len(statistics) < 2:
            raise ValueError(f"The catalog must hold at least two images. Received: {len(statistics)}. Look at the image column of the item file.")
        self._mean, self._scale = statistics.mean(0), np.maximum(statistics.std(0), 1e-3)
        scaled = (statistics - self._mean) / self._scale
        self._projection = PCA(min(self.dim, *scaled.shape), random_state=0).fit(scaled)
        return self

    def encode(self, images: Sequence[bytes]) -> np.ndarray:
        """Float32 vectors `[len(images), dim]`.

        Raises:
            ValueError: an image cannot be decoded.
        """
        if self._projection is None:
            raise ValueError("ImageDescriptor must be fitted before it encodes. Call fit(images) first.")
        scaled = (np.stack([describe(image) for image in images]) - self._mean) / self._scale
        vectors = self._projection.transform(scaled)
        return np.pad(vectors, ((0, 0), (0, self.dim - vectors.shape[1]))).astype("float32")


def describe(image: bytes) -> np.ndarray:
    """The statistics of one encoded image, `[240]`: 48 mean colours, 64 colour bins, 128 gradient bins.

    Raises:
        ValueError: the bytes are not an image that Pillow reads.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(image)).convert("RGB").resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"An image must be JPEG, PNG or another format that Pillow reads. Received: {len(image)} bytes ({error}).") from error
    pixels = np.asarray(picture, np.float32) / 255.0
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
