"""`PTab`: a request and a candidate as one text, read by a language model."""

from __future__ import annotations

import keras

from ppm_tf.encoders.text_backbone import backbone_width
from ppm_tf.text_models.head import TextHead
from ppm_tf.text_models.prompts import Prompts


class PTab(keras.Model):
    """`logits = head(CLS(language model(prompt)))`, a prompt for each real candidate.

    User, request, history and candidate are one text of sentences `field: value`, so each layer of the language model sees all of them together;
    nothing is computed once a request but the tokens. All weights train.

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
        Liu et al., *PTab: using the pre-trained language model for modeling tabular data*, 2022 (arXiv 2209.08060).
    """

    def __init__(self, prompts: Prompts, encoder, num_tasks, head_units=128, dropout=0.2, **kwargs):
        super().__init__(**kwargs)
        self.prompts = prompts
        self.encoder = encoder
        self.head = TextHead(num_tasks, head_units, dropout, name="head")
        self.head.build((None, backbone_width(encoder.backbone)))
        self.built = True

    def texts(self, batch):
        """The prompts that a batch is read as."""
        return [self.prompts.pairs(batch)]

    def call(self, batch, training=False):
        vectors = self.encoder(self.prompts.pairs(batch), training=training)
        return self.prompts.spread(self.head(vectors, training=training), batch)
