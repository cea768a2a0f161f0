"""Settings, data and a language model to a model that reads text."""

from __future__ import annotations

import logging
import re

import numpy as np
import tensorflow as tf

from ppm_tf.config import Config
from ppm_tf.data.schema import Schema
from ppm_tf.data.text_form import normalize
from ppm_tf.encoders.text import TextEncoder
from ppm_tf.encoders.text_backbone import low_rank, special_tokens
from ppm_tf.encoders.text_cleaning import clean_texts
from ppm_tf.models.inputs import Inputs
from ppm_tf.text_models.ctr_bert import CTRBERT
from ppm_tf.text_models.language import NO, T5_LORA, YES, Language, start_language
from ppm_tf.text_models.p5 import P5, word_starts
from ppm_tf.text_models.presets import no_texts
from ppm_tf.text_models.prompts import CANDIDATE, HISTORY, UNKNOWN, Prompts, words_of
from ppm_tf.text_models.ptab import PTab

logger = logging.getLogger(__name__)

QUESTION = "wanted?"


def build_text_model(config: Config, inputs: Inputs, language: Language | None = None) -> tuple[PTab | CTRBERT | P5, Language]:
    """The model of `config.model`, every weight built, and its language model.

    Args:
        config: the settings.
        inputs: the data; item fields, numbers and texts enter as words, so that new items and values need no row.
        language: the language model that its weights belong to; default: the one that `config.text` starts.

    Raises:
        ValueError: no item has a text, or the language model does not fit.
    """
    schema, catalog, settings = inputs.schema, inputs.catalog, config.model.backbone
    if not any(catalog.text):
        raise ValueError(no_texts(settings.name))
    if language is None:
        language = start_language(config, catalog.text, prompt_words(schema))
    backbone, tokenizer = language.backbone, language.tokenizer
    longest = getattr(backbone, "max_sequence_length", None)
    if longest and settings.max_tokens > longest:
        raise ValueError(
            f"model.backbone.max_tokens must be at most what the language model reads, {longest}. Received: {settings.max_tokens}. Lower it."
        )
    special, is_t5 = special_tokens(tokenizer), settings.name == "p5"
    pieces = tf.function(lambda texts: tf.cast(tokenizer(normalize(texts)), tf.int32), input_signature=[tf.TensorSpec([None], tf.string)])
    prompts = Prompts(
        schema,
        catalog.fields,
        catalog.numbers,
        clean_texts(language.cleaner, catalog.text),
        lambda texts: pieces(tf.constant(texts, tf.string)),
        start=None if is_t5 else special["start"],
        end=special["end"],
        pad=special["pad"],
        max_tokens=settings.max_tokens,
        behaviors=settings.behaviors,
        item_tokens=settings.item_tokens,
        candidate_tokens=settings.candidate_tokens,
        question=QUESTION if is_t5 else "",
    )
    if config.text.lora_rank and config.text.encoder == "preset":
        low_rank(backbone, config.text.lora_rank, T5_LORA if is_t5 else None)
    if is_t5:
        return _p5(prompts, language, schema, settings.max_tokens, special), language
    for layer in backbone.layers:
        if layer.name == "pooled_dense":
            layer.trainable = False  # BERT's own pooler, which is not read
    pooling = "last" if special["mask"] is None else "cls"  # in a decoder model the last token has seen all others
    encoder = TextEncoder(backbone, tokenizer, pooling, None, settings.max_tokens)
    kind = PTab if settings.name == "ptab" else CTRBERT
    return kind(prompts, encoder, len(schema.tasks), settings.head_units, settings.dropout), language


def _p5(prompts: Prompts, language: Language, schema: Schema, max_tokens: int, special) -> P5:
    tokenizer = language.tokenizer
    yes, no, *tasks = ([int(piece) for piece in tokenizer(text)] for text in (YES, NO, *map(words_of, schema.tasks)))
    starts = word_starts(tokenizer)
    starts = np.pad(starts, (0, max(0, language.backbone.vocabulary_size - len(starts))))  # T5 has more rows than pieces
    return P5(
        prompts, language.backbone, (yes[0], no[0]), tasks if len(tasks) > 1 else [[]], starts, max_tokens, special["pad"], special["end"]
    )  # fmt: skip


def language_of(model: PTab | CTRBERT | P5):
    """The keras-nlp backbone of a model that reads text."""
    return model.backbone if isinstance(model, P5) else model.encoder.backbone


def prompt_words(schema: Schema, most: int = 2000) -> list[str]:
    """What stands in prompts beside the texts of items: signs, digits, headers, answers, names of fields and tasks, values; `most` pieces."""
    names = [words_of(name) for name in (*(field.name for field in schema.fields), *schema.numbers, *schema.tasks)]
    values = [value for field in sorted(schema.fields, key=lambda field: len(field.vocabulary)) for value in field.vocabulary]
    found = re.findall(r"\w+", " ".join([HISTORY, CANDIDATE, UNKNOWN, QUESTION, YES, NO, *names, *values]).lower())
    digits = [f"{before}{digit}" for before in ("", "##") for digit in range(10)]
    return list(dict.fromkeys([*":;?.-", *digits, *found]))[:most]


def prompt_batches(model: PTab, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches for masked tokens, as `DomainAdaptation` takes them: the prompt of each request with its first candidate."""

    def first(batch):
        tokens = model.prompts.pairs({**batch, "item": batch["item"][:, :1]})
        del tokens["cut"]
        return {"tokens": tokens, "row": batch["request"]}

    return batches.map(first)


def share_of_cut(model: PTab | CTRBERT | P5, batches: tf.data.Dataset, most: int = 200) -> tuple[float, float, int]:
    """How the prompts of the first batches meet the limit: share of those that were cut, mean tokens, and prompts looked at."""

    @tf.function(input_signature=[batches.element_spec])
    def look(batch):
        return [(tf.size(one["cut"]), tf.reduce_sum(tf.cast(one["cut"], tf.int32)), tf.reduce_sum(one["padding_mask"])) for one in model.texts(batch)]

    found = np.zeros(3, np.int64)
    for batch in batches.take(most):
        found += np.sum([[int(value) for value in one] for one in look(batch)], axis=0)
    count = max(int(found[0]), 1)
    return int(found[1]) / count, int(found[2]) / count, int(found[0])
