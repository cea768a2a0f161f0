"""Turns a raw log into a prepared data set: an item catalog, and requests as TFRecords.

Reads the source that data.source names: `synthetic` writes and reads an embedded shop (into <run>/raw), `columnar` reads
Parquet, CSV or JSONL files by a column mapping, `movielens` and `amazon` read those data sets as they are published.

Writes <run>/data: schema.json, catalog/ (one row an item: text, image, fields, train counts), samples/{pretrain,train,
valid,test}/ (one record a request: a user, the history before it, the candidates with their labels), queries.parquet,
statistics.json and rejected.jsonl (log rows set aside, with file, row, column and reason). With data.log=null there are
only the items and queries, enough to train encoders and to write tables.

  python -m pipelines.prepare data.users=500 data.days=14 run=runs/small
  python -m pipelines.prepare data.source=columnar data.path=my_log data.log.time=timestamp \\
      data.log.labels='{click: {column: rating, at_least: 4}}' data.items.text='[title, plot]' run=runs/mine
"""

from __future__ import annotations

import importlib
import logging
import shutil
from pathlib import Path
from typing import Any

from pipelines.stage import Stage, folder_size, main, peak_memory
from ppm_tf.config import Config
from ppm_tf.data.sources import SOURCES
from ppm_tf.workspace import Recipe, Workspace, fingerprint

logger = logging.getLogger(__name__)

# Settings that shape the raw files a source writes; the others only say how they are read.
_RAW_SETTINGS = {
    "synthetic": ("users", "items", "days", "requests_per_user", "candidates", "seed", "by_day"),
    "amazon": ("path", "reviews", "metadata", "core", "negatives", "seed", "images", "split", "max_rejected"),
}


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Prepares the data set and commits `data/`."""
    from ppm_tf.data.preparation.prepare import prepare

    source = _source(config)
    raw = _write_raw(config, workspace, source)
    with workspace.commit("data", recipe) as folder:
        # MovieLens' own formats are converted here; the other sources have their files by now.
        columns = source.columns(config.data, raw or folder / "converted")
        prepare(columns, config.beam, folder)
        shutil.rmtree(folder / "converted", ignore_errors=True)
        logger.info("data set: %s; %s", folder_size(folder), peak_memory())


def _write_raw(config: Config, workspace: Workspace, source: Any) -> Path | None:
    """The folder of raw files that the source itself writes, made if it is not there."""
    if config.data.source not in _RAW_SETTINGS:
        return None
    settings = config.data.model_dump(mode="json")
    kept = {"source": config.data.source, **{name: settings[name] for name in _RAW_SETTINGS[config.data.source]}}
    recipe = Recipe(settings={"data": kept}, inputs=inputs(config))
    if not workspace.is_current("raw", recipe):
        with workspace.commit("raw", recipe) as folder:
            source.write(config.data, folder)
    return workspace.path("raw")


def inputs(config: Config) -> dict[str, str]:
    """Fingerprints of the user's files. Files that are gone are not missed until they are needed."""
    source = _source(config)
    try:
        return fingerprint(source.raw_inputs(config.data)) if hasattr(source, "raw_inputs") else {}
    except FileNotFoundError:
        return {}


def _source(config: Config) -> Any:
    return importlib.import_module(SOURCES[config.data.source])


STAGE = Stage(module="pipelines.prepare", makes="data", needs=(), sections=("data",), also_uses=("beam",), run=run, inputs=inputs)

if __name__ == "__main__":
    main(STAGE)
