"""Every setting of a run: `Config`, read from a YAML file and `section.key=value` overrides.

Imports pydantic and YAML only, so that a wrong setting is reported in well under a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or outside its range; the message names it."""


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# === Where the columns of a user's files are ===


class FieldColumn(Section):
    """A categorical column of the raw files."""

    column: str = Field(description="name of the column")
    separator: str | None = Field(None, description="splits one string into several values, such as '|' for 'Comedy|Drama'; list columns need none")
    min_count: PositiveInt = Field(1, description="values seen fewer times than this are treated as unknown")


class LabelColumn(Section):
    """The column that holds one task's label."""

    column: str = Field(description="name of the column")
    at_least: float | None = Field(None, description="values from here on are positive, e.g. 4 for ratings; without it the column must hold 0, 1 or null")


def _column(value: Any) -> Any:
    """`name: column` is short for `name: {column: column}`."""
    return {"column": value} if isinstance(value, str) else value


Fields = dict[str, Annotated[FieldColumn, BeforeValidator(_column)]]
Labels = dict[str, Annotated[LabelColumn, BeforeValidator(_column)]]


class ItemFiles(Section):
    """The item file: one row an item."""

    files: str = Field("items.parquet", description="file or glob inside data.path (Parquet, CSV, CSV.gz, JSONL, JSONL.gz)")
    id: str = Field("item_id", description="column of the item id (integers or strings)")
    text: tuple[str, ...] = Field((), description="columns joined, in this order, to the item's text")
    text_files: str | None = Field(None, description="file that holds the text columns, joined by id, if not the item file")
    image: str | None = Field(None, description="column of the encoded image (bytes), or of its path inside data.path or on any Beam file system (gs://...)")
    image_files: str | None = Field(None, description="file that holds the image column, joined by id, if not the item file")
    fields: Fields = Field({}, description="categorical item fields: name -> column")
    numbers: tuple[str, ...] = Field((), description="numeric item columns")
    repeated: Literal["refuse", "first"] = Field("refuse", description="an id in several rows, as in a file of query-item pairs; first: its first row counts")


class UserFiles(Section):
    """The user file: one row a user."""

    files: str = Field("users.parquet", description="file or glob inside data.path")
    id: str = Field("user_id", description="column of the user id")
    fields: Fields = Field({}, description="categorical user fields: name -> column")


class LogFiles(Section):
    """The interaction log: one row a user-item pair that was shown or rated."""

    files: str = Field("interactions.parquet", description="file or glob inside data.path")
    user: str = Field("user_id", description="column of the user id")
    item: str = Field("item_id", description="column of the item id")
    time: str | None = Field(None, description="column of the time: seconds since 1970, a timestamp type, or steps (see time_unit)")
    time_unit: Literal["s", "ms", "step"] = Field("s", description="unit of an integer time column; step: it counts a user's rows, where there is no clock")
    order: str | None = Field(None, description="column that orders a user's rows where there is no time, or within equal times")
    request: str | None = Field(None, description="column of the request (impression) id, for data.requests=column; rows without one enter histories only")
    slot: str | None = Field(None, description="column of the display position of the item in its request (0 = first)")
    labels: Labels = Field({"click": LabelColumn(column="click")}, min_length=1, description="task -> label column; the first task is the one PPM is pre-trained on")
    context: Fields = Field({}, description="categorical columns of the request: name -> column")
    truth: dict[str, str] = Field({}, description="task -> column of the true probability (simulated data only); evaluation reports its AUC as the ceiling")


class QueryFiles(Section):
    """Search queries with the item that was clicked for them."""

    files: str = Field("queries.parquet", description="file or glob inside data.path")
    text: str = Field("query", description="column of the query text")
    item: str = Field("item_id", description="column of the clicked item id")
    label: str | None = Field(None, description="column that grades the match; without it every row is a click")
    at_least: float = Field(1.0, description="grades from here on are a click")


# === data ===


class SplitSettings(Section):
    """How the log is cut into pretrain | train | valid | test, in this order."""

    by: Literal["time", "user"] = Field("time", description="time: one cut in time for all; user: the cut is made in each user's own sequence")
    pretrain: Share = Field(0.0, description="share of the log, oldest first, that only PPM's pre-training sees")
    valid: Share = Field(0.1, description="share of the log just before the test part, used to stop and to choose")
    test: Share = Field(0.1, description="share of the log, newest, that is scored once at the end")
    last: Annotated[int, Field(ge=0)] = Field(0, description="with by=user: each user's last so many requests are the test part and as many before them the valid part, whatever the two shares; 0 = by share")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> SplitSettings:
        if self.last and self.by != "user":
            raise ValueError(f"last needs by: user. Received: last: {self.last}, by: {self.by}")
        if self.pretrain + self.valid + self.test >= 1.0:
            raise ValueError(f"pretrain + valid + test must be below 1. Received: {self.pretrain} + {self.valid} + {self.test}")
        if self.test <= 0.0:
            raise ValueError("test must be above 0")
        return self


class ShopSplit(SplitSettings):
    """The embedded shop's split: the older half of the log is PPM's alone."""

    pretrain: Share = Field(0.5, description="share of the log, oldest first, that only PPM's pre-training sees")


class UserSplit(SplitSettings):
    """Split inside each user's sequence, for data sets whose users do not share a clock."""

    by: Literal["time", "user"] = Field("user", description="time: one cut in time for all; user: the cut is made in each user's own sequence")
    valid: Share = Field(0.05, description="share of the log just before the test part, used to stop and to choose")


class LastSplit(UserSplit):
    """Leave one out: the last request of each user is the test part, the one before it the valid part."""

    last: Annotated[int, Field(ge=0)] = Field(1, description="with by=user: each user's last so many requests are the test part and as many before them the valid part, whatever the two shares; 0 = by share")


class DataSettings(Section):
    """Settings that every data source shares."""

    history_length: PositiveInt = Field(30, description="behaviours kept a request, the most recent ones (T)")
    history_task: str | None = Field(None, description="positives of this task form the history; default: the first task")
    requests: Literal["column", "bursts", "single"] = Field("column", description="column: rows of one request id; bursts: up to data.candidates consecutive rows of a user; single: a row a request")
    candidates: PositiveInt = Field(10, description="most candidates a request (N); longer requests are cut into several")
    split: SplitSettings = Field(SplitSettings(), description="how the log is cut")
    shards: PositiveInt = Field(16, description="partitions of users; each becomes one TFRecord shard a split and is held in memory once")
    compression: Literal["gzip", "none"] = Field("gzip", description="compression of the sample shards")
    max_rejected: Share = Field(0.001, description="share of log rows that may be set aside (unknown item, missing id) before preparation is refused")


class SyntheticData(DataSettings):
    """The embedded shop: a seeded generator with a known truth."""

    source: Literal["synthetic"] = Field("synthetic", description="the embedded shop")
    users: PositiveInt = Field(12000, description="users of the shop")
    items: PositiveInt = Field(5000, description="items of the shop, born over its days")
    days: PositiveInt = Field(28, description="days of the log")
    requests_per_user: PositiveInt = Field(16, description="mean number of requests a user over all days")
    seed: int = Field(1, description="seed of the generator")
    split: ShopSplit = Field(ShopSplit(), description="how the log is cut")


class ColumnarData(DataSettings):
    """Parquet, CSV or JSONL files by a column mapping."""

    source: Literal["columnar"] = Field("columnar", description="files by a column mapping")
    path: str = Field(description="folder of the raw files")
    items: ItemFiles = Field(ItemFiles(), description="the item file")
    users: UserFiles | None = Field(None, description="the user file, if there is one")
    log: LogFiles | None = Field(LogFiles(), description="the interaction log; null: a catalog, and queries, alone, to train encoders and write tables")
    queries: QueryFiles | None = Field(None, description="the query file, if there is one")


class MovieLensData(DataSettings):
    """MovieLens folders: the official ml-1m and ml-latest layouts, or Parquet files of the same content."""

    source: Literal["movielens"] = Field("movielens", description="MovieLens")
    path: str = Field(description="folder of the data set")
    positive_from: float = Field(4.0, description="ratings from here on are clicks")
    text_files: str | None = Field(None, description="Parquet or CSV with the item texts, joined by the item id; default: items.parquet where present")
    text: tuple[str, ...] = Field((), description="columns joined to the item's text; default: what the folder offers")
    image_files: str | None = Field(None, description="Parquet with the posters, joined by the item id; default: posters.parquet where present")
    requests: Literal["bursts", "single"] = Field("bursts", description="bursts: up to data.candidates consecutive ratings of a user share a history; single: a rating a request")
    split: UserSplit = Field(UserSplit(), description="how the log is cut")


class AmazonData(DataSettings):
    """Amazon review data (2018, 'v2'): reviews and metadata as .json.gz, one sampled negative a positive."""

    source: Literal["amazon"] = Field("amazon", description="Amazon reviews v2")
    path: str = Field(description="folder of the two files")
    reviews: str = Field(description="review file inside data.path, e.g. Sports_and_Outdoors.json.gz")
    metadata: str = Field(description="metadata file inside data.path, e.g. meta_Sports_and_Outdoors.json.gz")
    core: PositiveInt = Field(5, description="users and items with fewer interactions are dropped, repeatedly")
    negatives: Literal["uniform", "popularity"] = Field("uniform", description="how the negative of each positive is drawn, never from the user's own training items")
    seed: int = Field(1, description="seed of the negatives")
    images: str | None = Field(None, description="folder with <asin>.jpg files inside data.path, if there is one")
    requests: Literal["column"] = Field("column", description="a positive and its negative form a request")
    split: LastSplit = Field(LastSplit(), description="the last item of each user is the test part and the one before it the valid part")


Data = Annotated[SyntheticData | ColumnarData | MovieLensData | AmazonData, Field(discriminator="source")]


# === Training ===


class FitSettings(Section):
    """The training harness, shared by every model that is trained."""

    batch_size: PositiveInt = Field(32, description="examples a step, over all replicas")
    epochs: PositiveInt = Field(1, description="passes over the training examples")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(1e-3, description="Adam's first learning rate")
    final_learning_rate: Annotated[float, Field(ge=0)] = Field(0.0, description="Adam's last learning rate; the decay between them is linear")
    warmup: Share = Field(0.0, description="share of the steps in which the learning rate rises from zero")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="decoupled weight decay, not on biases, norms and embeddings")
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(1.0, description="global norm the gradients are clipped to")
    steps_per_loop: PositiveInt = Field(50, description="steps run inside one graph before Python looks at them")
    validate_every: PositiveInt | None = Field(None, description="steps between two looks at the held-out part; default: eight looks in a run, at least one an epoch")
    patience: PositiveInt = Field(3, description="looks without a better validation figure before the training stops; the best weights are kept")
    checkpoint_every: PositiveInt = Field(500, description="steps between two checkpoints, rounded up to whole loops")
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field("auto", description="auto: mixed_bfloat16 where a GPU is found, else float32")
    max_step: PositiveInt | None = Field(None, description="stop after this many steps, whatever the epochs say")


class TrainSettings(FitSettings):
    """The training of click models."""

    batch_size: PositiveInt = Field(32, description="requests a step, over all replicas")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Adam's first learning rate; PPM has 0.0004 at batches of 20,000")
    final_learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Adam's last learning rate; the decay between them is linear")
    shuffle_buffer: PositiveInt = Field(8192, description="records shuffled in memory")
    verify: Literal["sha256", "size"] = Field("sha256", description="how shards are checked against their manifest before a run: whole content, or size alone for very large data")
    max_bad_share: Share = Field(0.05, description="share of the records in damaged shards that may be set aside before the run is refused")


class EncoderFitSettings(FitSettings):
    """What the trainings of encoders share."""

    learning_rate: Annotated[float, Field(gt=0)] | None = Field(None, description="AdamW's highest learning rate; null: 1e-3 for an encoder that starts from nothing, 5e-5 for a pretrained one")
    warmup: Share = Field(0.1, description="share of the steps in which the learning rate rises from zero")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="decoupled weight decay, not on biases, norms and embeddings")
    valid: Share = Field(0.1, description="share held out to stop and to choose")
    test: Share = Field(0.1, description="share held out to be scored before and after")


# === Encoders and their tables ===


class AdaptSettings(EncoderFitSettings):
    """Domain-adaptive pre-training of the text encoder on item texts (CELA, section 4.1)."""

    batch_size: PositiveInt = Field(64, description="item texts a step")
    epochs: PositiveInt = Field(5, description="passes over the item texts")
    mlm_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the masked (for decoder models: causal) language model loss; 0 = SimCSE alone")
    simcse_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of SimCSE, the alpha of CELA's eq. 6; 0 = the language model loss alone")
    mask_share: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="share of the tokens that are masked")
    temperature: Annotated[float, Field(gt=0)] = Field(0.05, description="temperature of SimCSE; a sentence encoder tells texts apart at 0.05 already and learns more at 0.25, where the loss is uniformity itself")
    valid: Share = Field(0.05, description="share of the items held out to stop and to choose")
    test: Share = Field(0.05, description="share of the items held out to be scored before and after")

    @model_validator(mode="after")
    def _has_a_loss(self) -> AdaptSettings:
        if not self.mlm_weight and not self.simcse_weight:
            raise ValueError("mlm_weight or simcse_weight must be above 0")
        return self


class QueryMatchingSettings(EncoderFitSettings):
    """Query matching: fine-tuning of the text encoder on clicked queries (PPM, eq. 1)."""

    batch_size: PositiveInt = Field(128, description="pairs of query and item a step; the other items of the batch are the negatives")
    epochs: PositiveInt = Field(1, description="passes over the pairs")
    temperature: Annotated[float, Field(gt=0)] = Field(0.05, description="temperature of the contrastive loss")
    symmetric: bool = Field(False, description="also match items to queries; PPM's eq. 1 goes from query to item alone")
    query_tokens: PositiveInt = Field(24, description="most tokens of a query")


class EntityPredictionSettings(EncoderFitSettings):
    """Entity prediction: fine-tuning of the image encoder on what an item is (PPM, eq. 2)."""

    batch_size: PositiveInt = Field(64, description="images a step")
    epochs: PositiveInt = Field(8, description="passes over the images")
    entity: str = Field("category", description="item field that the image is to tell")
    min_count: PositiveInt = Field(20, description="values of the field seen on fewer images are left out")
    label_smoothing: Share = Field(0.1, description="share of the target that is spread over all classes")
    augment: bool = Field(True, description="move and recolour the training images at random")


def _refuse_half_a_pair(encoder: str, preset: str | None, path: str | None) -> None:
    """A preset needs its name and a saved encoder its folder, and no other encoder has either."""
    for choice, setting, value in (("preset", "preset", preset), ("saved", "path", path)):
        if (encoder == choice) != (value is not None):
            raise ValueError(f"encoder: {choice} and {setting} belong together. Received: encoder: {encoder}, {setting}: {value}")


class TextSettings(Section):
    """The text encoder, and the table `title` that it writes."""

    encoder: Literal["small_bert", "preset", "saved", "bag_of_words"] = Field(
        "small_bert", description="small_bert: a BERT of the sizes below that learns its words from the catalog; preset: text.preset; saved: an encoder of an earlier run, text.path; bag_of_words: no network"
    )
    preset: str | None = Field(None, description="for encoder=preset: a keras-nlp preset, or a folder in keras-nlp or Hugging Face layout")
    path: str | None = Field(None, description="for encoder=saved: its folder, such as <run>/encoders/text; it is taken as it is")
    dim: PositiveInt | None = Field(64, description="width of the table; null = the encoder's own width, without a projection")
    pooling: Literal["cls", "mean", "last"] | None = Field(None, description="token vectors to text vector; null: mean, or last for decoder models")
    max_tokens: Annotated[int, Field(ge=4)] = Field(64, description="most tokens of an item's text, special ones included")
    training: tuple[Literal["adapt", "finetune"], ...] | None = Field(
        None, description="adapt: on item texts (DAP); finetune: on queries (QM); null: small_bert is fine-tuned where there are queries and else adapted, a preset stays as it is"
    )
    layers: PositiveInt = Field(2, description="small_bert: blocks")
    width: PositiveInt = Field(128, description="small_bert: width")
    heads: PositiveInt = Field(4, description="small_bert: attention heads")
    vocabulary: Annotated[int, Field(ge=64)] = Field(8000, description="small_bert: most word pieces")
    lora_rank: Annotated[int, Field(ge=0)] = Field(0, description="preset: train low-rank updates of this rank in place of the attention weights; 0 = train everything")
    cleaning: Literal["none", "rules", "language_model"] = Field("none", description="what is taken out of the texts first: contact data, markup and repeated sentences, by rules or by text.cleaner")
    cleaner: str | None = Field(None, description="for cleaning=language_model: preset or folder of a keras-nlp causal language model")
    buckets: PositiveInt = Field(1 << 18, description="bag_of_words and table `bow`: hash buckets")
    adapt: AdaptSettings = Field(AdaptSettings(), description="DAP")
    finetune: QueryMatchingSettings = Field(QueryMatchingSettings(), description="QM")

    @model_validator(mode="after")
    def _names_what_it_needs(self) -> TextSettings:
        _refuse_half_a_pair(self.encoder, preset=self.preset, path=self.path)
        if (self.cleaning == "language_model") != (self.cleaner is not None):
            raise ValueError(f"cleaning: language_model and cleaner belong together. Received: cleaning: {self.cleaning}, cleaner: {self.cleaner}")
        if self.encoder in ("bag_of_words", "saved") and self.training:
            raise ValueError(f"encoder: {self.encoder} is not trained. Received: training: {list(self.training)}")
        if self.encoder == "small_bert" and self.training == ():
            raise ValueError("encoder: small_bert knows nothing before it is trained. Received: training: []. Use adapt, finetune or both")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width. Received: heads: {self.heads}, width: {self.width}")
        return self


class ImageSettings(Section):
    """The image encoder, and the table `image` that it writes."""

    encoder: Literal["small_resnet", "resnet18", "resnet50", "resnet101", "preset", "saved", "descriptor"] = Field(
        "small_resnet", description="a ResNet that starts from nothing or from image.weights; preset: image.preset; saved: an encoder of an earlier run, image.path; descriptor: colour and edge statistics, no network"
    )
    preset: str | None = Field(None, description="for encoder=preset: a keras-nlp preset, or a folder")
    path: str | None = Field(None, description="for encoder=saved: its folder, such as <run>/encoders/image; it is taken as it is")
    weights: str | None = Field(None, description="for a ResNet: a .weights.h5 file to start from")
    dim: PositiveInt | None = Field(64, description="width of the table; null = the encoder's own width, without a projection")
    size: Annotated[int, Field(ge=8)] = Field(64, description="pixels a side that an image is resized to; PPM's ResNet-101 wants 224")
    training: tuple[Literal["finetune"], ...] | None = Field(None, description="finetune: entity prediction (EP); null: a ResNet without weights is trained, any other encoder stays as it is")
    finetune: EntityPredictionSettings = Field(EntityPredictionSettings(), description="EP")

    @model_validator(mode="after")
    def _names_what_it_needs(self) -> ImageSettings:
        _refuse_half_a_pair(self.encoder, preset=self.preset, path=self.path)
        if self.weights is not None and "resnet" not in self.encoder:
            raise ValueError(f"weights belong to a ResNet. Received: encoder: {self.encoder}, weights: {self.weights}")
        if self.encoder in ("descriptor", "saved") and self.training:
            raise ValueError(f"encoder: {self.encoder} is not trained. Received: training: {list(self.training)}")
        if self.starts_from_nothing and self.training == ():
            raise ValueError(f"encoder: {self.encoder} knows nothing before it is trained. Received: training: [], and no weights")
        return self

    @property
    def starts_from_nothing(self) -> bool:
        """Whether the encoder has random weights before its training."""
        return "resnet" in self.encoder and self.weights is None

    @property
    def is_trained(self) -> bool:
        """Whether entity prediction is part of making the encoder."""
        return self.starts_from_nothing if self.training is None else bool(self.training)


TABLES = ("title", "image", "bow", "title_image")
TableName = Literal["title", "image", "bow", "title_image"]


class EmbedSettings(Section):
    """How the embedding tables are written."""

    dtype: Literal["float16", "float32"] = Field("float16", description="type of the stored vectors")
    shards: PositiveInt = Field(4, description="TFRecord files of a table")
    batch_size: PositiveInt = Field(128, description="items encoded at once")
    max_refused: Share = Field(0.05, description="share of the items with content that may fail to be encoded before the job is refused")


# === ppm ===


class TransformerSettings(Section):
    """The behaviour transformer, of PPM and of URM alike."""

    encoder_layers: PositiveInt = Field(2, description="self-attention blocks over the history")
    decoder_layers: PositiveInt = Field(2, description="blocks in which a candidate attends to the encoded history")
    heads: PositiveInt = Field(4, description="attention heads")
    feedforward: PositiveInt = Field(4, description="hidden width of a block's feed-forward part, in multiples of width")
    recency_buckets: Annotated[int, Field(ge=2)] = Field(32, description="buckets of log2(1 + seconds since the behaviour)")
    positions: bool = Field(True, description="embed the order of the behaviours, counted back from the newest")


class PPMSettings(TransformerSettings):
    """The pre-trained plug-in model (PPM, section 3.1)."""

    tables: tuple[TableName, ...] = Field(("title", "image"), min_length=1, description="item tables that enter, concatenated: title, image, bow (bag of words), title_image (both in one table)")
    splits: tuple[Literal["pretrain", "train"], ...] = Field(("pretrain", "train"), min_length=1, description="sample splits that PPM is trained on")
    standardize: bool = Field(True, description="centre the table vectors and give each dimension unit variance over the catalog")
    width: PositiveInt | None = Field(64, description="width of the transformer, to which the table vectors are projected; null = their sum, without a projection")
    dropout: Share = Field(0.0, description="dropout in the transformer and the dense layers; of use with several passes")
    slots: Annotated[int, Field(ge=0)] = Field(0, description="display positions to embed on the candidate; 0 = do not use the display position")
    mlp_units: tuple[PositiveInt, ...] = Field((256, 128, 64), description="the three dense layers before the click probability")
    initializer_stddev: Annotated[float, Field(gt=0)] = Field(0.05, description="standard deviation of the Gaussian initial weights; PPM has 0.01 and millions of steps to grow them")


# === model ===


class BackboneSettings(Section):
    """What every backbone has."""

    mlp_units: tuple[PositiveInt, ...] = Field((256, 128, 64), description="widths of the dense layers before the logits")
    dropout: Share = Field(0.0, description="dropout after the dense layers")


class WideDeepSettings(BackboneSettings):
    """Wide&Deep: a linear model beside dense layers (Cheng et al., 2016)."""

    name: Literal["wide_deep"] = Field("wide_deep", description="the backbone")


class DeepFMSettings(BackboneSettings):
    """DeepFM: a factorisation machine beside dense layers (Guo et al., 2017)."""

    name: Literal["deepfm"] = Field("deepfm", description="the backbone")


class DINSettings(BackboneSettings):
    """DIN: the history weighted by how it fits the candidate (Zhou et al., 2018)."""

    name: Literal["din"] = Field("din", description="the backbone")
    attention_units: tuple[PositiveInt, ...] = Field((64, 32), min_length=1, description="dense layers of the activation unit")


class DSINSettings(BackboneSettings):
    """DSIN: interests by session, and how they evolve (Feng et al., 2019)."""

    name: Literal["dsin"] = Field("dsin", description="the backbone")
    sessions: PositiveInt = Field(5, description="sessions kept, the newest ones; older behaviours join the oldest of them")
    gap: PositiveInt = Field(1800, description="seconds (or steps) between two behaviours that begin a new session")
    heads: PositiveInt = Field(4, description="heads of the self-attention inside a session")
    attention_units: tuple[PositiveInt, ...] = Field((64, 32), min_length=1, description="dense layers of the activation unit over sessions")


class MIANSettings(BackboneSettings):
    """MIAN: the candidate meets behaviours, user and context one by one (Zhang et al., 2021)."""

    name: Literal["mian"] = Field("mian", description="the backbone")
    heads: PositiveInt = Field(4, description="heads of the self-attention over the behaviours")
    attention_units: tuple[PositiveInt, ...] = Field((64, 32), min_length=1, description="dense layers of the attention of the candidate")


class URMSettings(TransformerSettings):
    """URM: behaviour transformer over ids and multi-gate mixture of experts (PPM, section 3.2)."""

    name: Literal["urm"] = Field("urm", description="the backbone")
    width: PositiveInt | None = Field(64, description="width of the transformer, to which the concatenated item fields are projected; null = their sum, without a projection")
    experts: PositiveInt = Field(4, description="experts of the mixture")
    expert_units: tuple[PositiveInt, ...] = Field((256, 128), min_length=1, description="dense layers of an expert")
    tower_units: tuple[PositiveInt, ...] = Field((64,), min_length=1, description="dense layers of a task's tower")
    dropout: Share = Field(0.0, description="dropout in the transformer, the experts and the towers")
    initializer_stddev: Annotated[float, Field(gt=0)] = Field(0.05, description="standard deviation of the transformer's Gaussian initial weights; the paper has 0.01")


Backbone = Annotated[WideDeepSettings | DeepFMSettings | DINSettings | DSINSettings | MIANSettings | URMSettings, Field(discriminator="name")]


class RankerFitSettings(TrainSettings):
    """The training of the ranking model."""

    table_optimizer: Literal["adam", "adagrad"] = Field("adam", description="optimiser of the id tables; either touches only the rows of a batch")
    table_learning_rate: Annotated[float, Field(gt=0)] = Field(5.0, description="learning rate of the id tables, in multiples of learning_rate: a row moves only when its id comes by")
    ppm_learning_rate: Annotated[float, Field(gt=0)] = Field(1.0, description="learning rate of PPM under model.ppm=finetune, in multiples of learning_rate")


class ModelSettings(Section):
    """The ranking model: an ID backbone, with PPM plugged in or not (PPM, section 3.2)."""

    name: Annotated[str, Field(pattern=r"^[\w.+-]+$")] | None = Field(None, description="folder of the model inside <run>/models; null: <backbone>, and -<ppm> behind it where PPM is plugged in")
    backbone: Backbone = Field(default_factory=URMSettings, description="the network over the features")
    ppm: Literal["none", "random", "frozen", "finetune"] = Field("finetune", description="PPM as plug-in: none; random: its network untrained; frozen: pre-trained and fixed; finetune: pre-trained and trained on")
    tables: tuple[TableName, ...] = Field((), description="item tables that enter as further item fields, beside the ids")
    item_id: bool = Field(True, description="the item id as an item field")
    user_id: bool = Field(True, description="the user id as a user field")
    min_count: PositiveInt = Field(2, description="items and users seen less often in training share the hashed rows of unknown ids")
    unknown_rows: PositiveInt = Field(16, description="rows that ids without a row of their own are hashed into")
    dim: PositiveInt = Field(16, description="width of a field's embedding; PPM has 64")
    initializer_stddev: Annotated[float, Field(gt=0)] = Field(0.05, description="standard deviation of the Gaussian initial embeddings; PPM has 0.01")
    tasks: dict[str, Annotated[float, Field(ge=0)]] = Field({}, description="task -> weight of its loss; without it all tasks of the data weigh 1")
    newest: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="share of the train split that is used, its newest requests")
    start: str | None = Field(None, description="folder of an earlier ranking model of the same settings to go on from; new ids get rows behind its own")
    seed: int | None = Field(None, description="seed of the ranking model; null: the run's seed")
    train: RankerFitSettings = Field(RankerFitSettings(), description="its training")

    @model_validator(mode="after")
    def _has_a_free_name(self) -> ModelSettings:
        if self.name in ("ppm", "tables"):
            raise ValueError(f"name must not be that of another report. Received: {self.name}")
        return self

    @property
    def folder(self) -> str:
        """Name of the model's folder."""
        return self.name or (self.backbone.name if self.ppm == "none" else f"{self.backbone.name}-{self.ppm}")


class EvaluateSettings(Section):
    """How scores become the figures of a report."""

    batch_size: PositiveInt = Field(256, description="requests scored at once")
    precision_at: PositiveInt = Field(2, description="N of Precision@N")
    bootstrap: Annotated[int, Field(ge=0)] = Field(200, description="bootstrap resamples (of users) behind each interval; 0 = no intervals")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="level of the intervals")
    bucket_edges: tuple[int, ...] = Field((0, 1, 5, 10, 20, 50, 100, 500), description="first train frequency of each bucket of target items; the last bucket is open")
    history_edges: tuple[int, ...] = Field((0, 1, 5, 10, 20), description="first number of behaviours of each bucket of requests by their history; the last bucket is open")
    user_edges: tuple[int, ...] = Field((0, 1, 5, 20), description="first number of training requests of each bucket of users; the last bucket is open")
    baselines: bool = Field(True, description="also judge the trivial answers: item mean and popularity, and the best possible where the data is simulated")
    against: tuple[str, ...] = Field((), description="names of other models of the run, evaluated before, with which the model is compared in pairs")
    difference: Literal["bootstrap", "delong"] = Field("bootstrap", description="interval of the AUC of one model over another's: users resampled for both at once, or DeLong's formula, which takes rows as independent")

    @model_validator(mode="after")
    def _can_be_computed(self) -> EvaluateSettings:
        for name in ("bucket_edges", "history_edges", "user_edges"):
            edges = getattr(self, name)
            if edges[:1] != (0,) or any(right <= left for left, right in zip(edges, edges[1:], strict=False)):
                raise ValueError(f"{name} must start at 0 and rise. Received: {list(edges)}")
        if self.bootstrap == 1:
            raise ValueError("bootstrap must be 0 or at least 2, to have a spread. Received: 1")
        return self


class ServeSettings(Section):
    """The exported model, as TF Serving loads it."""

    base: str | None = Field(None, description="folder of the exported models, <base>/<model>/<version>; null: <run>/exports")
    model: Annotated[str, Field(pattern=r"^[\w.+-]+$")] | None = Field(None, description="name under which the model is served; null: that of model.name")
    table_dtype: Literal["stored", "float16", "float32", "int8"] = Field("stored", description="how the item tables lie in the export; stored: as they were written; int8: a scale a row")
    max_candidates: PositiveInt = Field(1000, description="most candidates of a request; longer ones are answered with 400")
    pad_id: int = Field(-1, description="item id that stands for no item where ids are integers; string ids have the empty string")
    keep: PositiveInt = Field(3, description="versions that stay")
    requests: PositiveInt = Field(4, description="requests of the test split that become the warm-up and the golden answers")
    warmup_batches: tuple[PositiveInt, ...] = Field((1,), min_length=1, description="requests at once in the warm-up: the batch sizes that clients send, or the server's allowed ones")
    check_requests: PositiveInt = Field(2000, description="requests of the valid split on which the exported tables are compared with the trained ones")


class ReportSettings(Section):
    """How a person is shown an embedding table."""

    category: str | None = Field(None, description="item field that colours the map and is compared between neighbours; default: the first item field")
    items: PositiveInt = Field(24, description="items on the sheet of neighbours")
    neighbours: PositiveInt = Field(8, description="nearest items beside each of them")
    sample: Annotated[int, Field(ge=2)] = Field(2000, description="items on the map and behind the figures")
    map: Literal["tsne", "pca"] = Field("tsne", description="how the vectors become two-dimensional: tsne keeps who is near whom, pca what is far apart")


class BeamSettings(Section):
    """Where batch jobs run."""

    runner: str = Field("FnApiRunner", description="FnApiRunner (in this process), or any Beam runner name: FlinkRunner, SparkRunner, DataflowRunner, PortableRunner")
    options: tuple[str, ...] = Field((), description="further Beam pipeline options, such as --region=europe-west1")
    batch_rows: PositiveInt = Field(131072, description="log rows in one columnar batch")
    timeout: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds after which a job on a remote runner is cancelled and reported")


class Config(Section):
    """All settings of a run."""

    run: str = Field("runs/shop", description="folder that holds every artifact of the run")
    seed: int = Field(1, description="seed of initial weights, order of samples and dropout")
    data: Data = Field(default_factory=SyntheticData, description="where items, users and the log come from")
    text: TextSettings = Field(TextSettings(), description="the text encoder")
    image: ImageSettings = Field(ImageSettings(), description="the image encoder")
    embed: EmbedSettings = Field(EmbedSettings(), description="the embedding tables")
    ppm: PPMSettings = Field(PPMSettings(), description="the pre-trained plug-in model")
    train: TrainSettings = Field(TrainSettings(), description="the training of PPM")
    model: ModelSettings = Field(default_factory=ModelSettings, description="the ranking model")
    evaluate: EvaluateSettings = Field(EvaluateSettings(), description="metrics and intervals")
    serve: ServeSettings = Field(ServeSettings(), description="the exported model")
    report: ReportSettings = Field(ReportSettings(), description="the look at a table")
    beam: BeamSettings = Field(BeamSettings(), description="where batch jobs run")

    @property
    def has_queries(self) -> bool:
        """Whether the data source offers search queries with clicked items."""
        return self.data.source == "synthetic" or getattr(self.data, "queries", None) is not None

    @property
    def text_training(self) -> tuple[str, ...]:
        """The trainings of the text encoder, in their order; see `text.training`."""
        if self.text.training is not None:
            return tuple(name for name in ("adapt", "finetune") if name in self.text.training)
        if self.text.encoder != "small_bert":
            return ()
        return ("finetune",) if self.has_queries else ("adapt",)


# === Reading ===


def load(arguments: list[str] | None = None) -> Config:
    """Reads `[file.yaml] [section.key=value ...]` into a `Config`.

    Later arguments win. A value is read as YAML, so `ppm.mlp_units=[64,32]` and `train.clip_norm=null` work.

    Raises:
        ConfigError: a file or setting is unknown or wrong; the message names it and what is allowed.
    """
    values: dict[str, Any] = {}
    for argument in arguments or []:
        if "=" in argument:
            key, _, text = argument.partition("=")
            try:
                value = yaml.safe_load(text) if text else ""
            except yaml.YAMLError as error:
                raise ConfigError(f"The value of {key} must be YAML. Received: {text!r} ({error}).") from error
            _merge(values, _nest(key, value))
        else:
            _merge(values, _read_yaml(argument))
    return from_dict(values)


def from_dict(values: dict[str, Any]) -> Config:
    """Validates nested plain values, as `Config.model_dump(mode="json")` gives them."""
    values = dict(values)
    data = values.get("data")
    if isinstance(data, dict) and "source" not in data:
        values["data"] = {"source": "synthetic", **data}
    model = values.get("model")
    if isinstance(model, dict) and isinstance(model.get("backbone"), dict) and "name" not in model["backbone"]:
        values["model"] = {**model, "backbone": {"name": "urm", **model["backbone"]}}
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_message(item, values) for item in error.errors())) from None


def _read_yaml(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ConfigError(f"A config file must exist. Received: {path}. Arguments are [file.yaml] and section.key=value; see --help.")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold sections (data:, ppm:, train: ...). Received: {type(values).__name__}.")
    return values


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _message(error: Any, values: dict[str, Any]) -> str:
    # pydantic puts the chosen source or backbone into the path of an error; a user never writes it.
    location = [str(part) for part in error["loc"]]
    for place, key in ((("data",), "source"), (("model", "backbone"), "name")):
        section: Any = values
        for part in place:
            section = section.get(part) if isinstance(section, dict) else None
        if tuple(location[: len(place)]) == place and len(location) > len(place) and isinstance(section, dict) and location[len(place)] == section.get(key):
            del location[len(place)]
    path = ".".join(location) or "config"
    if error["type"] == "extra_forbidden":
        allowed = _allowed(location[:-1], values)
        from difflib import get_close_matches

        close = get_close_matches(location[-1], allowed, n=1)
        hint = f" Did you mean {'.'.join([*location[:-1], close[0]])}?" if close else f" Allowed here: {', '.join(allowed)}."
        return f"Setting {path} is not known.{hint}"
    if error["type"] == "missing":
        return f"Setting {path} must be given, e.g. {path}=..."
    return f"Setting {path}: {error['msg']}. Received: {error['input']!r}."


def _allowed(location: list[str], values: dict[str, Any]) -> list[str]:
    """The keys allowed in the section at `location`."""
    section: Any = Config
    value: Any = values
    for part in location:
        value = value.get(part) if isinstance(value, dict) else None
        field = getattr(section, "model_fields", {}).get(part)
        if field is None:  # inside a mapping of names to columns
            return []
        section = _section_of(field.annotation, value) or section
    return list(getattr(section, "model_fields", {}))


def _section_of(annotation: Any, value: Any = None) -> Any:
    """The settings class behind a field's type; of a union of sources or backbones, the one that `value` names."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    choices = [choice for choice in get_args(annotation) if isinstance(choice, type) and issubclass(choice, Section)]
    if get_origin(annotation) is None or not choices:
        return None
    for key in ("source", "name"):
        chosen = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        for choice in choices:
            if key in choice.model_fields and choice.model_fields[key].default == chosen is not None:
                return choice
    return choices[0]


def describe(sections: tuple[str, ...]) -> str:
    """A table of the settings in `sections`: name, default, meaning. Every data source is listed."""
    lines = []
    for name in sections:
        field = Config.model_fields[name]
        if name == "data":
            seen: set[str] = set()
            for source in get_args(get_args(Data)[0]):
                new = {key for key in source.model_fields if key not in seen or key == "source"}
                lines += _rows("data", source, new, title=source.__doc__)
                seen |= set(DataSettings.model_fields)
        elif (section := _section_of(field.annotation)) is not None:
            lines += _rows(name, section, set(section.model_fields), title=section.__doc__)
        else:
            lines.append(_row(name, field))
    return "\n".join(lines)


def _rows(prefix: str, section: type[Section], keys: set[str], title: str | None) -> list[str]:
    lines = [f"\n{prefix}: {(title or '').splitlines()[0]}"]
    for key, field in section.model_fields.items():
        if key not in keys:
            continue
        lines.append(_row(f"{prefix}.{key}", field))
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, type) and issubclass(choice, Section)]
        if len(choices) > 1:  # of one by its name
            for choice in choices:
                lines.append(f"    {prefix}.{key}.name={choice.model_fields['name'].default}: {(choice.__doc__ or '').splitlines()[0]}")
                lines += [_row(f"  {prefix}.{key}.{name}", item) for name, item in choice.model_fields.items() if name != "name"]
            continue
        inner = _section_of(field.annotation)
        if inner is not None and not isinstance(field.default, dict):
            lines += [_row(f"{prefix}.{key}.{name}", item) for name, item in inner.model_fields.items()]
    return lines


def _row(name: str, field: Any) -> str:
    if field.is_required():
        default = "(must be given)"
    elif isinstance(field.default, Section) or field.default_factory is not None:
        default = ""
    else:
        default = "= " + yaml.safe_dump(_plain(field.default), default_flow_style=True, width=10_000).replace("\n...", "").strip()
    return f"  {name} {default}".ljust(46) + f" {field.description or ''}"


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
