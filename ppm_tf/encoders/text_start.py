"""Where a text encoder starts from: a preset, or a small BERT whose word pieces are learnt from the catalog."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from ppm_tf.config import TextSettings
from ppm_tf.data.text_form import normalize
from ppm_tf.encoders.text import TextEncoder

logger = logging.getLogger(__name__)

_RESERVED = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
_MOST_TEXTS = 200_000  # a sample of this size knows the words of any catalog


def start_encoder(
    settings: TextSettings, texts: Sequence[str], dim: int | None, queries: Sequence[str] = (), cleaner=None, words: Sequence[str] = ()
) -> TextEncoder:
    """An untrained small BERT, or the preset, by `text.encoder`.

    Args:
        settings: the section `text`.
        texts: cleaned item texts, from which the small BERT's word pieces are learnt.
        dim: width of the vectors; `None` = without a projection.
        queries: further texts to learn word pieces from.
        cleaner: what cleans texts, or `None`.
        words: words that are one piece each, whatever the texts hold.

    Raises:
        ValueError: the preset cannot be loaded, or there is no text to learn from.
        RuntimeError: the encoder that was learnt cannot be loaded as it was saved.
    """
    common = {"pooling": settings.pooling, "dim": dim, "max_tokens": settings.max_tokens, "cleaner": cleaner}
    if settings.encoder == "preset":
        encoder = TextEncoder.from_preset(settings.preset, **common)
        if settings.lora_rank:
            encoder.enable_lora(settings.lora_rank)
        return encoder
    import keras_nlp

    start = time.monotonic()
    pieces = learn_word_pieces([*texts, *queries], settings.vocabulary, words)
    logger.info("learnt %d word pieces from %d texts in %.1f s", len(pieces), len(texts) + len(queries), time.monotonic() - start)
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=pieces, lowercase=True, strip_accents=True)
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=len(pieces),
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        hidden_dim=settings.width,
        intermediate_dim=4 * settings.width,
        dropout=0.1,
        max_sequence_length=settings.max_tokens,
        num_segments=2,
    )
    encoder = TextEncoder(backbone, tokenizer, **common)
    _prove_that_it_loads(encoder)
    return encoder


def _prove_that_it_loads(encoder: TextEncoder) -> None:
    """Saves what was learnt and loads it once: a vocabulary that its file cannot hold shows now, not when the training is over."""
    with tempfile.TemporaryDirectory() as folder:
        cleaner, encoder.cleaner = encoder.cleaner, None  # it was not learnt from words, and a language model takes long to load
        try:
            encoder.save(folder)
            found = TextEncoder.load(folder).version
        except (ValueError, OSError, RuntimeError) as error:
            found = f"{type(error).__name__}: {error}"
        expected, encoder.cleaner = encoder.version, cleaner
    if found != expected:
        raise RuntimeError(
            f"The encoder that was learnt from the texts must load as it was saved, {expected}. Received: {found}. "
            "Remedy: look for unusual characters in the text columns of the item file and in data.queries, or set text.cleaning=rules."
        )


def learn_word_pieces(texts: Sequence[str], size: int, words: Sequence[str] = ()) -> list[str]:
    """A WordPiece vocabulary of at most `size` entries, BERT's special tokens first; the same for the same texts.

    The pieces are learnt from texts in the one form that `TextEncoder.tokenize` brings them into; `words` follow them, in lower case.

    Raises:
        ValueError: there is no text.
    """
    import tensorflow as tf
    from keras_nlp.tokenizers import compute_word_piece_vocabulary

    texts = [text for text in texts if text]
    if not texts:
        raise ValueError(
            "The catalog must hold at least one text to learn word pieces from. Received: none. Look at the text columns of the item file."
        )
    if len(texts) > _MOST_TEXTS:
        texts = [texts[place] for place in np.linspace(0, len(texts) - 1, _MOST_TEXTS).astype(int)]
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(1000).map(normalize)
    learnt = compute_word_piece_vocabulary(
        dataset, vocabulary_size=max(size - len(words), len(_RESERVED)), lowercase=True, strip_accents=True, reserved_tokens=list(_RESERVED)
    )
    return list(dict.fromkeys([*learnt, *(word.lower() for word in words)]))


def start_cleaner(settings: TextSettings, texts: Sequence[str]):
    """What cleans texts by `text.cleaning`, its rules fitted on the catalog's texts.

    `None` for none, with a line in the log where there is markup.
    """
    if settings.cleaning == "none":
        from ppm_tf.encoders.rule_cleaning import hint_at_markup

        hint_at_markup(texts)
        return None
    from ppm_tf.encoders.text_cleaning import LanguageModelCleaner, RuleCleaner

    rules = RuleCleaner.fit(texts)
    return rules if settings.cleaning == "rules" else LanguageModelCleaner.from_preset(settings.cleaner, rules)
