"""The language model of a text model: where it starts, and how it is kept beside the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from ppm_tf.config import Config
from ppm_tf.encoders.text import TextEncoder
from ppm_tf.encoders.text_backbone import load_backbone, merged_lora
from ppm_tf.encoders.text_cleaning import load_cleaner
from ppm_tf.encoders.text_start import learn_word_pieces, start_cleaner, start_encoder
from ppm_tf.storage import reserve, weights_size
from ppm_tf.text_models.p5 import quiet_t5
from ppm_tf.text_models.presets import refuse_no_t5

T5_LORA = ("query_projector", "value_projector")  # keras-hub's default names are in none of a T5's layers
YES, NO = "yes", "no"


class Language(NamedTuple):
    """A language model with what reads texts for it.

    Attributes:
        backbone: keras-nlp backbone.
        tokenizer: its tokenizer.
        cleaner: what cleans item texts before they are tokenized, or `None`.
    """

    backbone: Any
    tokenizer: Any
    cleaner: Any = None


def start_language(config: Config, texts: Sequence[str], words: Sequence[str]) -> Language:
    """The language model that `config.text` names: a preset, one of an earlier run, or one that starts from nothing.

    Args:
        config: the settings.
        texts: item texts, as the catalog has them.
        words: words of every prompt, such as the names of its fields: a language model that starts from nothing has each as one piece.

    Raises:
        ValueError: it cannot be loaded, or is not of the model's kind.
    """
    text, backbone = config.text, config.model.backbone
    if text.encoder == "bag_of_words" or (text.encoder == "saved" and backbone.name == "p5"):
        raise ValueError(f"{backbone.name} cannot start from text.encoder={text.encoder}. Remedy: text.encoder=small_bert or preset.")
    if text.encoder == "saved":
        saved = TextEncoder.load(text.path)
        return Language(saved.backbone, saved.tokenizer, saved.cleaner)
    cleaner = start_cleaner(text, [one for one in texts if one])
    if text.encoder == "preset":
        return Language(*(load_t5(text.preset) if backbone.name == "p5" else load_backbone(text.preset)), cleaner)
    known = [one for one in (texts if cleaner is None else cleaner.clean(list(texts))) if one]
    if backbone.name == "p5":
        return Language(*_small_t5(text, known, words), cleaner)
    started = start_encoder(text.model_copy(update={"max_tokens": backbone.max_tokens}), known, None, words=words)
    return Language(started.backbone, started.tokenizer, cleaner)


@quiet_t5()
def _small_t5(text, texts: Sequence[str], words: Sequence[str]):
    """An untrained T5 of the sizes of `config.text`, on word pieces that are learnt from the catalog."""
    import keras_nlp

    pieces = learn_word_pieces(texts, text.vocabulary, words)
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=pieces, lowercase=True, strip_accents=True)
    backbone = keras_nlp.models.T5Backbone(
        vocabulary_size=len(pieces),
        num_layers=text.num_layers,
        num_heads=text.num_heads,
        hidden_dim=text.width,
        intermediate_dim=4 * text.width,
        dropout=0.1,
        use_gated_activation=False,
    )
    return backbone, tokenizer


@quiet_t5()
def load_t5(preset: str):
    """Backbone and tokenizer of a keras-hub preset of a T5.

    Raises:
        ValueError: it is none; a Hugging Face folder cannot be converted.
    """
    refuse_no_t5(preset)
    import keras_nlp

    try:
        backbone = keras_nlp.models.Backbone.from_preset(preset, dtype=keras.config.dtype_policy())
        tokenizer = keras_nlp.models.Tokenizer.from_preset(preset)
    except (ValueError, OSError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise ValueError(
            f"text.preset must be a keras-nlp preset of a T5, with weights and tokenizer. Received: {preset} ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(backbone, keras_nlp.models.T5Backbone):
        raise ValueError(f"text.preset must be a T5 for model.backbone.name=p5. Received: {preset}, a {type(backbone).__name__}.")
    return backbone, tokenizer


@quiet_t5()
def save_language(language: Language, folder: str | Path) -> None:
    """Writes a keras-nlp preset of backbone and tokenizer, low-rank updates merged, and the cleaner."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reserve(folder / "backbone", weights_size(language.backbone))
    merged_lora(language.backbone).save_to_preset(str(folder / "backbone"))
    language.tokenizer.save_to_preset(str(folder / "backbone"))
    if language.cleaner is not None:
        language.cleaner.save(folder / "cleaner")


@quiet_t5()
def load_language(folder: str | Path) -> Language:
    """Reads what `save_language` wrote."""
    import keras_nlp

    preset = str(Path(folder) / "backbone")
    backbone = keras_nlp.models.Backbone.from_preset(preset, dtype=keras.config.dtype_policy())
    cleaner = load_cleaner(Path(folder) / "cleaner") if (Path(folder) / "cleaner").is_dir() else None
    return Language(backbone, keras_nlp.models.Tokenizer.from_preset(preset), cleaner)
