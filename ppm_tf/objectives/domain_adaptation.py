"""`DomainAdaptation`: a language model read into the catalog's texts (CELA, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import keras_nlp
import tensorflow as tf
from keras import ops

from ppm_tf.data.shuffling import examples_in_order
from ppm_tf.losses import info_nce, masked_language_model
from ppm_tf.objectives.by_item import ItemObjective
from ppm_tf.objectives.gather import over_replicas
from ppm_tf.objectives.masking import mask_tokens


class DomainAdaptation(ItemObjective):
    """`L_DAP = mlm_weight L_MLM + simcse_weight L_SimCSE`, both of each item's own text (CELA, eq. 4-6; the second weight is alpha).

    MLM predicts tokens that were masked; for a decoder model it is the causal loss, each token from those before it. SimCSE
    passes a text through the encoder twice, under two draws of dropout, and asks for the twin among the texts of the batch.

    Args:
        encoder: `TextEncoder`; SimCSE is computed on its pooled hidden states, before the projection.
        mlm_weight: float. 0 leaves the language model loss out. Defaults to `1.0`.
        simcse_weight: float. 0 leaves SimCSE out. Defaults to `1.0`.
        mask_share: float. Share of the tokens that are masked. Defaults to `0.15`.
        temperature: float. Of SimCSE. Defaults to `0.05`.
        seed: int. Of the masks. Defaults to `0`.

    Call arguments:
        batch: dict of `"tokens"` (as the encoder takes them) and `"row"` `[B]`.
        training: bool. Whether dropout is on; SimCSE's twins differ by it alone.
        mask_seed: `None` draws new masks at each call; an int fixes them, for evaluation.

    Returns:
        dict of what the losses need: `"logits"` `[B, M, vocabulary]`, `"targets"` and `"weights"` `[B, M]`, `"left"` and
        `"right"` (in training alone) `[B, H]`; without the part whose weight is 0.

    References:
        Wang et al., *CELA*, 2024, section 4.1; Gao et al., *SimCSE*, 2021; Devlin et al., *BERT*, 2019.
    """

    def __init__(self, encoder, mlm_weight=1.0, simcse_weight=1.0, mask_share=0.15, temperature=0.05, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.mlm_weight = mlm_weight
        self.simcse_weight = simcse_weight
        self.mask_share = mask_share
        self.temperature = temperature
        self.seeds = keras.random.SeedGenerator(seed)
        self.head = None
        if mlm_weight and not encoder.is_decoder:
            embedding = encoder.backbone.token_embedding
            self.head = keras_nlp.layers.MaskedLMHead(
                token_embedding=embedding,
                intermediate_activation="gelu",
                kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
                name="mlm_head",
            )
            self.head.build((None, None, embedding.output_dim))
        self.built = True

    def call(self, batch, training=False, mask_seed=None):
        tokens, outputs = batch["tokens"], {}
        left = self.encoder.hidden(tokens, training) if self.simcse_weight or self.encoder.is_decoder else None
        if self.mlm_weight and self.encoder.is_decoder:
            logits = self.encoder.backbone.token_embedding(left, reverse=True)
            outputs |= {"logits": logits[:, :-1], "targets": tokens["token_ids"][:, 1:], "weights": tokens["padding_mask"][:, 1:]}
        elif self.mlm_weight:
            seed = self.seeds if mask_seed is None else mask_seed
            masked = mask_tokens(tokens, self.encoder.special, self.encoder.tokenizer.vocabulary_size(), self.mask_share, seed)
            hidden = self.encoder.hidden({**tokens, "token_ids": masked["token_ids"]}, training)
            outputs |= {"logits": self.head(hidden, masked["positions"]), "targets": masked["targets"], "weights": masked["weights"]}
        if self.simcse_weight:
            mask = tokens["padding_mask"]
            outputs["left"] = self.encoder.pool(left, mask)
            if training:
                outputs["right"] = self.encoder.pool(self.encoder.hidden(tokens, training), mask)
        return outputs

    def twins(self, batch):
        """The vectors of each text under two draws of dropout, two tensors `[B, H]`."""
        tokens = batch["tokens"]
        return tuple(self.encoder.pool(self.encoder.hidden(tokens, True), tokens["padding_mask"]) for _ in range(2))

    def loss_of(self, batch, outputs):
        """Eq. 6."""
        loss = 0.0
        if self.mlm_weight:
            loss += self.mlm_weight * masked_language_model(outputs["targets"], outputs["logits"], outputs["weights"])
        if self.simcse_weight:
            left, right = over_replicas(outputs["left"]), over_replicas(outputs["right"])
            loss += self.simcse_weight * info_nce(left, right, self.temperature)
        return ops.convert_to_tensor(loss)


def text_batches(encoder, texts: Sequence[str], rows, batch_size: int, epochs: int | None, seed: int) -> tf.data.Dataset:
    """Batches of tokenized texts `[P]` with their catalog rows; shuffled, or in order once where `epochs` is `None`."""
    texts, rows = tf.constant(list(texts), tf.string), tf.constant(rows, tf.int32)

    def batch(places, _):
        return {"tokens": encoder.tokenize(tf.gather(texts, places)), "row": tf.gather(rows, places)}

    order = examples_in_order(int(rows.shape[0]), epochs, seed).batch(batch_size)
    return order.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
