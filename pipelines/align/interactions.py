"""A ranking model of ids aligned with the text encoder, interaction by interaction (CTRL, stage 1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from pipelines.align.encoder import of_ids
from pipelines.given import with_settings
from pipelines.stage import Stage, peak_memory
from ppm_tf.config import Config
from ppm_tf.data.contents import check_contents
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Trains both sides on the splits of the ranking model, and commits the ranking model as `interactions/<backbone>`."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.data.sample_counts import count_samples, time_of_newest
    from ppm_tf.encoders.saved import load_encoder
    from ppm_tf.encoders.text_backbone import trained_weights
    from ppm_tf.evaluation import Record, write_metrics
    from ppm_tf.models.build import build_ranking_model
    from ppm_tf.models.growth import carry_inner
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.provenance import Provenance
    from ppm_tf.models.ranking_files import save_ranking_model
    from ppm_tf.models.vocabularies import Vocabularies
    from ppm_tf.objectives.interaction_alignment import InteractionAlignment, interactions
    from ppm_tf.training.optimizers import ranking_optimizer

    settings = training.starting_rate(config.text.interactions, pretrained=config.text.encoder != "small_bert")
    config, name, seed = of_ids(config), STAGE.artifact(config), config.ranking_seed
    rankers = config.model.train
    strategy = training.prepare_backend(settings, seed)
    inputs = Inputs.read(workspace, ())
    schema, catalog = inputs.schema, inputs.catalog
    folder = workspace.path("data") / "samples"
    train = samples.find_shards(folder, config.model.splits, rankers.verify, rankers.max_bad_share)
    valid, test = (samples.find_shards(folder, [split], rankers.verify) for split in ("valid", "test"))
    since = time_of_newest(train, schema, config.model.newest)
    counts = count_samples(train, schema, catalog.num_rows, since)
    vocabularies = Vocabularies.of(config.model, schema, catalog, counts)
    with strategy.scope():
        encoder = load_encoder(workspace.path("encoders/text"))
        if encoder.kind != "text":
            raise ValueError(f"The encoder to be aligned must be a language model. Received: {encoder.kind} in {workspace.path('encoders/text')}.")
        ranker = build_ranking_model(config, schema, catalog, {}, vocabularies, outputs=settings.dim)
        initial = ranker.embedding.initial_values()
        model = InteractionAlignment(ranker, encoder, settings.dim, settings.temperature)
    texts = _texts_by_row(catalog, encoder)

    def batches(files, **more):
        requests = samples.read(files, schema, settings.batch_size, **more)
        return interactions(requests, texts, encoder.tokenize, settings.num_behaviors, seed)

    def optimizer(schedule):
        # Under the one schedule, the ranking model at the rate of its own training.
        ratio = rankers.learning_rate / settings.learning_rate
        rates = {id(variable): ratio for variable in ranker.trainable_variables}
        tables = training.id_tables(ranker)
        return ranking_optimizer(
            schedule, tables, rankers.table_optimizer, ratio * rankers.table_learning_rate,
            {one: rate for one, rate in rates.items() if one not in {id(table) for table in tables}},
            settings.weight_decay, rankers.table_weight_decay,
        )  # fmt: skip

    work = workspace.work(name, recipe)
    with samples.reading(train, valid, test):
        before = model.figures(batches(test))
        result = training.fit(
            model, model.loss_of, batches(train, epochs=None, shuffle_buffer=rankers.shuffle_buffer, seed=seed, since=since), counts.requests,
            lambda _: model.figures(batches(valid)), settings, work, strategy=strategy, weight=model.weight, optimizer=optimizer,
            title=f"align {name}", section="text.interactions", criterion="loss", minimize=True, identify=model.identify, unit="interactions",
        )  # fmt: skip
        after = model.figures(batches(test))
    logger.info("%s; %s", result.line("loss"), peak_memory())
    strangers = ranker.embedding.settle_strangers(initial)
    aligned = build_ranking_model(config, schema, catalog, {}, vocabularies)
    logger.info("%s weights of the outputs are left at their start", f"{carry_inner(ranker, aligned):,}")
    with workspace.commit(name, recipe) as made:
        save_ranking_model(made, aligned, schema, vocabularies, counts, Provenance.of({}), strangers)
        for title, figures in {"before": before, "after": after}.items():
            records = [Record("interactions", "test", metric, value, count=test.records) for metric, value in figures.items()]
            write_metrics(records, made / "metrics.jsonl", title, seed)
        result.write(made, language_weights=trained_weights(encoder.backbone))
        training.keep_logs(work, made)
    workspace.clear_work(name)


def _texts_by_row(catalog, encoder):
    """The cleaned text of each catalog row, strings `[V]`; "" for padding, the unknown item, and where there is none."""
    import tensorflow as tf

    from ppm_tf.encoders.text_cleaning import clean_texts
    from ppm_tf.rows import FIRST_ROW

    return tf.constant([""] * FIRST_ROW + list(clean_texts(encoder.cleaner, [text or "" for text in catalog.text])), tf.string)


def show(config: Config, workspace: Workspace) -> None:
    """Prints the figures of the test split, and how to go on."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports.figures import figures_table

    folder = workspace.path(STAGE.artifact(config))
    print(figures_table(read_metrics(folder / "metrics.jsonl")))
    print(f"{folder}\nGo on with: {with_settings('python -m pipelines.train')} model.ppm=none model.warm_start=interactions")


def settings(config: Config) -> dict[str, Any]:
    """What shapes the ranking model: its section and that of the alignment."""
    unread = {"name", "tables", "fusion", "similarity_bins", "trainable_width", "tasks", "seed"}
    unread |= {name for name in type(config.model).model_fields if name.startswith("warm_start")}
    model = of_ids(config).model.model_dump(mode="json", exclude=unread)
    model["train"].pop("keep_optimizer")
    return {"seed": config.ranking_seed, "model": model, "text": {"interactions": config.text.interactions.model_dump(mode="json")}}


def needs(config: Config) -> Iterator[str]:
    """The data and the text encoder.

    Raises:
        ValueError: no item has a text, or there is no log.
    """
    if not config.has_log:
        raise ValueError(
            "Interactions are aligned on an interaction log. Received: data.log=null. Remedy: set data.log to the log's files and columns."
        )
    check_contents(config, ["aligned"])
    yield "data"
    check_contents(config, ["aligned"], Workspace(config.run).path("data"))
    yield "encoders/text"


STAGE = Stage(
    module="pipelines.align",
    choice="interactions",
    makes=lambda config: config.interactions,
    needs=needs,
    sections=("seed", "text", "model"),
    also_uses=("data", "beam"),
    run=run,
    show=show,
    settings=settings,
)
