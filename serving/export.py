"""Writes a `ServingModule` as a SavedModel, with its warm-up requests and golden answers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ppm_tf.storage import write_json
from serving.layout import ABOUT, EMBED, EXTRA, GOLDEN, SIGNATURE
from serving.requests import plain
from serving.signature import ServingModule
from serving.warmup import write_warmup


def write_saved_model(module: ServingModule, folder: Path) -> None:
    """Writes the SavedModel with the signatures `serving_default` and `embed`."""
    specs = module.inputs()
    item = specs["candidate_ids"].dtype
    rank = tf.function(lambda **inputs: module.rank(**inputs)).get_concrete_function(**specs)
    embed = tf.function(lambda item_ids: module.embed(item_ids)).get_concrete_function(tf.TensorSpec([None], item, name="item_ids"))
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: rank, EMBED: embed})


def keep_graph(folder: Path, earlier: Path, catalog_keys: frozenset[str]) -> None:
    """Gives a new export the graph of an earlier version, byte for byte; only the catalog and the item tables may differ.

    Args:
        folder: the new export, written from the same model over another catalog.
        earlier: the version to take the graph from.
        catalog_keys: names of the variables that belong to the catalog.

    Raises:
        FileNotFoundError: there is no earlier version.
        ValueError: the earlier version is another model.
    """
    if not (earlier / "saved_model.pb").is_file():
        raise FileNotFoundError(
            f"An earlier version must be there to take the graph from. Received: none in {earlier.parent}. Run `python -m pipelines.export` first."
        )
    old, new = (tf.train.load_checkpoint(str(one / "variables" / "variables")) for one in (earlier, folder))
    keys = [set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"} for reader in (old, new)]
    if keys[0] != keys[1] or any(not np.array_equal(old.get_tensor(key), new.get_tensor(key)) for key in sorted(keys[0] - catalog_keys)):
        raise ValueError(
            f"New tables alone may only go to the same model. Received: other weights than those of {earlier}. Run `python -m pipelines.export` for"
            " the whole model."
        )
    for name in ("saved_model.pb", "fingerprint.pb"):
        if (earlier / name).is_file():
            shutil.copy(earlier / name, folder / name)


def write_extras(
    folder: Path,
    requests: list[Mapping[str, np.ndarray]],
    answers: list[Mapping[str, np.ndarray]],
    model: str,
    batches: tuple[int, ...],
    about: Mapping[str, Any],
) -> None:
    """Writes the warm-up, the golden request with its answer, and what the export is.

    Args:
        folder: the SavedModel.
        requests: inputs of `serving_default` of one row each.
        answers: the trainer's probabilities of each, by task.
        model: name under which the model is served.
        batches: numbers of requests at once in the warm-up.
        about: for `export.json`.
    """
    extra = folder / EXTRA
    extra.mkdir(exist_ok=True)
    items = np.unique(np.concatenate([request["candidate_ids"].ravel() for request in requests]))
    records = [(SIGNATURE, {name: np.repeat(value, size, axis=0) for name, value in request.items()}) for request in requests for size in batches]
    write_warmup(extra, model, [*records, (EMBED, {"item_ids": items[:16]})])
    together = [{name: np.concatenate([one[name] for one in rows]) for name in rows[0]} for rows in (requests, answers)]
    golden = {"signature_name": SIGNATURE, "inputs": plain(together[0]), "outputs": plain(together[1])}
    write_json(extra / GOLDEN, golden, indent=None)
    write_json(extra / ABOUT, about)
