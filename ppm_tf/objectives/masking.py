"""Masks for the masked language model, drawn in the graph from a seed that a checkpoint holds."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

_TO_MASK, _TO_RANDOM = 0.8, 0.1  # what becomes of a chosen token; the rest stay (BERT, section 3.1)


def mask_tokens(tokens, special: dict[str, int | None], vocabulary_size: int, share: float, seed):
    """Chooses tokens of each text and hides them.

    A share of each text's tokens is chosen, rounded, at least one where there is one; special tokens never. Of the chosen,
    80 % become the mask token, 10 % a random token, 10 % stay (Devlin et al., *BERT*, 2019).

    Args:
        tokens: dict of `"token_ids"` and `"padding_mask"`, int32 `[B, L]`.
        special: ids of the start, end, padding and mask tokens.
        vocabulary_size: ids are below it.
        share: of the tokens that are chosen.
        seed: int or integer tensor, or a `keras.random.SeedGenerator`.

    Returns:
        dict of `"token_ids"` `[B, L]`, and of the chosen places `"positions"`, `"targets"` and `"weights"` (1 where a place was
        chosen, 0 at the padding), int32 `[B, M]`.
    """
    ids = tokens["token_ids"]
    maskable = ops.cast(tokens["padding_mask"], "bool")
    for name in ("start", "end", "pad", "mask"):
        if special[name] is not None:
            maskable = ops.logical_and(maskable, ops.not_equal(ids, special[name]))
    length = ops.shape(ids)[1]
    counts = ops.sum(ops.cast(maskable, "int32"), axis=1)
    chosen = ops.maximum(ops.cast(ops.round(share * ops.cast(counts, "float32")), "int32"), ops.minimum(counts, 1))
    most = ops.maximum(ops.max(chosen), 1)
    first, second, third = (_draw(ops.shape(ids), seed, number) for number in range(3))
    places = ops.argsort(ops.where(maskable, first, 2.0), axis=1)[:, :most]
    weights = ops.cast(ops.arange(most)[None, :] < chosen[:, None], "int32")
    hit = ops.max(ops.one_hot(places, length, dtype="int32") * weights[..., None], axis=1)
    random_ids = ops.minimum(ops.cast(third * vocabulary_size, "int32"), vocabulary_size - 1)
    hidden = ops.where(second < _TO_MASK, special["mask"], ops.where(second < _TO_MASK + _TO_RANDOM, random_ids, ids))
    return {
        "token_ids": ops.where(ops.cast(hit, "bool"), hidden, ids),
        "positions": places,
        "targets": ops.take_along_axis(ids, places, axis=1),
        "weights": weights,
    }


def _draw(shape, seed, number):
    # A fixed seed may also be an integer tensor: then one traced graph serves every batch.
    if isinstance(seed, keras.random.SeedGenerator):
        return keras.random.uniform(shape, seed=seed)
    return tf.random.stateless_uniform(shape, seed=tf.stack([tf.cast(seed, tf.int32) + number, 0]))
