"""The command line that all stages share: read the settings, make what is missing, run."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ppm_tf.config import Config, ConfigError, describe, load
from ppm_tf.workspace import Recipe, StaleArtifact, Workspace

logger = logging.getLogger(__name__)

# artifact -> module of the stage that makes it
STAGES = {"data": "pipelines.prepare", "tables": "pipelines.embed", "ppm": "pipelines.pretrain"}


@dataclass(frozen=True)
class Stage:
    """One step of the product.

    Attributes:
        module: name of the module, for messages and help.
        makes: artifact it makes.
        needs: artifacts it reads; a missing one is made first.
        sections: config sections that shape what it makes.
        also_uses: config sections that do not change the artifact (where jobs run, how results are judged).
        run: `run(config, workspace, recipe)` makes the artifact with `workspace.commit(makes, recipe)`.
        inputs: the raw files it reads, by fingerprint.
        show: called after `run`, and also when the artifact was there already.
    """

    module: str
    makes: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    run: Callable[[Config, Workspace, Recipe], None]
    also_uses: tuple[str, ...] = ()
    inputs: Callable[[Config], dict[str, str]] = field(default=lambda config: {})
    show: Callable[[Config, Workspace], None] = field(default=lambda config, workspace: None)

    @property
    def command(self) -> str:
        """The command that runs the stage."""
        return f"python -m {self.module}"

    def recipe(self, config: Config, workspace: Workspace) -> Recipe:
        """What the artifact would be made of now; its parents must exist."""
        settings = config.model_dump(mode="json")
        return Recipe(
            settings={section: settings[section] for section in self.sections},
            inputs=self.inputs(config),
            parents={name: workspace.id(name) for name in self.needs},
        )


def stage_of(artifact: str) -> Stage:
    """The stage that makes an artifact."""
    return importlib.import_module(STAGES[artifact]).STAGE


def make(stage: Stage, config: Config, workspace: Workspace, asked: bool = True) -> None:
    """Makes a stage's artifact, and first what it needs.

    An artifact that is current stays. One made with other settings is replaced when its own stage was `asked` for, and
    refused when it is only needed. One whose parents were made anew is made again.

    Raises:
        StaleArtifact: a needed artifact was made with other settings.
    """
    for name in stage.needs:
        make(stage_of(name), config, workspace, asked=False)
    recipe = stage.recipe(config, workspace)
    if workspace.exists(stage.makes):
        if workspace.is_current(stage.makes, recipe):
            if asked:
                logger.info("%s: %s is up to date (made %s)", stage.module, workspace.path(stage.makes), workspace.made_by(stage.makes)["made_at"])
                stage.show(config, workspace)
            return
        if not asked:
            remedy = f"Run `{stage.command}` with the same settings to make it again, or choose another folder with run=<folder>."
            workspace.require(stage.makes, recipe, remedy)
    elif not asked:
        logger.info("%s is missing: making it with `%s`", workspace.path(stage.makes), stage.command)
    start = time.monotonic()
    logger.info("%s: start, writing %s", stage.module, workspace.path(stage.makes))
    stage.run(config, workspace, recipe)
    logger.info("%s: done in %.1f s, wrote %s", stage.module, time.monotonic() - start, workspace.path(stage.makes))
    if asked:
        stage.show(config, workspace)


def main(stage: Stage, arguments: list[str] | None = None) -> None:
    """Runs a stage from the command line. Exits with 2 on a wrong setting, 1 on a failure the user can mend."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("-h", "--help") for argument in arguments):
        print(_help(stage))
        return
    try:
        config = load(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    configure_logging()
    try:
        make(stage, config, Workspace(config.run))
    except (StaleArtifact, FileNotFoundError, ValueError, RuntimeError) as error:
        if os.environ.get("PPM_TF_TRACEBACK"):
            raise
        print(f"{stage.module}: {error}\n(Set PPM_TF_TRACEBACK=1 to see where this was raised.)", file=sys.stderr)
        raise SystemExit(1) from None


def configure_logging() -> None:
    """One line a message on standard error; TensorFlow's own start-up chatter is left out."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_from_us_or_serious)


def _from_us_or_serious(record: logging.LogRecord) -> bool:
    """Leaves out the chatter of libraries, some of which log through the root logger."""
    return record.levelno >= logging.ERROR or record.name.startswith(("ppm_tf", "pipelines", "__main__"))


def _help(stage: Stage) -> str:
    module = importlib.import_module(stage.module)
    return (
        f"usage: {stage.command} [file.yaml] [section.key=value ...]\n\n{(module.__doc__ or '').strip()}\n\n"
        f"reads: {', '.join(stage.needs) or 'raw files'}; writes: <run>/{stage.makes}\n\n"
        "Settings, with their defaults. Values are YAML: ppm.mlp_units=[64,32] train.clip_norm=null\n"
        f"{describe(('run', *stage.sections, *stage.also_uses))}"
    )


def peak_memory() -> str:
    """The most memory this process has held."""
    import resource

    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB peak memory"


def folder_size(folder: Path) -> str:
    """Bytes in a folder, in words."""
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2**20:.1f} MiB"
