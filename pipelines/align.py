"""Aligns item texts with what a ranking model has learnt of the items' ids (ROMA; CELA, section 4.2, eq. 7-12).

Reads the text encoder of the run and a trained ranking model: text.align.ranker, or the run's own of model.backbone without tables
and without PPM, which is trained first where it is missing. The target of an item is the concatenation of its id's and its fields'
embeddings, which stay as they are; the encoder and a head in front of it learn, by contrast within the batch, in both directions.
Aligned are the text.align.top_items most popular items that have a text and an embedding row of their own; a part of them is
held out, to stop the training and to be scored: how often an item's text finds its own ids among those of the others.

Writes <run>/encoders/aligned: the encoder without the head (or with it, text.align.keep_head), its training log and metrics.jsonl.
`python -m pipelines.embed aligned` writes the table that `model.tables=[aligned]` reads. A training that was killed goes on.

  python -m pipelines.align model.backbone.name=din
  python -m pipelines.align text.align.similarity=cosine text.align.temperature=0.1 text.align.head=relu_layernorm
  python -m pipelines.align text.align.ranker=<earlier run>/models/din-aligned   # a further round
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.stage import Stage, encoder_settings, main, peak_memory
from ppm_tf.config import Config, load
from ppm_tf.data.contents import check_contents
from ppm_tf.workspace import SETTINGS, Recipe, Workspace, fingerprint

logger = logging.getLogger(__name__)

NAME = "encoders/aligned"
_KS = (1, 10, 100)
_SHOWN = ("recall_at_1", "recall_at_10", "mrr_at_100")


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Aligns the encoder and commits `encoders/aligned`."""
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.holdout import TEST, TRAIN, VALID, parts_of
    from ppm_tf.encoders.saved import load_encoder
    from ppm_tf.encoders.text_backbone import backbone_width
    from ppm_tf.encoders.text_cleaning import clean_texts
    from ppm_tf.evaluation import Record, write_metrics
    from ppm_tf.metrics.retrieval import metrics_of_ranking
    from ppm_tf.objectives.domain_adaptation import text_batches
    from ppm_tf.objectives.modal_alignment import ModalAlignment, most_popular

    settings = training.starting_rate(config.text.align, pretrained=config.text.encoder != "small_bert")
    strategy = training.prepare_backend(settings, config.seed)
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    ranker = Path(settings.ranker) if settings.ranker else workspace.path(f"models/{of_ids(config).model.folder}")
    targets, counts, own = id_vectors(ranker, catalog)
    texts = [text or "" for text in catalog.text]
    possible = np.flatnonzero(own & np.array([bool(text) for text in texts]))
    ids = [catalog.ids[int(place)].as_py() for place in possible]
    aligned = possible[most_popular(counts[possible], ids, settings.top_items)]
    keys = (catalog.ids[int(place)].as_py() for place in aligned)
    parts = parts_of(keys, settings.valid, settings.test, salt="align")
    chosen = {part: aligned[parts == part] for part in (TRAIN, VALID, TEST)}
    sizes = [len(chosen[part]) for part in (TRAIN, VALID, TEST)]
    logger.info(
        "aligning texts with the ids of %s: %s items have a text and a row of their own, the %s most popular take part (%s to train on, %s to"
        " validate on, %s to test on); %s without a text and %s without a row of their own do not",
        ranker, f"{len(possible):,}", f"{len(aligned):,}", *(f"{size:,}" for size in sizes), f"{sum(not text for text in texts):,}",
        f"{int((~own).sum()):,}",
    )  # fmt: skip
    if sizes[0] < settings.batch_size or min(sizes[1:]) < 2:
        raise ValueError(
            f"The aligned items must fill a batch, and there must be some to validate and to test on. Received: {', '.join(map(str, sizes))} items"
            f" to train, validate and test on, text.align.batch_size={settings.batch_size}. Remedy: lower text.align.batch_size, or raise"
            " text.align.top_items, text.align.valid or text.align.test."
        )
    with strategy.scope():
        encoder = load_encoder(workspace.path("encoders/text"))
        if encoder.kind != "text":
            raise ValueError(f"The encoder to be aligned must be a language model. Received: {encoder.kind} in {workspace.path('encoders/text')}.")
        width = backbone_width(encoder.backbone)
        if settings.keep_head and targets.shape[1] > width:
            raise ValueError(
                f"A head that is kept must not be wider than the language model, {width}. Received: {targets.shape[1]}, all ids' fields."
                " Remedy: text.align.keep_head=false, or a smaller model.dim."
            )
        if settings.lora_rank:
            encoder.enable_lora(settings.lora_rank)
        model = ModalAlignment(encoder, targets, settings.head, settings.similarity, settings.temperature)
    cleaned = dict(zip(aligned.tolist(), clean_texts(encoder.cleaner, [texts[place] for place in aligned]), strict=True))

    def batches(part: int, epochs: int | None = None):
        from ppm_tf.rows import FIRST_ROW

        places = chosen[part]
        return text_batches(encoder, [cleaned[place] for place in places.tolist()], places + FIRST_ROW, settings.batch_size, epochs, config.seed)

    def figures(part: int) -> dict[str, float]:
        order, loss = model.ranking(batches(part), max(_KS))
        found = metrics_of_ranking(order, [[place] for place in range(len(order))], _KS)
        return {name: float(found[name]) for name in _SHOWN} | {"loss": loss}

    before = figures(TEST)
    work = workspace.work(NAME, recipe)
    result = training.fit(
        model, model.loss_of, batches(TRAIN, settings.epochs), sizes[0], lambda _: figures(VALID), settings, work,
        strategy=strategy, weight=model.weight, title="align", section="text.align", criterion="loss", minimize=True,
        identify=model.identify, unit="items",
    )  # fmt: skip
    after = figures(TEST)
    logger.info("%s; %s", result.line("loss"), peak_memory())
    ranks = np.arange(1, min(100, sizes[2]) + 1)
    chance = {f"recall_at_{k}": min(1.0, k / sizes[2]) for k in (1, 10)} | {"mrr_at_100": float((1 / ranks).sum() / sizes[2])}
    if settings.keep_head:
        encoder = with_head(encoder, model.head)
    with workspace.commit(NAME, recipe) as folder:
        encoder.save(folder)
        for title, found in (("chance", chance), ("before", before), ("after", after)):
            records = [Record("alignment", "test", name, value, count=sizes[2]) for name, value in found.items()]
            write_metrics(records, folder / "metrics.jsonl", title, config.seed)
        training.keep_logs(work, folder)
    workspace.clear_work(NAME)


def id_vectors(ranker: Path, catalog) -> tuple[Any, Any, Any]:
    """What a ranking model has learnt of a catalog's items by their ids and fields.

    Args:
        ranker: folder of the model, `<run>/models/<name>`.
        catalog: `ItemCatalog` of the items that are to be aligned.

    Returns:
        The ID-side vectors, float32 `[V, D]` by catalog row; how often each item was in the model's training data, int `[I]`; and whether its
        id has an embedding row of its own, bool `[I]`; all items where the model knows no item ids.

    Raises:
        ValueError: the model has no ID side, or is of another catalog.
    """
    import numpy as np

    from ppm_tf.data.ids import stored_ids
    from ppm_tf.data.sample_counts import SampleCounts
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ranking_files import load_ranking_model
    from ppm_tf.models.vocabularies import Vocabularies
    from ppm_tf.rows import FIRST_ROW, FIRST_UNKNOWN_ROW

    config = load([str(ranker / SETTINGS)])
    inputs = Inputs.read(Workspace(ranker.parent.parent), config.ranking_tables)
    if not inputs.catalog.ids.equals(catalog.ids):
        raise ValueError(
            f"The ranking model must be of the catalog whose texts are aligned. Received: {ranker}, of {len(inputs.catalog.ids):,} items, and"
            f" {len(catalog.ids):,} items here{', other ones' if len(inputs.catalog.ids) == len(catalog.ids) else ''}. Remedy: train a ranking model"
            " on this run's data and name it in text.align.ranker."
        )
    model, vocabularies = load_ranking_model(config, inputs, ranker), Vocabularies.read(ranker)
    if not model.embedding.names["item"]:
        raise ValueError(
            f"The ranking model must know items by their ids or fields, which texts are aligned with. Received: {ranker}, which reads tables alone."
            " Remedy: train one with model.item_id=true."
        )
    targets = np.concatenate([model.embedding.id_vectors(rows) for rows in np.array_split(np.arange(catalog.num_rows), catalog.num_rows // 8192 + 1)])
    counts = SampleCounts.read(ranker)
    own = np.ones(len(catalog.ids), bool)
    if vocabularies.items is not None:
        own = vocabularies.items.rows_of(stored_ids(catalog.ids, inputs.schema.item_id_type)) >= FIRST_UNKNOWN_ROW + vocabularies.items.unknown_rows
    return targets, (counts.exposures + counts.behaviors)[FIRST_ROW:], own


def with_head(encoder, head):
    """An encoder whose projection is that of `encoder` followed by a linear head: `x P H + (p H + h)`."""
    import numpy as np

    from ppm_tf.encoders.text import TextEncoder
    from ppm_tf.encoders.text_backbone import merged_lora

    kernel, bias = head.get_weights()
    if encoder.projection is not None:
        own, own_bias = encoder.projection.get_weights()
        kernel, bias = own @ kernel, own_bias @ np.asarray(head.kernel) + bias
    found = TextEncoder(
        merged_lora(encoder.backbone), encoder.tokenizer, encoder.pooling, kernel.shape[1], encoder.max_tokens, encoder.cleaner
    )  # fmt: skip
    found.projection.set_weights([kernel, bias])
    return found


def show(config: Config, workspace: Workspace) -> None:
    """Prints the figures of the held-out items."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports.figures import figures_table

    print(figures_table(read_metrics(workspace.path(NAME) / "metrics.jsonl")))


def of_ids(config: Config) -> Config:
    """The settings of the ranking model whose ids are aligned with: the run's, without tables and without PPM."""
    model = config.model.model_copy(update={"ppm": "none", "tables": (), "similarity_bins": 0, "name": None, "warm_start": None})
    return config.model_copy(update={"model": model})


def settings(config: Config) -> dict[str, Any]:
    """What shapes the aligned encoder besides the encoder and the model it starts from."""
    align = config.text.align.model_dump(mode="json", exclude={"ranker"})
    return {"seed": config.seed, "data": encoder_settings(config, "text")["data"], "text": {"align": align}}


def needs(config: Config) -> Iterator[str]:
    """The data, the text encoder and, unless one is named, a ranking model of ids.

    Raises:
        ValueError: no item has a text, or there is no log to learn ids from.
        FileNotFoundError: text.align.ranker holds no ranking model.
    """
    if not config.has_log and not config.text.align.ranker:
        raise ValueError("Texts are aligned with the ids of a ranking model, which needs an interaction log. Received: data.log=null.")
    ranker = config.text.align.ranker
    if ranker and not (Path(ranker) / SETTINGS).is_file():
        raise FileNotFoundError(
            f"text.align.ranker must be the folder of a trained ranking model. Received: {ranker}, which holds no {SETTINGS}. Remedy:"
            " `python -m pipelines.train model.ppm=none`, or leave it out."
        )
    check_contents(config, ["aligned"])
    yield "data"
    check_contents(config, ["aligned"], Workspace(config.run).path("data"))
    yield "encoders/text"
    if not config.text.align.ranker:
        yield f"models/{of_ids(config).model.folder}"


def ranker_files(config: Config) -> dict[str, str]:
    """Fingerprints of the ranking model that is named."""
    return fingerprint(sorted(Path(config.text.align.ranker).glob("*.*"))) if config.text.align.ranker else {}


STAGE = Stage(
    module="pipelines.align",
    makes=NAME,
    needs=needs,
    sections=("seed", "text"),
    also_uses=("data", "model", "evaluate", "beam"),
    run=run,
    show=show,
    settings=settings,
    inputs=ranker_files,
    under=lambda name, config: of_ids(config) if name.startswith("models/") else config,
    sticky=True,
)

if __name__ == "__main__":
    main(STAGE)
