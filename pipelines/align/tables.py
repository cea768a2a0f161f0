"""The tables that no encoder writes but a ranking model's ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines.align import encoder
from pipelines.stage import Stage
from ppm_tf.config import Config
from ppm_tf.data.contents import check_contents
from ppm_tf.workspace import Recipe, Workspace

_SHAPING = {"dtype", "shards"}


def write_ids(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Writes the ID-side vectors of the items that have an embedding row of their own, and commits `tables/ids`."""
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.encoders.saved import content_version
    from ppm_tf.encoders.table_job import write_cost
    from ppm_tf.rows import FIRST_ROW

    begun = time.monotonic()
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    ranker = encoder.ranker_of(config, workspace)
    vectors, _, own = encoder.id_vectors(ranker, catalog)
    version = content_version("ids", {}, {"vectors": vectors[FIRST_ROW:][own]})
    _commit("ids", config, workspace, recipe, catalog, vectors, own, version, lambda folder: write_cost(folder, begun, int(own.sum())))


def write_aligned_vectors(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Trains the vectors of `tables/title` towards the ids, with a head in front of them, and commits `tables/aligned_vectors`."""
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.tables import read_table
    from ppm_tf.encoders.saved import content_version
    from ppm_tf.objectives.modal_alignment import ModalAlignment, VectorsOfTexts, row_batches
    from ppm_tf.rows import FIRST_ROW

    settings = training.starting_rate(config.text.align, pretrained=False)
    strategy = training.prepare_backend(settings, config.seed)
    items = encoder.aligned_items(config, workspace)
    title = read_table(workspace.path("tables/title"), items.catalog)
    with strategy.scope():
        texts = VectorsOfTexts(title.vectors.astype("float32"), name="texts")
        model = ModalAlignment(texts, items.targets, settings.head, settings.similarity, settings.temperature)
    work = workspace.work("tables/aligned_vectors", recipe)

    def batches(part: int, epochs: int | None = None):
        return row_batches(items.parts[part] + FIRST_ROW, settings.batch_size, epochs, config.seed)

    result, _ = encoder.taught(model, batches, items, settings, work, strategy)
    vectors = np.asarray(texts.table)
    version = content_version("aligned_vectors", {"title": title.encoder_version}, {"vectors": vectors})
    _commit("aligned_vectors", config, workspace, recipe, items.catalog, vectors, title.present[FIRST_ROW:], version, result.write)
    workspace.clear_work("tables/aligned_vectors")


def _commit(
    name: str, config: Config, workspace: Workspace, recipe: Recipe, catalog, vectors, present, version: str, more: Callable[[Path], None]
) -> None:
    from ppm_tf.data.tables import write_table
    from ppm_tf.rows import FIRST_ROW

    with workspace.commit(f"tables/{name}", recipe) as folder:
        write_table(folder, name, catalog.ids, vectors[FIRST_ROW:], present, version, config.embed.dtype, config.embed.shards)
        more(folder)


def _needs_ids(config: Config) -> Iterator[str]:
    encoder.require_ranker(config)
    yield "data"
    yield from encoder.ranker_made(config)


def _needs_vectors(config: Config) -> Iterator[str]:
    encoder.require_ranker(config)
    check_contents(config, ["aligned_vectors"])
    yield "data"
    check_contents(config, ["aligned_vectors"], Workspace(config.run).path("data"))
    yield "tables/title"
    yield from encoder.ranker_made(config)


def _how_written(config: Config) -> dict[str, Any]:
    return {"embed": config.embed.model_dump(mode="json", include=_SHAPING)}


def _stage(table: str, run, needs, settings) -> Stage:
    return Stage(
        module="pipelines.align",
        choice=table,
        makes=f"tables/{table}",
        needs=needs,
        sections=("seed", "text", "embed"),
        also_uses=("data", "model", "evaluate", "beam"),
        run=run,
        settings=settings,
        inputs=encoder.ranker_files,
        under=encoder.under,
    )


IDS = _stage("ids", write_ids, _needs_ids, _how_written)
ALIGNED_VECTORS = _stage(
    "aligned_vectors", write_aligned_vectors, _needs_vectors, lambda config: {**encoder.settings(config), **_how_written(config)}
)
STAGES = {"ids": IDS, "aligned_vectors": ALIGNED_VECTORS}
