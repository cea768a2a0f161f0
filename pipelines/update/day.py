"""One day's update, from the log to the manifest."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from pipelines.export import export
from pipelines.update import steps
from pipelines.update.days import (
    content_now,
    counted,
    pass_over_day,
    passed_over_by,
    prepare_up_to,
    refused_days,
    take_again,
    usable_days,
)
from pipelines.update.folders import (
    LEDGER,
    NOTHING,
    PUBLISHED,
    REFUSED,
    Update,
    ancestor,
    begin,
    due,
    exports_of,
    folder_of,
    has_apart,
    manifest_of,
    name_of,
    parent_of,
    published_versions,
    remove_old,
    windows,
)
from pipelines.update.report import write_reports
from ppm_tf.config import Config, changed
from ppm_tf.daily import (
    FAILED,
    MANIFEST,
    Ledger,
    Line,
    UpdateManifest,
    Verdict,
    data_before,
    judge,
    judge_data,
    judge_live,
    live_before,
    published,
    read_manifests,
)
from ppm_tf.daily.plan import DAY, learnt, plan_of
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """The day, or the version made of it, is not to be published."""

    def __init__(self, verdict: Verdict):
        super().__init__(" ".join(verdict.refusals()))
        self.verdict = verdict


def update_day(config: Config, day: date, scratch: bool = False) -> tuple[UpdateManifest, bool]:
    """Does the update of a day, or what is left of it after a kill.

    Args:
        config: the settings of the run.
        day: the day that is served; the log is read up to the day before.
        scratch: learn anew from the last `update.start_days` days.

    Returns:
        Its manifest, and whether it was made now.

    Raises:
        DayError: the log that it reads is not there yet.
        ValueError, FileNotFoundError: what the user can mend.
        RuntimeError: another process updates this run.
    """
    root = Workspace(config.run)
    with root.lock("update"):
        newest, made = day - DAY, manifest_of(config, day)
        if made is not None:
            if made.status != REFUSED or made.live:
                logger.info("update: %s was done before: %s", day, made.reason if made.live else made.status)
                return made, False
            same_log = made.content == content_now(config, newest, root)
            if same_log and _bounds(made.settings) == _bounds(changed(config)):
                logger.info("update: %s was refused before, and the log of %s and the gate are as they were", day, newest)
                return made, False
            _begin_again(made, config, newest, root, same_log)
        return _Run(config, day, scratch, root).run(), True


def _bounds(settings: dict[str, Any]) -> dict[str, Any]:
    """What the gate was told, of the settings that differ from the defaults."""
    return {name: value for name, value in settings.items() if name.startswith(("gate.", "update."))}


def _begin_again(made: UpdateManifest, config: Config, newest: date, root: Workspace, same_log: bool) -> None:
    """Lets an update that was refused run once more: a trained model is judged again, all else is made anew."""
    if made.trained and same_log:
        (folder_of(config, newest + DAY) / MANIFEST).unlink()
        return
    if not made.trained:
        take_again(newest, root)
    shutil.rmtree(folder_of(config, newest + DAY))


def _override(config: Config, day: date) -> str:
    """Why a day is to be published whatever the gate finds; "" where it is not."""
    of, _, reason = (config.gate.override or "").partition(":")
    return reason.strip() if of == day.isoformat() else ""


class _Run:
    """An update under way."""

    def __init__(self, config: Config, day: date, scratch: bool, root: Workspace):
        self.config, self.day, self.newest, self.root = config, day, day - DAY, root
        self.ledger, self.clock = Ledger(root.folder / LEDGER), steps.Clock()
        self.made = [one for one in read_manifests(config.run) if one.day < day.isoformat()]
        self.live = parent_of(config, self.made)
        first = next(iter(published(self.made)), None)
        self.anew, self.embeds_all = due(config, day, date.fromisoformat(first.day)) if first else ((), False)
        # weights over vectors of other encoders mean nothing: what reads them begins anew
        self.parent = None if scratch or self.anew else self.live
        self.manifest = UpdateManifest(
            day=day.isoformat(), status=NOTHING, model=name_of(config), started=self.parent.started if self.parent else day.isoformat()
        )
        self.update: Update | None = None

    def run(self) -> UpdateManifest:
        """Prepares, trains, judges and publishes."""
        for one in published(self.made):
            if self.live is not None and one.day > self.live.day:  # its weights are nobody's parents: what they learnt may be learnt again
                self.ledger.discard(one.day, f"version {one.version} was withdrawn")
        with self.clock.step("prepare"):
            refusal = prepare_up_to(self.config, self.newest, self.ledger, self.root)
        known = None if refusal else self.ledger.hash_of(str(self.newest))  # as it was prepared
        self._note(content=known or content_now(self.config, self.newest, self.root))
        if refusal := refusal or passed_over_by(self.newest, self.root):  # the latter where a kill came before the manifest
            logger.error("update: %s is refused: %s", self.day, refusal)
            return self._done(REFUSED, refusal)
        try:
            data = self._believe()
            origin = date.fromisoformat(self.live.day) if self.live else None
            self.update = Update(self.config, self._plan(), origin, self.anew, self.embeds_all)
            if not self.update.plan.train or not self.update.plan.held_out:
                return self._done(NOTHING, f"the log of {self.newest} holds nothing to learn from")
            begin(self.update)
            self._publish(self._train(data))
        except RefusedError as refused:
            return self._refuse(refused.verdict)
        live = self.manifest.live
        if live and not live["served"]:
            self.ledger.discard(self.manifest.day, live["reason"])
            return self._done(REFUSED, live["reason"])
        return self._done(PUBLISHED)

    def _plan(self):
        usable, refused = usable_days(self.root), refused_days(self.made)
        parent = ancestor(self.parent) if self.parent else None
        plan = plan_of(self.day, usable, refused, parent, self.config.update.start_days, has_apart(self.config))
        after = learnt(plan, parent)
        self._note(
            window=windows(plan),
            learnt={"ranker": after.ranker.isoformat(), "ppm": after.ppm and after.ppm.isoformat()},
            inputs={str(day): self.ledger.hash_of(str(day)) or "" for day in sorted({part.day for part in (*plan.pretrain, *plan.train)})},
        )
        return plan

    def _believe(self) -> list[Line]:
        """Holds the bounds on the day's data, before anything is trained."""
        data = counted(self.newest, self.root)
        self._note(data=data)
        lines = judge_data(data, data_before(self.made, self.manifest.day), self.config.gate)
        self._require(lines)
        return lines

    def _require(self, lines: Sequence[Line]) -> None:
        """Refuses the day where a bound was not kept."""
        verdict = Verdict(self.manifest.day, tuple(lines), override=_override(self.config, self.day))
        if any(line.outcome == FAILED for line in lines) and not verdict.passed:
            raise RefusedError(verdict)

    def _train(self, data: list[Line]) -> Verdict:
        """The trainings, and what the gate makes of the model."""
        update, clock, gate, by = self.update, self.clock, self.config.gate, self.manifest.day
        with clock.step("view"):
            steps.view(update)
        with clock.step("embed"):
            steps.vectors(update)
        with clock.step("live"):
            live = steps.live_scores(update)
        lived = live_before(self.made, by)
        if live is not None:
            self._require([*data, *judge_live(live, gate, lived, self.config.seed)])
        name = f"{self.manifest.model} since {self.manifest.started}"
        trained = [(f"PPM of {name}", part) for part in update.plan.pretrain if update.trains_ppm] + [(name, part) for part in update.plan.train]
        for model, part in trained:
            self.ledger.refuse_trained(str(part.day), part.hours, model, by)
        with clock.step("pretrain"):
            steps.pretrain(update)
        with clock.step("train"):
            steps.train(update)
        for model, part in trained:
            self.ledger.train(str(part.day), part.hours, model, by)
        with clock.step("gate"):
            candidate = steps.candidate_scores(update)
            items, users = steps.frequencies(update, candidate.user)
            self._note(trained=update.workspace.id(update.model), **steps.described(update))
            verdict = judge(
                candidate, live, gate, day=by, train_frequency=items, user_frequency=users, live_before=lived,
                tables=steps.moved_tables(update), data=data, seed=self.config.seed,
            )  # fmt: skip
            self._note(verdict=verdict)
        if not verdict.passed:
            raise RefusedError(verdict)
        return verdict

    def _publish(self, verdict: Verdict) -> None:
        """Exports, publishes, and asks the running server."""
        live, base = list(published_versions(self.config)), exports_of(self.config) / name_of(self.config)
        golden = steps.GoldenGate(self.config.gate, verdict, base / str(live[-1][0]) if live else None)
        with self.clock.step("export"):
            folder = steps.exported(self.update)
            if folder is None:
                steps.forget()
                try:
                    folder = export(self.update.settings, self.update.workspace, judge=golden)
                except steps.GoldenRefusedError:
                    raise RefusedError(golden.verdict) from None
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self._note(version=int(folder.name), verdict=golden.verdict, sizes={**self.manifest.sizes, "export": size})
        if self.config.serve.url:
            with self.clock.step("serve"):
                self._note(live=steps.served(self.update, int(folder.name)).plain())

    def _refuse(self, verdict: Verdict) -> UpdateManifest:
        """Keeps the live model, and what was refused out of all that follows."""
        reason = " ".join(verdict.refusals())
        for one in verdict.refusals():
            logger.error("update: %s is refused: %s", self.day, one)
        self._note(verdict=verdict)
        self.ledger.refuse(str(self.newest), self.ledger.hash_of(str(self.newest)) or "", by=self.manifest.day, reason=reason)
        if self.manifest.trained:
            self.ledger.discard(self.manifest.day, reason)
        elif self.root.exists(f"days/{self.newest - DAY}"):  # rows that are not believed enter no history and no vocabulary
            pass_over_day(self.config, self.newest, reason, self.root)
        return self._done(REFUSED, reason)

    def _note(self, **found) -> None:
        self.manifest = replace(self.manifest, **found)

    def _done(self, status, reason: str = "") -> UpdateManifest:
        """Writes the manifest, the last of all: what was killed before it does what is left."""
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._note(status=status, reason=reason, made_at=made_at, seconds=self.clock.seconds, settings=changed(self.config))
        folder = folder_of(self.config, self.day)
        write_reports(self.config, self.manifest, self.made)
        self.manifest.write(folder / MANIFEST)
        if status == PUBLISHED:
            remove_old(self.config, self.newest, self.root)
        return self.manifest
