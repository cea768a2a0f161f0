"""Five items with texts, a schema with every kind of field, and word tokens that can be read."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ppm_tf.data.schema import Field, Schema
from ppm_tf.text_models.prompts import Prompts

SCHEMA = Schema(
    fields=(
        Field("brand", "item", ("acme", "bolt")),
        Field("tags", "item", ("new", "sale"), num_values=2),
        Field("age_group", "user", ("young", "old")),
        Field("device", "context", ("desk", "phone")),
    ),
    numbers=("price",),
    tasks=("click", "order"),
    history_task="click",
    history_length=4,
    num_candidates=3,
    item_id_type="int",
    user_id_type="int",
    has_time=False,
    has_slot=False,
    has_truth=False,
)
# Catalog rows 2 to 6; row 4 has no text.
FIELDS = {
    "brand": np.array([[0], [0], [2], [3], [2], [0], [1]], "int32"),
    "tags": np.array([[0, 0], [0, 0], [2, 3], [0, 0], [3, 0], [0, 0], [0, 0]], "int32"),
}
NUMBERS = {"price": np.array([np.nan, np.nan, 5, np.nan, np.nan, np.nan, 2.5], "float32")}
TEXTS = ["red shoe", "blue lamp", "", "green big hat", "coat"]
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", ";", ":", "?", ".", "brand", "tags", "age", "group", "device", "price", "acme", "bolt", "new",
         "sale", "young", "old", "desk", "phone", "red", "blue", "green", "big", "shoe", "lamp", "hat", "coat", "history", "candidate", "unknown",
         "wanted", "yes", "no", "click", "order", "5", "2"]  # fmt: skip


def tokenizer():
    import keras_nlp

    return keras_nlp.models.BertTokenizer(vocabulary=WORDS, lowercase=True, strip_accents=True)


def prompts(max_tokens=64, behaviors=4, item_tokens=3, candidate_tokens=3, question="", start=1):
    read = tokenizer()
    pieces = tf.function(lambda texts: tf.cast(read(texts), tf.int32), input_signature=[tf.TensorSpec([None], tf.string)])
    return Prompts(
        SCHEMA, FIELDS, NUMBERS, TEXTS, lambda texts: pieces(tf.constant(texts, tf.string)), start, 2, 0, max_tokens, behaviors,
        item_tokens, candidate_tokens, question,
    )  # fmt: skip


def words(tokens):
    """Each prompt in words, padding left out."""
    ids, mask = np.asarray(tokens["token_ids"]), np.asarray(tokens["padding_mask"])
    assert set(np.unique(mask)) <= {0, 1}
    return [" ".join(WORDS[number] for number in row[kept > 0]) for row, kept in zip(ids, mask, strict=True)]


def batch():
    """Two requests: a history of an item with text, one without, an unknown one; and none. The second has one candidate."""
    return {
        "request": np.array([1, 2]),
        "history": np.array([[2, 4, 1, 0], [0, 0, 0, 0]], "int32"),
        "item": np.array([[3, 6, 2], [5, 0, 0]], "int32"),
        "user": np.array([[2], [0]], "int32"),
        "context": np.array([[3], [1]], "int32"),
        "labels": np.array([[[1, 0], [0, 0], [0, -1]], [[1, 1], [-1, -1], [-1, -1]]], "float32"),
    }


def encoder(width=8, dropout=0.0, seed=1):
    """A BERT of a few weights over the words."""
    import keras
    import keras_nlp

    from ppm_tf.encoders.text import TextEncoder

    keras.utils.set_random_seed(seed)
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=len(WORDS), num_layers=1, num_heads=2, hidden_dim=width, intermediate_dim=2 * width, dropout=dropout, max_sequence_length=64
    )
    backbone.get_layer("pooled_dense").trainable = False
    for weight in backbone.trainable_weights:  # BERT's own start, N(0, 0.02), tells texts of few words hardly apart
        if "kernel" in weight.path or "embedding" in weight.path:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=seed + len(weight.path)))
    return TextEncoder(backbone, tokenizer(), "cls", None, 64)
