"""Which models there are: the folders of a base, or TF Serving's `model.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Policy:
    """Which versions are served: all, those named, or else the highest `latest`."""

    latest: int = 1
    specific: tuple[int, ...] = ()
    all: bool = False

    def choose(self, versions: set[int]) -> set[int]:
        """Those of the versions in the folder that are to be served."""
        if self.all or self.specific:
            return versions if self.all else versions & set(self.specific)
        return set(sorted(versions)[-self.latest :])


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve: its name, the folder of its versions, which of them, and labels of version numbers."""

    name: str
    folder: Path
    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)


def find_models(base: Path) -> list[ModelConfig]:
    """The folders of a base that hold a version folder, each a model of that name that serves its highest version."""
    return [ModelConfig(folder.name, folder) for folder in sorted(base.iterdir()) if folder.is_dir() and versions_in(folder)]


def read_model_config(file: Path, base: Path | None = None) -> list[ModelConfig]:
    """The models of a `model.config` (text form of `tensorflow.serving.ModelServerConfig`).

    Args:
        file: the configuration.
        base: where the models lie, each under its name, if not where the file's `base_path` says. So the file of a container
            serves on the outside too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not parse, or holds something other than TensorFlow models of one name each.
    """
    return [
        ModelConfig(entry.name, (base / entry.name) if base else Path(entry.base_path), _policy(entry), dict(entry.version_labels))
        for entry in _parse(file).model_config_list.config
    ]


def write_model_config(models: list[ModelConfig]) -> str:
    """The text of a `model.config` that names these models."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    message = model_server_config_pb2.ModelServerConfig()
    for model in models:
        entry = message.model_config_list.config.add(name=model.name, base_path=str(model.folder.resolve()), model_platform="tensorflow")
        policy = entry.model_version_policy
        if model.policy.all:
            policy.all.SetInParent()
        elif model.policy.specific:
            policy.specific.versions.extend(model.policy.specific)
        else:
            policy.latest.num_versions = model.policy.latest
        for label, version in model.labels.items():
            entry.version_labels[label] = version
    return text_format.MessageToString(message)


def _parse(file: Path):
    if not file.is_file():
        raise FileNotFoundError(f"--model-config-file must be a file. Received: {file}.")
    try:
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError:
        raise ValueError(
            "A model.config is read with the package tensorflow-serving-api, which is not installed. Use --base alone, or install it."
        ) from None
    try:
        message = text_format.Parse(file.read_text(encoding="utf-8"), model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(f"{file} must be the text form of tensorflow.serving.ModelServerConfig. Received: {error}.") from None
    names = [entry.name for entry in message.model_config_list.config]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{file} must hold a model_config_list of models with names of their own. Received: {names}.")
    for entry in message.model_config_list.config:
        if entry.model_platform != "tensorflow":
            raise ValueError(f"{file}: model_platform must be 'tensorflow'. Received: '{entry.model_platform}' for '{entry.name}'.")
    return message


def _policy(entry) -> Policy:
    policy = entry.model_version_policy
    chosen = policy.WhichOneof("policy_choice")
    if chosen == "specific":
        return Policy(specific=tuple(policy.specific.versions))
    return Policy(all=chosen == "all", latest=policy.latest.num_versions or 1)


def versions_in(folder: Path) -> set[int]:
    """The numbers of the version folders, `12` and not `012`, `tmp12` or `12.part`."""
    if not folder.is_dir():
        return set()
    names = (path.name for path in folder.iterdir() if path.is_dir() and path.name.isascii() and path.name.isdigit())
    return {int(name) for name in names if len(name) <= 19 and str(int(name)) == name and int(name) <= MAX_VERSION}
