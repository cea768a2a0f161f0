"""New items between two updates: their vectors in a version of the same weights (`--items`)."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

from pipelines.export import export
from pipelines.prepare import columns_by_day
from pipelines.stage import stage_of
from pipelines.update import steps
from pipelines.update.folders import ENCODERS, Update, ancestor, parent_of, published_versions
from ppm_tf.config import Config
from ppm_tf.daily import UpdateManifest, read_manifests
from ppm_tf.daily.plan import DAY, Plan
from ppm_tf.workspace import MADE_BY, SETTINGS, Workspace, link_or_copy

logger = logging.getLogger(__name__)

_NEW = ("catalog", "schema.json", MADE_BY, SETTINGS)


def publish_items(config: Config) -> str:
    """Publishes the live model with the items of today's item files, which its update has not seen; their vectors are made, nothing is trained.

    Where names of item files hold a day, those of the day that is served are read; otherwise the file as it is now.

    Returns:
        What was done, in a line; "" where there was nothing to do.

    Raises:
        ValueError: nothing is published yet, or the version does not answer as it should on the server.
    """
    root = Workspace(config.run)
    with root.lock("update"):
        live = parent_of(config, read_manifests(config.run))
        if live is None:
            raise ValueError(f"--items needs a published update. Received: none in {root.folder}. Run `python -m pipelines.update day=<day>` first.")
        update, workspace = _of(config, live)
        found = _grow(update, root, workspace)
        if not found:
            logger.info("update --items: no item is new or changed since version %s", live.version)
            return ""
        before = update.workspace
        for name in (*(one for one in ENCODERS if before.exists(one)), *steps.tables_of(update), update.model):
            if not workspace.exists(name):
                workspace.take(name, before)
        settings = update.settings.model_copy(update={"run": str(workspace.folder)})
        for name in steps.tables_of(update):
            steps.made(name, settings, workspace, asked=False)
        digest = workspace.id("data")
        version = next((number for number, about in published_versions(config) if about.get("items_of") == digest), None)
        if version is None:
            version = int(export(settings, workspace, tables_only=True, more={"items_of": digest}).name)
        if config.serve.url:
            answer = steps.served(update, version)
            if not answer.served:
                raise ValueError(f"The version with the new items must be the one that answers. Received: {answer.reason}; it was rolled back.")
        return f"{found} as version {version} of {live.model}, with the weights of {live.day}"


def _of(config: Config, live: UpdateManifest) -> tuple[Update, Workspace]:
    """The live update, and the run folder of its items."""
    parent = ancestor(live)
    update = Update(config, Plan(parent.day, None, (), (), ()))
    return update, Workspace(update.workspace.folder / "items")


def _grow(update: Update, root: Workspace, workspace: Workspace) -> str:
    """Commits `data` with the grown catalog; gives what is new, in words."""
    from ppm_tf.data.preparation.catalog_growth import carry_counts, grow_catalog, with_fields
    from ppm_tf.data.preparation.day_state import DayState
    from ppm_tf.data.raw import files as raw_files
    from ppm_tf.data.raw.day_files import has_day, of_day
    from ppm_tf.data.schema import Schema
    from ppm_tf.workspace import fingerprint

    config, day = update.config, update.plan.day
    columns, earlier, source = columns_by_day(config, root), root.path(f"days/{day - DAY}"), update.workspace.path("data")
    today = of_day(columns, day)
    named = [(name, getattr(today.items, name)) for name in ("files", "text_files", "image_files") if getattr(today.items, name)]
    files = [path for name, pattern in named for path in raw_files.find(columns.path, pattern, f"data.items.{name}")]
    recipe = replace(
        stage_of("data").recipe(update.settings, workspace), inputs={**fingerprint(files), f"days/{day - DAY}": root.id(f"days/{day - DAY}")}
    )
    if not workspace.is_current("data", recipe):
        state = DayState.of(day, columns, earlier)
        with workspace.commit("data", recipe) as folder:
            shutil.copytree(source, folder, copy_function=link_or_copy, ignore=lambda at, _: _NEW if Path(at) == source else (), dirs_exist_ok=True)
            report = grow_catalog(today, state, earlier, folder, has_day(columns.items.image_files or columns.items.files))
            shutil.rmtree(folder / "state")
            carry_counts(source / "catalog", folder / "catalog")
            with_fields(Schema.read(source / "schema.json"), report.fields).write(folder / "schema.json")
            (folder / "items.json").write_text(json.dumps({"new": report.new_items, "changed": report.changed_items}), encoding="utf-8")
    counts = json.loads((workspace.path("data") / "items.json").read_text(encoding="utf-8"))
    return f"{counts['new']} new items, {counts['changed']} changed" if any(counts.values()) else ""
