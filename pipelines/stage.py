"""The command line that all stages share: read the settings, make what is missing, run."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pipelines.given import remember, with_settings
from ppm_tf.config import Config, ConfigError, DataSettings, check_relations, describe, load
from ppm_tf.models.provenance import Provenance
from ppm_tf.shared_run import is_url, mirror_of
from ppm_tf.storage import writing
from ppm_tf.terminal import INTERRUPTED, interrupted, printing
from ppm_tf.workspace import Recipe, StaleArtifactError, Workspace, fingerprint

logger = logging.getLogger(__name__)

T = TypeVar("T")

# artifact, or a pattern of artifacts -> where its stage is, as module:name: a `Stage`, or a function that makes one of the artifact's name
STAGES = {
    "data": "pipelines.prepare:STAGE",
    "encoders/adapted": "pipelines.adapt:STAGE",
    "encoders/text": "pipelines.finetune.text:TEXT",
    "encoders/bow": "pipelines.finetune.text:BOW",
    "encoders/image": "pipelines.finetune.image:STAGE",
    "encoders/aligned": "pipelines.align.encoder:STAGE",
    "interactions/*": "pipelines.align.interactions:STAGE",
    "tables/ids": "pipelines.align.tables:IDS",
    "tables/aligned_vectors": "pipelines.align.tables:ALIGNED_VECTORS",
    "tables/*": "pipelines.embed:stage_of_table",
    "ppm": "pipelines.pretrain:STAGE",
    "models": "pipelines.train:STAGE",
    "models/*": "pipelines.train:STAGE",
    "reports": "pipelines.evaluate:STAGE",
    "reports/*": "pipelines.evaluate:STAGE",
}
_spent: list[tuple[str, float]] = []  # by this command, on one stage after the other: its title, seconds
# data settings that say nothing about the items and queries
_LOG_SETTINGS = {*DataSettings.model_fields, "log", "users"}


@dataclass(frozen=True)
class Stage:
    """One step of the product.

    Attributes:
        module: name of the module, for messages and help.
        makes: artifact it makes, or `makes(config)` that names it.
        needs: artifacts it reads, or `needs(config)` that names them; a missing one is made first.
        sections: config sections that shape what it makes.
        also_uses: config sections that do not change the artifact (where jobs run, how results are judged).
        run: `run(config, workspace, recipe)` makes the artifact with `workspace.commit(makes, recipe)`.
        inputs: the raw files it reads, by fingerprint.
        show: called after `run`, and also when the artifact was there already.
        settings: `settings(config)`, the plain values that shape the artifact, where it is not all of `sections`.
        sticky: an artifact that exists stays when what it was made from was made anew; its own command makes it anew. So an
            encoder goes on serving items that came after its training.
        under: `under(name, config)`, the settings under which an artifact that it needs is made, where they are not the run's own.
        choice: the word on the command line that picks this stage, where a module has several.
    """

    module: str
    makes: str | Callable[[Config], str]
    needs: tuple[str, ...] | Callable[[Config], tuple[str, ...]]
    sections: tuple[str, ...]
    run: Callable[[Config, Workspace, Recipe], None]
    also_uses: tuple[str, ...] = ()
    inputs: Callable[[Config], dict[str, str]] = field(default=lambda config: {})
    show: Callable[[Config, Workspace], None] = field(default=lambda config, workspace: None)
    settings: Callable[[Config], dict[str, Any]] | None = None
    sticky: bool = False
    under: Callable[[str, Config], Config] = field(default=lambda name, config: config)
    choice: str = ""

    @property
    def command(self) -> str:
        """The command that runs the stage."""
        return f"python -m {self.module} {self.choice}".rstrip()

    def artifact(self, config: Config) -> str:
        """The artifact it makes under these settings."""
        return self.makes(config) if callable(self.makes) else self.makes

    def parents(self, config: Config) -> tuple[str, ...]:
        """The artifacts it reads under these settings."""
        return self.needs(config) if callable(self.needs) else self.needs

    def unlike(self, config: Config, workspace: Workspace) -> list[str]:
        """How the existing artifact differs from what these settings ask for, in words; a sticky one serves whatever its seed was."""
        chosen, artifact = self._shaping(config), self.artifact(config)
        made = workspace.made_by(artifact)["settings"]
        if self.sticky and "seed" in made:
            chosen = {**chosen, "seed": made["seed"]}
        return workspace.differences(artifact, Recipe(chosen, self.inputs(config)))

    def recipe(self, config: Config, workspace: Workspace) -> Recipe:
        """What the artifact would be made of now; its parents must exist."""
        return Recipe(self._shaping(config), self.inputs(config), {name: workspace.id(name) for name in self.parents(config)})

    def _shaping(self, config: Config) -> dict[str, Any]:
        """The settings that shape the artifact, as plain values."""
        if self.settings:
            return self.settings(config)
        settings = config.model_dump(mode="json")
        return {section: settings[section] for section in self.sections}


def stage_of(artifact: str) -> Stage:
    """The stage that makes an artifact.

    Raises:
        KeyError: no stage makes one of that name.
    """
    found = STAGES.get(artifact) or next((where for pattern, where in STAGES.items() if fnmatchcase(artifact, pattern)), None)
    if found is None:
        raise KeyError(f"No stage makes {artifact}. Those that are made: {', '.join(STAGES)}.")
    stage = named(found)
    return stage if isinstance(stage, Stage) else stage(artifact)


def named(where: str) -> Any:
    """What stands in a module under a name, both as `module:name`."""
    module, name = where.split(":")
    return getattr(importlib.import_module(module), name)


def make(stage: Stage, config: Config, workspace: Workspace, asked: bool = True, hint: bool = True) -> None:
    """Makes a stage's artifact, and first what it needs.

    An artifact that is current stays. One made with other settings is replaced when its own stage was `asked` for, and
    refused when it is only needed. One whose parents were made anew is made again, unless it is `sticky`. `hint`: say of
    a trained artifact that stays how it is made anew.

    Raises:
        StaleArtifactError: needed artifacts were made with other settings; the message lists them all, and the commands in their order.
    """
    if asked:
        refuse_all(stage, config, workspace)
    elif stage.sticky and workspace.exists(stage.artifact(config)):
        _keep(stage, config, workspace, hint)
        return
    for name in stage.parents(config):
        make(stage_of(name), stage.under(name, config), workspace, asked=False, hint=hint)
    recipe, artifact = stage.recipe(config, workspace), stage.artifact(config)
    if workspace.exists(artifact):
        if workspace.is_current(artifact, recipe):
            if asked:
                logger.info("%s: %s is up to date (made %s)", stage.module, workspace.path(artifact), workspace.made_by(artifact)["made_at"])
                stage.show(config, workspace)
            return
        if not asked and (found := stage.unlike(config, workspace)):
            raise StaleArtifactError(_refusal([(stage, artifact, found)], workspace))
        kept = (
            f"; it stays as it is until the new one is whole, and then in {workspace.replaced(artifact)}"
            if stage.sticky and config.keep_replaced
            else ""
        )
        logger.info("%s (made %s) is made anew%s", workspace.path(artifact), workspace.made_by(artifact)["made_at"], kept)
    elif not asked:
        logger.info("%s is missing: making it with `%s`", workspace.path(artifact), with_settings(stage.command))
    start = time.monotonic()
    title = f"{stage.module} {stage.choice}".rstrip()
    logger.info("%s: start, writing %s", title, workspace.path(artifact))
    workspace.keeps[artifact] = config.keep_replaced if stage.sticky else 0
    workspace.settings = config.model_dump(mode="json")
    with workspace.lock(artifact):  # from the first checkpoint on, not for the commit alone
        stage.run(config, workspace, recipe)
    made = time.monotonic()
    logger.info("%s: done in %.1f s, wrote %s", title, made - start, workspace.path(artifact))
    _spent.append((title, made - start))
    if asked:
        stage.show(config, workspace)
        _spent.append(("reports", time.monotonic() - made))


def _keep(stage: Stage, config: Config, workspace: Workspace, hint: bool) -> None:
    """Takes a trained artifact as it is, and makes nothing for it: what it was made from may be gone, or be newer.

    Raises:
        StaleArtifactError: it was made with other settings.
    """
    artifact = stage.artifact(config)
    if found := stage.unlike(config, workspace):
        raise StaleArtifactError(_refusal([(stage, artifact, found)], workspace))
    made = workspace.made_by(artifact)
    newer = any(workspace.exists(name) and workspace.id(name) != known for name, known in made["parents"].items())
    other_seed = made["settings"].get("seed", config.seed) != config.seed
    if hint and (newer or other_seed):
        reason = "from earlier data" if newer else "with another seed"
        logger.info("%s was made %s and stays; `%s` makes it anew", workspace.path(artifact), reason, with_settings(stage.command))


def refuse_all(stage: Stage, config: Config, workspace: Workspace) -> None:
    """Looks at everything that a stage needs, directly or not, before any of it is made.

    Raises:
        StaleArtifactError: some of it was made with other settings.
    """
    found: dict[str, tuple[Stage, str, list[str]]] = {}

    def look(one: Stage, config: Config) -> None:
        for name in one.parents(config):
            parent, its = stage_of(name), one.under(name, config)
            look(parent, its)
            if name not in found and workspace.exists(name) and (differences := parent.unlike(its, workspace)):
                found[name] = (parent, name, differences)

    look(stage, config)
    if found:
        raise StaleArtifactError(_refusal(list(found.values()), workspace))


def _refusal(stale: list[tuple[Stage, str, list[str]]], workspace: Workspace) -> str:
    """What was made otherwise, and what to do about all of it at once."""
    parts = []
    for _, name, differences in stale:
        more = f"; and {len(differences) - 8} more" if len(differences) > 8 else ""
        parts.append(f"{workspace.path(name)} was made otherwise: {'; '.join(differences[:8])}{more}.")
    commands = ", then ".join(f"`{with_settings(stage.command)}`" for stage, _, _ in stale)
    again = "it" if len(stale) == 1 else "them"
    return (
        f"{' '.join(parts)} Run {commands} with the same settings to make {again} again, pass the old values to use {again} as before, or choose"
        " another folder with run=<folder>."
    )


def main(
    stage: Stage, arguments: list[str] | None = None, instead: Callable[[Config], Callable[[Config, Workspace], None] | None] | None = None
) -> None:
    """Runs a stage from the command line. Exits with 2 on a wrong setting, 1 on a failure the user can mend.

    Args:
        stage: the stage.
        arguments: of the command line; `None` = the process's own.
        instead: `instead(config)`, what runs in the stage's place under these settings, if anything does.
    """
    _run([stage], stage, arguments, lambda config: [stage], instead)


def main_of(stages: dict[str, Stage], arguments: list[str] | None = None, default: Callable[[Config], list[str]] | None = None) -> None:
    """Runs one of several stages of a module, named by the first argument; without a name those that `default(config)` names."""
    arguments = sys.argv[1:] if arguments is None else arguments
    named = arguments[:1] if arguments and arguments[0] in stages else []
    is_word = bool(arguments) and not named and arguments[0].isidentifier()
    if is_word or not (named or default or {"-h", "--help"} & set(arguments)):
        print(f"The first argument must be one of: {', '.join(stages)}. Received: {arguments[0] if arguments else 'none'}.", file=sys.stderr)
        raise SystemExit(2)
    chosen = [stages[name] for name in named or stages]
    _run(chosen, chosen[0], arguments[len(named) :], lambda config: chosen if named else [stages[name] for name in default(config)])


def _run(known: list[Stage], stage: Stage, arguments: list[str] | None, asked: Callable[[Config], list[Stage]], instead=None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if any(argument in ("-h", "--help") for argument in arguments):
            print(_help(known, [argument for argument in arguments if argument not in ("-h", "--help")]))
            return
        config = settings_of(lambda: load(arguments))
        prepare_process()
        remember(arguments)
        if is_url(config.run):
            logger.info("%s: copies of what is read and made lie in %s", config.run, mirror_of(config.run))
        if instead is not None and (other := instead(config)) is not None:
            with explained(stage.module, config.run):
                other(config, Workspace(config.run))
            return
        chosen = asked(config)
        start = time.monotonic()
        _spent.clear()
        with explained(stage.module, config.run):
            check_first(chosen, config)
        for stage in chosen:
            with explained(stage.module, config.run):
                make(stage, config, Workspace(config.run))
        if sum(title != "reports" for title, _ in _spent) > 1:
            logger.info("%s", _where_the_time_went(_spent, max(time.monotonic() - start, 1e-9)))


def _where_the_time_went(spent: list[tuple[str, float]], total: float) -> str:
    """A line for each stage that took time, with its seconds and its share of the whole.

    >>> print(_where_the_time_went([("pipelines.prepare", 12.04), ("pipelines.pretrain", 30.0)], 48.0))
    48.0 s in all
        12.0 s   25%  pipelines.prepare
        30.0 s   62%  pipelines.pretrain
         6.0 s   12%  all else
    """
    rows = [*spent, ("all else", total - sum(seconds for _, seconds in spent))]
    return "\n".join([f"{total:.1f} s in all", *(f"  {seconds:8.1f} s  {seconds / total:4.0%}  {title}" for title, seconds in rows)])


def settings_of(read: Callable[[], T]) -> T:
    """What `read` makes of a command line.

    Raises:
        SystemExit: with 2 on a setting that is wrong, after its message.
    """
    try:
        return read()
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def in_a_folder(run: str, command: str) -> None:
    """Refuses a run on shared storage where a command keeps more in the run folder than artifacts.

    Raises:
        ConfigError: `run` is a URL.
    """
    if is_url(run):
        raise ConfigError(
            f"Setting run: {command} keeps manifests, versions or other runs in the run folder, which must be one that can be renamed in. Received:"
            f" {run}. Remedy: run=<folder> on a local or mounted disk; the stages one by one take the URL."
        )


def check_first(stages: Iterable[Stage], config: Config) -> None:
    """Refuses settings that cannot end well, before anything is made; see `ppm_tf.config.check_relations`.

    Raises:
        ConfigError: some settings do not go together for what the stages make and all that it is made from.
        ValueError, FileNotFoundError: a stage among them cannot run under these settings.
    """
    workspace, artifacts = Workspace(config.run), {}
    for stage in stages:
        artifacts |= made_for(stage, config)
    check_relations(config, artifacts, [name for name in artifacts if not workspace.exists(name)])


def made_for(stage: Stage, config: Config) -> dict[str, tuple[Stage, Config]]:
    """What a stage needs, directly or not, and what it makes, in the order in which they are made: artifact -> its stage, and its settings."""
    found: dict[str, tuple[Stage, Config]] = {}
    for name in stage.parents(config):
        found |= made_for(stage_of(name), stage.under(name, config))
    return found | {stage.artifact(config): (stage, config)}


@contextmanager
def explained(module: str, folder: str | Path) -> Iterator[None]:
    """Ends the process with one sentence where the block meets what the user can mend, or Ctrl-C.

    Args:
        module: the command, for the message.
        folder: the run folder, where the block writes.

    Raises:
        SystemExit: with 2 on settings that do not go together, 1 on another error, 130 on Ctrl-C; a fault of the program passes as it is.
    """
    try:
        with writing(folder):
            yield
    except SystemExit:
        raise
    except BaseException as error:
        if interrupted(error) and not os.environ.get("PPM_TF_TRACEBACK"):
            print(f"\n{module}: stopped. {Workspace(folder).kept()} The same command goes on from there.", file=sys.stderr, flush=True)
            raise SystemExit(INTERRUPTED) from None
        if isinstance(error, ConfigError):
            print(error, file=sys.stderr)
            raise SystemExit(2) from None
        if isinstance(error, (StaleArtifactError, FileNotFoundError, ValueError, RuntimeError)):
            fail(module, error)
        raise


def fail(module: str, error: Exception) -> NoReturn:
    """Ends the process with the message of an error that the user can mend; with its trace where PPM_TF_TRACEBACK is set."""
    if os.environ.get("PPM_TF_TRACEBACK"):
        raise error
    print(f"{module}: {error}\n(Set PPM_TF_TRACEBACK=1 to see where this was raised.)", file=sys.stderr)
    raise SystemExit(1) from None


def check_encoders(folder: Path, tables: Iterable[str], config: Config, remedy: str) -> None:
    """Refuses to make tables of another encoder for a model that is there, before they take the place of those that fit it.

    Args:
        folder: the trained model, or PPM; nothing is looked at where it does not exist.
        tables: the tables that it is to read.
        config: the settings, which say where the encoders are.
        remedy: what to do instead of bringing the earlier encoder back.

    Raises:
        ValueError: an encoder was made anew since the training; the message names both versions.
    """
    if not folder.exists():
        return
    version_of, workspace = importlib.import_module("pipelines.embed").version_of, Workspace(config.run)
    found = {table: version_of(table, config, workspace) for table in tables}
    Provenance.read(folder).require({table: version for table, version in found.items() if version}, folder, remedy)


def encoder_settings(config: Config, section: str) -> dict[str, Any]:
    """What shapes an encoder: its section, and which texts, images and queries it was trained on; not the log, nor the items' fields."""
    settings = config.model_dump(mode="json")
    data = {name: value for name, value in settings["data"].items() if name not in _LOG_SETTINGS}
    if isinstance(items := data.get("items"), dict):  # the shop has a number of them
        fields, texts = items.pop("fields"), set(items["text"])
        del items["numbers"]
        # What separates the values of a column that the text is made of is in the text.
        separators = {field["column"]: field["separator"] for field in fields.values() if field["column"] in texts and field["separator"]}
        data |= {"items": {**items, "separators": separators}} if separators else {}
    return {"seed": settings["seed"], "data": data, section: settings[section]}


def preset_files(config: Config) -> dict[str, str]:
    """Fingerprints of the files behind text.preset or text.path, where they are local."""
    folder = Path(config.text.preset or config.text.path or "")
    return fingerprint([path for path in folder.rglob("*") if path.is_file()]) if (config.text.preset or config.text.path) and folder.is_dir() else {}


def prepare_process(share_cores: bool = True) -> None:
    """What a command needs before TensorFlow starts: one line a message on standard error without TensorFlow's own chatter, and its threads.

    An operation gets half of the cores, so that the operations of a graph run beside each other: the products of these models are small, and
    split over all cores they wait for each other for longer than they compute (docs/results/speed.md). Where the environment sets
    `TF_NUM_INTRAOP_THREADS`, that stands.

    Args:
        share_cores: whether to set the threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if share_cores:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, len(os.sched_getaffinity(0)) // 2)))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_from_us_or_serious)


def _from_us_or_serious(record: logging.LogRecord) -> bool:
    """Leaves out the chatter of libraries, some of which log through the root logger."""
    return record.levelno >= logging.ERROR or record.name.startswith(("ppm_tf", "pipelines", "serving", "__main__"))


def _help(stages: list[Stage], arguments: list[str] | None = None) -> str:
    """What `--help` prints; with the defaults of the data source that the other arguments choose, if they choose one."""
    try:
        source = load(arguments).data.source if arguments else None
    except ConfigError:
        source = None
    choices = [stage.choice for stage in stages if stage.choice]
    choice = f" {choices[0]}" if len(choices) == 1 else f" [{' | '.join(choices)}]" if choices else ""
    sections = dict.fromkeys(section for stage in stages for section in (*stage.sections, *stage.also_uses))
    lines = [f"reads: {', '.join(stage.parents(Config())) or 'raw files'}; writes: <run>/{stage.artifact(Config())}" for stage in stages]
    return help_of(stages[0].module, choice, ("run", *sections), lines, source)


def help_of(module: str, choice: str, sections: Iterable[str], lines: Iterable[str] = (), source: str | None = None) -> str:
    """What `--help` prints: usage, the module's own words, what it reads and writes, and the settings in `sections`."""
    return (
        f"usage: python -m {module}{choice} [file.yaml] [section.key=value ...]\n\n{(importlib.import_module(module).__doc__ or '').strip()}\n\n"
        + "".join(f"{line}\n" for line in lines)
        + "\nSettings, with their defaults. Values are YAML: ppm.mlp_units=[64,32] train.clip_norm=null\n"
        + describe(tuple(sections), source)
    )


def peak_memory() -> str:
    """The most memory this process has held."""
    import resource

    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB peak memory"


def folder_size(folder: Path) -> str:
    """Bytes in a folder, in words."""
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2**20:.1f} MiB"
