"""What benchmark and sweep files have in common: reading them, settings on settings, and the name of a cell's model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ppm_tf.config import Config, ConfigError, Section, from_dict
from ppm_tf.config.section import as_name

Settings = TypeVar("Settings", bound=Section)


def read_file(form: type[Settings], path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Reads a YAML file of the given form; `key=value` of its own keys replace them, any other go to its `settings`.

    Raises:
        ConfigError: the file is missing or no YAML, or a key is unknown or wrong; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"The file must exist. Received: {path}. The product's own are in configs/benchmark and configs/sweep.")
    try:
        as_name(path.stem)
    except ValueError as error:
        raise ConfigError(
            f"{path}: its results lie in a folder named after it, and {error}. Received: {path.stem}. Remedy: rename the file."
        ) from None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold the keys {', '.join(form.model_fields)}. Received: {type(values).__name__}.")
    for argument in overrides or ():
        key, sign, text = argument.partition("=")
        if not sign:
            raise ConfigError(f"Arguments after the file must be key=value. Received: {argument}.")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise ConfigError(f"The value of {key} must be YAML. Received: {text!r} ({error}).") from error
        if key in form.model_fields:
            values[key] = value
        else:
            values["settings"] = merged(values.get("settings") or {}, {key: value})
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_message(path, form, one) for one in error.errors())) from None


def merged(*settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings of which later ones win; a key such as `model.backbone.name` reaches down.

    >>> merged({"model": {"dim": 8, "ppm": "none"}}, {"model.dim": 16})
    {'model': {'dim': 16, 'ppm': 'none'}}
    """
    result: dict[str, Any] = {}
    for values in settings:
        for key, value in values.items():
            first, _, rest = str(key).partition(".")
            if rest:
                value = {rest: value}
            if isinstance(value, dict):
                before = result.get(first)
                result[first] = merged(before if isinstance(before, dict) else {}, value)
            else:
                result[first] = value
    return result


def config_of(values: dict[str, Any], seed: int | None, where: str) -> Config:
    """The settings of one model, whose folder is named after what it is: `<backbone>-<ppm>-s<seed>-<hash of its settings>`.

    Equal models have equal names, so that files that share a run folder share them, and a changed setting is another folder.

    Raises:
        ConfigError: a setting is unknown or wrong, or names what is set here; the message begins with `where`.
    """
    model = values.get("model") or {}
    taken = [f"model.{name}" for name in ("name", "seed") if name in model]
    if taken:
        raise ConfigError(
            f"{where}: {', '.join(taken)} must be left to the file's cells. Remedy: `seeds` are the seeds of the models, and each has a folder named"
            " after its settings."
        )
    try:
        config = from_dict({**values, "model": {**model, "seed": seed}})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    shape = config.model.model_dump(mode="json", exclude={"name", "seed"})
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:8]
    name = "-".join(filter(None, (config.model.folder, seed is not None and f"s{seed}", digest)))
    return config.model_copy(update={"model": config.model.model_copy(update={"name": name})})


def _message(path: Path, form: type[Section], error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "file"
    if error["type"] == "extra_forbidden":
        return f"{path}: {place} is not known. Allowed here: {', '.join(form.model_fields)}."
    if error["type"] == "missing":
        return f"{path}: {place} must be given."
    return f"{path}: {place}: {error['msg']}. Received: {error['input']!r}."
