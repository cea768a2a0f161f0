"""The encoders of texts and images, and the tables that they write."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from ppm_tf.config.fits import WARMUP, EncoderFitSettings, FitSettings
from ppm_tf.config.section import Once, PositiveInt, Section, Share


class AdaptSettings(EncoderFitSettings):
    """Domain-adaptive pre-training of the text encoder on item texts (CELA, section 4.1)."""

    batch_size: PositiveInt = Field(64, description="item texts a step")
    epochs: PositiveInt = Field(5, description="passes over the item texts at most")
    warmup: Annotated[float, Field(ge=0)] = Field(0.5, description=WARMUP)
    mlm_weight: Annotated[float, Field(ge=0)] = Field(
        1.0, description="weight of the masked (for decoder models: causal) language model loss; 0 = SimCSE alone"
    )
    simcse_weight: Annotated[float, Field(ge=0)] = Field(
        1.0, description="weight of SimCSE, the alpha of CELA's eq. 6; 0 = the language model loss alone"
    )
    mask_share: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="share of the tokens that are masked")
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.05,
        description=(
            "temperature of SimCSE; a sentence encoder tells texts apart at 0.05 already and learns more at 0.25, where the loss is uniformity itself"
        ),
    )
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
    epochs: PositiveInt = Field(1, description="passes over the pairs at most")
    temperature: Annotated[float, Field(gt=0)] = Field(0.05, description="temperature of the contrastive loss")
    symmetric: bool = Field(False, description="also match items to queries; PPM's eq. 1 goes from query to item alone")
    query_tokens: PositiveInt = Field(24, description="most tokens of a query")


class AlignSettings(EncoderFitSettings):
    """Alignment of the text encoder with a ranking model's ids, item by item (ROMA; CELA, section 4.2)."""

    batch_size: PositiveInt = Field(128, description="items a step, over all replicas; the others are the negatives")
    epochs: PositiveInt = Field(10, description="passes over the aligned items at most")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description=(
            "AdamW's highest learning rate; null: 5e-5, the paper's, for a pretrained encoder, 2e-4 for a small_bert that has read the texts, so that"
            " they keep what the ids do not know, and 1e-3 for one that starts from nothing"
        ),
    )
    ranker: str | None = Field(
        None,
        description=(
            "folder of the trained ranking model whose ids the texts are aligned with; null: the run's own of model.backbone, without tables and PPM"
        ),
    )
    splits: Annotated[tuple[Literal["pretrain", "train"], ...], Once] | None = Field(
        None,
        description=(
            "sample splits that the run's own ids, which are aligned with, are learnt from; null: pretrain, where there is that split, so that"
            " no label teaches both the ids and the ranking model that reads the aligned texts; else train"
        ),
    )
    similarity: Literal["dot", "cosine"] = Field("dot", description="between a text and an item's ID-side embeddings")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="temperature of the contrastive loss; of use with cosine: 0.1")
    head: Literal["linear", "relu_layernorm"] = Field(
        "linear",
        description="from the text vector to the width of the ids: the paper's eq. 9, or ReLU and LayerNorm behind it as in its code",
    )
    keep_head: bool = Field(False, description="keep a linear head in the encoder, so that the table has the ids' own width")
    top_items: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="share of the items that are aligned, the most frequent in the training data of the ranking model"
    )
    lora_rank: Annotated[int, Field(ge=0)] = Field(
        0, description="train low-rank updates of this rank in place of the attention weights; 0 = train everything"
    )
    valid: Share = Field(0.05, description="share of the aligned items held out to stop and to choose")
    test: Share = Field(0.05, description="share of the aligned items held out to be scored before and after")

    @model_validator(mode="after")
    def _can_keep_its_head(self) -> AlignSettings:
        if self.keep_head and self.head != "linear":
            raise ValueError(f"keep_head needs head: linear, which an encoder's projection can take in. Received: head: {self.head}")
        return self


class InteractionSettings(FitSettings):
    """Alignment of a ranking model with the text encoder, interaction by interaction (CTRL, stage 1)."""

    batch_size: PositiveInt = Field(128, description="interactions a step, over all replicas; the others are the negatives")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description=(
            "AdamW's highest learning rate of the text encoder; null: 1e-3 for small_bert, 5e-5 for any other. The ranking model has that of"
            " model.train"
        ),
    )
    warmup: Annotated[float, Field(ge=0)] = Field(0.1, description=WARMUP)
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="decoupled weight decay, not on biases, norms and embeddings")
    dim: PositiveInt = Field(128, description="width to which both sides are projected")
    temperature: Annotated[float, Field(gt=0)] = Field(0.7, description="temperature of the contrastive loss")
    num_behaviors: Annotated[int, Field(ge=0)] = Field(5, description="behaviors that the text of an interaction names, the newest ones")


class EntityPredictionSettings(EncoderFitSettings):
    """Entity prediction: fine-tuning of the image encoder on what an item is (PPM, eq. 2)."""

    batch_size: PositiveInt = Field(64, description="images a step")
    epochs: PositiveInt = Field(8, description="passes over the images at most")
    warmup: Annotated[float, Field(ge=0)] = Field(0.8, description=WARMUP)
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
        "small_bert",
        description=(
            "small_bert: a BERT of the sizes below that learns its words from the catalog; preset: text.preset; saved: an encoder of an earlier run,"
            " text.path; bag_of_words: no network"
        ),
    )
    preset: str | None = Field(
        None,
        description=(
            "for encoder=preset: a keras-nlp preset, or a folder in its layout, or a Hugging Face folder of ALBERT, BERT, DistilBERT, RoBERTa,"
            " XLM-RoBERTa, Gemma, GPT-2, GPT-OSS, Llama, Mistral, Mixtral, Qwen or SmolLM3; OPT and T5 in keras-nlp layout alone"
        ),
    )
    path: str | None = Field(None, description="for encoder=saved: its folder, such as <run>/encoders/text; it is taken as it is")
    dim: PositiveInt | None = Field(64, description="width of the table; null = the encoder's own width, without a projection")
    pooling: Literal["cls", "mean", "last"] | None = Field(None, description="token vectors to text vector; null: mean, or last for decoder models")
    max_tokens: Annotated[int, Field(ge=4)] = Field(64, description="most tokens of an item's text, special ones included")
    training: Annotated[tuple[Literal["adapt", "finetune"], ...] | None, Once] = Field(
        None,
        description=(
            "adapt: on item texts (DAP); finetune: on queries (QM); null: small_bert is fine-tuned where there are queries and else adapted, a preset"
            " stays as it is; []: nothing, before the table aligned for instance"
        ),
    )
    num_layers: PositiveInt = Field(2, description="small_bert: blocks")
    width: PositiveInt = Field(128, description="small_bert: width")
    num_heads: PositiveInt = Field(4, description="small_bert: attention heads")
    vocabulary: Annotated[int, Field(ge=64)] = Field(8000, description="small_bert: most word pieces")
    lora_rank: Annotated[int, Field(ge=0)] = Field(
        0, description="preset: train low-rank updates of this rank in place of the attention weights; 0 = train everything"
    )
    cleaning: Literal["none", "rules", "language_model"] = Field(
        "none",
        description=(
            "what is taken out of the texts first. none: nothing; rules: tags, entities, contact data and sentences that recur; language_model:"
            " rules, then text.cleaner shortens what they leave"
        ),
    )
    cleaner: str | None = Field(
        None,
        description=(
            "for cleaning=language_model: a keras-nlp preset of a causal language model, or a folder in its layout, or a Hugging Face folder of"
            " Gemma, GPT-2, GPT-OSS, Llama, Mistral, Mixtral, Qwen, SmolLM3, BART or T5Gemma"
        ),
    )
    num_buckets: PositiveInt = Field(1 << 18, description="bag_of_words and table `bow`: hash buckets")
    adapt: AdaptSettings = Field(AdaptSettings(), description="DAP")
    finetune: QueryMatchingSettings = Field(QueryMatchingSettings(), description="QM")
    align: AlignSettings = Field(AlignSettings(), description="ROMA; table `aligned`")
    interactions: InteractionSettings = Field(InteractionSettings(), description="CTRL's first stage")

    @model_validator(mode="after")
    def _names_what_it_needs(self) -> TextSettings:
        _refuse_half_a_pair(self.encoder, preset=self.preset, path=self.path)
        if (self.cleaning == "language_model") != (self.cleaner is not None):
            raise ValueError(f"cleaning: language_model and cleaner belong together. Received: cleaning: {self.cleaning}, cleaner: {self.cleaner}")
        if self.encoder in ("bag_of_words", "saved") and self.training:
            raise ValueError(f"encoder: {self.encoder} is not trained. Received: training: {list(self.training)}")
        if self.width % self.num_heads:
            raise ValueError(f"num_heads must divide width. Received: num_heads: {self.num_heads}, width: {self.width}")
        if self.encoder == "small_bert" and self.dim and self.dim > self.width:
            raise ValueError(
                f"dim must be at most width, since the projection only leaves directions out. Received: dim: {self.dim}, width: {self.width}. Lower"
                " dim, or set it to null"
            )
        return self


class ImageSettings(Section):
    """The image encoder, and the table `image` that it writes."""

    encoder: Literal["small_resnet", "resnet18", "resnet50", "resnet101", "preset", "saved", "descriptor"] = Field(
        "small_resnet",
        description=(
            "a ResNet that starts from nothing or from image.weights; preset: image.preset; saved: an encoder of an earlier run, image.path;"
            " descriptor: colour and edge statistics, no network"
        ),
    )
    preset: str | None = Field(None, description="for encoder=preset: a keras-nlp preset, or a folder")
    path: str | None = Field(None, description="for encoder=saved: its folder, such as <run>/encoders/image; it is taken as it is")
    weights: str | None = Field(None, description="for a ResNet: a .weights.h5 file to start from")
    dim: PositiveInt | None = Field(64, description="width of the table; null = the encoder's own width, without a projection")
    size: Annotated[int, Field(ge=8)] = Field(64, description="pixels a side that an image is resized to; PPM's ResNet-101 wants 224")
    training: tuple[Literal["finetune"], ...] | None = Field(
        None, description="finetune: entity prediction (EP); null: a ResNet without weights is trained, any other encoder stays as it is"
    )
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
        if self.encoder == "descriptor" and self.dim is None:
            raise ValueError("dim must be a number with encoder: descriptor. Received: null")
        return self

    @property
    def starts_from_nothing(self) -> bool:
        """Whether the encoder has random weights before its training."""
        return "resnet" in self.encoder and self.weights is None

    @property
    def is_trained(self) -> bool:
        """Whether entity prediction is part of making the encoder."""
        return self.starts_from_nothing if self.training is None else bool(self.training)


TableName = Literal["title", "image", "bow", "title_image", "aligned", "aligned_vectors", "ids"]
TABLES: tuple[str, ...] = get_args(TableName)


class EmbedSettings(Section):
    """How the embedding tables are written."""

    dtype: Literal["float16", "float32"] = Field("float16", description="type of the stored vectors")
    shards: PositiveInt = Field(4, description="TFRecord files of a table")
    batch_size: PositiveInt = Field(128, description="items encoded at once")
    max_refused: Share = Field(0.05, description="share of the items with content that may fail to be encoded before the job is refused")
