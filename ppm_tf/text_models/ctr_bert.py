"""`CTRBERT`: the user's text and the item's through one language model, joined late."""

from __future__ import annotations

import keras
import tensorflow as tf

from ppm_tf.encoders.text_backbone import backbone_width
from ppm_tf.text_models.head import TextHead
from ppm_tf.text_models.prompts import Prompts


class CTRBERT(keras.Model):
    """`logits = head([CLS(user text) | CLS(item text)])` with one language model for both.

    A user's text, of user, request and history, is read once a request; an item's once a batch, whatever number of requests it is a
    candidate of. The two meet in the head alone, so that either could be cached.

    Args:
        prompts: `Prompts`.
        encoder: `TextEncoder` without projection; its pooling says which vector is read.
        num_tasks: int. K.
        head_units: int. Defaults to `128`.
        dropout: float. In the head. Defaults to `0.2`.

    Call arguments:
        batch: dict of rows, see `ppm_tf.data.samples.read`.
        training: bool.

    Returns:
        Logits `[R, N, K]`, as of `RankingModel`; 0 at padding.

    References:
        Muhamed et al., *CTR-BERT: cost-effective knowledge distillation for billion-parameter teacher models*, 2021.
    """

    def __init__(self, prompts: Prompts, encoder, num_tasks, head_units=128, dropout=0.2, **kwargs):
        super().__init__(**kwargs)
        self.prompts = prompts
        self.encoder = encoder
        self.head = TextHead(num_tasks, head_units, dropout, name="head")
        self.head.build((None, 2 * backbone_width(encoder.backbone)))
        self.built = True

    def texts(self, batch):
        """The prompts that a batch is read as."""
        return [self.prompts.users(batch), self.prompts.items(self._items(batch)[0])]

    def user_vectors(self, batch, training=False):
        """The vector of each request's user text, `[R, H]`."""
        return self.encoder(self.prompts.users(batch), training=training)

    def item_vectors(self, rows, training=False):
        """The vector of each item's text, `[I, H]`, by catalog rows `[I]`."""
        return self.encoder(self.prompts.items(rows), training=training)

    def call(self, batch, training=False):
        rows, place = self._items(batch)
        users = tf.gather(self.user_vectors(batch, training), self.prompts.places(batch)[:, 0])
        items = tf.gather(self.item_vectors(rows, training), place)
        return self.prompts.spread(self.head(tf.concat([users, items], axis=1), training=training), batch)

    def _items(self, batch):
        """The different items of the batch, and which of them each real candidate is."""
        return tf.unique(tf.gather_nd(batch["item"], self.prompts.places(batch)))
