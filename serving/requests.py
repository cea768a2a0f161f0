"""Requests as clients send them, made from prepared samples: for the warm-up and the golden answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ppm_tf.data import samples
from ppm_tf.data.ids import fingerprints
from ppm_tf.data.schema import Field, Schema
from ppm_tf.models.inputs import Inputs
from ppm_tf.rows import PADDING_ROW, UNKNOWN_ROW
from ppm_tf.workspace import Workspace
from serving.times import units_per_second

UNKNOWN = "unknown"
UNKNOWN_USER = "unknown user"  # samples hold the fingerprint of a string id; one that is known stands for it


def sample_batches(workspace: Workspace, inputs: Inputs, count: int, candidates: int) -> list[dict[str, np.ndarray]]:
    """Batches of one request each, in the rows of the data: requests of the test split, one without a history, one of strangers.

    The last holds nothing that the data knows: unknown items, and unknown values of each field of the user and the request.

    Args:
        workspace: the run folder.
        inputs: its data.
        count: how many of the test split.
        candidates: most candidates of a request, `serve.max_candidates`.

    Raises:
        ValueError: the test split is empty.
    """
    files = samples.find_shards(workspace.path("data") / "samples", ["test"], "size")
    found = []
    with samples.reading(files):
        for batch in samples.read(files, inputs.schema, 1).take(count):
            one = {
                name: value.numpy() for name, value in batch.items() if name not in ("slot", "labels")
            }  # neither is known when a request is served
            one["item"] = one["item"][:, :candidates]
            if inputs.schema.user_id_type == "string":
                one["user_id"] = fingerprints(pa.array([UNKNOWN_USER]))
            found.append(one)
    if not found:
        raise ValueError("The test split must hold a request, for the warm-up. Received: none. Look at data.split.")
    empty = {name: np.zeros_like(value) if name in ("history", "history_time") else value for name, value in found[0].items()}
    strangers = {name: _unknown(value) if name in ("item", "history", "user", "context") else value for name, value in found[0].items()}
    return [*found, empty, strangers]


def raw_requests(batch: Mapping[str, np.ndarray], inputs: Inputs, schema: Schema, pad_id: int, with_user: bool) -> dict[str, np.ndarray]:
    """The inputs of `serving_default` that mean the same as a batch in the rows of the data.

    What the data does not know goes as a client would send it: as an id or a word that neither the data nor the model holds. An empty
    word is no value.

    Args:
        batch: one of `sample_batches`.
        inputs: the data.
        schema: that of the model's training, whose fields the signature takes.
        pad_id: `serve.pad_id`.
        with_user: whether the signature takes the user's id.
    """
    found: dict[str, Any] = {"candidate_ids": raw_ids(batch["item"], inputs, pad_id), "history_ids": raw_ids(batch["history"], inputs, pad_id)}
    if schema.has_time:
        scale = units_per_second(schema.time_unit)
        found |= {"history_times": batch["history_time"] * scale, "time": batch["time"] * scale}
    if with_user:
        found["user_id"] = batch["user_id"] if schema.user_id_type == "int" else np.array([UNKNOWN_USER.encode()] * len(batch["user_id"]), object)
    for side in ("user", "context"):
        trained, start = {field.name: field for field in schema.side(side)}, 0
        for field in inputs.schema.side(side):
            if field.name in trained:
                found[f"{side}_{field.name}"] = _words(field, trained[field.name], batch[side][:, start : start + field.num_values])
            start += field.num_values
    return found


def raw_ids(rows: np.ndarray, inputs: Inputs, pad_id: int) -> np.ndarray:
    """The raw ids of catalog rows; the pad id of padding, and an id that the catalog does not hold of an unknown item."""
    ids = inputs.catalog.ids.to_numpy(zero_copy_only=False)
    if inputs.schema.item_id_type == "int":
        return np.concatenate([[pad_id, unknown_number(ids, pad_id)], ids]).astype(np.int64)[rows]
    return np.array([b"", unknown_word(ids).encode(), *(one.encode() for one in ids)], object)[rows]


def unknown_word(words: Collection[str]) -> str:
    """A word that is not among these, and not the empty one, which means no value."""
    known, word = set(words), UNKNOWN
    while word in known:
        word += "_"
    return word


def unknown_number(numbers: np.ndarray, pad_id: int) -> int:
    """The smallest natural number that is not among these and not the pad id."""
    taken = set(numbers[(numbers >= 0) & (numbers <= numbers.size + 1)].tolist()) | {pad_id}
    return next(number for number in range(numbers.size + 2) if number not in taken)


def plain(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as JSON knows them: nested lists of numbers and texts."""
    return {name: _text(value) if value.dtype.kind in "OS" else value.tolist() for name, value in values.items()}


def _unknown(rows: np.ndarray) -> np.ndarray:
    return np.where(rows == PADDING_ROW, PADDING_ROW, UNKNOWN_ROW).astype(rows.dtype)


def _words(field: Field, trained: Field, rows: np.ndarray) -> np.ndarray:
    words = np.array(["", unknown_word({*field.vocabulary, *trained.vocabulary}), *field.vocabulary], object)
    return np.array([[words[row].encode() for row in line] for line in rows], object)


def _text(values: np.ndarray) -> Any:
    return [_text(value) if isinstance(value, np.ndarray) else value.decode() if isinstance(value, bytes) else str(value) for value in values]
