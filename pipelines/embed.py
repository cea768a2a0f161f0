"""Writes one vector an item and modality: the embedding tables that every model reads by item row.

`title` is made from the item's text, `image` from its image. The encoders used here need no training: a bag of words and a
descriptor of colours and edges, both fitted on the catalog. An item without text or image gets a zero vector and a flag; one
whose image cannot be decoded is listed, with the reason, in refused.jsonl beside the table.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from pipelines.stage import Stage, folder_size, main
from ppm_tf.config import Config
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Fits the encoders on the catalog and writes `tables/title` and `tables/image`."""
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.encoders.bag_of_words import BagOfWords
    from ppm_tf.encoders.image_descriptor import ImageDescriptor

    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    with workspace.commit("tables", recipe) as folder:
        if any(catalog.text):
            encoder = BagOfWords(config.text.dim, config.text.buckets).fit(catalog.text)
            _write(folder, "title", catalog, "text", encoder)
        else:
            logger.warning("no item has a text (data.items.text): there will be no table 'title'")
        described = _describe_readable(catalog)
        if len(described) >= 2:
            _write(folder, "image", catalog, "image", ImageDescriptor(config.image.dim).fit_statistics(described))
        else:
            logger.warning("fewer than two items have an image (data.items.image): there will be no table 'image'")


def _write(folder: Path, name: str, catalog, column: str, encoder) -> None:
    from ppm_tf.data.tables import write_table
    from ppm_tf.encoders.catalog_encoding import encode_catalog

    start, refused = time.monotonic(), []
    manifest = write_table(folder / name, name, encode_catalog(catalog, column, encoder.encode, encoder.dim, refused), encoder.version)
    if refused:
        lines = (json.dumps({"item_id": item_id, "reason": reason}) + "\n" for item_id, reason in refused)
        (folder / name / "refused.jsonl").write_text("".join(lines), encoding="utf-8")
    logger.info(
        "table '%s': %d items by %s (no training), %d refused, %s, %.1f s",
        name, manifest.records, encoder.version, len(refused), folder_size(folder / name), time.monotonic() - start,
    )  # fmt: skip


def _describe_readable(catalog, most: int = 20_000) -> list:
    """What the descriptor is fitted on: the statistics of the first images that can be decoded."""
    from ppm_tf.encoders.image_descriptor import describe

    found = []
    for _, batch in catalog.batches(("image",)):
        for image in batch.column(0).to_pylist():
            if image:
                try:
                    found.append(describe(image))
                except ValueError:
                    continue
            if len(found) == most:
                return found
    return found


STAGE = Stage(module="pipelines.embed", makes="tables", needs=("data",), sections=("text", "image"), run=run)

if __name__ == "__main__":
    main(STAGE)
