"""The encoder aligned with a ranking model's ids."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.stage import Stage, encoder_settings, peak_memory
from ppm_tf.config import Config, load
from ppm_tf.data.contents import check_contents
from ppm_tf.workspace import SETTINGS, Recipe, Workspace, fingerprint

logger = logging.getLogger(__name__)

_TURNED_ON = 4096  # texts that the projection's main directions are found on
_RATE_OF_SMALL = 2e-4  # at 1e-3 a small BERT keeps of the texts what the ids know (docs/results/cela.md)

NAME = "encoders/aligned"
_KS = (1, 10, 100)
_SHOWN = ("recall_at_1", "recall_at_10", "mrr_at_100")


class Aligned(NamedTuple):
    """The items that are aligned.

    Attributes:
        catalog: `ItemCatalog`.
        targets: the ID-side vectors, float32 `[V, D]` by catalog row.
        parts: part of the hold-out -> places in the catalog, ascending.
    """

    catalog: Any
    targets: Any
    parts: dict[int, Any]


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Aligns the encoder and commits `encoders/aligned`."""
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.holdout import TEST
    from ppm_tf.encoders.saved import load_encoder
    from ppm_tf.encoders.text_backbone import backbone_width, trained_weights
    from ppm_tf.encoders.text_cleaning import clean_texts
    from ppm_tf.evaluation import Record, write_metrics
    from ppm_tf.objectives.domain_adaptation import text_batches
    from ppm_tf.objectives.modal_alignment import ModalAlignment
    from ppm_tf.rows import FIRST_ROW

    settings = training.starting_rate(config.text.align, pretrained=config.text.encoder != "small_bert")
    if not config.text.align.learning_rate and config.text.encoder == "small_bert" and config.text_training:
        settings = settings.model_copy(update={"learning_rate": _RATE_OF_SMALL})
    strategy = training.prepare_backend(settings, config.seed)
    items = aligned_items(config, workspace)
    with strategy.scope():
        encoder = load_encoder(workspace.path("encoders/text"))
        if encoder.kind != "text":
            raise ValueError(f"The encoder to be aligned must be a language model. Received: {encoder.kind} in {workspace.path('encoders/text')}.")
        width = backbone_width(encoder.backbone)
        if settings.keep_head and items.targets.shape[1] > width:
            raise ValueError(
                f"A head that is kept must not be wider than the language model, {width}. Received: {items.targets.shape[1]}, all ids' fields."
                " Remedy: text.align.keep_head=false, or a smaller model.dim."
            )
        if settings.lora_rank:
            encoder.enable_lora(settings.lora_rank)
        model = ModalAlignment(encoder, items.targets, settings.head, settings.similarity, settings.temperature)
    places = np.flatnonzero([bool(text) for text in items.catalog.text]).tolist()
    cleaned = dict(zip(places, clean_texts(encoder.cleaner, [items.catalog.text[place] for place in places]), strict=True))

    def batches(part: int, epochs: int | None = None):
        chosen = items.parts[part]
        return text_batches(encoder, [cleaned[place] for place in chosen.tolist()], chosen + FIRST_ROW, settings.batch_size, epochs, config.seed)

    work = workspace.work(NAME, recipe)
    trained = trained_weights(encoder.backbone)
    result, found = taught(model, batches, items, settings, work, strategy)
    if settings.keep_head:
        encoder = with_head(encoder, model.head)
    else:
        encoder.turn_projection(list(cleaned.values())[:: -(-len(cleaned) // _TURNED_ON)])
    with workspace.commit(NAME, recipe) as folder:
        encoder.save(folder)
        for title, figures in found.items():
            records = [Record("alignment", "test", name, value, count=len(items.parts[TEST])) for name, value in figures.items()]
            write_metrics(records, folder / "metrics.jsonl", title, config.seed)
        result.write(folder, language_weights=trained)
        training.keep_logs(work, folder)
    workspace.clear_work(NAME)


def aligned_items(config: Config, workspace: Workspace) -> Aligned:
    """The items that take part, and what the ranking model knows of them.

    Raises:
        ValueError: they fill no batch, or there is none to validate or to test on.
    """
    import numpy as np

    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.holdout import TEST, TRAIN, VALID, parts_of
    from ppm_tf.objectives.modal_alignment import most_popular

    settings = config.text.align
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    ranker = ranker_of(config, workspace)
    targets, counts, own = id_vectors(ranker, catalog)
    has_text = np.array([bool(text) for text in catalog.text])
    possible = np.flatnonzero(own & has_text)
    ids = [catalog.ids[int(place)].as_py() for place in possible]
    aligned = possible[most_popular(counts[possible], ids, settings.top_items)]
    keys = (catalog.ids[int(place)].as_py() for place in aligned)
    parts = parts_of(keys, settings.valid, settings.test, salt="align")
    chosen = {part: aligned[parts == part] for part in (TRAIN, VALID, TEST)}
    sizes = [len(chosen[part]) for part in (TRAIN, VALID, TEST)]
    logger.info(
        "aligning texts with the ids of %s: %s items have a text and a row of their own, the %s most popular take part (%s to train on, %s to"
        " validate on, %s to test on); %s without a text and %s without a row of their own do not",
        ranker, f"{len(possible):,}", f"{len(aligned):,}", *(f"{size:,}" for size in sizes), f"{int((~has_text).sum()):,}",
        f"{int((~own).sum()):,}",
    )  # fmt: skip
    if sizes[0] < settings.batch_size or min(sizes[1:]) < 2:
        raise ValueError(
            f"The aligned items must fill a batch, and there must be some to validate and to test on. Received: {', '.join(map(str, sizes))} items"
            f" to train, validate and test on, text.align.batch_size={settings.batch_size}. Remedy: lower text.align.batch_size, or raise"
            " text.align.top_items, text.align.valid or text.align.test."
        )
    return Aligned(catalog, targets, chosen)


def taught(model, batches: Callable[..., Any], items: Aligned, settings, work: Path, strategy) -> tuple[Any, dict[str, dict[str, float]]]:
    """Trains a `ModalAlignment`; gives the `TrainingResult`, and the figures of the test items by `chance`, `before` and `after` it.

    Args:
        model: the objective, at its start.
        batches: `batches(part, epochs)`, those of a part of the hold-out; without epochs in order, once.
        items: what is aligned.
        settings: `text.align`, with a learning rate.
        work: folder of checkpoints and logs.
        strategy: where it runs.
    """
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.holdout import TEST, TRAIN, VALID
    from ppm_tf.metrics.retrieval import metrics_of_ranking

    def figures(part: int) -> dict[str, float]:
        order, loss = model.ranking(batches(part), max(_KS))
        found = metrics_of_ranking(order, [[place] for place in range(len(order))], _KS)
        return {name: float(found[name]) for name in _SHOWN} | {"loss": loss}

    before = figures(TEST)
    result = training.fit(
        model, model.loss_of, batches(TRAIN, settings.epochs), len(items.parts[TRAIN]), lambda _: figures(VALID), settings, work,
        strategy=strategy, weight=model.weight, title="align", section="text.align", criterion="loss", minimize=True,
        identify=model.identify, unit="items",
    )  # fmt: skip
    logger.info("%s; %s", result.line("loss"), peak_memory())
    tested = len(items.parts[TEST])
    ranks = np.arange(1, min(100, tested) + 1)
    chance = {f"recall_at_{k}": min(1.0, k / tested) for k in (1, 10)} | {"mrr_at_100": float((1 / ranks).sum() / tested)}
    return result, {"chance": chance, "before": before, "after": figures(TEST)}


def id_vectors(ranker: Path, catalog) -> tuple[Any, Any, Any]:
    """What a ranking model has learnt of a catalog's items by their ids and fields.

    Args:
        ranker: folder of the model, `<run>/models/<name>`.
        catalog: `ItemCatalog` of the items that are to be aligned.

    Returns:
        The ID-side vectors, float32 `[V, D]` by catalog row; how often each item was in the model's training data, int `[I]`; and whether its
        id has an embedding row of its own, bool `[I]`; all items where the model knows no item ids.

    Raises:
        ValueError: the model has no ID side, is of another catalog, or does not lie in its run folder.
    """
    import numpy as np

    from ppm_tf.data.ids import stored_ids
    from ppm_tf.data.sample_counts import SampleCounts
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ranking_files import load_ranking_model
    from ppm_tf.models.vocabularies import Vocabularies
    from ppm_tf.rows import FIRST_ROW, FIRST_UNKNOWN_ROW

    config, its_run = load([str(ranker / SETTINGS)]), Workspace(ranker.parent.parent)
    missing = [name for name in ("data", *(f"tables/{name}" for name in config.ranking_tables)) if not its_run.exists(name)]
    if missing:
        raise ValueError(
            f"The ranking model must lie in its run folder, beside what it was trained on. Received: {ranker}, and no {', '.join(missing)} in"
            f" {its_run.folder}. Remedy: name the model where it was trained, <run>/models/<name>, in text.align.ranker."
        )
    inputs = Inputs.read(its_run, config.ranking_tables)
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
    """The settings of the ranking model of ids alone: the run's, without tables and without PPM."""
    without = {"ppm": "none", "tables": (), "similarity_bins": 0, "trainable_width": 0, "name": None, "warm_start": None}
    model = config.model.model_copy(update=without)
    return config.model_copy(update={"model": model})


def ids_of(config: Config) -> Config:
    """The settings of the ranking model whose ids the run's texts are aligned with."""
    return learnt_apart(of_ids(config))


def learnt_apart(config: Config) -> Config:
    """The same ranking model, learnt from the splits that `text.align.splits` names, where these are others than its own."""
    if config.align_splits == config.model.splits:
        return config
    model = config.model.model_copy(update={"splits": config.align_splits, "newest": 1.0, "name": None, "warm_start": None})
    return config.model_copy(update={"model": model})


def settings(config: Config) -> dict[str, Any]:
    """What shapes the aligned encoder besides the encoder and the model it starts from."""
    align = config.text.align.model_dump(mode="json", exclude={"ranker", "splits"})
    if not config.text.align.ranker:  # one that is named counts by its files
        align |= {"backbone": config.model.backbone.name, "splits": list(config.align_splits)}
    return {"seed": config.seed, "data": encoder_settings(config, "text")["data"], "text": {"align": align}}


def needs(config: Config) -> Iterator[str]:
    """The data, the text encoder and, unless one is named, a ranking model of ids.

    Raises:
        ValueError: no item has a text, or there is no log to learn ids from.
        FileNotFoundError: text.align.ranker holds no ranking model.
    """
    require_ranker(config)
    check_contents(config, ["aligned"])
    yield "data"
    check_contents(config, ["aligned"], Workspace(config.run).path("data"))
    yield "encoders/text"
    yield from ranker_made(config)


def require_ranker(config: Config) -> None:
    """Refuses settings under which there is no ranking model whose ids can be read.

    Raises:
        ValueError: there is no log to learn ids from.
        FileNotFoundError: text.align.ranker holds no ranking model.
    """
    ranker = config.text.align.ranker
    if not config.has_log and not ranker:
        raise ValueError("Texts are aligned with the ids of a ranking model, which needs an interaction log. Received: data.log=null.")
    if ranker and not (Path(ranker) / SETTINGS).is_file():
        raise FileNotFoundError(
            f"text.align.ranker must be the folder of a trained ranking model. Received: {ranker}, which holds no {SETTINGS}. Remedy:"
            " `python -m pipelines.train model.ppm=none`, or leave it out."
        )


def ranker_made(config: Config) -> Iterator[str]:
    """The artifact of the run that is the ranking model of ids, unless another one is named."""
    if not config.text.align.ranker:
        yield f"models/{ids_of(config).model.folder}"


def ranker_of(config: Config, workspace: Workspace) -> Path:
    """The folder of the ranking model of ids."""
    return Path(config.text.align.ranker) if config.text.align.ranker else workspace.path(f"models/{ids_of(config).model.folder}")


def ranker_files(config: Config) -> dict[str, str]:
    """Fingerprints of the ranking model that is named."""
    return fingerprint(sorted(Path(config.text.align.ranker).glob("*.*"))) if config.text.align.ranker else {}


def under(name: str, config: Config) -> Config:
    """The settings under which a parent is made: those of ids alone for the ranking model."""
    return ids_of(config) if name.startswith("models/") else config


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
    under=under,
    sticky=True,
)
