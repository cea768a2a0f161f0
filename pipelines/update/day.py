"""One day's update, from the log to the manifest."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.export import export
from pipelines.update import steps
from pipelines.update.days import counted, pass_over_day, prepare_up_to, refused_days, usable_days
from pipelines.update.folders import (
    LEDGER,
    MANIFEST,
    NOTHING,
    PUBLISHED,
    REFUSED,
    ROLLED_BACK,
    Update,
    begin,
    exports_of,
    folder_of,
    live_version,
    manifest_of,
    manifests,
    parent_of,
    plain,
    with_ppm,
)
from ppm_tf.config import Config
from ppm_tf.daily import FAILED, DayStatistics, Ledger, Line, Verdict, judge, judge_data, judge_live
from ppm_tf.daily.plan import DAY, learnt, plan_of
from ppm_tf.storage import write_json
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)


class Refused(Exception):
    """The day, or the version made of it, is not to be published; the verdict says why."""

    def __init__(self, verdict: Verdict):
        super().__init__(" ".join(verdict.refusals()))
        self.verdict = verdict


def update_day(config: Config, day: date, scratch: bool = False) -> dict[str, Any]:
    """Does the update of a day, or what is left of it after a kill.

    Args:
        config: the settings of the run.
        day: the day that is served; the log is read up to the day before.
        scratch: learn anew from the last `update.start_days` days.

    Returns:
        Its manifest; with `again` where it was done before.

    Raises:
        DayError: the log that it reads is not there yet.
        ValueError, FileNotFoundError: what the user can mend.
        RuntimeError: another process updates this run.
    """
    root = Workspace(config.run)
    with root.lock("update"):
        ledger, newest, clock = Ledger(root.folder / LEDGER), day - DAY, steps.Clock()
        made = manifest_of(config, day)
        if made is not None and made["status"] != REFUSED:
            logger.info("update: %s was done before: %s", day, made["status"])
            return {**made, "again": True}
        override = (config.gate.override or "").startswith(f"{day}:")
        with clock.step("prepare"):
            refusal = prepare_up_to(config, newest, ledger, root)
        if made is not None:
            if not override and made["content"] == _content(root, newest, refusal):
                logger.info("update: %s was refused before, and its log is as it was", day)
                return {**made, "again": True}
            shutil.rmtree(folder_of(config, day))
        if refusal:
            return _refuse_log(config, day, refusal, clock)
        return _Run(config, day, scratch, ledger, clock).run()


def _content(root: Workspace, day: date, refusal: str) -> str:
    """What a day's log holds now, by hash; of one that cannot be prepared, why."""
    from ppm_tf.data.preparation.day import read_ledger

    return refusal or read_ledger(root.path(f"days/{day}"))["content"]


def _refuse_log(config: Config, day: date, refusal: str, clock: steps.Clock) -> dict[str, Any]:
    """The manifest of a day whose log cannot be prepared; the next one passes it over."""
    logger.error("update: %s is refused: %s", day, refusal)
    manifest = {
        "day": day.isoformat(), "status": REFUSED, "reasons": [refusal], "content": refusal, "seconds": clock.seconds, "verdict": None,
    }  # fmt: skip
    _write_manifest(config, day, manifest)
    return manifest


class _Run:
    """An update under way."""

    def __init__(self, config: Config, day: date, scratch: bool, ledger: Ledger, clock: steps.Clock):
        self.config, self.day, self.ledger, self.clock = config, day, ledger, clock
        self.root, self.newest = Workspace(config.run), day - DAY
        self.before = [one for one in manifests(config) if one["day"] < day.isoformat()]
        self.parent = None if scratch else parent_of(config, day)
        self.override = (config.gate.override or "").startswith(f"{day}:")
        self.statistics: DayStatistics | None = None
        self.update: Update | None = None

    def run(self) -> dict[str, Any]:
        """Trains, judges and publishes."""
        from ppm_tf.data.preparation.day import read_ledger

        content = read_ledger(self.root.path(f"days/{self.newest}"))["content"]
        try:
            data = self._believe()
            plan = plan_of(
                self.day, usable_days(self.root), refused_days(self.ledger), self.parent, self.config.update.start_days, with_ppm(self.config)
            )
            if not plan.train or not plan.held_out:
                return self._done({"status": NOTHING, "reasons": [f"{self.newest} holds nothing to learn from"], "content": content})
            self.update = Update(self.config, plan)
            begin(self.update)
            verdict = self._train(data)
        except Refused as refused:
            return self._refused(refused.verdict, content)
        return self._publish(verdict, content)

    def _believe(self) -> list[Line]:
        """Holds the bounds on the day's data; nothing was trained yet."""
        self.statistics = counted(self.newest, self.root)
        before = [DayStatistics.from_plain(one["statistics"]) for one in self.before if one["status"] == PUBLISHED]
        data = judge_data(self.statistics, before, self.config.gate)
        self._require(data)
        return data

    def _require(self, lines: Sequence[Line]) -> None:
        """Refuses the day where a bound on its data was not kept."""
        verdict = Verdict(self.day.isoformat(), tuple(lines), override=self._reason())
        if any(line.outcome == FAILED for line in lines) and not verdict.override:
            raise Refused(verdict)

    def _reason(self) -> str:
        return (self.config.gate.override or "").partition(":")[2].strip() if self.override else ""

    def _train(self, data: list[Line]) -> Verdict:
        """The trainings, and what the gate makes of them."""
        update, clock, gate = self.update, self.clock, self.config.gate
        name = self._model_name()
        with clock.step("view"):
            steps.view(update)
        with clock.step("embed"):
            steps.vectors(update)
        with clock.step("live"):
            live = steps.live_scores(update)
        lived = {task: [one["live_auc"][task] for one in self.before if one.get("live_auc")] for task in (live.tasks if live else ())}
        if live is not None:
            self._require([*data, *judge_live(live, gate, lived, self.config.seed)])
        models = {"ranker": update.plan.train, **({"ppm": update.plan.pretrain} if update.trains_ppm else {})}
        for model, parts in models.items():
            for part in parts:
                self.ledger.refuse_trained(part.day.isoformat(), part.hours, f"{model} of {name}", by=self.day.isoformat())
        with clock.step("pretrain"):
            steps.pretrain(update)
        with clock.step("train"):
            steps.train(update)
        for model, parts in models.items():
            for part in parts:
                self.ledger.train(part.day.isoformat(), part.hours, f"{model} of {name}", by=self.day.isoformat())
        with clock.step("gate"):
            steps.seen(update)
            candidate = steps.candidate_scores(update)
            items, users = steps.frequencies(update, candidate.user)
            verdict = judge(
                candidate, live, gate, day=self.day.isoformat(), train_frequency=items, user_frequency=users, live_before=lived,
                tables=steps.moved_tables(update), data=data, seed=self.config.seed,
            )  # fmt: skip
            self.metrics = steps.metrics(verdict)
        if not verdict.passed:
            raise Refused(verdict)
        return verdict

    def _model_name(self) -> str:
        """The model that learns on from day to day: its backbone and the day of its start."""
        started = self.day.isoformat()
        if self.parent is not None:
            started = manifest_of(self.config, self.parent.day)["started"]
        self.started = started
        return f"{self.config.model.folder} since {started}"

    def _refused(self, verdict: Verdict, content: str) -> dict[str, Any]:
        """Keeps the live model, and what was refused out of all that follows."""
        for reason in verdict.refusals():
            logger.error("update: %s is refused: %s", self.day, reason)
        reason = " ".join(verdict.refusals())
        trained = self.update is not None and self.update.workspace.exists(self.update.model)
        self.ledger.refuse(self.newest.isoformat(), content, by=self.day.isoformat(), reason=reason)
        if trained:
            self.ledger.discard(self.day.isoformat(), reason)
        elif self.root.exists(f"days/{self.newest - DAY}"):  # rows that are not believed enter no history and no vocabulary
            pass_over_day(self.newest, reason, self.root)
        return self._done({"status": REFUSED, "reasons": verdict.refusals(), "content": content, "verdict": verdict.plain()})

    def _publish(self, verdict: Verdict, content: str) -> dict[str, Any]:
        """Exports, publishes, and asks the running server."""
        update, settings, clock = self.update, self.update.settings, self.clock
        live = live_version(self.config)
        with clock.step("export"):
            folder = steps.exported(update)
            if folder is None:
                golden = steps.GoldenGate(self.config, verdict, exports_of(self.config), settings, live and live[0])
                try:
                    folder = export(settings, update.workspace, judge=golden)
                except steps.GoldenRefused as refused:
                    return self._refused(refused.verdict, content)
                verdict = golden.verdict
        found = {"status": PUBLISHED, "reasons": [], "version": int(folder.name), "trained": update.workspace.id(update.model)}
        if self.config.serve.url:
            with clock.step("serve"):
                answer = steps.served(update, int(folder.name))
            found["served"] = answer.plain()
            if not answer.served:
                logger.error("update: %s is rolled back: %s", self.day, answer.reason)
                self.ledger.discard(self.day.isoformat(), answer.reason)
                found |= {"status": ROLLED_BACK, "reasons": [answer.reason]}
        return self._done({**found, "content": content, "verdict": verdict.plain()})
