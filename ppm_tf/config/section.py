"""What every group of settings is: frozen, and strict about its keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


def as_name(name: str) -> str:
    """A name that becomes a folder, as it is; a ValueError where it cannot be one."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise ValueError("a name is a folder's: it must be letters, digits and any of ._-, and begin with none of . and -")
    return name


Name = Annotated[str, AfterValidator(as_name)]


def all_different(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """A list of names, as it is; a ValueError where one stands in it twice."""
    if values and len(set(values)) < len(values):
        raise ValueError(
            f"each must be named once, and {', '.join(sorted(value for value in set(values) if values.count(value) > 1))} is named more often"
        )
    return values


Once = AfterValidator(all_different)


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or outside its range; the message names it."""


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def places_of(settings: Section, *sections: str) -> Callable[[str], str]:
    """Says where a setting is, for a training whose settings lie in several sections: `<section>.<name>` of the first that has it.

    Args:
        settings: what the sections are in.
        sections: their dotted names; an earlier one's setting takes the place of a later one's.

    Raises:
        KeyError: none of them has a setting of that name (when it is asked for).
    """
    found = {name: reduce(getattr, name.split("."), settings) for name in sections}

    def place(name: str) -> str:
        for section, its in found.items():
            if name in type(its).model_fields:
                return f"{section}.{name}"
        raise KeyError(f"None of {', '.join(sections)} has a setting {name}.")

    return place
