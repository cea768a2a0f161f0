"""Reads a language model into the catalog's texts: domain-adaptive pre-training (DAP; CELA, section 4.1, eq. 4-6).

Starts from text.preset, or from a small BERT whose word pieces are learnt from the catalog, and trains it on every item's text:
to fill in masked tokens, and to tell a text, seen twice under dropout, from the others of the batch (SimCSE). Items held out
are scored before and after: perplexity beside that of token frequencies alone, alignment and uniformity of the text vectors.

Writes <run>/encoders/adapted: the encoder, its training log and metrics.jsonl. `python -m pipelines.finetune text` goes on from
it where text.training names `adapt`. A training that was killed goes on where its last checkpoint was.

  python -m pipelines.adapt configs/movielens.yaml data.path=<folder>
  python -m pipelines.adapt text.encoder=preset text.preset=<folder> text.adapt.simcse_weight=0.5
"""

from __future__ import annotations

import logging

from pipelines.stage import Stage, encoder_settings, main, peak_memory, preset_files
from ppm_tf.config import Config
from ppm_tf.encoders.text_formats import check_presets
from ppm_tf.workspace import Recipe, Workspace

logger = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Adapts the encoder and commits `encoders/adapted`."""
    import numpy as np

    from ppm_tf import training
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.holdout import TEST, TRAIN, VALID, parts_of
    from ppm_tf.encoders.text_backbone import trained_weights
    from ppm_tf.encoders.text_cleaning import clean_texts
    from ppm_tf.encoders.text_start import start_cleaner, start_encoder
    from ppm_tf.evaluation import write_metrics
    from ppm_tf.evaluation.language_model import held_out_figures, records_of, unigram_perplexity
    from ppm_tf.objectives.domain_adaptation import DomainAdaptation, text_batches
    from ppm_tf.rows import FIRST_ROW

    if config.text.encoder not in ("small_bert", "preset"):
        raise ValueError(f"text.encoder must be small_bert or preset to be adapted. Received: {config.text.encoder}.")
    settings = training.starting_rate(config.text.adapt, pretrained=config.text.encoder == "preset")
    strategy = training.prepare_backend(settings, config.seed)
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    places = np.flatnonzero([bool(text) for text in catalog.text])
    raw = [catalog.text[place] for place in places]
    cleaner = start_cleaner(config.text, raw)
    texts = clean_texts(cleaner, raw)
    parts = parts_of((catalog.ids[int(place)].as_py() for place in places), settings.valid, settings.test)
    chosen = {part: np.flatnonzero(parts == part) for part in (TRAIN, VALID, TEST)}
    if min(len(found) for found in chosen.values()) < 2:
        raise ValueError(
            "Adaptation needs at least two texts in each of the train, valid and test parts. Received:"
            f" {', '.join(str(len(found)) for found in chosen.values())}, of {len(texts)} items with a text. Look at the text columns of the item"
            " file, or raise text.adapt.valid and text.adapt.test."
        )
    with strategy.scope():
        encoder = start_encoder(config.text, [texts[place] for place in chosen[TRAIN]], dim=None, cleaner=cleaner)
        model = DomainAdaptation(encoder, settings.mlm_weight, settings.simcse_weight, settings.mask_share, settings.temperature, config.seed)

    def batches(part, epochs=None):
        found = chosen[part]
        return text_batches(encoder, [texts[place] for place in found], places[found] + FIRST_ROW, settings.batch_size, epochs, config.seed)

    logger.info(
        "domain adaptation of %s (%s weights): %s texts to train on, %s to validate on, %s to test on",
        config.text.preset or "a small BERT", f"{model.count_params():,}", *(f"{len(chosen[part]):,}" for part in (TRAIN, VALID, TEST)),
    )  # fmt: skip
    before = held_out_figures(model, batches(TEST))
    work = workspace.work("encoders/adapted", recipe)
    result = training.fit(
        model, model.loss_of, batches(TRAIN, settings.epochs), len(chosen[TRAIN]), lambda _: held_out_figures(model, batches(VALID)), settings, work,
        strategy=strategy, weight=model.weight, title="adapt", section="text.adapt", criterion="loss", minimize=True,
        identify=model.identify, unit="texts",
    )  # fmt: skip
    after = held_out_figures(model, batches(TEST))
    logger.info("%s; %s", result.line("loss"), peak_memory())
    with workspace.commit("encoders/adapted", recipe) as folder:
        encoder.save(folder)
        count = len(chosen[TEST])
        if settings.mlm_weight:
            write_metrics(
                records_of({"perplexity": unigram_perplexity(batches(TRAIN), batches(TEST), encoder, settings.mask_share)}, count),
                folder / "metrics.jsonl",
                "token frequency",
                config.seed,
            )
        write_metrics(records_of(before, count), folder / "metrics.jsonl", "before", config.seed)
        write_metrics(records_of(after, count), folder / "metrics.jsonl", "after", config.seed)
        result.write(folder, language_weights=trained_weights(encoder.backbone))
        training.keep_logs(work, folder)
    workspace.clear_work("encoders/adapted")


def show(config: Config, workspace: Workspace) -> None:
    """Prints the figures of the held-out texts."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports.figures import figures_table

    print(figures_table(read_metrics(workspace.path("encoders/adapted") / "metrics.jsonl")))


def settings(config: Config) -> dict:
    """What shapes the adapted encoder: not its projection, nor its fine-tuning on queries."""
    found = encoder_settings(config, "text")
    for name in ("finetune", "align", "interactions", "dim", "training", "path", "num_buckets"):
        found["text"].pop(name)
    return found


def needs(config: Config) -> tuple[str, ...]:
    """The data.

    Raises:
        ValueError: text.preset or text.cleaner is of a model that cannot be loaded.
    """
    check_presets(config)
    return ("data",)


STAGE = Stage(
    module="pipelines.adapt",
    makes="encoders/adapted",
    needs=needs,
    sections=("seed", "data", "text"),
    run=run,
    show=show,
    settings=settings,
    inputs=preset_files,
    sticky=True,
)

if __name__ == "__main__":
    main(STAGE)
