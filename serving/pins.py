"""`Pins`: the versions of a model that must stay published, by its `model.config` and by what its server says."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.model_config import ModelConfig, read_model_config

CONFIG = "model.config"  # beside the models' folders, where none is named
_SECONDS = 5
_SERVED = ("START", "LOADING", "AVAILABLE")


@dataclass(frozen=True)
class Pins:
    """Which versions must stay.

    Attributes:
        configs: what a `model.config` says of the model.
        status: URL of the model's status at its server, `http://host:8501/v1/models/<name>`, or None.
    """

    configs: Sequence[ModelConfig] = ()
    status: str | None = None

    @classmethod
    def read(cls, base: Path, model: str, config_file: Path | None = None, status: str | None = None) -> Pins:
        """Reads the `model.config`.

        A container may serve the model under another name and path: where the file has the model by neither, all that it says holds.

        Args:
            base: folder of the exported models.
            model: the model's name there.
            config_file: the configuration; None: `<base>/model.config`, if it is there.
            status: URL of the model's status.

        Raises:
            FileNotFoundError: `config_file` is not there.
            ValueError: it does not parse, or `status` is no URL.
        """
        if status is not None and not status.startswith(("http://", "https://")):
            raise ValueError(f"The status must be a URL, http://host:8501/v1/models/{model}. Received: {status}.")
        if config_file is None and not (Path(base) / CONFIG).is_file():
            return cls((), status)
        found = read_model_config(config_file or Path(base) / CONFIG)
        mine = [config for config in found if config.name == model or config.folder.resolve() == (Path(base) / model).resolve()]
        return cls(tuple(mine or found), status)

    def pinned(self) -> dict[int, str]:
        """The versions that a label or the policy names, with what names them."""
        names: dict[int, list[str]] = {}
        for config in self.configs:
            for label, version in sorted(config.labels.items()):
                names.setdefault(version, []).append(f"label {label}")
            for version in config.policy.specific:
                names.setdefault(version, []).append("its policy")
        return {version: ", ".join(found) for version, found in sorted(names.items())}

    def states(self) -> dict[int, str]:
        """What the server says of each version: its state, and the message of one that failed. Nothing where no server is named.

        Raises:
            OSError: the server does not answer, or not with a status.
        """
        if self.status is None:
            return {}
        try:
            with urllib.request.urlopen(self.status, timeout=_SECONDS) as answer:  # http or https only: see `read`
                lines = json.load(answer)["model_version_status"]
            return {int(line["version"]): ": ".join(part for part in (line["state"], line["status"].get("error_message")) if part) for line in lines}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OSError(f"{self.status} must answer with the model's status. Received: {error!r}.") from None

    def kept(self, versions: Collection[int]) -> dict[int, str]:
        """Those of the published versions that must stay, with the reason: pinned, chosen by a policy, or served.

        Raises:
            OSError: as `states`.
        """
        kept = {version: "served" for version, state in self.states().items() if state.startswith(_SERVED)}
        kept |= {version: "served by its policy" for config in self.configs for version in config.policy.choose(set(versions))}
        kept |= {version: f"pinned by {what}" for version, what in self.pinned().items()}
        return {version: kept[version] for version in sorted(versions) if version in kept}
