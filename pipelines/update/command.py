"""The command line of `pipelines.update`."""

from __future__ import annotations

import logging
import sys
from datetime import date

from pipelines.given import remember
from pipelines.stage import check_first, explained, help_of, in_a_folder, prepare_process, settings_of, stage_of
from pipelines.update.day import update_day
from pipelines.update.folders import NOTHING, REFUSED
from pipelines.update.items import publish_items
from pipelines.update.steps import forget
from ppm_tf.config import Config, ConfigError, load
from ppm_tf.daily import UpdateManifest
from ppm_tf.daily.plan import DAY
from ppm_tf.data.day_errors import DayNotThereError
from ppm_tf.terminal import printing

logger = logging.getLogger(__name__)

DONE, REFUSED_BY_GATE, NOTHING_TO_DO, ROLLED_BACK = 0, 3, 4, 5
_SCRATCH, _ITEMS = "--from-scratch", "--items"
_SECTIONS = ("run", "day", "update", "gate", "serve", "data", "text", "image", "embed", "ppm", "train", "model", "evaluate", "beam")


def update(config: Config, days: list[date], scratch: bool = False) -> int:
    """Does the updates of some days, in order; returns the exit code of the last.

    A day that was refused stops nothing; one whose log is not there yet ends it.
    """
    code = NOTHING_TO_DO
    for number, day in enumerate(days, 1):
        logger.info("pipelines.update: day %d of %d, %s: start", number, len(days), day)
        try:
            made, now = update_day(config, day, scratch and number == 1)
        except DayNotThereError as error:
            print(f"{day}: nothing to do: {error}")
            return NOTHING_TO_DO
        code = code_of(made, now)
        print(line_of(made, now), flush=True)
        logger.info("pipelines.update: day %d of %d, %s: %s", number, len(days), day, made.status)
        forget()
    return code


def code_of(made: UpdateManifest, now: bool) -> int:
    """The exit code of an update; one that was done before has nothing to do, but for one that was refused."""
    if made.status == REFUSED:
        return ROLLED_BACK if made.live else REFUSED_BY_GATE
    return DONE if now and made.status != NOTHING else NOTHING_TO_DO


def line_of(made: UpdateManifest, now: bool) -> str:
    """What became of a day, in a line."""
    version = f", version {made.version} of {made.model}" if made.version is not None else ""
    before = "" if now else " (done before)"
    figures = [f"{task} AUC {found['all']['auc']:.4f}" for task, found in made.metrics.items() if "auc" in found.get("all", {})]
    return f"{made.day}: {made.status}{version}{before}{'; ' if figures else ''}{', '.join(figures)}{f'. {made.reason}' if made.reason else ''}"


def days_of(arguments: list[str], config: Config) -> list[date]:
    """The days that the command names.

    Raises:
        ConfigError: none or too many, or one that is no day.
    """
    ends = {name: argument.partition("=")[2] for argument in arguments for name in ("from", "to") if argument.startswith(f"{name}=")}
    if bool(ends) == bool(config.day) or len(ends) == 1:
        raise ConfigError("An update needs day=YYYY-MM-DD, or from=YYYY-MM-DD and to=YYYY-MM-DD. Received: " + (" ".join(arguments) or "none") + ".")
    try:
        first, last = (date.fromisoformat(ends[name]) for name in ("from", "to")) if ends else (config.day, config.day)
    except ValueError as error:
        raise ConfigError(f"from and to must be days, such as from=2026-11-20. Received: {error}.") from None
    if last < first:
        raise ConfigError(f"to must not lie before from. Received: from={first} to={last}.")
    return [first + number * DAY for number in range((last - first).days + 1)]


def main(arguments: list[str] | None = None) -> None:
    """The command line; the exit codes are those of `pipelines.update`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if {"-h", "--help"} & set(arguments):
            print(help_of("pipelines.update", f" [{_SCRATCH} | {_ITEMS}]", _SECTIONS))
            return
        others = [one for one in arguments if one not in (_SCRATCH, _ITEMS)]
        config = settings_of(lambda: load([one for one in others if not one.startswith(("from=", "to="))]))
        days = settings_of(lambda: days_of(others, config) if _ITEMS not in arguments else [])
        settings_of(lambda: check_update(config))
        settings_of(lambda: in_a_folder(config.run, "pipelines.update"))
        prepare_process()
        remember(arguments)
        with explained("pipelines.update", config.run):
            check_first([stage_of("models")], config)
            if _ITEMS in arguments:
                done = publish_items(config)
                print(done or "nothing to do: no item is new or changed")
                raise SystemExit(DONE if done else NOTHING_TO_DO)
            code = update(config.model_copy(update={"day": None}), days, _SCRATCH in arguments)
        if code:
            raise SystemExit(code)


def check_update(config: Config) -> None:
    """Refuses settings that no update can come of.

    Raises:
        ConfigError: a model that cannot be served by id, a start of another model, or splits of its own.
    """
    if config.model.reads_text:
        raise ConfigError(f"An update publishes a model of ids. Received: model.backbone.name={config.model.backbone.name}, which reads texts.")
    for setting, value in (("model.warm_start", config.model.warm_start), ("ppm.warm_start", config.ppm.warm_start)):
        if value is not None:
            raise ConfigError(f"{setting} is set by the update itself. Received: {value}. Remedy: leave it out.")
