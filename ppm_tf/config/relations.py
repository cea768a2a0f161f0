"""Relations between sections of the settings that need no data: asked before the first stage starts, not hours into the run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ppm_tf.config.data import AmazonData, ColumnarData
from ppm_tf.config.section import ConfigError
from ppm_tf.config.settings import Config

# What the sources with a layout of their own offer; a columnar one says it itself. MovieLens' item fields depend on the folder.
TASKS = {"synthetic": ("click", "order", "cart"), "movielens": ("click",), "amazon": ("click",)}
ITEM_FIELDS = {"synthetic": ("brand", "category", "shop"), "amazon": ("brand", "category")}
_PATTERNS = "*?[]\\"


def check_folders(config: Config) -> None:
    """Refuses folders that TensorFlow would read as patterns of names: it keeps, finds and removes checkpoints and exports by them.

    Raises:
        ConfigError: the absolute path of `run` or `serve.base` has a character with a meaning in patterns.
    """
    for setting, path in (("run", config.run), ("serve.base", config.serve.base)):
        if path is not None and (reason := pattern_in(path)):
            raise ConfigError(f"Setting {setting}: {reason} Remedy: choose another folder with {setting}=<folder>, or rename the one it is in.")


def pattern_in(path: str | Path) -> str:
    """Why a folder cannot be one of checkpoints or exports, in a sentence; "" where it can.

    >>> pattern_in("/runs/shop"), pattern_in("/runs/[v1]")
    ('', 'a folder of checkpoints and exports must be free of *?[]\\\\, which TensorFlow reads as a pattern. Received: /runs/[v1].')
    """
    whole = str(Path(path).absolute().resolve())
    return (
        f"a folder of checkpoints and exports must be free of {_PATTERNS}, which TensorFlow reads as a pattern. Received: {whole}."
        if set(_PATTERNS) & set(whole)
        else ""
    )


def check_relations(config: Config, artifacts: Collection[str], missing: Collection[str] = ()) -> None:
    """Refuses settings that do not go together for what is about to be made.

    Args:
        config: the settings.
        artifacts: what is asked for, and all that it is made from.
        missing: those of them that have to be made; of the others, the files they were made from may be gone.

    Raises:
        ConfigError: some do not; the message names every one of them.
    """
    found = [
        *_text(config, artifacts),
        *_images(config, artifacts),
        *_trainings(config, artifacts),
        *_ranking(config, artifacts),
        *_files(config, missing),
    ]
    if found:
        raise ConfigError("\n".join(dict.fromkeys(found)))


def _text(config: Config, artifacts: Collection[str]) -> Iterator[str]:
    text = config.text
    readers = [
        name
        for name in ("encoders/text", "encoders/bow", "encoders/adapted", "encoders/aligned")
        if name in artifacts and not (name == "encoders/text" and text.encoder == "saved")
    ]
    if readers and not named_contents(config)["text"]:
        yield (
            f"{readers[0]} needs the texts of the items. Received: data.items.text=[]. Remedy: set data.items.text, or leave title and bow out of the"
            " tables, as in ppm.tables=[image]."
        )
    if "encoders/text" in artifacts and "finetune" in config.text_training and not config.has_queries:
        yield (
            "text.training names finetune, which needs search queries with clicked items. Received: data.queries=null. Remedy: set data.queries, or"
            " text.training=[adapt]."
        )
    if text.encoder == "bag_of_words" and any(name == "encoders/aligned" or name.startswith("interactions/") for name in artifacts):
        yield "text.encoder must be a language model to be aligned. Received: bag_of_words. Remedy: text.encoder=small_bert or preset."
    untrained = text.encoder == "small_bert" and "encoders/text" in artifacts and not config.text_training
    for table in ("title", "title_image") if untrained else ():
        if f"tables/{table}" in artifacts:
            yield (
                f"A small_bert knows nothing before it is trained. Received: text.training=[], and the table {table}. Remedy: text.training=[adapt]"
                " or [finetune], or both; the table aligned may do without them."
            )
    if "encoders/adapted" in artifacts and text.encoder not in ("small_bert", "preset"):
        yield f"text.encoder must be small_bert or preset to be adapted. Received: {text.encoder}."


def _images(config: Config, artifacts: Collection[str]) -> Iterator[str]:
    image = config.image
    if "encoders/image" not in artifacts or image.encoder == "saved":
        return
    if not named_contents(config)["image"]:
        setting = "data.images" if isinstance(config.data, AmazonData) else "data.items.image"
        yield (
            f"The table `image` needs the images of the items. Received: {setting}=null. Remedy: set {setting}, or leave image out, as in"
            " ppm.tables=[title]."
        )
    fields = item_fields(config)
    if image.is_trained and fields is not None and image.finetune.entity not in fields:
        yield (
            f"image.finetune.entity must be an item field of the data: {', '.join(fields) or 'it has none'}. Received: {image.finetune.entity}."
            " Remedy: see data.items.fields, or take image.encoder=descriptor, which is not trained."
        )


def _trainings(config: Config, artifacts: Collection[str]) -> Iterator[str]:
    """What a training on the log needs of the splits."""
    split = config.data.split
    trained = [name for name in artifacts if name == "ppm" or name.startswith("models/")]
    if trained and not (split.valid or split.last):
        yield f"{trained[0]} is chosen on the valid split. Received: data.split.valid=0. Remedy: set it above 0."
    for artifact, setting, splits in (
        ("ppm", "ppm.splits", config.ppm_splits),
        (f"models/{config.model.folder}", "model.splits", config.model.splits),
        ("encoders/aligned", "text.align.splits", config.align_splits),
    ):
        if artifact in artifacts and splits == ("pretrain",) and not split.pretrain:
            yield f"{setting}=[pretrain] needs a pretrain split. Received: data.split.pretrain=0. Remedy: set it above 0, or {setting}=[train]."
    reads_ppm = "ppm" in artifacts or any(name.startswith("models/") for name in artifacts) and config.model.ppm == "random"
    if not reads_ppm:
        return
    width = config.ppm.width or _width_of_tables(config)
    if width is not None and width % config.ppm.num_heads:
        yield (
            f"ppm.num_heads must divide the width of the transformer. Received: ppm.num_heads={config.ppm.num_heads}, width {width}"
            " (ppm.width, or the sum of the table widths)."
        )
    if config.ppm.slots and not _has_slot(config):
        yield (
            f"ppm.slots needs a display position in the data. Received: ppm.slots={config.ppm.slots}, and data.log.slot is not set. Remedy:"
            " ppm.slots=0."
        )


def _ranking(config: Config, artifacts: Collection[str]) -> Iterator[str]:
    model = config.model
    if not any(name.startswith("models/") for name in artifacts):
        return
    tasks = tuple(config.data.log.labels) if isinstance(config.data, ColumnarData) and config.data.log else TASKS.get(config.data.source, ())
    if tasks and (set(model.tasks) - set(tasks)):
        yield f"model.tasks must name tasks of the data ({', '.join(tasks)}). Received: {model.tasks}."
    if model.newest < 1.0 and isinstance(config.data, ColumnarData) and config.data.log and config.data.log.time is None:
        yield f"model.newest needs requests with a time. Received: model.newest={model.newest}, and data.log.time is not set. Remedy: model.newest=1."
    if model.warm_start == "interactions" and (model.tables or model.ppm != "none"):
        yield (
            "A ranking model of ids alone is aligned with texts by its interactions. Received: model.warm_start=interactions,"
            f" model.tables={_listed(model.tables)}, model.ppm={model.ppm}. Remedy: model.tables=[] and model.ppm=none."
        )
    if model.reads_text:
        yield from _reads_text(config, artifacts)
        return
    if model.backbone.name == "unisrec" and not (model.tables and model.fusion == "adaptor"):
        yield (
            "The backbone unisrec reads items by a table of their texts, through its mixture of experts. Received:"
            f" model.tables={_listed(model.tables)}, model.fusion={model.fusion}. Remedy: model.tables=[title] model.fusion=adaptor."
        )
    fields = item_fields(config)
    if fields is None:
        return
    count = model.item_id + len(fields) + len(model.tables) + bool(model.trainable_width)
    if not count:
        yield "A ranking model needs at least one item field. Received: model.item_id=false, no item fields in the data, and model.tables=[]."
    num_heads, own = getattr(model.backbone, "num_heads", 1), getattr(model.backbone, "width", None)
    summed = getattr(model.backbone, "sums_fields", False)
    width = own or (1 if summed else count) * model.dim
    if width % num_heads:
        yield (
            f"model.backbone.num_heads must divide the width of an item. Received: num_heads {num_heads}, width {width}:"
            f" {'the sum of ' if summed else ''}{count} item fields of model.dim={model.dim}."
        )


def _reads_text(config: Config, artifacts: Collection[str]) -> Iterator[str]:
    name, encoder = config.model.backbone.name, config.text.encoder
    if encoder == "bag_of_words" or encoder == "saved" and name == "p5":
        others = "small_bert, preset" + ("" if name == "p5" else " or saved")
        yield f"model.backbone.name={name} needs a language model. Received: text.encoder={encoder}. Remedy: text.encoder={others}."
    if not named_contents(config)["text"]:
        yield (
            f"model.backbone.name={name} reads the texts of the items. Received: data.items.text=[]. Remedy: set data.items.text, or take a backbone"
            " over ids."
        )
    if "encoders/aligned" in artifacts and not config.text.align.ranker:
        yield (
            f"encoders/aligned needs a ranking model with ids. Received: model.backbone.name={name}, which reads texts. Remedy: take a backbone over"
            " ids, or name a trained model in text.align.ranker."
        )


def _files(config: Config, missing: Collection[str]) -> Iterator[str]:
    """Files and folders that a setting names, for what has to be made of them."""
    for artifact, setting, path, is_folder in (
        ("encoders/text", "text.path", config.text.path, True),
        (f"models/{config.model.folder}", "text.path", config.text.path if config.model.reads_text else None, True),
        ("encoders/image", "image.path", config.image.path, True),
        ("encoders/image", "image.weights", config.image.weights, False),
        ("ppm", "ppm.warm_start", config.ppm.warm_start, True),
        (f"models/{config.model.folder}", "model.warm_start", None if config.model.warm_start == "interactions" else config.model.warm_start, True),
    ):
        if artifact in missing and path is not None and not (Path(path).is_dir() if is_folder else Path(path).is_file()):
            yield f"{setting} must be a {'folder' if is_folder else 'file'} that is there. Received: {Path(path).absolute()}."


def named_contents(config: Config) -> dict[str, bool]:
    """Whether the settings name a column of texts, and of images; sources that look for themselves may have either."""
    data = config.data
    if isinstance(data, ColumnarData):
        return {"text": bool(data.items.text), "image": data.items.image is not None}
    if isinstance(data, AmazonData):
        return {"text": True, "image": data.images is not None}
    return {"text": True, "image": True}


def item_fields(config: Config) -> tuple[str, ...] | None:
    """The categorical item fields that the data will have; `None` where only its files tell."""
    return tuple(config.data.items.fields) if isinstance(config.data, ColumnarData) else ITEM_FIELDS.get(config.data.source)


def _listed(names: Iterable[str]) -> str:
    """As the command line has it: `[title,image]`."""
    return f"[{','.join(names)}]"


def _has_slot(config: Config) -> bool:
    data = config.data
    return data.source == "synthetic" or isinstance(data, ColumnarData) and data.log is not None and data.log.slot is not None


def _width_of_tables(config: Config) -> int | None:
    """The widths of the tables that PPM reads, together; `None` where only an encoder tells."""
    title = (
        None
        if config.text.encoder == "saved"
        else config.text.dim or (config.text.width if config.text.encoder == "small_bert" else 64 if config.text.encoder == "bag_of_words" else None)
    )
    image = None if config.image.encoder == "saved" else config.image.dim
    widths = {
        "title": title,
        "image": image,
        "bow": config.text.dim or 64,
        "title_image": title + image if title and image else None,
    }
    found = [widths.get(name) for name in config.ppm.tables]
    return None if None in found else sum(width for width in found if width)
