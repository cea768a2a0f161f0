"""Which language models in a Hugging Face folder can be loaded; read from the folder's config.json, before any weight or library is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ppm_tf.config import Config

# `model_type` in config.json: the models of text that keras-hub 0.32 converts. OPT and T5 are not among them: of these it reads presets
# of its own.
ENCODERS = ("albert", "bert", "distilbert", "roberta", "xlm-roberta")
DECODERS = ("gemma", "gemma2", "gpt2", "gpt_oss", "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3")
ENCODER_DECODERS = ("bart", "t5gemma")  # they give hidden states of two texts, and serve for cleaning alone


def check_presets(config: Config) -> None:
    """Refuses text.preset and text.cleaner of models that cannot be loaded; stages call it before anything is made.

    Raises:
        ValueError: as `refuse_unconverted`.
    """
    refuse_unconverted(config.text.preset or "", "text.preset", (*ENCODERS, *DECODERS))
    refuse_unconverted(config.text.cleaner or "", "text.cleaner", (*DECODERS, *ENCODER_DECODERS))


def refuse_unconverted(preset: str, setting: str, allowed: Sequence[str]) -> None:
    """Refuses a Hugging Face folder of a model that cannot be loaded; whatever is no such folder passes.

    Args:
        preset: a preset's name or a folder.
        setting: name of the setting that holds it, for the message.
        allowed: the values of `model_type` that can be loaded.

    Raises:
        ValueError: config.json names another model, or is no JSON.
    """
    path = Path(preset, "config.json")
    if not preset or not path.is_file():
        return
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that are no text, text that is no JSON
        raise ValueError(
            f"{setting} must be a folder whose config.json is JSON. Received: {path} ({error}). Remedy: copy the folder again."
        ) from error
    found = about.get("model_type") if isinstance(about, dict) and "registered_name" not in about else None  # which a keras-nlp preset has
    if found is not None and found not in allowed:
        raise ValueError(
            f"{setting} must be a keras-nlp preset, or a Hugging Face folder of one of the models {', '.join(sorted(allowed))}. Received: {preset},"
            f" whose config.json says model_type {found!r}. Remedy: take one of these, or where keras-nlp has the model (such as OPT), a folder that"
            " its save_to_preset wrote."
        )
