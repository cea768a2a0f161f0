"""The settings in words, for `--help`."""

from __future__ import annotations

from typing import Any, get_args

import yaml

from ppm_tf.config.data import Data, DataSettings
from ppm_tf.config.reading import choices_of, section_of
from ppm_tf.config.section import Section
from ppm_tf.config.settings import Config


def describe(sections: tuple[str, ...], source: str | None = None) -> str:
    """A table of the settings in `sections`: name, default, meaning.

    Args:
        sections: names of sections.
        source: data source whose settings are listed, with its own defaults; `None` = every source.
    """
    lines = []
    for name in sections:
        field = Config.model_fields[name]
        if name == "data":
            shown: dict[str, str] = {}
            for one in get_args(get_args(Data)[0]):
                if source not in (None, one.model_fields["source"].default):
                    continue
                # A setting that all sources share is listed once, and again where a source has another default.
                defaults = {key: f"{item.annotation} {item.default!r}" for key, item in one.model_fields.items()}
                new = {key for key, default in defaults.items() if key == "source" or shown.get(key) != default}
                lines += _rows("data", one, new, title=one.__doc__)
                shown |= {key: default for key, default in defaults.items() if key in DataSettings.model_fields and key not in shown}
        elif (section := section_of(field.annotation)) is not None:
            lines += _rows(name, section, set(section.model_fields), title=section.__doc__)
        else:
            lines.append(_row(name, field))
    return "\n".join(lines)


def changed(config: Config) -> dict[str, Any]:
    """The settings that differ from their defaults, by dotted name, as plain values; a source or backbone that was chosen is named.

    >>> from ppm_tf.config import load
    >>> changed(load(["model.backbone={name: din, dropout: 0.1}", "seed=3"]))
    {'seed': 3, 'model.backbone.name': 'din', 'model.backbone.dropout': 0.1}
    """
    found: dict[str, Any] = {}

    def note(prefix: str, values: dict[str, Any]) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            found.update(chosen.pop(name, {}))
            if isinstance(value, dict) and section_at(config, name):
                note(f"{name}.", value)
            else:
                found[name] = value

    chosen = {}
    for section, key, default in (("data", "source", "synthetic"), ("model.backbone", "name", "urm")):
        choice = getattr(section_at(config, section), key)
        chosen[section] = {f"{section}.{key}": choice} if choice != default else {}
    note("", config.model_dump(mode="json", exclude_defaults=True))
    return found


def section_at(config: Config, name: str) -> Section | None:
    """The section of a dotted name; `None` where the name is of a value."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, Section) else None


def _rows(prefix: str, section: type[Section], keys: set[str], title: str | None) -> list[str]:
    lines = [f"\n{prefix}: {(title or '').splitlines()[0]}"]
    for key, field in section.model_fields.items():
        if key not in keys:
            continue
        lines.append(_row(f"{prefix}.{key}", field))
        choices = choices_of(field.annotation)
        if len(choices) > 1:  # of one by its name
            for choice in choices:
                lines.append(f"    {prefix}.{key}.name={choice.model_fields['name'].default}: {(choice.__doc__ or '').splitlines()[0]}")
                for name, item in choice.model_fields.items():
                    lines += [_row(f"  {prefix}.{key}.{name}", item)] if name != "name" else []
                    if (inner := section_of(item.annotation)) is not None:
                        lines += [_row(f"  {prefix}.{key}.{name}.{part}", one) for part, one in inner.model_fields.items()]
            continue
        inner = section_of(field.annotation)
        if inner is not None and not isinstance(field.default, dict):
            lines += [_row(f"{prefix}.{key}.{name}", item) for name, item in inner.model_fields.items()]
    return lines


def _row(name: str, field: Any) -> str:
    if field.is_required():
        default = "(must be given)"
    elif isinstance(field.default, Section) or field.default_factory is not None:
        default = ""
    else:
        default = "= " + yaml.safe_dump(_plain(field.default), default_flow_style=True, width=10_000).replace("\n...", "").strip()
    return f"  {name} {default}".ljust(46) + f" {field.description or ''}"


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
