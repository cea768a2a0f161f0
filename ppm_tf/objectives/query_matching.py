"""`QueryMatching`: queries and the items clicked for them, drawn together (PPM, section 3.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from ppm_tf.data.shuffling import shuffled_indices
from ppm_tf.losses import info_nce, symmetric_info_nce
from ppm_tf.objectives.gather import over_replicas


class QueryMatching(keras.Model):
    """Contrastive learning with the batch's other items as negatives (PPM, eq. 1).

    `-1/B sum_i log( exp(sim(q_i, k_i) / t) / sum_j exp(sim(q_i, k_j) / t) )`, sim the cosine. Two rows of one item, or of one
    query, are no negatives of each other.

    Args:
        encoder: `TextEncoder`, for both sides.
        temperature: float. Defaults to `0.05`.
        symmetric: bool. Whether items are also matched to queries. Defaults to `False`, as in the paper.

    Call arguments:
        batch: dict of `"query"` and `"item"` (tokens as the encoder takes them) and `"ids"` `[B, 2]` (item row, query number).

    Returns:
        (query vectors `[B, D]`, item vectors `[B, D]`).

    References:
        Gao et al., *PPM*, 2024, eq. 1; Gao et al., *SimCSE*, 2021.
    """

    def __init__(self, encoder, temperature=0.05, symmetric=False, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.temperature = temperature
        self.symmetric = symmetric
        self.built = True

    def call(self, batch, training=False):
        return self.encoder(batch["query"], training=training), self.encoder(batch["item"], training=training)

    def loss_of(self, batch, outputs):
        """Eq. 1 over the global batch; twice over, both ways, if symmetric."""
        queries, items = (over_replicas(output) for output in outputs)
        ids = over_replicas(batch["ids"])
        if self.symmetric:
            return symmetric_info_nce(queries, items, self.temperature, ids, cosine=True)
        return info_nce(queries, items, self.temperature, ids)

    @staticmethod
    def weight(batch):
        """Pairs of a batch."""
        return tf.shape(batch["ids"])[0]

    @staticmethod
    def identify(batch, outputs):
        """Catalog rows of the batch's items."""
        return batch["ids"][:, 0]


def pair_batches(
    encoder, queries: Sequence[str], texts: Sequence[str], ids: np.ndarray, batch_size: int, epochs: int, query_tokens: int, seed: int
) -> tf.data.Dataset:
    """Batches of pairs in a shuffled order, tokenized.

    Args:
        encoder: `TextEncoder`, whose `tokenize` is used.
        queries: query of each pair, `[P]`.
        texts: text of each pair's item, `[P]`.
        ids: int `[P, 2]`, item row and query number.
        batch_size: pairs a batch.
        epochs: passes.
        query_tokens: most tokens of a query.
        seed: of the order.
    """
    queries, texts, ids = tf.constant(list(queries), tf.string), tf.constant(list(texts), tf.string), tf.constant(ids, tf.int32)

    def batch(places, _):
        return {
            "query": encoder.tokenize(tf.gather(queries, places), query_tokens),
            "item": encoder.tokenize(tf.gather(texts, places)),
            "ids": tf.gather(ids, places),
        }

    dataset = shuffled_indices(len(ids), epochs, seed).batch(batch_size)
    return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
