"""TF-IDF retrieval: the ranking that an encoder of queries and item texts has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOTHING = -1  # where fewer than k items share a word with the query
_QUERIES_AT_ONCE = 256


def tf_idf_ranking(queries: Sequence[str], texts: Sequence[str], k: int = 100) -> np.ndarray:
    """The k items whose texts are nearest to each query by the cosine of their TF-IDF vectors.

    Words are lower-cased runs of letters and digits; rarity is counted over `texts`, and a word that they do not hold counts for
    nothing. Items of equal cosine come in the order of their rows.

    Args:
        queries: Q texts.
        texts: N texts, "" where an item has none.
        k: int. Defaults to 100.

    Returns:
        int64 `[Q, k]`, places in `texts`, best first; -1 where no further item shares a word with the query.

    Example:

    >>> tf_idf_ranking(["red shoe", "hat", "car"], ["a blue shoe", "red shoe", "hat"], k=2).tolist()
    [[1, 0], [2, -1], [-1, -1]]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if k < 1:
        raise ValueError(f"k must be at least 1. Received: {k}.")
    top = np.full((len(queries), k), NOTHING, np.int64)
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\w+", dtype=np.float32, sublinear_tf=True)
    try:
        items = vectorizer.fit_transform(texts).T.tocsr()
    except ValueError:  # "empty vocabulary": no text holds a word
        return top
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        # Most items share no word with a query, so the product stays sparse.
        similar = (vectorizer.transform(queries[start : start + _QUERIES_AT_ONCE]) @ items).tocsr()
        similar.sort_indices()
        for row, (begin, end) in enumerate(zip(similar.indptr[:-1], similar.indptr[1:], strict=True), start):
            best = np.argsort(-similar.data[begin:end], kind="stable")[:k]
            top[row, : len(best)] = similar.indices[begin:end][best]
    return top
