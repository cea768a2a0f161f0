"""The command line of a simulated month."""

from __future__ import annotations

import logging
import sys

from pipelines.given import remember
from pipelines.simulate.arms import arms_of
from pipelines.stage import check_first, explained, help_of, in_a_folder, prepare_process, settings_of, stage_of
from ppm_tf.config import Config, ConfigError, SyntheticData, from_dict, load
from ppm_tf.terminal import printing

logger = logging.getLogger(__name__)

# What a month has where it is not given: a shop whose models two cores train daily in about an hour...
_SHOP = {"users": 4000, "items": 3000}
_REQUESTS_A_DAY = 16 / 28  # of a user, as the shop has by default
# ...and a gate without the bounds that a choice by a model breaks once and for all: it doubles the share of clicks, and what is left to tell apart
# among what is shown is less than among what is drawn at random.
_GATE = {
    "label_rate": None, "max_live_drop": None, "min_live_auc": None, "max_psi": None, "max_golden_change": None, "calibration": None,
    "calibration_of_slices": None, "min_auc": {"click": 0.52},
}  # fmt: skip


def of_month(config: Config) -> Config:
    """The settings with those of a month, where they do not say otherwise.

    Raises:
        ConfigError: the data is not the shop's, has other days, or candidates are ranked by a task that it does not have.
    """
    settings = config.simulate
    if not isinstance(config.data, SyntheticData):
        raise ConfigError(f"A month is simulated with the embedded shop. Received: data.source={config.data.source}. Remedy: data.source=synthetic.")
    given, days = config.data.model_fields_set, settings.start_days + settings.days
    if "days" in given and config.data.days != days:
        raise ConfigError(
            f"data.days is set by the month, simulate.start_days + simulate.days. Received: {config.data.days}, and {days}. Remedy: leave it out."
        )
    data = {name: value for name, value in _SHOP.items() if name not in given} | {"days": days, "by_day": True}
    data |= {"requests_per_user": max(1, round(_REQUESTS_A_DAY * days))} if "requests_per_user" not in given else {}
    gate = {name: value for name, value in _GATE.items() if name not in config.gate.model_fields_set}
    plain = config.model_dump(mode="json")
    found = from_dict({**plain, "data": {**plain["data"], **data}, "gate": {**plain["gate"], **gate}})
    from ppm_tf.config.relations import TASKS

    if unknown := sorted(set(settings.rank_by) - set(TASKS["synthetic"])):
        raise ConfigError(f"simulate.rank_by must name tasks of the shop: {', '.join(TASKS['synthetic'])}. Received: {', '.join(unknown)}.")
    return found


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on a wrong setting, 1 on a failure the user can mend."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with printing():
        if {"-h", "--help"} & set(arguments):
            print(help_of("pipelines.simulate", "", ("run", "seed", "simulate", "data", "update", "gate", "online"), source="synthetic"))
            return
        config = settings_of(lambda: of_month(load(arguments)))
        settings_of(lambda: in_a_folder(config.run, "pipelines.simulate"))
        arms = settings_of(lambda: arms_of(config))
        prepare_process()
        remember(arguments)
        with explained("pipelines.simulate", config.run):
            for arm in arms:
                if arm.settings is not None:
                    check_first([stage_of("models")], arm.config.model_copy(update={"data": config.data}))
            from pipelines.simulate.month import run

            folder = run(config)
            print(f"{(folder / 'table.md').read_text(encoding='utf-8')}\n{folder / 'days.png'}")
