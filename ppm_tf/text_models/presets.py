"""Which folders a text model can start from; read from config.json, before any weight or library is."""

from __future__ import annotations

import json
from pathlib import Path

from ppm_tf.config import Config
from ppm_tf.encoders.text_formats import check_presets


def check_language(config: Config) -> None:
    """Refuses a text.preset that a model that reads text cannot start from; stages call it before anything is made.

    Raises:
        ValueError: it is of another model, or of one that cannot be loaded.
    """
    if not config.model.reads_text:
        return
    if config.model.backbone.name == "p5":
        refuse_no_t5(config.text.preset or "")
    else:
        check_presets(config)


def refuse_no_t5(preset: str) -> None:
    """Refuses a folder whose config.json says that it is no keras-nlp preset; whatever has no such file passes.

    Raises:
        ValueError: it is a Hugging Face folder, of a T5 too.
    """
    path = Path(preset, "config.json")
    if not preset or not path.is_file():
        return
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"text.preset must be a folder whose config.json is JSON. Received: {path} ({error}). Remedy: copy the folder again."
        ) from error
    if not isinstance(about, dict) or "registered_name" not in about:
        kind = about.get("model_type") if isinstance(about, dict) else None
        raise ValueError(
            f"text.preset must be a keras-nlp preset of a T5 for model.backbone.name=p5. Received: {preset}, a Hugging Face folder of model_type"
            f" {kind!r}; keras-hub 0.32 has no converter for T5, nor for OPT. Remedy: a folder that save_to_preset of a keras-nlp T5Backbone and its"
            " tokenizer wrote, or text.encoder=small_bert for a small T5 that starts from nothing."
        )


def no_texts(name: str) -> str:
    """Why a model that reads text cannot do without texts."""
    return (
        f"model.backbone.name={name} reads the texts of the items. Received: no item has one. Remedy: set data.items.text, or take a backbone"
        " over ids."
    )
