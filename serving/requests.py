"""Requests as clients send them, made from prepared samples: for the warm-up and the golden answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ppm_tf.data import samples
from ppm_tf.data.ids import fingerprints
from ppm_tf.data.schema import Schema
from ppm_tf.models.inputs import Inputs
from ppm_tf.workspace import Workspace

UNKNOWN_USER = ""


def sample_batches(workspace: Workspace, inputs: Inputs, schema: Schema, count: int) -> list[dict[str, np.ndarray]]:
    """Batches of one request each, as the trainer reads them: requests of the test split, and one without a history.

    Args:
        workspace: the run folder.
        inputs: its data.
        schema: that of the model's training.
        count: how many.
    """
    files = samples.find_shards(workspace.path("data") / "samples", ["test"], "size")
    found = []
    with samples.reading(files):
        for batch in samples.read(files, inputs.schema, 1).take(count):
            one = {name: value.numpy() for name, value in batch.items()}
            one.pop("slot", None)  # the page is not laid out yet when a request is served
            if schema.user_id_type == "string":  # samples hold the fingerprint of an id that is gone; one that is known stands for it
                one["user_id"] = fingerprints(pa.array([UNKNOWN_USER]))
            found.append(one)
    if not found:
        raise ValueError("The test split must hold a request, for the warm-up. Received: none. Look at data.split.")
    empty = {name: np.zeros_like(value) if name in ("history", "history_time") else value for name, value in found[0].items()}
    return [*found, empty]


def raw_requests(batch: dict[str, np.ndarray], inputs: Inputs, schema: Schema, pad_id: int, with_user: bool) -> dict[str, np.ndarray]:
    """The inputs of `serving_default` that mean the same as a batch of rows.
    """
    found: dict[str, Any] = {"candidate_ids": raw_ids(batch["item"], inputs, pad_id), "history_ids": raw_ids(batch["history"], inputs, pad_id)}
    if schema.has_time:
        found |= {"history_times": batch["history_time"], "time": batch["time"]}
    if with_user:
        found["user_id"] = batch["user_id"] if schema.user_id_type == "int" else np.array([UNKNOWN_USER.encode()] * len(batch["user_id"]), object)
    for side in ("user", "context"):
        start = 0
        for field in schema.side(side):
            rows = batch[side][:, start : start + field.num_values]
            words = np.array(["", "", *field.vocabulary], object)
            found[f"{side}_{field.name}"] = np.array([[words[row].encode() for row in line] for line in rows], object)
            start += field.num_values
    return found


def raw_ids(rows: np.ndarray, inputs: Inputs, pad_id: int) -> np.ndarray:
    """The raw ids of catalog rows; the pad id of padding, and an id that the catalog does not hold of an unknown item."""
    ids = inputs.catalog.ids.to_numpy(zero_copy_only=False)
    if inputs.schema.item_id_type == "int":
        return np.concatenate([[pad_id, ids.max() + 1], ids])[rows]
    return np.array([b"", b"\x00 unknown", *(one.encode() for one in ids)], object)[rows]


def plain(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as JSON knows them: nested lists of numbers and texts."""
    return {name: _text(value) if value.dtype.kind in "OS" else value.tolist() for name, value in values.items()}


def _text(values: np.ndarray) -> Any:
    return [_text(value) if isinstance(value, np.ndarray) else value.decode() if isinstance(value, bytes) else str(value) for value in values]
