"""`EntityPrediction`: which thing is on the image (PPM, section 3.1.1)."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ppm_tf.objectives.by_item import ItemObjective


class EntityPrediction(ItemObjective):
    """A classification head on the encoder's vector (PPM, eq. 2).

    `L_EP = -1/B sum_i sum_E y_iE log P(E | I_i)`, `P(E | I) = softmax(H encoder(I) + c)_E`. The target y of an item is spread
    evenly over its entities, and a share of it over all classes (label smoothing).

    Args:
        encoder: `ImageEncoder`.
        num_classes: int. Entities to tell apart.
        label_smoothing: float. Share of the target that is spread over all classes. Defaults to `0.1`.

    Call arguments:
        batch: dict of `"pixels"` uint8 `[B, size, size, 3]`, `"labels"` int `[B, K]` (class numbers, -1 = no further one) and
            `"row"` int `[B]` (catalog rows).

    Returns:
        Logits `[B, num_classes]`.

    References:
        Gao et al., *PPM*, 2024, eq. 2; Szegedy et al., *Rethinking the Inception Architecture*, 2016, for label smoothing.
    """

    def __init__(self, encoder, num_classes, label_smoothing=0.1, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.head = keras.layers.Dense(num_classes, dtype="float32", name="head")
        self.head.build((None, encoder.dim))
        self.built = True
        self._forward = tf.function(lambda batch: self(batch, training=False), reduce_retracing=True)

    def call(self, batch, training=False):
        return self.head(self.encoder(batch["pixels"], training=training))

    def loss_of(self, batch, logits):
        """Eq. 2, a mean over the batch."""
        return entity_cross_entropy(batch["labels"], logits, self.label_smoothing)

    def judge(self, batches: Iterable[dict]) -> tuple[np.ndarray, float]:
        """Top-1 and top-5 hits of held-out images, bool `[n, 2]`, and their mean loss."""
        hits, losses = [], []
        for batch in batches:
            logits = self._forward(batch)
            hits.append(top_k_hits(np.asarray(batch["labels"]), logits.numpy()))
            losses.append(float(self.loss_of(batch, logits)) * len(logits))
        return np.concatenate(hits), sum(losses) / sum(map(len, hits))


def entity_cross_entropy(labels, logits, label_smoothing=0.0):
    """Mean cross entropy of entities, `-1/B sum_i sum_E y_iE log softmax(z_i)_E`.

    Args:
        labels: int tensor `[B, K]`, the classes of each item; -1 = no further one. An item needs one at least.
        logits: float tensor `[B, C]`.
        label_smoothing: float. Share of the target that is spread over all C classes. Defaults to `0.0`.

    Returns:
        Scalar.

    Example:

    >>> float(entity_cross_entropy([[0, -1]], [[0.0, 0.0]]))  # ln 2
    0.6931471824645996
    """
    logits = ops.cast(logits, "float32")
    num_classes = ops.shape(logits)[-1]
    chosen = ops.sum(ops.one_hot(labels, num_classes, dtype="float32"), axis=1)  # -1 has no place
    target = chosen / ops.maximum(ops.sum(chosen, axis=-1, keepdims=True), 1.0)
    target = (1.0 - label_smoothing) * target + label_smoothing / ops.cast(num_classes, "float32")
    return -ops.mean(ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1))


def top_k_hits(labels: np.ndarray, scores: np.ndarray, ks: Iterable[int] = (1, 5)) -> np.ndarray:
    """Whether one of an item's classes is among its k best scored, bool `[B, len(ks)]`.

    A class counts as better than the item's own where its score is higher, or equal and its number lower, so that constant
    scores earn nothing by chance.

    Args:
        labels: int `[B, K]`, -1 = no further class.
        scores: float `[B, C]`.
        ks: depths.

    Example:

    >>> top_k_hits(np.array([[2, -1]]), np.array([[0.5, 0.1, 0.4]]), ks=(1, 2)).tolist()
    [[False, True]]
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    own = (order[:, :, None] == np.where(labels >= 0, labels, -2)[:, None, :]).any(-1)
    rank = np.where(own.any(1), own.argmax(1), np.iinfo(np.int64).max)
    return rank[:, None] < np.asarray(list(ks))[None, :]
