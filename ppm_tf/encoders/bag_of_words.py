"""`BagOfWords`: hashed words weighted by rarity, projected to a small width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class BagOfWords:
    """Words and word pairs, hashed, weighted by TF-IDF and projected by truncated SVD (latent semantic analysis).

    It is fitted on the catalog's texts and needs no labels and no training: the cheap baseline that a language model has
    to beat (CELA, table 1, "BoW").

    Args:
        dim: int. Width of the vectors.
        num_buckets: int. Hash buckets. Defaults to `2 ** 18`.
        seed: int. Seed of the SVD's random start. Defaults to `0`.

    Example:

    >>> encoder = BagOfWords(dim=2).fit(["red shoe", "red boot", "blue lamp", "blue light"])
    >>> encoder.encode(["a red shoe", ""]).shape
    (2, 2)
    """

    def __init__(self, dim: int, num_buckets: int = 1 << 18, seed: int = 0):
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        self.dim = dim
        self.num_buckets = num_buckets
        self.seed = seed
        self._hashing = HashingVectorizer(n_features=num_buckets, ngram_range=(1, 2), alternate_sign=False, norm=None)
        self._weights = TfidfTransformer(sublinear_tf=True)
        self._projection = None

    @property
    def version(self) -> str:
        """Changes whenever equal texts may get other vectors."""
        return f"bag_of_words-1-{self.num_buckets}-{self.dim}-{self.seed}"

    def fit(self, texts: Sequence[str]) -> BagOfWords:
        """Learns the rarity of words and the directions of the projection."""
        from sklearn.decomposition import TruncatedSVD

        known = [text for text in texts if text]
        counts = self._hashing.transform(known) if known else None
        if counts is None or counts.nnz == 0:
            raise ValueError("The catalog must hold at least one text with a word in it. Received: none. Look at the text columns of the item file.")
        weights = self._weights.fit_transform(counts)
        rank = min(self.dim, *(size - 1 for size in weights.shape))
        self._projection = TruncatedSVD(max(rank, 1), random_state=self.seed).fit(weights)
        return self

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 vectors `[len(texts), dim]`; zero for a text without words."""
        if self._projection is None:
            raise ValueError("BagOfWords must be fitted before it encodes. Call fit(texts) first.")
        vectors = self._projection.transform(self._weights.transform(self._hashing.transform(list(texts))))
        # A catalog with fewer texts than dimensions fills the first ones only.
        return np.pad(vectors, ((0, 0), (0, self.dim - vectors.shape[1]))).astype("float32")
