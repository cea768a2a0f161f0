"""The arms of a month: their settings, their folders, and the lines between which they lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppm_tf.config import BEST, CHANCE, ArmSettings, Config, ConfigError, from_dict
from ppm_tf.config.simulate import folder_name
from ppm_tf.data.sources.shop.live_files import LOG, mapping
from ppm_tf.experiments.files import merged
from ppm_tf.workspace import Workspace

SHOP = "shop"  # the artifact of what all arms share; in an arm, the folder of its days


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        name: as it is shown.
        config: the settings of its run.
        settings: how it is updated, and its control; `None` for the lines of the best possible ranking and of chance.
    """

    name: str
    config: Config
    settings: ArmSettings | None

    @property
    def workspace(self) -> Workspace:
        """Its run folder."""
        return Workspace(self.config.run)

    @property
    def file(self) -> str:
        """The name of its exposure files."""
        return f"{folder_name(self.name)}.parquet"

    @property
    def model(self) -> str:
        """Equal for arms whose first versions are the same."""
        settings = self.config.model_dump(mode="json", exclude={"run": True, "data": {"log": {"files"}}})
        return json.dumps(settings, sort_keys=True)

    def exports(self) -> tuple[Path, str]:
        """Where its versions are published, and the model's name there."""
        return self.workspace.folder / "exports", self.config.serve.model or self.config.model.folder


def arms_of(config: Config) -> list[Arm]:
    """All arms, and the two lines.

    Raises:
        ConfigError: an arm's settings are wrong; the message names it.
    """
    found = [Arm(name, config_of(config, name, arm.settings), arm) for name, arm in config.simulate.arms.items()]
    return found + [Arm(name, _at(config, name), None) for name in (BEST, CHANCE)]


def config_of(config: Config, name: str, settings: dict[str, Any]) -> Config:
    """The settings of an arm's run.

    Raises:
        ConfigError: one is unknown or wrong, or ranks by what the model does not learn.
    """
    settings = merged(settings)
    shared = config.model_dump(mode="json", exclude={"data", "simulate"}, exclude_defaults=True)
    if "backbone" in settings.get("model", {}):  # another one has settings of its own
        shared.get("model", {}).pop("backbone", None)
    start = {"update.start_days": config.simulate.start_days}
    start |= {"update.keep_days": max(config.update.keep_days, config.simulate.start_days + 2)}
    own = {"serve.base": None, "serve.url": None, "serve.server_config": None, "serve.status": None}
    try:
        found = from_dict(merged(shared, start, settings, own))
    except ConfigError as error:
        raise ConfigError(f"simulate.arms.{name}: {error}") from None
    return _at(found.model_copy(update={"data": config.data, "simulate": config.simulate}), name)


def _at(config: Config, name: str) -> Config:
    """These settings in the folder of an arm, which reads its own log and what all arms share."""
    root, folder = Path(config.run), folder_name(name)
    data = mapping(config.data, root / SHOP)
    log = data.log.model_copy(update={"files": f"../arms/{folder}/{SHOP}/day={{day}}/{LOG}"})
    return config.model_copy(update={"run": str(root / "arms" / folder), "data": data.model_copy(update={"log": log})})
