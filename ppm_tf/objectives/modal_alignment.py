"""`ModalAlignment`: item texts are brought to where a ranking model's ids have put the items (ROMA; CELA, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ppm_tf.data.shuffling import examples_in_order
from ppm_tf.layers.id_embedding import IdEmbedding
from ppm_tf.losses import symmetric_info_nce
from ppm_tf.metrics.retrieval import NOTHING
from ppm_tf.objectives.by_item import ItemObjective
from ppm_tf.objectives.gather import over_replicas


class ModalAlignment(ItemObjective):
    """Contrastive learning between an item's text and its frozen ID-side embeddings.

    The text side is the encoder and a head, `e_t = head(PLM(text))` (eq. 9); the ID side is fixed, `e_n` (eq. 8). The other items of the
    batch, over all replicas, are the negatives, in both directions (eq. 10-12). Two texts of one item are none of each other.

    Args:
        encoder: `TextEncoder`, or `VectorsOfTexts`, which has no language model.
        targets: float array `[V, D]`, the ID-side vectors by catalog row.
        head: `"linear"` (the paper's `W, b`) or `"relu_layernorm"` (its code: linear, ReLU, LayerNorm). Defaults to `"linear"`.
        similarity: `"dot"` or `"cosine"`. Defaults to `"dot"`.
        temperature: float. The paper's tau_2. Defaults to `1.0`.

    Call arguments:
        batch: dict of `"tokens"`, as the encoder takes them (catalog rows for `VectorsOfTexts`), and `"row"` `[B]`, catalog rows.

    Returns:
        (text vectors `[B, D]`, ID vectors `[B, D]`).

    References:
        CELA, 2024, section 4.2.2, eq. 8-12.
    """

    def __init__(self, encoder, targets, head="linear", similarity="dot", temperature=1.0, **kwargs):
        super().__init__(**kwargs)
        if head not in ("linear", "relu_layernorm") or similarity not in ("dot", "cosine"):
            raise ValueError(f"head must be linear or relu_layernorm, and similarity dot or cosine. Received: {head} and {similarity}.")
        self.encoder = encoder
        self.cosine = similarity == "cosine"
        self.temperature = temperature
        self.targets = tf.constant(targets, tf.float32)
        self.head = keras.layers.Dense(targets.shape[1], name="head")
        self.head.build((None, encoder.dim))
        self.norm = None
        if head == "relu_layernorm":
            self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="head_norm")
            self.norm.build((None, targets.shape[1]))
        self.built = True

    def call(self, batch, training=False):
        return self.project(self.encoder(batch["tokens"], training=training)), tf.gather(self.targets, batch["row"])

    def project(self, vectors):
        """The encoder's vectors `[B, dim]` through the head, `[B, D]`."""
        projected = self.head(vectors)
        return projected if self.norm is None else self.norm(ops.relu(projected))

    def loss_of(self, batch, outputs):
        """Eq. 12 over the global batch."""
        texts, ids = (over_replicas(output) for output in outputs)
        return symmetric_info_nce(texts, ids, self.temperature, over_replicas(batch["row"]), self.cosine)

    def ranking(self, batches, k: int) -> tuple[np.ndarray, float]:
        """The k nearest items of each text among the items of `batches`, by the similarity that is trained; and the mean loss.

        Returns:
            int64 `[I, k]`, places in the order of `batches`, best first, -1 beyond the last; the loss, a mean over batches by their items.
        """
        texts, ids, losses, sizes = [], [], [], []
        for batch in batches:
            outputs = self._judged(batch)
            texts.append(outputs[0].numpy())
            ids.append(outputs[1].numpy())
            losses.append(float(outputs[2]))
            sizes.append(len(texts[-1]))
        mine, theirs = np.concatenate(texts).astype("float64"), np.concatenate(ids).astype("float64")
        if self.cosine:
            mine, theirs = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12) for vectors in (mine, theirs))
        order = np.argsort(-(mine @ theirs.T), axis=1, kind="stable")[:, :k]
        order = np.pad(order, ((0, 0), (0, k - order.shape[1])), constant_values=NOTHING)
        return order, float(np.average(losses, weights=sizes))

    @tf.function(reduce_retracing=True)
    def _judged(self, batch):
        texts, ids = self(batch, training=False)
        return texts, ids, symmetric_info_nce(texts, ids, self.temperature, batch["row"], self.cosine)


class VectorsOfTexts(IdEmbedding):
    """Encoded texts as weights of their own, in the place of the language model that encoded them (CELA, table 3: ROMA w/o PLM).

    Args:
        vectors: float array `[V, D]` by catalog row, where they start.

    Call arguments:
        rows: integer tensor `[...]`, catalog rows.
    """

    def __init__(self, vectors, **kwargs):
        super().__init__(*vectors.shape, **kwargs)
        self.table.assign(vectors)

    def call(self, rows, training=False):
        return super().call(rows)


def row_batches(rows: np.ndarray, batch_size: int, epochs: int | None, seed: int) -> tf.data.Dataset:
    """Batches of catalog rows `[P]` for `VectorsOfTexts`; shuffled, or in order once where `epochs` is `None`."""
    rows = tf.constant(rows, tf.int32)

    def batch(places, _):
        found = tf.gather(rows, places)
        return {"tokens": found, "row": found}

    return examples_in_order(int(rows.shape[0]), epochs, seed).batch(batch_size).map(batch)


def most_popular(counts: np.ndarray, ids: Sequence[object], share: float) -> np.ndarray:
    """Places of the most popular `share` of the items, in ascending order; of equal counts those of the smaller ids.

    Args:
        counts: int `[I]`, how often the training data holds each.
        ids: their ids `[I]`.
        share: in (0, 1]; at least one item.

    Example:

    >>> most_popular(np.array([5, 9, 5, 1]), [30, 20, 10, 40], 0.5).tolist()
    [1, 2]
    """
    order = sorted(range(len(counts)), key=lambda place: (-int(counts[place]), ids[place]))
    return np.sort(np.array(order[: max(1, round(share * len(counts)))], np.int64)) if len(counts) else np.zeros(0, np.int64)
