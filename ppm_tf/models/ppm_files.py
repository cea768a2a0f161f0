"""PPM on disk: the folder that holds a pre-trained one, and a training that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from ppm_tf.config import Config
from ppm_tf.data.schema import Schema
from ppm_tf.models.ppm import PretrainingModel
from ppm_tf.models.provenance import PPM_START_ANEW, Provenance
from ppm_tf.models.ranking_files import require_same_form
from ppm_tf.storage import load_weights
from ppm_tf.workspace import MADE_BY

PPM_WEIGHTS = "ppm.weights.h5"
# of the section ppm, what does not shape the network
_FREE = {"splits", "dropout", "initializer_stddev", "warm_start", "warm_start_optimizer"}


def warm_start_ppm(folder: Path, model: PretrainingModel, config: Config, schema: Schema, versions: Mapping[str, str]) -> None:
    """Gives `model` the weights of the earlier PPM in `folder`, its click head too, and the means and scales that it saw item vectors by.

    Args:
        folder: the earlier artifact `ppm`.
        model: one of the same network.
        config: the settings.
        schema: that of the data.
        versions: of the encoder behind each table that `model` reads.

    Raises:
        ValueError: the earlier PPM is another network, read vectors of other encoders, or learnt from requests of another form.
    """
    made = yaml.safe_load((folder / MADE_BY).read_text(encoding="utf-8"))["settings"]["ppm"]
    now = config.ppm.model_dump(mode="json")
    if others := [f"ppm.{name} was {made.get(name)} and is {now[name]}" for name in now if name not in _FREE and made.get(name) != now[name]]:
        raise ValueError(
            f"ppm.warm_start must be a PPM of the same network. Received: {folder}, where {'; '.join(others)}. Remedy: set what differs as it was, or"
            f" {PPM_START_ANEW}."
        )
    require_same_form(folder, Schema.read(folder / "schema.json"), schema, f"prepare the data as it was, or {PPM_START_ANEW}")
    Provenance.read(folder).require(versions, folder, PPM_START_ANEW)
    load_weights(model, folder / PPM_WEIGHTS, PPM_START_ANEW)
