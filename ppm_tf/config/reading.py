"""A YAML file and `section.key=value` overrides to a `Config`, with errors that name the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from ppm_tf.config.relations import check_folders
from ppm_tf.config.section import ConfigError, Section
from ppm_tf.config.settings import Config


def load(arguments: list[str] | None = None) -> Config:
    """Reads `[file.yaml] [section.key=value ...]` into a `Config`.

    Later arguments win. A value is read as YAML, so `ppm.mlp_units=[64,32]` and `train.clip_norm=null` work.

    Raises:
        ConfigError: a file or setting is unknown or wrong; the message names it and what is allowed.
    """
    values: dict[str, Any] = {}
    for argument in arguments or []:
        if "=" in argument:
            key, _, text = argument.partition("=")
            try:
                value = yaml.safe_load(text) if text else ""
            except yaml.YAMLError as error:
                raise ConfigError(f"The value of {key} must be YAML. Received: {text!r} ({error}).") from error
            _merge(values, _nest(key, value))
        else:
            _merge(values, _read_yaml(argument))
    return from_dict(values)


def from_dict(values: dict[str, Any]) -> Config:
    """Validates nested plain values, as `Config.model_dump(mode="json")` gives them."""
    values = dict(values)
    data = values.get("data")
    if isinstance(data, dict) and "source" not in data:
        values["data"] = {"source": "synthetic", **data}
    model = values.get("model")
    if isinstance(model, dict) and isinstance(model.get("backbone"), dict) and "name" not in model["backbone"]:
        values["model"] = {**model, "backbone": {"name": "urm", **model["backbone"]}}
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_message(item, values) for item in error.errors())) from None
    check_folders(config)
    return config


def _read_yaml(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ConfigError(f"A config file must exist. Received: {path}. Arguments are [file.yaml] and section.key=value; see --help.")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold sections (data:, ppm:, train: ...). Received: {type(values).__name__}.")
    return values


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _message(error: Any, values: dict[str, Any]) -> str:
    # pydantic puts the chosen source or backbone into the path of an error; a user never writes it.
    location = [str(part) for part in error["loc"]]
    for place, key in ((("data",), "source"), (("model", "backbone"), "name")):
        section: Any = values
        for part in place:
            section = section.get(part) if isinstance(section, dict) else None
        if (
            tuple(location[: len(place)]) == place
            and len(location) > len(place)
            and isinstance(section, dict)
            and location[len(place)] == section.get(key)
        ):
            del location[len(place)]
    path = ".".join(location) or "config"
    if error["type"] == "extra_forbidden":
        allowed = _allowed(location[:-1], values)
        from difflib import get_close_matches

        close = get_close_matches(location[-1], allowed, n=1)
        hint = f" Did you mean {'.'.join([*location[:-1], close[0]])}?" if close else f" Allowed here: {', '.join(allowed)}."
        return f"Setting {path} is not known.{hint}"
    if error["type"] == "missing":
        return f"Setting {path} must be given, e.g. {path}=..."
    return f"Setting {path}: {error['msg']}. Received: {error['input']!r}."


def _allowed(location: list[str], values: dict[str, Any]) -> list[str]:
    """The keys allowed in the section at `location`."""
    section: Any = Config
    value: Any = values
    for part in location:
        value = value.get(part) if isinstance(value, dict) else None
        field = getattr(section, "model_fields", {}).get(part)
        if field is None:  # inside a mapping of names to columns
            return []
        section = section_of(field.annotation, value) or section
    return list(getattr(section, "model_fields", {}))


def section_of(annotation: Any, value: Any = None) -> Any:
    """The settings class behind a field's type; of a union of sources or backbones, the one that `value` names."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    choices = choices_of(annotation)
    if get_origin(annotation) is None or not choices:
        return None
    for key in ("source", "name"):
        chosen = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        for choice in choices:
            if key in choice.model_fields and choice.model_fields[key].default == chosen is not None:
                return choice
    return choices[0]


def choices_of(annotation: Any) -> list[type[Section]]:
    """The settings classes that a field's type is a choice of, those of a union inside a union too."""
    found: list[type[Section]] = []
    for choice in get_args(annotation):
        found += [choice] if isinstance(choice, type) and issubclass(choice, Section) else choices_of(choice)
    return found
