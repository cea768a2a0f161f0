"""Trains the ranking model: an ID backbone, with the pre-trained PPM plugged in (PPM, section 3.2).

Reads the samples, the embedding tables and PPM; what is missing is made first, by default an embedded synthetic shop. The
backbone is a setting (docs/models.md lists them), and so is the plug-in: model.ppm=none, random (not pre-trained), frozen or
finetune. Models that read each request as text are backbones too (ptab, ctr_bert, p5), without plug-in. Several tasks (click,
order, cart) are learnt at once. Items and users seen often enough in training have embeddings of their own, all others share
hashed ones; a step touches only the rows of its batch. One pass over the train split by default, chosen on the valid split; the
test split is left to `python -m pipelines.evaluate`.

Writes <run>/models/<name>: weights, id vocabularies, counts of the training data, summary.json, the training log and
TensorBoard events. The name is <backbone>-<ppm>, or model.name. A training that was killed goes on where its last checkpoint was.

  python -m pipelines.train                                               # URM with PPM on the embedded shop
  python -m pipelines.train model.backbone.name=din model.ppm=none        # a backbone alone
  python -m pipelines.train configs/movielens.yaml data.path=<folder>
  python -m pipelines.train model.backbone.name=ctr_bert model.ppm=none data.users=400    # a language model over texts
  python -m pipelines.train model.backbone.name=din model.ppm=none model.warm_start=interactions              # CTRL
  python -m pipelines.train model.warm_start=<earlier run>/models/urm-finetune # go on from an earlier model; new ids get rows
      model.warm_start_optimizer=true model.train.keep_optimizer=true           # ... and its optimiser goes on too, day after day
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.continuation import check_start, files_of, without_unused, work_of
from pipelines.given import with_settings
from pipelines.stage import Stage, check_encoders, main, peak_memory, preset_files
from ppm_tf.config import Config, places_of
from ppm_tf.data.contents import check_contents, lacking
from ppm_tf.models.provenance import PPM_ANEW, START_ANEW, Provenance
from ppm_tf.text_models.presets import check_language, no_texts
from ppm_tf.workspace import SUMMARY, Recipe, Workspace

logger = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Trains the model and commits `models/<name>`."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.data.label_check import tasks_to_validate
    from ppm_tf.data.sample_counts import count_samples, time_of_newest
    from ppm_tf.data.schema import Schema
    from ppm_tf.losses import multi_task_cross_entropy
    from ppm_tf.models.inputs import Inputs
    from ppm_tf.models.ppm_files import PPM_WEIGHTS
    from ppm_tf.models.predict import Predictor
    from ppm_tf.models.ranking_files import require_same_form
    from ppm_tf.text_models.text_ranker import ranker_in_training
    from ppm_tf.training.optimizers import ranking_optimizer

    settings, name = config.ranking_fit, STAGE.artifact(config)
    seed = config.ranking_seed
    strategy = training.prepare_backend(settings, seed)
    inputs = Inputs.read(workspace, config.ranking_tables)
    schema = inputs.schema
    weights = task_weights(config, schema.tasks)
    learnt = [task for task, weight in zip(schema.tasks, weights, strict=True) if weight]
    if unjudged := [task for task in learnt if task not in tasks_to_validate(workspace.path("data"), learnt)]:
        logger.info(
            "the valid split has labels of one kind only for %s: the mean AUC that chooses the weights is over the other tasks", ", ".join(unjudged)
        )
    folder = workspace.path("data") / "samples"
    train = samples.find_shards(folder, config.model.splits, settings.verify, settings.max_bad_share)
    valid = samples.find_shards(folder, ["valid"], settings.verify)
    since = time_of_newest(train, schema, config.model.newest)
    counts = count_samples(train, schema, inputs.catalog.num_rows, since)
    start = Path(config.start) if config.start else None
    met = _all_that_was_met(counts, inputs, start, workspace)
    with strategy.scope():
        pretrained = None
        if reads_ppm(config):
            ppm = workspace.path("ppm")
            require_same_form(ppm, Schema.read(ppm / "schema.json"), schema, PPM_ANEW)
            Provenance.read(ppm).require(inputs.versions, ppm, PPM_ANEW)
            pretrained = ppm / PPM_WEIGHTS
        ranker = ranker_in_training(config, inputs, met, start, pretrained)
    model, vocabularies = ranker.model, ranker.vocabularies
    trainable = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    logger.info(
        "%s, PPM %s: %s trainable weights, %s of them in %d id tables (%s items and %s users with rows of their own); "
        "%s requests to train on, %s to validate on",
        config.model.backbone.name, config.model.ppm, f"{trainable:,}",
        f"{sum(table.shape.num_elements() for table in training.id_tables(model)):,}", len(training.id_tables(model)),
        *(f"{len(one.ids):,}" if one else "no" for one in (vocabularies.items, vocabularies.users)), f"{counts.requests:,}", f"{valid.records:,}",
    )  # fmt: skip
    predictor = Predictor(model, samples.read(valid, schema, config.scored_together))
    work = work_of(name, "model.train", settings, counts.requests, workspace, recipe)

    def optimizer(schedule):
        return ranking_optimizer(
            schedule, training.id_tables(model), settings.table_optimizer, settings.table_learning_rate,
            {id(variable): settings.ppm_learning_rate for variable in ranker.plug_in},
            settings.weight_decay, settings.table_weight_decay,
        )  # fmt: skip

    optimizer_start = None
    if ranker.carried and config.model.warm_start_optimizer:
        share, plug_in = ranker.earlier_share, frozenset(id(weight) for weight in (model.ppm.weights if model.ppm else []))
        optimizer_start = training.OptimizerStart(
            start, "model", ranker.carried.rows, anew=plug_in if share == 0.0 else frozenset(), mixed=plug_in if share < 1.0 else frozenset()
        )
    with samples.reading(train, valid):
        figures = ranker.look(samples.read(valid, schema, config.scored_together))
        if ranker.masked_prompts:
            figures |= _learn_prompts(config, ranker, schema, train, valid, since, counts.requests, work, strategy)
    with samples.reading(train, valid):
        result = training.fit(
            model,
            lambda batch, logits: multi_task_cross_entropy(batch["labels"], logits, weights),
            samples.read(train, schema, settings.batch_size, epochs=None, shuffle_buffer=settings.shuffle_buffer, seed=seed, since=since),
            counts.requests,
            lambda _: validation_figures(predictor, schema.tasks, weights),
            settings,
            work,
            strategy=strategy,
            optimizer=optimizer,
            title=f"train {config.model.folder}",
            section=config.ranking_places,
            criterion=settings.criterion,
            minimize=settings.minimizes,
            start=optimizer_start,
            keep_optimizer=settings.keep_optimizer,
        )
    logger.info("%s; %s", result.line(settings.criterion), peak_memory())
    valid_auc = result.figures["auc"]
    if settled := ranker.settle():
        met = {name: len(rows) for name, rows in settled.items() if not name.endswith(".linear")}
        with samples.reading(valid):
            valid_auc = validation_figures(predictor, schema.tasks, weights)["auc"]
        logger.info(
            "values that training never met are the mean of their field: %s; validation AUC %.4f with them",
            ", ".join(f"{name} {count:,} rows" for name, count in met.items()),
            valid_auc,
        )
    with workspace.commit(name, recipe) as made:
        ppm = workspace.id("ppm") if pretrained else Provenance.read(start).ppm if start else None
        ranker.save(made, Provenance.of(inputs.tables, ppm))
        result.write(
            made, valid_auc=valid_auc, requests=counts.requests, backbone=config.model.backbone.name, ppm=config.model.ppm, seed=seed, **figures
        )  # fmt: skip
        training.keep_logs(work, made)
        training.keep_trunk(work, made, settings)
        training.keep_best_optimizer(work, made, settings)
    workspace.clear_work(name)


def _all_that_was_met(counts, inputs, start: Path | None, workspace: Workspace):
    """The counts of the training samples and of those that the earlier model has learnt from, unless they are the same."""
    from dataclasses import replace

    from ppm_tf.data.ids import stored_ids
    from ppm_tf.data.sample_counts import SampleCounts
    from ppm_tf.data.schema import Schema
    from ppm_tf.models.ranking_files import SCHEMA

    counts = replace(counts, item_id=stored_ids(inputs.catalog.ids, inputs.schema.item_id_type))
    if start is None or Schema.read(start / SCHEMA).tasks != inputs.schema.tasks:
        return counts
    same_samples = Workspace(start.parent).made_by(start.name)["parents"].get("data") == workspace.id("data")
    return counts if same_samples else counts.after(SampleCounts.read(start))


def _learn_prompts(config: Config, ranker, schema, train, valid, since, requests: int, work: Path, strategy) -> dict[str, float]:
    """Teaches the language model of a model that reads text masked tokens of the prompts; figures for its summary."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.evaluation.language_model import held_out_figures
    from ppm_tf.objectives.domain_adaptation import DomainAdaptation
    from ppm_tf.text_models.build import prompt_batches

    model, seed = ranker.model, config.ranking_seed
    adapt = training.starting_rate(config.text.adapt, pretrained=config.text.encoder != "small_bert")
    adapt = adapt.model_copy(update=ranker.masked_prompts.model_dump())
    with strategy.scope():
        masked = DomainAdaptation(model.encoder, 1.0, 0.0, adapt.mask_share, seed=seed)

    def batches(files, **reading):
        return prompt_batches(model, samples.read(files, schema, adapt.batch_size, **reading))

    buffer = config.model.train.shuffle_buffer
    result = training.fit(
        masked, masked.loss_of, batches(train, epochs=None, shuffle_buffer=buffer, seed=seed, since=since), requests,
        lambda _: held_out_figures(masked, batches(valid)), adapt, work / "mlm",
        strategy=strategy, weight=masked.weight, title="masked prompts", section=places_of(config, "model.backbone.mlm", "text.adapt"),
        criterion="loss", minimize=True,
        identify=masked.identify, unit="texts",
    )  # fmt: skip
    logger.info("masked prompts: %s", result.line("loss"))
    return {"mlm_steps": result.steps, "mlm_loss": result.best, "mlm_seconds": result.seconds, "mlm_examples": result.examples}


def task_weights(config: Config, tasks: tuple[str, ...]) -> tuple[float, ...]:
    """The weight of each task's loss.

    Raises:
        ValueError: `model.tasks` names a task that the data does not have, or leaves no weight.
    """
    unknown = [name for name in config.model.tasks if name not in tasks]
    weights = tuple(config.model.tasks.get(name, 0.0 if config.model.tasks else 1.0) for name in tasks)
    if unknown or not any(weights):
        raise ValueError(
            f"model.tasks must name tasks of the data ({', '.join(tasks)}) and give one of them a weight. Received: {config.model.tasks}."
        )
    return weights


def validation_figures(predictor, tasks: tuple[str, ...], weights: tuple[float, ...]) -> dict[str, float]:
    """`auc` and `log_loss`, means over the tasks that are learnt, and each task's own, on the batches of `predictor`."""
    import math

    from ppm_tf.evaluation import collect
    from ppm_tf.metrics import auc, log_loss

    scores, found = collect(predictor, tasks), {}
    for column, (task, weight) in enumerate(zip(tasks, weights, strict=True)):
        known = scores.labels[:, column] >= 0
        if weight:
            labels, probabilities = scores.labels[known, column], scores.scores[known, column]
            found |= {f"auc_{task}": float(auc(labels, probabilities)), f"log_loss_{task}": float(log_loss(labels, probabilities))}
    means = {}
    for figure in ("auc", "log_loss"):
        values = [value for name, value in found.items() if name.startswith(f"{figure}_") and math.isfinite(value)]
        means[figure] = sum(values) / len(values) if values else math.nan
    return {**means, **found}


def show(config: Config, workspace: Workspace) -> None:
    """Says what was trained, and how it is judged."""
    folder = workspace.path(STAGE.artifact(config))
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    print(f"{config.model.folder}: validation AUC {summary['valid_auc']:.4f} (mean over tasks) after {summary['best_step']:,} steps\nmodel: {folder}")
    print(f"Score the test split with the same settings: {with_settings('python -m pipelines.evaluate')}")


def settings(config: Config) -> dict[str, Any]:
    """What shapes the model: its section and, where PPM starts at random, PPM's network."""
    found = config.model_dump(mode="json")
    model, unread = {**found["model"], "seed": config.ranking_seed}, ("splits", "warm_start", "warm_start_optimizer")
    del model["name"]
    if config.model.reads_text:
        model["train"] = config.ranking_fit.model_dump(mode="json")
        without_unused(model, model["train"])
        return {"model": model, "text": _language(config)}
    without_unused(model, model["train"])
    if not config.model.warm_start:
        del model["warm_start_part"]
    if not model["tables"]:  # they say how tables enter
        del model["similarity_bins"]
        if not model["trainable_width"]:
            del model["fusion"]
    if not model["trainable_width"]:
        del model["trainable_width"]
    return {
        "model": model,
        **({"ppm": {name: value for name, value in found["ppm"].items() if name not in unread}} if config.model.ppm == "random" else {}),
    }


def _language(config: Config) -> dict[str, Any]:
    """What shapes the language model of a model that reads text."""
    found = config.text.model_dump(mode="json")
    sizes = {"small_bert": ("num_layers", "width", "num_heads", "vocabulary"), "preset": ("preset", "lora_rank"), "saved": ("path",)}
    masked = ("adapt",) if hasattr(config.model.backbone, "mlm") else ()
    return {name: found[name] for name in ("encoder", "cleaning", "cleaner", *sizes.get(config.text.encoder, ()), *masked)}


def needs(config: Config) -> Iterator[str]:
    """The data, the tables and, unless it starts at random, PPM; the contents of all tables are looked at before the first is made.

    Raises:
        ValueError: the data has no log to learn from, no item has the content of a table, or PPM (or `model.warm_start`) was trained on
            vectors of other encoders than the run has, or without keeping its optimiser where that is to go on.
    """
    if not config.has_log:
        raise ValueError(
            "A ranking model is trained on an interaction log. Received: data.log=null. Remedy: set data.log to the log's files and columns."
        )
    check_contents(config, config.ranking_tables)
    check_language(config)
    if reads_ppm(config):
        check_encoders(Workspace(config.run).path("ppm"), config.ppm.tables, config, PPM_ANEW)
    aligned = config.model.warm_start == "interactions"
    if config.model.warm_start and config.model.warm_start_part == "all" and not aligned:
        replaced = reads_ppm(config) and not config.model.earlier_ppm_share
        check_encoders(Path(config.model.warm_start), config.model.tables if replaced else config.ranking_tables, config, START_ANEW)
        check_start(config.model.warm_start, config.model.warm_start_optimizer, "model")
    yield "data"
    check_contents(config, config.ranking_tables, Workspace(config.run).path("data"))  # which was made by now, where the caller makes it
    if config.model.reads_text and lacking(config, ["title"], Workspace(config.run).path("data")):
        raise ValueError(no_texts(config.model.backbone.name))
    yield from (f"tables/{name}" for name in config.ranking_tables)
    if reads_ppm(config):
        yield "ppm"
    if aligned:
        yield config.interactions


def reads_ppm(config: Config) -> bool:
    """Whether the training starts from the run's pre-trained PPM: where it is plugged in, and not taken over from an earlier model."""
    takes_over = config.model.warm_start and config.model.warm_start_part == "all" and config.model.warm_start_ppm == "keep"
    return config.model.ppm in ("frozen", "finetune") and not takes_over


def start_files(config: Config) -> dict[str, str]:
    """Fingerprints of the earlier model, or of the language model, that the training goes on from."""
    if config.model.reads_text:
        return preset_files(config)
    if not config.model.warm_start or config.model.warm_start == "interactions":  # which is made for it, and counts as what it needs
        return {}
    return files_of(config.model.warm_start)


STAGE = Stage(
    module="pipelines.train",
    makes=lambda config: f"models/{config.model.folder}",
    needs=needs,
    sections=("seed", "model"),
    also_uses=("data", "text", "image", "embed", "ppm", "train", "evaluate", "beam"),
    run=run,
    show=show,
    settings=settings,
    inputs=start_files,
    sticky=True,
)

if __name__ == "__main__":
    main(STAGE)
