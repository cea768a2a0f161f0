"""What `benchmark speed` takes beside settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import yaml

from ppm_tf.config import ConfigError

PEERS = {  # name -> what its environment holds
    "deepctr": ("deepctr==0.9.4", "tensorflow-cpu==2.15.1", "numpy<2", "setuptools<70"),
    "fuxictr": ("fuxictr==2.3.10", "torch==2.2.2", "pyarrow<20", "numpy<2"),
}
WORKLOADS = ("A", "B", "C", "plug-ins")


@dataclass(frozen=True)
class Options:
    """What is measured beside what, and how.

    Attributes:
        peers: names of `PEERS`.
        environments: folder of their virtual environments; what is missing is made.
        workloads: names of `WORKLOADS`.
        threads: of every process.
        rounds: turns that each process takes.
        epoch: whether each trains a pass too, and is scored after it.
    """

    peers: tuple[str, ...] = ()
    environments: str = "runs/peers"
    workloads: tuple[str, ...] = WORKLOADS
    threads: int = 1
    rounds: int = 5
    epoch: bool = True

    @classmethod
    def split(cls, arguments: list[str]) -> tuple[Options, list[str]]:
        """The options among the arguments, and the other arguments.

        Raises:
            ConfigError: a value of another kind, or a name that is not known.
        """
        known, given, rest = {one.name: one for one in fields(cls)}, {}, []
        for argument in arguments:
            name, _, value = argument.partition("=")
            if name not in known:
                rest.append(argument)
                continue
            given[name] = _checked(name, yaml.safe_load(value), known[name].default)
        return cls(**given), rest


def _checked(name: str, value: Any, default: Any) -> Any:
    names = {"peers": tuple(PEERS), "workloads": WORKLOADS}.get(name)
    if names is not None:
        chosen = tuple(str(one) for one in (value if isinstance(value, list) else [value]))
        if not set(chosen) <= set(names):
            raise ConfigError(f"{name} must name some of {', '.join(names)}, as in {name}=[{names[0]}]. Received: {value}.")
        return chosen
    if type(value) is not type(default) or (isinstance(value, int) and not isinstance(value, bool) and value < 1):
        kind = {int: "a whole number from 1 on", bool: "true or false", str: "a folder"}[type(default)]
        raise ConfigError(f"{name} must be {kind}. Received: {value}.")
    return value
