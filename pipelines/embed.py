"""Writes embedding tables: one cached vector a catalog item, the only thing that models read of texts and images.

title        texts by the encoder that `pipelines.finetune text` makes
image        images by the encoder that `pipelines.finetune image` makes
bow          texts by the bag of words that `pipelines.finetune bow` fits; with text.encoder=bag_of_words that is the encoder of `title`
title_image  title and image vectors side by side
aligned      texts by the encoder that `pipelines.align` makes (CELA's ROMA)

Without a name all tables that PPM reads (ppm.tables) are written. A Beam job encodes only what is new or changed since the
table before: a vector is kept where the item's content and the encoder are the same. Items without text or image get a zero
vector and a flag; so do those whose content cannot be encoded, which are listed, with the reason, in dead_letters.jsonl.
Where there are too many of these, or the job is killed, the table in use stays.

Writes <run>/tables/<name>: TFRecord shards, dead_letters.jsonl, manifest.json with the counts, and summary.json with the time it took.

  python -m pipelines.embed                                  # the embedded shop's tables
  python -m pipelines.embed title configs/home_depot.yaml data.path=<folder>
  python -m pipelines.embed image beam.runner=FlinkRunner beam.options=[--flink_master=<host>:8081]
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipelines.stage import Stage, main_of, stage_of
from ppm_tf.config import Config
from ppm_tf.data.contents import TABLES, check_contents, lacking
from ppm_tf.workspace import Recipe, Workspace


def run(table: str, config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Writes one table and commits `tables/<table>`."""
    from ppm_tf.encoders.table_job import write_cost, write_table_job

    begun = time.monotonic()
    name = f"tables/{table}"
    old = workspace.path(name) if workspace.exists(name) else None
    with workspace.commit(name, recipe) as folder:
        joined = folder / "encoder"
        encoder, columns = encoder_of(table, config, workspace, joined)
        manifest = write_table_job(table, workspace.path("data") / "catalog", encoder, columns, old, folder, config.embed, config.beam)
        write_cost(folder, begun, manifest.about["encoded"])
        shutil.rmtree(joined, ignore_errors=True)


def encoders_of(table: str, config: Config) -> tuple[str, ...]:
    """The encoders that a table needs under these settings; a bag of words that is the text encoder is not fitted twice."""
    made_alike = table == "bow" and config.text.encoder == "bag_of_words"
    return tuple(f"encoders/{name}" for name in TABLES["title" if made_alike else table].encoders)


def encoder_of(table: str, config: Config, workspace: Workspace, joined: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of a table's encoder, and the columns it reads; of two encoders, `joined` is made to hold both."""
    from ppm_tf.encoders.title_image import join_saved

    folders, columns = [workspace.path(name) for name in encoders_of(table, config)], TABLES[table].contents
    if len(folders) == 1:
        return folders[0], columns
    join_saved(*folders, joined)
    return joined, columns


def version_of(table: str, config: Config, workspace: Workspace) -> str | None:
    """The version of the encoder behind a table once it is up to date; `None` where what it is made of is yet to be made.

    A table that is up to date stays; another one is written by the encoders that are there.
    """
    from ppm_tf.data.manifest import Manifest
    from ppm_tf.encoders.saved import describe_encoder
    from ppm_tf.encoders.title_image import joined_version

    names, stage, is_there = encoders_of(table, config), stage_of(f"tables/{table}"), workspace.exists(f"tables/{table}")
    if not all(workspace.exists(name) for name in (stage.parents(config) if not names else ("data", *names))):
        return None
    if is_there and workspace.is_current(f"tables/{table}", stage.recipe(config, workspace)):
        return Manifest.read(workspace.path(f"tables/{table}")).about["encoder_version"]
    if not names:
        return f"{table} yet to be made" if is_there else None
    versions = [describe_encoder(workspace.path(name))["version"] for name in names]
    return versions[0] if len(versions) == 1 else joined_version(*versions)


def needs(table: str, config: Config) -> Iterator[str]:
    """The data and the encoders of a table; its contents are looked at before they are made.

    Raises:
        ValueError: no item has the content of the table.
    """
    check_contents(config, [table])
    yield "data"
    check_contents(config, [table], Workspace(config.run).path("data"))
    yield from encoders_of(table, config)


def _stage(table: str) -> Stage:
    return Stage(
        module="pipelines.embed",
        choice=table,
        makes=f"tables/{table}",
        needs=partial(needs, table),
        sections=("embed",),
        # How many items are encoded at once, and how many may fail, shapes no vector.
        settings=lambda config: {"embed": config.embed.model_dump(mode="json", include={"dtype", "shards"})},
        also_uses=("data", "text", "image", "beam"),
        run=partial(run, table),
    )


STAGES = {table: _stage(table) for table, made in TABLES.items() if made.encoders}


def stage_of_table(artifact: str) -> Stage:
    """The stage that writes the table `tables/<name>`."""
    return STAGES[artifact.removeprefix("tables/")]


def default(config: Config) -> list[str]:
    """The tables that are written where none is named.

    First those that will be refused, then those of images, so that no refusal comes after a text encoder's training.
    """
    refused = lacking(config, config.ppm.tables, Workspace(config.run).path("data"))
    return sorted(config.ppm.tables, key=lambda table: (table not in refused, "image" not in TABLES[table].contents))


if __name__ == "__main__":
    main_of(STAGES, default=default)
