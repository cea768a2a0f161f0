"""Text models on disk, beside what every ranking model's folder holds."""

from __future__ import annotations

from pathlib import Path

from ppm_tf.config import Config
from ppm_tf.data.schema import Schema
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.provenance import MODEL_ANEW, Provenance, precision_of
from ppm_tf.models.ranking_files import SCHEMA, WEIGHTS, load_ranking_model, require_same_values
from ppm_tf.storage import load_weights
from ppm_tf.text_models.build import build_text_model
from ppm_tf.text_models.language import load_language

LANGUAGE = "language_model"  # folder inside the model's


def load_text_model(config: Config, inputs: Inputs, folder: Path):
    """The trained text model in `folder`, over the items of `inputs`; arguments, result and errors as of `load_ranking_model`."""
    require_same_values(folder, Schema.read(folder / SCHEMA), inputs.schema)
    with precision_of(Provenance.read(folder)):
        model, _ = build_text_model(config, inputs, load_language(folder / LANGUAGE))
    load_weights(model, folder / WEIGHTS, MODEL_ANEW)
    return model


def load_model(config: Config, inputs: Inputs, folder: Path):
    """The trained model in `folder`, of ids or of text, by `config.model`."""
    return load_text_model(config, inputs, folder) if config.model.reads_text else load_ranking_model(config, inputs, folder)
