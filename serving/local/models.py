"""`Models`: all models of a local server, by name, kept up to date with the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from serving.local.loaded_version import LoadedVersion
from serving.local.model_versions import ModelVersions, not_served
from serving.local.status import Code, StatusError
from serving.model_config import find_models, read_model_config

logger = logging.getLogger(__name__)


class Models:
    """The models of a base folder or a `model.config`. Holds none before the first `poll`.

    Args:
        base: folder of models. Without a config each folder in it that holds versions is a model, also one that appears later.
        config_file: a `model.config`; with `base` too, models lie at `<base>/<name>` whatever their `base_path`.
        load: makes a version of a folder.

    Raises:
        ValueError: neither is given, or the config does not parse.
        FileNotFoundError: the base or the config does not exist.
    """

    def __init__(self, base: Path | None = None, config_file: Path | None = None, load: Callable[[Path], LoadedVersion] = LoadedVersion):
        if base is None and config_file is None:
            raise ValueError("A base folder or a model.config must be given. Received: neither.")
        if base is not None and not base.is_dir():
            raise FileNotFoundError(
                f"--base must be a folder of models, <base>/<model>/<version>. Received: {base}. Run `python -m pipelines.export` first."
            )
        self._base, self._load = base if config_file is None else None, load
        self._models: dict[str, ModelVersions] = {}
        for config in read_model_config(config_file, base) if config_file else []:
            self._models[config.name] = ModelVersions(config.name, config.folder, config.policy, config.labels, load)

    def poll(self) -> None:
        """Makes memory agree with the disk."""
        for config in find_models(self._base) if self._base else []:
            if config.name not in self._models:
                self._models[config.name] = ModelVersions(config.name, config.folder, load=self._load)
        for model in list(self._models.values()):
            model.poll()

    def watch(self, stop: threading.Event, seconds: float) -> None:
        """Polls until told to stop. A failure to read the disk is logged; the next round may do better."""
        while not stop.wait(seconds):
            try:
                self.poll()
            except OSError as error:
                logger.error("The models cannot be looked at: %s", error)

    def serving(self, name: str, version: int | None = None) -> ModelVersions:
        """The model of that name, to run.

        Raises:
            StatusError: NOT_FOUND.
        """
        if name not in self._models:
            raise not_served(name, version)
        return self._models[name]

    def known(self, name: str) -> ModelVersions:
        """The model of that name, to tell its status.

        Raises:
            StatusError: NOT_FOUND.
        """
        if name not in self._models:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return self._models[name]

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return sorted(self._models)

    def close(self) -> None:
        """Unloads all."""
        for model in self._models.values():
            model.close()
