"""Makes the image encoder; see the package."""

from __future__ import annotations

import logging
from pathlib import Path

from pipelines.stage import Stage, encoder_settings, peak_memory
from ppm_tf.config import Config
from ppm_tf.data.contents import refusal
from ppm_tf.workspace import Recipe, Workspace, fingerprint

logger = logging.getLogger(__name__)

NAME = "encoders/image"
METRICS = "metrics.jsonl"
_SAMPLE = 4096  # images that an untrained projection is fitted to
_PROBED = 10_000  # training images behind a linear probe


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Makes the encoder that `image.encoder` names, trained or as it is, and commits `encoders/image`."""
    if config.image.encoder != "saved":
        from ppm_tf.data.catalog import ItemCatalog

        if not ItemCatalog.read(workspace.path("data") / "catalog").has_images:
            raise ValueError(refusal("image", "image"))
    if config.image.is_trained:
        encoder = _train(config, workspace, recipe)
    else:
        encoder = _untrained(config, workspace)
        with workspace.commit(NAME, recipe) as folder:
            encoder.save(folder)
    state = "trained" if config.image.is_trained else "not trained"
    logger.info("image encoder %s of width %d, %s; %s", encoder.version, encoder.dim, state, peak_memory())


# === Without training ===


def _untrained(config: Config, workspace: Workspace):
    """The encoder of an earlier run, a descriptor fitted to the catalog, or a preset under a fitted projection."""
    from ppm_tf.data.catalog import ItemCatalog

    settings = config.image
    if settings.encoder == "saved":
        from ppm_tf.encoders.saved import load_encoder

        encoder = load_encoder(settings.path)
        if encoder.kind not in ("image", "image_descriptor"):
            raise ValueError(f"image.path must hold an encoder of images. Received: {settings.path}, which holds one of the kind {encoder.kind}.")
        return encoder
    images = ItemCatalog.read(workspace.path("data") / "catalog").images
    if settings.encoder == "descriptor":
        from ppm_tf.encoders.image_descriptor import ImageDescriptor

        if settings.dim is None:
            raise ValueError("image.dim must be a number with image.encoder=descriptor. Received: null.")
        return ImageDescriptor(settings.dim).fit(images)
    from ppm_tf import training
    from ppm_tf.encoders.image_start import start_encoder

    training.prepare_backend(settings.finetune, config.seed)
    encoder = start_encoder(settings)
    _fit_projection(encoder, images)
    return encoder


def _fit_projection(encoder, images) -> None:
    """Sets the projection from images spread over the catalog; those that cannot be read are passed over."""
    pixels = []
    for place in _spread(len(images), 2 * _SAMPLE) if encoder.projection else ():
        try:
            pixels += [encoder.read(images[place])] if images[place] else []
        except ValueError:
            continue
        if len(pixels) == _SAMPLE:
            break
    encoder.fit_projection(pixels)


def _spread(count: int, most: int, blocks: int = 16) -> list[int]:
    """At most `most` places of `count`, in blocks of neighbours, since a catalog is read in row groups."""
    if count <= most:
        return list(range(count))
    size = most // blocks
    return [block * (count - size) // (blocks - 1) + place for block in range(blocks) for place in range(size)]


# === Entity prediction ===


def _train(config: Config, workspace: Workspace, recipe: Recipe):
    """Trains the encoder to tell entities, measures it on the test part before and after, and commits it."""
    from ppm_tf import training
    from ppm_tf.data.catalog import ItemCatalog
    from ppm_tf.data.holdout import TEST, TRAIN, VALID
    from ppm_tf.data.schema import Schema
    from ppm_tf.encoders.image_start import start_encoder
    from ppm_tf.evaluation import write_metrics
    from ppm_tf.objectives.entity_prediction import EntityPrediction
    from ppm_tf.objectives.labelled_images import batches_in_order, label_images, spool_images, training_batches

    nothing = config.image.starts_from_nothing
    settings = training.starting_rate(config.image.finetune, pretrained=not nothing)
    strategy = training.prepare_backend(settings, config.seed)
    catalog = ItemCatalog.read(workspace.path("data") / "catalog")
    schema = Schema.read(workspace.path("data") / "schema.json")
    work = workspace.work(NAME, recipe)
    with strategy.scope():
        encoder = start_encoder(config.image)
    images = lambda wanted: spool_images(catalog, wanted, encoder.read, work / "images.arrow")
    data = label_images(catalog, schema, settings.entity, settings.min_count, settings.valid, settings.test, images)
    _report(data, settings)
    train, valid, test = (data.places(part) for part in (TRAIN, VALID, TEST))
    if not nothing:
        _fit_projection(encoder, data.images)
    with strategy.scope():
        model = EntityPrediction(encoder, len(data.classes), settings.label_smoothing)

    def in_order(places):
        return batches_in_order(data, places, encoder, settings.batch_size)

    def validate(_) -> dict[str, float]:
        hits, loss = model.judge(in_order(valid))
        return {"top_1": hits[:, 0].mean(), "top_5": hits[:, 1].mean(), "loss": loss}

    hits = {"most frequent class": _most_frequent(data, train, test)}
    hits[f"linear probe, {'random weights' if nothing else 'before'}"] = _probe(encoder, data, train, test, in_order, config.seed)
    result = training.fit(
        model, model.loss_of, training_batches(data, train, encoder, settings.batch_size, settings.epochs, config.seed, settings.augment),
        len(train), validate, settings, work,
        strategy=strategy, weight=model.weight, title="entities", section="image.finetune", criterion="top_1", identify=model.identify, unit="images",
    )  # fmt: skip
    logger.info("%s", result.line("top-1"))
    hits["linear probe, after"] = _probe(encoder, data, train, test, in_order, config.seed)
    hits["entity prediction"], _ = model.judge(in_order(test))
    with workspace.commit(NAME, recipe) as folder:
        encoder.save(folder)
        for name, found in hits.items():
            write_metrics(_records(found, settings.entity, config), folder / METRICS, name, config.seed)
        result.write(folder)
        training.keep_logs(work, folder)
    workspace.clear_work(NAME)
    return encoder


def _report(data, settings) -> None:
    """Says what there is to learn from, and refuses a part without an image."""
    from ppm_tf.data.holdout import TEST, TRAIN, VALID

    sizes = [len(data.places(part)) for part in (TRAIN, VALID, TEST)]
    for item_id, reason in data.images.refused[:20]:
        logger.warning("the image of item %s is left out: %s", item_id, reason)
    logger.info(
        "entity prediction: %s classes of %s with at least %d training images each; %s images to train on, %s to validate on, %s to test on; "
        "left out: %s of a rarer class, %s that cannot be read",
        f"{len(data.classes):,}", settings.entity, settings.min_count, *(f"{size:,}" for size in sizes), f"{len(data.images) - sum(sizes):,}",
        f"{len(data.images.refused):,}",
    )  # fmt: skip
    if not all(sizes):
        raise ValueError(
            f"Entity prediction needs images in each of the train, valid and test parts. Received: {', '.join(map(str, sizes))}. "
            "Raise image.finetune.valid and image.finetune.test, or lower image.finetune.min_count."
        )


# === Figures ===


def _most_frequent(data, train, test):
    """Hits of always naming the commonest classes of the training images."""
    import numpy as np

    from ppm_tf.objectives.entity_prediction import top_k_hits

    labels = data.labels[train]
    counts = np.bincount(labels[labels >= 0], minlength=len(data.classes))
    return top_k_hits(data.labels[test], np.broadcast_to(counts, (len(test), len(counts))))


def _probe(encoder, data, train, test, in_order, seed: int):
    """Hits of a linear classifier on the encoder's frozen vectors."""
    import numpy as np

    from ppm_tf.objectives.entity_prediction import top_k_hits
    from ppm_tf.objectives.linear_probe import linear_probe, probe_sample

    labels = data.labels.max(1)
    train = train[probe_sample(labels[train], _PROBED, seed)]
    known, asked = (np.concatenate([encoder.encode_batch(batch["pixels"]) for batch in in_order(places)]) for places in (train, test))
    return top_k_hits(data.labels[test], linear_probe(known, labels[train], asked, len(data.classes)))


def _records(hits, entity: str, config: Config):
    import numpy as np

    from ppm_tf.evaluation import Record
    from ppm_tf.metrics import bootstrap_interval

    settings = config.evaluate
    for depth, found in zip((1, 5), hits.T, strict=True):
        low = high = float("nan")
        if settings.bootstrap:
            items = np.arange(len(found))
            low, high, *_ = bootstrap_interval(found, items, settings.bootstrap, settings.confidence, config.seed)
        yield Record(entity, "test", f"top_{depth}", float(found.mean()), low, high, count=len(found))


def show(config: Config, workspace: Workspace) -> None:
    """Prints the figures of the test part, where the encoder was trained."""
    from ppm_tf.evaluation import read_metrics
    from ppm_tf.reports.figures import figures_table

    path = workspace.path(NAME) / METRICS
    if path.is_file():
        print(f"{figures_table(read_metrics(path))}\n\n{path}")


# === Stage ===


def settings(config: Config) -> dict:
    """What shapes the encoder: entity prediction and the data only where they enter."""
    found = encoder_settings(config, "image")
    if not config.image.is_trained:
        del found["image"]["finetune"]
    if config.image.encoder == "saved":
        found = {"image": {"encoder": "saved", "path": config.image.path}}
    return found


def files(config: Config) -> dict[str, str]:
    """Fingerprints of local presets, weights and saved encoders."""
    paths = [Path(path) for path in (config.image.preset, config.image.path, config.image.weights) if path]
    return fingerprint([file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()])


STAGE = Stage(
    module="pipelines.finetune",
    choice="image",
    makes=NAME,
    needs=lambda config: () if config.image.encoder == "saved" else ("data",),
    sections=("seed", "data", "image"),
    also_uses=("evaluate",),
    run=run,
    show=show,
    settings=settings,
    inputs=files,
    sticky=True,
)
