"""The Beam job that turns a catalog into an embedding table, encoding only what changed since the table before it.

Reads `catalog/items.parquet`, an encoder's folder and the old table; writes TFRecord shards, `dead_letters.jsonl` (item id and
reason of each content that could not be encoded) and, last, `manifest.json`.
"""

import json
import logging
import shutil
import time
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import RunInference

from ppm_tf.config import BeamSettings, EmbedSettings
from ppm_tf.data.batch_job import run_job
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import DamagedDataError, Manifest, Shard, whole_shards
from ppm_tf.data.progress import watch
from ppm_tf.data.tables import TableRecords, table_manifest
from ppm_tf.encoders.saved import describe_encoder
from ppm_tf.encoders.table_steps import (
    Compare,
    Contents,
    EncoderHandler,
    Listed,
    ListItems,
    Outcome,
    Progress,
    ReadContents,
    ReadOld,
    Spread,
    TableJob,
    WriteShard,
)
from ppm_tf.storage import write_json
from ppm_tf.workspace import SUMMARY

logger = logging.getLogger(__name__)

DEAD_LETTERS = "dead_letters.jsonl"
COUNTS = ("items", "encoded", "kept", "removed", "empty", "dead_letters", "tokens", "padded_tokens")


def write_table_job(
    name: str, catalog: Path, encoder: Path, columns: tuple[str, ...], old: Path | None, folder: Path, embed: EmbedSettings, settings: BeamSettings
) -> Manifest:
    """Writes the table of a catalog.

    The job lists the catalog's items with hashes of their contents, compares them with the old table, reads what is new or
    changed once more and encodes it, batch by batch, with the encoder that each worker loads once. Equal inputs give equal
    shards on any runner, as far as the encoder gives a content the same vector in any batch.

    Args:
        name: name of the table.
        catalog: folder of the item catalog; the workers must see it, and the other folders, under the same path.
        encoder: folder of a saved encoder.
        columns: columns of the catalog that make a content: `("text",)`, `("image",)` or `("text", "image")`.
        old: folder of the table before this one, whose vectors are kept where they still hold; or `None`.
        folder: where the table is written; without a manifest in it until the table is whole.
        embed: the section `embed`.
        settings: the section `beam`.

    Returns:
        The manifest; its `about` counts `items`, of which so many `encoded`, `kept`, `empty` (without content) and
        `dead_letters`, the items `removed` since the old table, and the `tokens` encoded, with padding `padded_tokens`.

    Raises:
        ValueError: no item has a content, or more than the share `embed.max_refused` of them cannot be encoded.
        FileNotFoundError: there is no catalog or no encoder.
    """
    start = time.monotonic()
    about, item_catalog = describe_encoder(encoder), ItemCatalog.read(catalog)
    work = folder / ".job"
    progress = work / "progress"
    progress.mkdir(parents=True)
    items = (item_catalog.folder / "items.parquet").resolve()
    job = TableJob(
        items=str(items),
        columns=columns,
        encoder=str(encoder.resolve()),
        encoder_version=about["version"],
        dim=about["dim"],
        dtype=embed.dtype,
        folder=str(folder.resolve()),
        shards=embed.shards,
        batch_size=embed.batch_size,
        progress=str(progress.resolve()),
    )
    integers = pa.types.is_integer(item_catalog.ids.type)
    before = _usable(old, "int" if integers else "string") if old else None
    target = work.resolve() / "shards.json"

    def build(pipeline: beam.Pipeline) -> None:
        _build(pipeline, job, pq.ParquetFile(items).num_row_groups, old, before, target)

    with watch(f"embed {name}", "item", item_catalog.num_items, lambda: Progress.read(progress)):
        run_job(f"table {name}", build, settings)
    written = json.loads(target.read_text(encoding="utf-8"))
    shutil.rmtree(work)
    for path in folder.glob(".part-*"):  # of a try that the runner gave up
        path.unlink()
    counts = sum((Counter(one["counts"]) for one in written), Counter())
    dead_letters = sorted(tuple(one) for found in written for one in found["dead_letters"])
    _check(name, columns, counts, dead_letters, embed.max_refused)
    lines = (json.dumps({"item_id": item_id, "reason": reason}, ensure_ascii=False) + "\n" for item_id, reason in dead_letters)
    (folder / DEAD_LETTERS).write_text("".join(lines), encoding="utf-8")
    shards = [Shard(**one["shard"]) for one in written if one["shard"]]
    manifest = table_manifest(
        shards, name, job.dim, job.dtype, "int" if integers else "string", job.encoder_version, {key: counts[key] for key in COUNTS}
    )
    manifest.write(folder)
    _log(manifest, folder, time.monotonic() - start)
    return manifest


def write_cost(folder: Path, begun: float, encoded: int) -> None:
    """Writes `summary.json` into a table's folder: the `seconds` since `begun` (of `time.monotonic()`), and the items that were encoded in them."""
    write_json(folder / SUMMARY, {"seconds": time.monotonic() - begun, "examples": encoded})


def _build(pipeline: beam.Pipeline, job: TableJob, row_groups: int, old: Path | None, before: Manifest | None, target: Path) -> None:
    items = (
        pipeline
        | "List the row groups" >> beam.Create(range(row_groups), reshuffle=False)
        | "Spread the row groups" >> beam.Reshuffle()
        | "Hash the contents" >> beam.ParDo(ListItems(job)).with_output_types(tuple[int, Listed])
    )
    records = pipeline | "List the old shards" >> beam.Create(list(before.shards) if before else [], reshuffle=False)
    if before:
        records = (
            records
            | "Spread the old shards" >> beam.Reshuffle()
            | "Read the old records" >> beam.ParDo(ReadOld(job, str(old.resolve()), before)).with_output_types(tuple[int, TableRecords])
        )
    compared = (
        {"items": items, "old": records}
        | "Join items and old records by shard" >> beam.CoGroupByKey()
        | "Decide what to encode" >> beam.ParDo(Compare(job)).with_outputs("encode", main="settled")
    )
    encoded = (
        compared.encode
        | "Group by row group" >> beam.GroupByKey()
        | "Read what to encode" >> beam.ParDo(ReadContents(job)).with_output_types(Contents)
        | "Encode" >> RunInference(EncoderHandler(job))
        | "Spread over the shards" >> beam.ParDo(Spread(job)).with_output_types(tuple[int, Outcome])
    )
    _ = (
        (compared.settled, encoded)
        | "Take all records" >> beam.Flatten()
        | "Group by shard" >> beam.GroupByKey()
        | "Write the shard" >> beam.ParDo(WriteShard(job))
        | "Collect the shards" >> beam.combiners.ToList()
        | "Write their list" >> beam.Map(lambda found, target: target.write_text(json.dumps(found)), target=target)
    )


def _usable(old: Path, item_id_type: str) -> Manifest | None:
    """The manifest of the old table, or `None` where the table cannot be read."""
    try:
        manifest = Manifest.read(old)
        whole_shards(old, manifest)
    except (FileNotFoundError, DamagedDataError) as error:
        logger.warning("the old table is of no use, every item is encoded: %s", error)
        return None
    return manifest if manifest.about["item_id_type"] == item_id_type else None


def _check(name: str, columns: tuple[str, ...], counts: Counter[str], dead_letters: list[tuple], most: float) -> None:
    filled = counts["items"] - counts["empty"]
    if not filled:
        settings = " or ".join(f"data.items.{column}" for column in columns)
        raise ValueError(
            f"At least one item must have a content for table '{name}'. Received: none of {counts['items']} items. Remedy: set {settings}, or leave"
            f" '{name}' out of ppm.tables."
        )
    if len(dead_letters) > most * filled:
        first = "; ".join(f"item {item_id}: {reason}" for item_id, reason in dead_letters[:3])
        raise ValueError(
            f"At most a share of {most:g} of the contents may fail to be encoded (embed.max_refused). Received: {len(dead_letters)} of {filled} for"
            f" table '{name}'. The first: {first}. Remedy: mend them, or raise embed.max_refused. The table in use stays."
        )


def _log(manifest: Manifest, folder: Path, seconds: float) -> None:
    about = manifest.about
    speed = f"{about['encoded'] / seconds:,.0f} items/s"
    if about["padded_tokens"]:
        speed += f", {about['tokens'] / seconds:,.0f} tokens/s, {1 - about['tokens'] / about['padded_tokens']:.1%} padding"
    logger.info(
        "table '%s' by %s: %s items: %s encoded, %s kept, %s empty, %s dead letters; %s removed; %s, %.1f s, %s, %.1f MiB",
        about["table"], about["encoder_version"], *(f"{about[key]:,}" for key in ("items", "encoded", "kept", "empty", "dead_letters", "removed")),
        speed, seconds, folder, sum(shard.bytes for shard in manifest.shards) / 2**20,
    )  # fmt: skip
