"""`BagOfWords`: hashed words weighted by rarity, projected to a small width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppm_tf.data.text_form import FORM, normalized
from ppm_tf.encoders.saved import content_version, describe_encoder, read_arrays, write_arrays, write_description

_ENCODE_BATCH = 4096


class BagOfWords:
    """Words and word pairs, hashed, weighted by TF-IDF and projected by truncated SVD (latent semantic analysis).

    It is fitted on the catalog's texts and needs no labels and no training: the cheap baseline that a language model has
    to beat (CELA, table 1, "BoW"). A word that the catalog does not hold counts for nothing, and of the hash buckets only
    those that occur are kept.

    Args:
        dim: int. Width of the vectors.
        num_buckets: int. Hash buckets. Defaults to `2 ** 18`.
        seed: int. Seed of the SVD's random start. Defaults to `0`.

    Example:

    >>> encoder = BagOfWords(dim=2).fit(["red shoe", "red boot", "blue lamp", "blue light"])
    >>> encoder.encode(["a red shoe", ""]).shape
    (2, 2)

    References:
        Deerwester et al., "Indexing by latent semantic analysis", 1990.
    """

    kind = "bag_of_words"

    def __init__(self, dim: int, num_buckets: int = 1 << 18, seed: int = 0):
        from sklearn.feature_extraction.text import HashingVectorizer

        self.dim = dim
        self.num_buckets = num_buckets
        self.seed = seed
        self._hashing = HashingVectorizer(n_features=num_buckets, ngram_range=(1, 2), alternate_sign=False, norm=None, dtype=np.float32)
        # buckets [W] that occur, in rising order; their rarity [W]; what each adds to the vector [W, rank]
        self._arrays: dict[str, np.ndarray] | None = None

    @property
    def version(self) -> str:
        """Changes whenever equal texts may get other vectors."""
        return content_version(self.kind, {"dim": self.dim, "num_buckets": self.num_buckets, "form": FORM}, self._fitted())

    def fit(self, texts: Sequence[str]) -> BagOfWords:
        """Learns the rarity of words and the directions of the projection."""
        from sklearn.decomposition import TruncatedSVD

        known = [text for text in texts if text]
        counts = self._hashing.transform(normalized(known)) if known else None
        if counts is None or counts.nnz == 0:
            raise ValueError("The catalog must hold at least one text with a word in it. Received: none. Look at the text columns of the item file.")
        frequency = np.bincount(counts.indices, minlength=self.num_buckets)
        buckets = np.flatnonzero(frequency).astype(np.int32)
        rarity = np.log((1 + len(known)) / (1 + frequency[buckets])) + 1
        weights = _weigh(counts, buckets, rarity.astype(np.float32))
        rank = max(min(self.dim, *(size - 1 for size in weights.shape)), 1)
        projection = TruncatedSVD(rank, random_state=self.seed).fit(weights).components_.T
        self._arrays = {"buckets": buckets, "rarity": rarity.astype(np.float32), "projection": np.ascontiguousarray(projection, np.float32)}
        return self

    def read(self, content: str) -> str:
        """The text as it is: any text can be read."""
        return content

    def encode_batch(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 vectors `[len(texts), dim]`; zero for a text without a known word."""
        arrays = self._fitted()
        # Sparse rows times a dense matrix: a text's vector is the same, bit for bit, whatever else is in its batch.
        vectors = _weigh(self._hashing.transform(normalized(texts)), arrays["buckets"], arrays["rarity"]) @ arrays["projection"]
        # A catalog with fewer texts than dimensions fills the first ones only.
        return np.pad(vectors, ((0, 0), (0, self.dim - vectors.shape[1]))).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 vectors `[len(texts), dim]`; zero for a text without a known word."""
        starts = range(0, len(texts), _ENCODE_BATCH)
        return np.concatenate([np.zeros((0, self.dim), np.float32), *(self.encode_batch(texts[start : start + _ENCODE_BATCH]) for start in starts)])

    def save(self, folder: str | Path) -> None:
        """Writes `encoder.json` and `arrays.npz`."""
        write_description(folder, self, num_buckets=self.num_buckets, seed=self.seed)
        write_arrays(folder, self._fitted())

    @classmethod
    def load(cls, folder: str | Path) -> BagOfWords:
        """The encoder that was saved into `folder`."""
        about = describe_encoder(folder)
        encoder = cls(about["dim"], about["num_buckets"], about["seed"])
        encoder._arrays = read_arrays(folder)
        return encoder

    def _fitted(self) -> dict[str, np.ndarray]:
        if self._arrays is None:
            raise ValueError("BagOfWords must be fitted before it encodes. Call fit(texts) first.")
        return self._arrays


def _weigh(counts, buckets: np.ndarray, rarity: np.ndarray):
    """Counts of all buckets, sparse `[B, num_buckets]`, to TF-IDF of those known: (1 + log count) * rarity, rows of length 1."""
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    column = np.minimum(np.searchsorted(buckets, counts.indices), len(buckets) - 1)
    known = buckets[column] == counts.indices
    starts = np.concatenate([[0], np.cumsum(known)])[counts.indptr]
    column = column[known]
    weights = (1 + np.log(counts.data[known])) * rarity[column]
    return normalize(csr_matrix((weights, column, starts), shape=(counts.shape[0], len(buckets))), copy=False)
