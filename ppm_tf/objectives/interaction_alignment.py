"""`InteractionAlignment`: a ranking model and a text encoder describe the same interaction (CTRL, stage 1)."""

from __future__ import annotations

import keras
import tensorflow as tf

from ppm_tf.losses import info_nce
from ppm_tf.objectives.gather import over_replicas
from ppm_tf.rows import PADDING_ROW


class InteractionAlignment(keras.Model):
    """Contrastive learning between the fields of an interaction and its text (CTRL, section 3.2.2).

    `t = W PLM(text) + b` and `x = ids(fields)`, both of width P; the other interactions of the batch, over all replicas, are the
    negatives, in both directions: `1/2 (L(t -> x) + L(x -> t))` with the cosine over a temperature. Two interactions with the same
    text are no negatives of each other. Both sides learn; the ranking model goes on alone.

    The paper compares parts of the two vectors, each with its best fit; here the whole ones, as its plain form does.

    Args:
        ranker: ranking model whose logits `[R, 1, P]` are the projection of what it makes of an interaction.
        encoder: `TextEncoder`.
        dim: int. Width of both projections, P. Defaults to `128`.
        temperature: float. Defaults to `0.7`.

    Call arguments:
        batch: dict of the requests with one candidate each, `"tokens"` as the encoder takes them, and `"text_id"` `[R]`, the same for the
            same text.

    Returns:
        (text vectors `[R, P]`, ID vectors `[R, P]`).

    References:
        [Li et al., 2023](https://arxiv.org/abs/2306.02841), section 3.2.
    """

    def __init__(self, ranker, encoder, dim=128, temperature=0.7, **kwargs):
        super().__init__(**kwargs)
        self.ranker = ranker
        self.encoder = encoder
        self.temperature = temperature
        self.head = keras.layers.Dense(dim, name="head")
        self.head.build((None, encoder.dim))
        self.built = True

    def call(self, batch, training=False):
        ids = tf.squeeze(self.ranker(batch, training=training), 1)
        return self.head(self.encoder(batch["tokens"], training=training)), ids

    def loss_of(self, batch, outputs):
        """The mean of both directions over the global batch."""
        texts, ids = (over_replicas(tf.cast(output, tf.float32)) for output in outputs)
        return self._loss(texts, ids, over_replicas(batch["text_id"]))

    def _loss(self, texts, ids, same):
        return 0.5 * (info_nce(texts, ids, self.temperature, same) + info_nce(ids, texts, self.temperature, same))

    @staticmethod
    def weight(batch):
        """Interactions of a batch."""
        return tf.shape(batch["item"])[0]

    @staticmethod
    def identify(batch, outputs):
        """Requests of the batch."""
        return batch["request"]

    def figures(self, batches) -> dict[str, float]:
        """Mean loss, how often an ID vector is the nearest of its batch to its own text, and how often chance would have it; of no training."""
        loss = hits = size = number = 0.0
        for batch in batches:
            count = int(batch["item"].shape[0])
            found = self._judged(batch)
            loss, hits, size, number = loss + float(found[0]) * count, hits + float(found[1]), size + count, number + 1
        return {"loss": loss / size, "recall_at_1": hits / size, "chance": number / size}

    @tf.function(reduce_retracing=True)
    def _judged(self, batch):
        texts, ids = (tf.cast(output, tf.float32) for output in self(batch, training=False))
        similarities = tf.matmul(tf.math.l2_normalize(texts, -1), tf.math.l2_normalize(ids, -1), transpose_b=True)
        nearest = tf.argmax(similarities, axis=1, output_type=tf.int32)
        hits = tf.equal(tf.gather(batch["text_id"], nearest), batch["text_id"])  # one of the same text is as good
        return self._loss(texts, ids, batch["text_id"]), tf.reduce_sum(tf.cast(hits, tf.float32))


def interactions(dataset: tf.data.Dataset, texts: tf.Tensor, tokenize, num_behaviors: int, seed: int) -> tf.data.Dataset:
    """One interaction a request, with its text: what `InteractionAlignment` reads.

    The candidate is drawn among the real ones, another one at each pass; the place of a batch and the seed fix which.

    Args:
        dataset: batches of requests, see `ppm_tf.data.samples.read`.
        texts: strings `[V]` by catalog row, "" where an item has none.
        tokenize: texts `[R]` to what the encoder takes.
        num_behaviors: how many behaviors a text names, the newest ones.
        seed: of the draws.
    """

    def one_each(number, batch):
        real = tf.cast(tf.reduce_sum(tf.cast(batch["item"] != PADDING_ROW, tf.int32), axis=1), tf.float32)  # padding stands behind
        drawn = tf.random.stateless_uniform(tf.shape(real), tf.stack([tf.constant(seed, tf.int64), number]))
        place = tf.cast(tf.minimum(tf.floor(drawn * real), tf.maximum(real - 1, 0)), tf.int32)
        of_candidates = {name: tf.gather(batch[name], place[:, None], batch_dims=1) for name in ("item", "labels", "slot") if name in batch}
        chosen = texts_of_interactions(texts, batch["history"][:, :num_behaviors], of_candidates["item"][:, 0])
        return {**batch, **of_candidates, "tokens": tokenize(chosen), "text_id": tf.strings.to_hash_bucket_fast(chosen, 1 << 62)}

    return dataset.enumerate().map(one_each, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def texts_of_interactions(texts, history, item):
    """The text of each interaction: the candidate's, then those of the behaviors, newest first, so that a cut takes the oldest.

    Args:
        texts: strings `[V]` by catalog row.
        history: catalog rows `[R, M]`, newest first, 0 = padding.
        item: catalog rows `[R]`.

    Returns:
        Strings `[R]`.

    Example:

    >>> texts_of_interactions(["", "", "red shoe", "blue lamp"], [[3, 2], [0, 0]], [2, 3]).numpy().tolist()
    [b'red shoe | blue lamp | red shoe', b'blue lamp']
    """
    texts, history = tf.convert_to_tensor(texts), tf.convert_to_tensor(history)
    before = tf.gather(texts, history)
    before = tf.where(before == "", "", " | " + before)
    return tf.gather(texts, item) + tf.strings.reduce_join(before, axis=-1)
