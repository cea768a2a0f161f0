"""Writes embedding tables: one cached vector a catalog item, the only thing that models read of texts and images.

title        texts by the encoder that `pipelines.finetune text` makes
image        images by the encoder that `pipelines.finetune image` makes
bow          texts by the bag of words that `pipelines.finetune bow` fits; with text.encoder=bag_of_words that is the encoder of `title`
title_image  title and image vectors side by side

Without a name all tables that PPM reads (ppm.tables) are written. A Beam job encodes only what is new or changed since the
table before: a vector is kept where the item's content and the encoder are the same. Items without text or image get a zero
vector and a flag; so do those whose content cannot be encoded, which are listed, with the reason, in dead_letters.jsonl.
Where there are too many of these, or the job is killed, the table in use stays.

Writes <run>/tables/<name>: TFRecord shards, dead_letters.jsonl and manifest.json with the counts.

  python -m pipelines.embed                                  # the embedded shop's tables
  python -m pipelines.embed title configs/home_depot.yaml data.path=<folder>
  python -m pipelines.embed image beam.runner=FlinkRunner beam.options=[--flink_master=<host>:8081]
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from pipelines.stage import Stage, main_of
from ppm_tf.config import Config
from ppm_tf.workspace import Recipe, Workspace

# table -> the encoders it needs, and the columns of the catalog that make a content
TABLES = {
    "title": (("encoders/text",), ("text",)),
    "image": (("encoders/image",), ("image",)),
    "bow": (("encoders/bow",), ("text",)),
    "title_image": (("encoders/text", "encoders/image"), ("text", "image")),
}


def run(table: str, config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Writes one table and commits `tables/<table>`."""
    from ppm_tf.encoders.table_job import write_table_job

    name = f"tables/{table}"
    old = workspace.path(name) if workspace.exists(name) else None
    with workspace.commit(name, recipe) as folder:
        joined = folder / "encoder"
        encoder, columns = encoder_of(table, config, workspace, joined)
        write_table_job(table, workspace.path("data") / "catalog", encoder, columns, old, folder, config.embed, config.beam)
        shutil.rmtree(joined, ignore_errors=True)


def encoders_of(table: str, config: Config) -> tuple[str, ...]:
    """The encoders that a table needs under these settings; a bag of words that is the text encoder is not fitted twice."""
    return TABLES["title"][0] if table == "bow" and config.text.encoder == "bag_of_words" else TABLES[table][0]


def encoder_of(table: str, config: Config, workspace: Workspace, joined: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of a table's encoder, and the columns it reads; of two encoders, `joined` is made to hold both."""
    from ppm_tf.encoders.title_image import join_saved

    folders, columns = [workspace.path(name) for name in encoders_of(table, config)], TABLES[table][1]
    if len(folders) == 1:
        return folders[0], columns
    join_saved(*folders, joined)
    return joined, columns


def _stage(table: str) -> Stage:
    return Stage(
        module="pipelines.embed",
        choice=table,
        makes=f"tables/{table}",
        needs=lambda config: ("data", *encoders_of(table, config)),
        sections=("embed",),
        # How many items are encoded at once, and how many may fail, shapes no vector.
        settings=lambda config: {"embed": config.embed.model_dump(mode="json", include={"dtype", "shards"})},
        also_uses=("data", "text", "image", "beam"),
        run=partial(run, table),
    )


TITLE, IMAGE, BOW, TITLE_IMAGE = (_stage(table) for table in TABLES)
STAGES = dict(zip(TABLES, (TITLE, IMAGE, BOW, TITLE_IMAGE), strict=True))


def default(config: Config) -> list[str]:
    """The tables that are written where none is named."""
    return list(config.ppm.tables)


if __name__ == "__main__":
    main_of(STAGES, default=default)
