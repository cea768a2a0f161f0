"""Text encoders of a few weights: a BERT with twelve words, and an OPT with the letters of the alphabet."""

from __future__ import annotations

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "red", "blue", "shoe", "lamp", "##s", "a", "new"]
TEXTS = ["red shoes", "a blue lamp", "new red lamp", "blue shoe", "a new shoe", "red lamps"]


def bert(dim=4, pooling=None, max_tokens=8, dropout=0.1, cleaner=None, seed=1):
    import keras
    import keras_nlp

    from ppm_tf.encoders.text import TextEncoder

    keras.utils.set_random_seed(seed)
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=WORDS, lowercase=True, strip_accents=True)
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=len(WORDS), num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, dropout=dropout, max_sequence_length=16
    )
    for weight in backbone.trainable_weights:  # BERT's own start, N(0, 0.02), tells texts of twelve words hardly apart
        if "kernel" in weight.path or "embedding" in weight.path:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=seed + len(weight.path)))
    return TextEncoder(backbone, tokenizer, pooling, dim, max_tokens, cleaner)


def opt(dim=4, max_tokens=16, seed=1):
    import keras
    import keras_nlp

    from ppm_tf.encoders.text import TextEncoder

    keras.utils.set_random_seed(seed)
    pieces = ["<s>", "<pad>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ed"]
    tokenizer = keras_nlp.models.OPTTokenizer(vocabulary={piece: number for number, piece in enumerate(pieces)}, merges=["e d"])
    backbone = keras_nlp.models.OPTBackbone(
        vocabulary_size=len(pieces), num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, dropout=0.1, max_sequence_length=32
    )
    return TextEncoder(backbone, tokenizer, None, dim, max_tokens)
