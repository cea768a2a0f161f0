"""Encoders on disk: a folder with `encoder.json` (kind, width, version) and whatever its class needs to load it again."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.storage import write_json

FILE_NAME = "encoder.json"
_ARRAYS = "arrays.npz"

# kind -> module:class, imported when one is loaded
KINDS = {
    "bag_of_words": "ppm_tf.encoders.bag_of_words:BagOfWords",
    "image_descriptor": "ppm_tf.encoders.image_descriptor:ImageDescriptor",
    "text": "ppm_tf.encoders.text:TextEncoder",
    "image": "ppm_tf.encoders.image:ImageEncoder",
    "title_image": "ppm_tf.encoders.title_image:TitleImage",
}


def describe_encoder(folder: str | Path) -> dict[str, Any]:
    """The content of a saved encoder's `encoder.json`: `kind`, `dim`, `version` and what else its class wrote.

    Raises:
        FileNotFoundError: there is no encoder.
        ValueError: the file is damaged, or of a kind that is not known.
    """
    path = Path(folder, FILE_NAME)
    if not path.is_file():
        raise FileNotFoundError(f"{folder} must hold a saved encoder ({FILE_NAME}). Remedy: run `python -m pipelines.finetune`, or check the path.")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        known = about["kind"] in KINDS
        _ = about["dim"], about["version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must hold kind, dim and version as JSON. Received: {error!r}. Remedy: make the encoder again.") from error
    if not known:
        raise ValueError(
            f"The kind in {path} must be one of {', '.join(KINDS)}. Received: {about['kind']!r}. Remedy: make the encoder again with this version of"
            " ppm_tf."
        )
    return about


def load_encoder(folder: str | Path):
    """The encoder that was saved into `folder`, of whatever kind.

    Every encoder has `kind`, `dim` and `version`; `read(content)` takes one raw text or image and raises `ValueError` where it
    cannot; `encode_batch` turns a list of what `read` gave into float32 vectors `[B, dim]`; `encode` does both; `save` and
    `load` keep it. One that pads texts also has `lengths(contents)`, their numbers of tokens, and counts the `tokens` and, with
    padding, the `padded_tokens` that it has encoded.

    Raises:
        FileNotFoundError: there is no encoder.
        ValueError: it is damaged: what is loaded is not what was saved.

    Example:

    ```python
    load_encoder("runs/shop/encoders/text").encode(["a red shoe"])  # [1, dim]
    ```
    """
    about = describe_encoder(folder)
    module, name = KINDS[about["kind"]].split(":")
    encoder = getattr(importlib.import_module(module), name).load(folder)
    if encoder.version != about["version"]:
        raise ValueError(
            f"The encoder in {folder} must be as it was saved, {about['version']}. Received: {encoder.version}. Remedy: its files were changed, or"
            " another version of ppm_tf read texts otherwise; make it again."
        )
    return encoder


def content_version(kind: str, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """The version of an encoder that settings and arrays determine: its kind and 12 hexadecimal digits of their SHA-256."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return f"{kind}-{digest.hexdigest()[:12]}"


def write_description(folder: str | Path, encoder, **settings: Any) -> None:
    """Writes `encoder.json`; makes the folder where it is not there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    content = {"kind": encoder.kind, "dim": encoder.dim, "version": encoder.version, **settings}
    write_json(Path(folder, FILE_NAME), content)


def write_arrays(folder: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays of an encoder that needs no network."""
    np.savez(Path(folder, _ARRAYS), **arrays)


def read_arrays(folder: str | Path) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote."""
    with np.load(Path(folder, _ARRAYS), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
