"""`PPM`, the pre-trained plug-in, and `PretrainingModel`, the click model that pre-trains it."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.behavior_transformer import BehaviorTransformer
from ppm_tf.layers.frozen_embedding import FrozenEmbedding
from ppm_tf.layers.mlp import MLP
from ppm_tf.layers.similarity_pooling import SimilarityPooling
from ppm_tf.losses import binary_cross_entropy


class PPM(keras.layers.Layer):
    """Cached item vectors through a behavior transformer: an ID-free view of user and candidate (PPM, eq. 8).

    Args:
        tables: dict of name -> `FrozenEmbedding`. Their vectors are concatenated, in this order.
        transformer: `BehaviorTransformer`.
        similarity: `SimilarityPooling` over the same vectors, whose output joins the candidate on its way into the decoder; `None`, as in
            the paper: nothing joins it.

    Call arguments:
        history: integer tensor `[R, T]`, catalog rows, newest first, 0 = padding.
        item: integer tensor `[R, N]`, catalog rows of the candidates, 0 = padding.
        recency: tensor `[R, T]` or `None`, seconds before the request, negative = unknown.
        slot: integer tensor `[R, N]` or `None`, display position.

    Returns:
        Two tensors `[R, N, width]`: `U_MO`, the user as seen from each candidate, and `I_MO`, the candidate.

    References:
        [Gao et al., 2024](https://doi.org/10.1145/3589335.3648329), section 3.2.2.
    """

    def __init__(self, tables: dict[str, FrozenEmbedding], transformer: BehaviorTransformer, similarity: SimilarityPooling | None = None, **kwargs):
        super().__init__(**kwargs)
        if not tables:
            raise ValueError("PPM needs at least one item table. Received: none.")
        self.tables = tables
        self.transformer = transformer
        self.similarity = similarity

    def build(self, history_shape, item_shape):
        dim = sum(table.dim for table in self.tables.values())
        self.transformer.build((*history_shape, dim), (*item_shape, dim))
        if self.similarity is not None:
            self.similarity.build((*history_shape, dim), (*item_shape, dim))

    def call(self, history, item, recency=None, slot=None, training=False):
        mask = ops.not_equal(history, 0)
        behaviors, candidates = self._vectors(history), self._vectors(item)
        query = None
        if self.similarity is not None:
            bucket = None if recency is None else self.transformer.recency_bucket(recency)
            query = self.similarity(behaviors, candidates, mask, bucket)
        return self.transformer(behaviors, candidates, mask, recency, slot, query, training=training)

    def compute_output_shape(self, history_shape, item_shape):
        dim = sum(table.dim for table in self.tables.values())
        return self.transformer.compute_output_shape((*history_shape, dim), (*item_shape, dim))

    def items(self, rows):
        """`I_MO` of catalog rows `[...]` without a display position, `[..., width]`."""
        return self.transformer.project(self._vectors(rows))

    def _vectors(self, rows):
        return ops.concatenate([table(rows) for table in self.tables.values()], axis=-1)


class PretrainingModel(keras.Model):
    """PPM under three dense layers that predict the click (PPM, section 3.1.3 and eq. 6).

    Args:
        ppm: `PPM`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Defaults to `0.0`.
        initializer_stddev: float. Standard deviation of the Gaussian initial weights. Defaults to `0.01`.

    Call arguments:
        batch: dict with `history` `[R, T]`, `item` `[R, N]` and, where the data has them, `time` `[R]` with
            `history_time` `[R, T]`, and `slot` `[R, N]`.

    Returns:
        Logits `[R, N, 1]` of the click.
    """

    def __init__(self, ppm, mlp_units=(256, 128, 64), dropout=0.0, initializer_stddev=0.01, **kwargs):
        super().__init__(**kwargs)
        self.ppm = ppm
        self.mlp = MLP(mlp_units, dropout=dropout, kernel_initializer=keras.initializers.RandomNormal(stddev=initializer_stddev), name="mlp")
        self.logit = keras.layers.Dense(
            1, kernel_initializer=keras.initializers.RandomNormal(stddev=initializer_stddev), dtype="float32", name="logit"
        )

    def build_from(self, history_length, num_candidates):
        """Builds every weight, for requests of this size."""
        self.ppm.build((None, history_length), (None, num_candidates))
        user_shape, item_shape = self.ppm.compute_output_shape((None, history_length), (None, num_candidates))
        self.mlp.build((*user_shape[:-1], user_shape[-1] + item_shape[-1]))
        self.logit.build((*user_shape[:-1], self.mlp.units[-1]))
        self.built = True

    def call(self, batch, training=False):
        user, item = self.ppm(batch["history"], batch["item"], recency(batch), batch.get("slot"), training=training)
        return self.logit(self.mlp(ops.concatenate([user, item], axis=-1), training=training))


def click_loss(batch, logits):
    """Cross entropy of the first task, the one that PPM learns (eq. 6)."""
    return binary_cross_entropy(batch["labels"][..., :1], logits)


def recency(batch):
    """Seconds from each behavior to its request, `[R, T]`; -1 at padding, `None` where the data has no times."""
    if "history_time" not in batch:
        return None
    seconds = ops.expand_dims(batch["time"], 1) - batch["history_time"]
    return ops.where(ops.not_equal(batch["history"], 0), ops.maximum(seconds, 0), -1)
