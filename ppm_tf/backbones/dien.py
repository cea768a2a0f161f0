"""`DIEN`: how the interest that the candidate meets has evolved."""

from __future__ import annotations

import keras
from keras import ops

from ppm_tf.layers.augru import AUGRU
from ppm_tf.layers.fields import concat_fields, concat_request, concat_request_shape, concat_shape
from ppm_tf.layers.other_behaviors import behaviors_of_others
from ppm_tf.layers.scoring_head import ScoringHead
from ppm_tf.losses import binary_cross_entropy


class DIEN(keras.layers.Layer):
    """The Deep Interest Evolution Network: dense layers over `[h(n), i_n, s, i_n * s, user, context, other]` (Zhou et al., 2019).

    - Interest extractor, once a request: a GRU over the behaviors `e_t`; its states `h_t` are the interests.
    - Interest evolving layer, for each candidate: `a_t = softmax_t(h_t W i_n)` over the real behaviors, and a GRU over the `h_t`
      whose update gate it scales (`AUGRU`); `h(n)` is its last state.
    - `s = sum_t e_t` and `i_n * s` are not in the paper, but in its authors' code.

    In training it hands over an auxiliary loss with `add_loss`: that `h_t` tells the next behavior from a
    behavior that another request of the batch holds (`behaviors_of_others`), by dense layers on `[h_t, e]`:
    `auxiliary_weight / M sum_t -log p(h_t, e_(t+1)) - log(1 - p(h_t, e'_(t+1)))`, a mean over the M steps that have both behaviors and a
    negative that is not the positive itself. A batch of one request has no negatives, and no such loss.

    Args:
        num_tasks: int. Logits a candidate, K.
        auxiliary_units: tuple of int. Widths of the dense layers, with sigmoids, of the auxiliary loss. Defaults to `(100, 50)`.
        auxiliary_weight: float. Weight of the auxiliary loss, the paper's alpha; 0 leaves it out. Defaults to `1.0`.
        mlp_units: tuple of int. Widths of the dense layers. Defaults to `(256, 128, 64)`.
        dropout: float. Dropout rate after each of them. Defaults to `0.0`.

    Call arguments:
        features: `Features`.

    Returns:
        Logits `[R, N, K]`, float32.

    References:
        [Zhou et al., 2019](https://arxiv.org/abs/1809.03672), section 4.
    """

    def __init__(self, num_tasks, auxiliary_units=(100, 50), auxiliary_weight=1.0, mlp_units=(256, 128, 64), dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.auxiliary_units = tuple(auxiliary_units)
        self.auxiliary_weight = auxiliary_weight
        self.mlp_units = tuple(mlp_units)
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, shapes):
        item, history = concat_shape(shapes.item), concat_shape(shapes.history)
        width = item[-1]
        self.extractor = AUGRU(width, return_sequences=True, dtype=self.dtype_policy, name="extractor")
        self.extractor.build(history)
        self.query = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="query")
        self.query.build(item)
        self.evolution = AUGRU(width, dtype=self.dtype_policy, name="evolution")
        self.evolution.build(history)
        self.auxiliary = None
        if self.auxiliary_weight:
            self.auxiliary = ScoringHead(1, self.auxiliary_units, activation="sigmoid", dtype=self.dtype_policy, name="auxiliary")
            self.auxiliary.build(None, (*history[:2], 2 * width))
        self.head = ScoringHead(self.num_tasks, self.mlp_units, self.dropout, dtype=self.dtype_policy, name="head")
        request = concat_request_shape(shapes)
        self.head.build((request[0], request[1] + width), (*item[:2], 3 * width + shapes.other[-1]))
        self.built = True

    def call(self, features, training=False):
        item, history, mask = concat_fields(features.item), concat_fields(features.history), ops.cast(features.mask, "bool")
        always = ops.ones_like(ops.expand_dims(mask, 1), dtype=history.dtype)
        interests = ops.squeeze(self.extractor(history, mask, always), 1)
        if training and self.auxiliary is not None:
            self.add_loss(self.auxiliary_weight * self._auxiliary_loss(interests, history, mask))
        final = self.evolution(interests, mask, self._attention(item, interests, mask))
        total = ops.expand_dims(ops.sum(ops.where(ops.expand_dims(mask, -1), history, ops.zeros_like(history)), axis=1), 1)
        request = ops.concatenate([concat_request(features), ops.squeeze(total, 1)], axis=-1)
        candidates = ops.concatenate([item, item * total, final, features.other], axis=-1)
        return self.head(request, candidates, training=training)

    def _attention(self, item, interests, mask):
        """How much of each interest a candidate meets, float32 `[R, N, T]`; zeros for an empty history."""
        scores = ops.cast(ops.matmul(self.query(item), ops.transpose(interests, (0, 2, 1))), "float32")
        real = ops.expand_dims(mask, 1)
        # By its logarithm: `ops.softmax` warns of an axis of size 1, and a history may hold one behavior.
        return ops.where(real, ops.exp(ops.log_softmax(ops.where(real, scores, -1e9), axis=-1)), 0.0)

    def _auxiliary_loss(self, interests, history, mask):
        """A mean over steps; the history is newest first, so that a behavior's next one stands before it."""
        requests, width = ops.shape(history)[0], history.shape[-1]
        states, following, known = interests[:, 1:], history[:, :-1], ops.logical_and(mask[:, 1:], mask[:, :-1])
        draws = keras.random.uniform((requests, ops.shape(history)[1] - 1), seed=self.seed_generator)
        places, some = behaviors_of_others(mask, draws)
        negatives = ops.take(ops.reshape(history, (-1, width)), places, axis=0)
        # The same vector in all fields is the same item, or one that nothing tells from it.
        known = ops.logical_and(ops.logical_and(known, some), ops.any(ops.not_equal(negatives, following), axis=-1))
        losses = []
        for behaviors, label in ((following, 1.0), (negatives, 0.0)):
            logits = ops.squeeze(self.auxiliary(None, ops.concatenate([states, behaviors], axis=-1)), -1)
            losses.append(binary_cross_entropy(ops.where(known, label, -1.0), logits))
        return losses[0] + losses[1]
