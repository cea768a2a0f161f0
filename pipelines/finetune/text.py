"""The text encoder, fine-tuned on queries where text.training says so, and the bag of words."""

from __future__ import annotations

import logging
from pathlib import Path

from pipelines.stage import Stage, encoder_settings, peak_memory, preset_files
from ppm_tf.config import Config
from ppm_tf.data.contents import refusal
from ppm_tf.encoders.text_formats import check_presets
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)

_FITTED_ON = 4096  # texts that a projection without labels is fitted on


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Makes the text encoder and commits `encoders/text`."""
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.encoders.text import TextEncoder

    if config.text.encoder == "saved":
        encoder = TextEncoder.load(config.text.path)
        logger.info("text encoder %s as it is, from %s", encoder.version, config.text.path)
        _commit(workspace, "encoders/text", recipe, encoder)
        return
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    if not any(catalog.text):
        raise ValueError(refusal("title", "text"))
    if config.text.encoder == "bag_of_words":
        _commit(workspace, "encoders/text", recipe, _fitted_bag(config, catalog))
    else:
        _train(config, workspace, recipe, catalog)


def _train(config: Config, workspace: Workspace, recipe: Recipe, catalog) -> None:
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.holdout import TRAIN
    from ppm_tf.data.query_pairs import read_pairs
    from ppm_tf.encoders.text import TextEncoder
    from ppm_tf.encoders.text_cleaning import clean_texts
    from ppm_tf.encoders.text_start import start_cleaner, start_encoder

    settings, wanted = config.text, config.text_training
    fit = training.starting_rate(settings.finetune, pretrained=settings.encoder == "preset" or "adapt" in wanted)
    strategy = training.prepare_backend(fit, config.seed)
    pairs = None
    if "finetune" in wanted:
        path = workspace.path("data") / "queries.parquet"
        if not path.is_file():
            raise ValueError(
                "Fine-tuning on queries needs search queries with clicked items. Received: none. Remedy: set data.queries, or text.training=[adapt]."
            )
        pairs = read_pairs(path, catalog, fit.valid, fit.test)
    with strategy.scope():
        if "adapt" in wanted:
            adapted = TextEncoder.load(workspace.path("encoders/adapted"))
            encoder = TextEncoder(adapted.backbone, adapted.tokenizer, adapted.pooling, settings.dim, settings.max_tokens, adapted.cleaner)
            if settings.lora_rank:
                encoder.enable_lora(settings.lora_rank)
            texts = clean_texts(encoder.cleaner, catalog.text)
        else:
            cleaner = start_cleaner(settings, [text for text in catalog.text if text])
            texts = clean_texts(cleaner, catalog.text)
            queries = [pairs.queries[number] for number in np.unique(pairs.query[pairs.of(TRAIN)])] if pairs else []
            encoder = start_encoder(settings, texts, settings.dim, queries, cleaner)
    rng = np.random.default_rng(config.seed)
    filled = [text for text in texts if text]
    encoder.fit_projection([filled[place] for place in np.sort(rng.permutation(len(filled))[:_FITTED_ON])])
    if pairs is None:
        made = "adapted" if wanted else f"{settings.preset or 'small BERT'} as it is"
        logger.info("text encoder %s: %s, not trained on queries", encoder.version, made)
        _commit(workspace, "encoders/text", recipe, encoder)
    else:
        _match_queries(config, workspace, recipe, encoder, pairs, texts, fit, strategy)


def _match_queries(config: Config, workspace: Workspace, recipe: Recipe, encoder, pairs, texts: list[str], fit, strategy) -> None:
    """Query matching, with retrieval measured before and after."""
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.holdout import TEST, TRAIN, VALID
    from ppm_tf.encoders.text_backbone import trained_weights
    from ppm_tf.evaluation import write_metrics
    from ppm_tf.evaluation.retrieval import Retrieval
    from ppm_tf.objectives.query_matching import QueryMatching, pair_batches
    from ppm_tf.rows import FIRST_ROW

    parts = {part: pairs.of(part) for part in (TRAIN, VALID, TEST)}
    name = "/".join(Path(config.text.preset).parts[-2:]) if config.text.preset else "small BERT"
    logger.info(
        "query matching: %s pairs to train on, %s to validate on, %s to test on (%s queries, %s pairs without text left out); catalog of %s texts",
        *(f"{len(parts[part]):,}" for part in (TRAIN, VALID, TEST)), f"{len(pairs.queries):,}", pairs.without_text, f"{sum(map(bool, texts)):,}",
    )  # fmt: skip
    test = Retrieval(*pairs.relevant(TEST), texts, fit.query_tokens)
    before, tf_idf = test.of_encoder(encoder, "test queries, before"), test.of_tf_idf()
    valid = Retrieval(*pairs.relevant(VALID), texts, fit.query_tokens).sampled(4096, config.seed)
    with strategy.scope():
        model = QueryMatching(encoder, fit.temperature, fit.symmetric)
    train = parts[TRAIN]
    ids = np.stack([pairs.item[train] + FIRST_ROW, pairs.query[train]], axis=1)
    dataset = pair_batches(
        encoder,
        [pairs.queries[query] for query in pairs.query[train]],
        [texts[item] for item in pairs.item[train]],
        ids,
        fit.batch_size,
        fit.epochs,
        fit.query_tokens,
        config.seed,
    )
    work = workspace.work("encoders/text", recipe)
    result = training.fit(
        model, model.loss_of, dataset, len(train), lambda _: valid.figures(encoder), fit, work,
        strategy=strategy, weight=model.weight, title="query matching", section="text.finetune", criterion="recall_at_10",
        identify=model.identify, unit="pairs",
    )  # fmt: skip
    after = test.of_encoder(encoder, "test queries, after")
    logger.info("%s; %s", result.line("recall@10"), peak_memory())
    figures = {"TF-IDF": tf_idf, f"{name}, before": before, f"{name}, after": after}

    def write_more(folder: Path) -> None:
        for model_name, records in figures.items():
            write_metrics(records, folder / "metrics.jsonl", model_name, config.seed)
        result.write(folder, language_weights=trained_weights(encoder.backbone))
        training.keep_logs(work, folder)

    _commit(workspace, "encoders/text", recipe, encoder, write_more)
    workspace.clear_work("encoders/text")


def _fitted_bag(config: Config, catalog):
    from ppm_tf.encoders.bag_of_words import BagOfWords

    return BagOfWords(config.text.dim or 64, config.text.num_buckets).fit(catalog.text)


def _commit(workspace: Workspace, name: str, recipe: Recipe, encoder, more=lambda folder: None) -> None:
    with workspace.commit(name, recipe) as folder:
        encoder.save(folder)
        more(folder)
    logger.info("%s: encoder of width %d, version %s", name, encoder.dim, encoder.version)


def run_bow(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Fits the bag of words and commits `encoders/bow`."""
    from ppm_tf.data.catalog import ItemCatalog

    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    if not any(catalog.text):
        raise ValueError(refusal("bow", "text"))
    _commit(workspace, "encoders/bow", recipe, _fitted_bag(config, catalog))


def show(config: Config, workspace: Workspace) -> None:
    """Prints the figures of the test queries, where the encoder was trained on queries."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports.figures import figures_table

    path = workspace.path("encoders/text") / "metrics.jsonl"
    if path.is_file():
        print(figures_table(read_metrics(path)))


def settings(config: Config) -> dict:
    """What shapes the text encoder: the sizes, trainings and presets that its kind does not have are left out."""
    found = encoder_settings(config, "text")
    text = found["text"]
    if config.text.encoder == "bag_of_words":
        return bag_settings(config)
    if config.text.encoder == "saved":
        return {"text": {"encoder": "saved", "path": text["path"]}}
    text["training"] = list(config.text_training)
    for training in ("adapt", "finetune"):
        if training not in config.text_training:
            text.pop(training)
    text.pop("num_buckets")
    text.pop("align")
    text.pop("interactions")
    return found


def bag_settings(config: Config) -> dict:
    """What shapes the bag of words."""
    found = encoder_settings(config, "text")
    return {"data": found["data"], "text": {name: found["text"][name] for name in ("dim", "num_buckets")} | {"encoder": "bag_of_words"}}


def needs(config: Config) -> tuple[str, ...]:
    """The data, and the adapted encoder where training goes on from it; an encoder of an earlier run needs neither.

    Raises:
        ValueError: text.preset or text.cleaner is of a model that cannot be loaded.
    """
    check_presets(config)
    if config.text.encoder == "saved":
        return ()
    return ("data", "encoders/adapted") if "adapt" in config.text_training else ("data",)


TEXT = Stage(
    module="pipelines.finetune", choice="text", makes="encoders/text", needs=needs, sections=("seed", "data", "text"),
    run=run, show=show, settings=settings, inputs=preset_files, sticky=True,
)  # fmt: skip
BOW = Stage(
    module="pipelines.finetune", choice="bow", makes="encoders/bow", needs=("data",), sections=("data", "text"),
    run=run_bow, settings=bag_settings, sticky=True,
)  # fmt: skip
