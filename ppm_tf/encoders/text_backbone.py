"""What text encoders need to know of keras-nlp's backbones and tokenizers: loading, special tokens, low-rank updates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import keras
from keras import ops

from ppm_tf.encoders.text_formats import DECODERS, ENCODERS, refuse_unconverted
from ppm_tf.private_apis import all_layers, full_kernel


def load_backbone(preset: str):
    """Backbone and tokenizer of a keras-nlp preset or a local folder.

    Raises:
        ValueError: it cannot be loaded, or is no text model that gives hidden states.
    """
    refuse_unconverted(preset, "text.preset", (*ENCODERS, *DECODERS))
    import keras_nlp

    try:
        backbone = keras_nlp.models.Backbone.from_preset(preset, dtype=keras.config.dtype_policy())
        tokenizer = keras_nlp.models.Tokenizer.from_preset(preset)
    except (ValueError, OSError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise ValueError(
            f"text.preset must be a keras-nlp preset, or a folder in keras-nlp or Hugging Face layout with weights and tokenizer. Received: {preset}"
            f" ({type(error).__name__}: {error})."
        ) from error
    tokenizer = _with_accents_stripped(tokenizer, Path(preset))
    output = backbone.output
    sequence = output.get("sequence_output") if isinstance(output, dict) else output
    if sequence is None or len(sequence.shape) != 3 or set(input_names(backbone)) - {"token_ids", "padding_mask", "segment_ids"}:
        raise ValueError(
            f"text.preset must be an encoder or decoder that gives one hidden state a token. Received: {preset}, a {type(backbone).__name__}."
        )
    return backbone, tokenizer


def _with_accents_stripped(tokenizer, folder: Path):
    """A Hugging Face BERT that lowers case also strips accents unless told otherwise; keras-nlp's conversion leaves that out."""
    import keras_nlp

    config = folder / "tokenizer_config.json"
    if not isinstance(tokenizer, keras_nlp.models.BertTokenizer) or not tokenizer.lowercase or tokenizer.strip_accents or not config.is_file():
        return tokenizer
    if json.loads(config.read_text(encoding="utf-8")).get("strip_accents") is False:
        return tokenizer
    return keras_nlp.models.BertTokenizer(vocabulary=tokenizer.get_vocabulary(), lowercase=True, strip_accents=True)


def special_tokens(tokenizer) -> dict[str, int | None]:
    """Ids of the start, end, padding and mask tokens; `None` where the tokenizer has none, padding 0."""

    def first(*names):
        found = (getattr(tokenizer, f"{name}_token_id", None) for name in names)
        return next((int(value) for value in found if value is not None), None)

    pad = first("pad")
    return {"start": first("cls", "start"), "end": first("sep", "end"), "pad": 0 if pad is None else pad, "mask": first("mask")}


def backbone_width(backbone) -> int:
    """Width of the backbone's hidden states."""
    output = backbone.output
    return int((output["sequence_output"] if isinstance(output, dict) else output).shape[-1])


def trained_weights(backbone) -> int:
    """How many of the backbone's weights train."""
    return sum(weight.shape.num_elements() for weight in backbone.trainable_weights)


def has_lora(backbone) -> bool:
    """Whether low-rank updates are on in a layer of the backbone."""
    return any(getattr(layer, "lora_enabled", False) for layer in all_layers(backbone))


def low_rank(backbone, rank: int, names: Sequence[str] | None = None) -> None:
    """Freezes a backbone but for low-rank updates of some of its layers (Hu et al., *LoRA*, 2021).

    Args:
        backbone: keras-nlp backbone.
        rank: of the updates.
        names: names of the layers; default: those of keras-nlp, the query and value of each attention.

    Raises:
        ValueError: it has no such layer, so that nothing would train.
    """
    names = list(names or backbone.default_lora_layer_names())
    backbone.enable_lora(rank, target_layer_names=names)
    if not has_lora(backbone):
        raise ValueError(
            f"text.lora_rank needs layers that take low-rank updates, by the names {', '.join(names)}. Received: a {type(backbone).__name__}, which"
            " has none of them, so that nothing would train. Remedy: text.lora_rank=0."
        )


def merged_lora(backbone):
    """The backbone with low-rank updates added to the weights that they update; itself if it has none."""
    if not has_lora(backbone):
        return backbone
    effective = {id(full_kernel(layer)): layer.kernel for layer in all_layers(backbone) if getattr(layer, "lora_enabled", False)}
    copy = type(backbone).from_config(backbone.get_config())
    copy.set_weights([ops.convert_to_numpy(effective.get(id(weight), weight)) for weight in backbone.weights if not weight.name.startswith("lora_")])
    return copy


def input_names(backbone) -> list[str]:
    """Names of the tensors that the backbone takes."""
    inputs = backbone.input
    return sorted(inputs) if isinstance(inputs, dict) else ["token_ids"]


def vocabulary_of(tokenizer) -> list[str]:
    """The tokenizer's pieces in the order of their ids."""
    vocabulary = tokenizer.get_vocabulary()
    return sorted(vocabulary, key=vocabulary.get) if isinstance(vocabulary, dict) else list(vocabulary)
