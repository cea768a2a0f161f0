"""PPM and the ranking model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ppm_tf.config.encoders import TableName
from ppm_tf.config.fits import TrainSettings
from ppm_tf.config.section import Name, Once, PositiveInt, Section, Share
from ppm_tf.config.text_models import TextModel, TextModelSettings

# === ppm ===


class TransformerSettings(Section):
    """The behavior transformer, of PPM and of URM alike."""

    num_encoder_layers: PositiveInt = Field(2, description="self-attention blocks over the history")
    num_decoder_layers: PositiveInt = Field(2, description="blocks in which a candidate attends to the encoded history")
    num_heads: PositiveInt = Field(4, description="attention heads")
    feedforward_multiple: PositiveInt = Field(4, description="hidden width of a block's feed-forward part, in multiples of width")
    num_recency_buckets: Annotated[int, Field(ge=2)] = Field(32, description="buckets of log2(1 + seconds since the behavior)")
    positions: bool = Field(True, description="embed the order of the behaviors, counted back from the newest")


class PPMSettings(TransformerSettings):
    """The pre-trained plug-in model (PPM, section 3.1)."""

    tables: Annotated[tuple[TableName, ...], Once] = Field(
        ("title", "image"),
        min_length=1,
        description=(
            "item tables that enter, concatenated: title, image, bow (bag of words), title_image (both in one table), aligned (by ROMA),"
            " aligned_vectors and ids (CELA's table 3)"
        ),
    )
    splits: Annotated[tuple[Literal["pretrain", "train"], ...], Once] | None = Field(
        None,
        min_length=1,
        description=(
            "sample splits that PPM is trained on; null: pretrain, where there is that split, else train. A ranker trusts too much what PPM says of"
            " requests that both have learnt from"
        ),
    )
    standardize: bool = Field(True, description="centre the table vectors and give each dimension unit variance over the catalog")
    width: PositiveInt | None = Field(
        64, description="width of the transformer, to which the table vectors are projected; null = their sum, without a projection"
    )
    similarity_heads: Annotated[int, Field(ge=0)] = Field(
        8,
        description=(
            "learnt respects in which cosines between a candidate and the history enter, beside those of the tables' own vectors; 0: none"
            " enter, as in the paper"
        ),
    )
    dropout: Share = Field(0.0, description="dropout in the transformer and the dense layers; of use with several passes")
    slots: Annotated[int, Field(ge=0)] = Field(0, description="display positions to embed on the candidate; 0 = do not use the display position")
    mlp_units: tuple[PositiveInt, ...] = Field((256, 128, 64), min_length=1, description="the three dense layers before the click probability")
    initializer_stddev: Annotated[float, Field(gt=0)] = Field(
        0.05, description="standard deviation of the Gaussian initial weights; PPM has 0.01 and millions of steps to grow them"
    )

    warm_start: str | None = Field(
        None, description="folder of an earlier PPM of the same network, on tables of the same encoders, whose weights the training begins with"
    )
    warm_start_optimizer: bool = Field(
        False, description="with ppm.warm_start: the optimiser goes on too; the earlier training had train.keep_optimizer"
    )

    @model_validator(mode="after")
    def _has_a_start(self) -> PPMSettings:
        if self.warm_start_optimizer and not self.warm_start:
            raise ValueError("warm_start_optimizer goes on from warm_start. Received: warm_start_optimizer: true, warm_start: null")
        return self

    @model_validator(mode="after")
    def _has_whole_heads(self) -> PPMSettings:
        if self.width and self.width % self.num_heads:
            raise ValueError(f"num_heads must divide width. Received: num_heads: {self.num_heads}, width: {self.width}")
        return self


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


class XDeepFMSettings(BackboneSettings):
    """xDeepFM: a compressed interaction network and a linear model beside dense layers (Lian et al., 2018)."""

    name: Literal["xdeepfm"] = Field("xdeepfm", description="the backbone")
    cin_units: tuple[PositiveInt, ...] = Field((100, 100, 50), min_length=1, description="rows of the layers of the compressed interaction network")
    split_half: bool = Field(True, description="half the rows of a layer enter the next, the others the logits; false: all do both")

    @model_validator(mode="after")
    def _has_halves(self) -> XDeepFMSettings:
        if self.split_half and any(rows % 2 for rows in self.cin_units[:-1]):
            raise ValueError(f"cin_units before the last must be even under split_half. Received: {list(self.cin_units)}")
        return self


class PNNSettings(BackboneSettings):
    """PNN: products of fields as inputs of dense layers (Qu et al., 2016)."""

    name: Literal["pnn"] = Field("pnn", description="the backbone")
    products: Literal["inner", "outer", "both"] = Field(
        "inner", description="inner products of pairs of fields, the outer product of their sum, or both"
    )


class DCNSettings(BackboneSettings):
    """DCN: crosses of a bounded degree beside dense layers (Wang et al., 2017)."""

    name: Literal["dcn"] = Field("dcn", description="the backbone")
    num_cross_layers: PositiveInt = Field(6, description="layers of the cross network")


class DCNv2Settings(BackboneSettings):
    """DCN-V2: crosses through a matrix, beside or below dense layers (Wang et al., 2021)."""

    name: Literal["dcn_v2"] = Field("dcn_v2", description="the backbone")
    num_cross_layers: PositiveInt = Field(2, description="layers of the cross network")
    rank: PositiveInt | None = Field(None, description="rank of their matrices; null = full")
    num_experts: PositiveInt = Field(1, description="experts of that rank that a gate mixes (DCN-Mix); 1: a plain matrix")
    structure: Literal["parallel", "stacked"] = Field("parallel", description="dense layers beside the cross network, or on top of it")

    @model_validator(mode="after")
    def _has_a_rank(self) -> DCNv2Settings:
        if self.num_experts > 1 and self.rank is None:
            raise ValueError(f"num_experts above 1 needs a rank. Received: num_experts: {self.num_experts}, rank: null")
        return self


class AutoIntSettings(BackboneSettings):
    """AutoInt: fields that attend to each other, beside dense layers (Song et al., 2019)."""

    name: Literal["autoint"] = Field("autoint", description="the backbone")
    num_attention_layers: PositiveInt = Field(3, description="layers of self-attention over the fields")
    num_heads: PositiveInt = Field(2, description="heads of each")
    head_dim: PositiveInt = Field(8, description="width of a head")


class FiBiNETSettings(BackboneSettings):
    """FiBiNET: bilinear pairs of fields, as they are and as SENET weighs them (Huang et al., 2019)."""

    name: Literal["fibinet"] = Field("fibinet", description="the backbone")
    bilinear: Literal["all", "each", "interaction"] = Field(
        "interaction", description="one matrix for all pairs, for each left field, or for each pair"
    )
    reduction: PositiveInt = Field(3, description="SENET's hidden layer has one unit for so many fields")


class DINSettings(BackboneSettings):
    """DIN: the history weighted by how it fits the candidate (Zhou et al., 2018)."""

    name: Literal["din"] = Field("din", description="the backbone")
    attention_units: tuple[PositiveInt, ...] = Field((64, 32), min_length=1, description="dense layers of the activation unit")


class DIENSettings(BackboneSettings):
    """DIEN: how interests evolve, for each candidate (Zhou et al., 2019)."""

    name: Literal["dien"] = Field("dien", description="the backbone")
    auxiliary_units: tuple[PositiveInt, ...] = Field(
        (100, 50), min_length=1, description="dense layers of the auxiliary loss, which tells the next behavior from one of another request"
    )
    auxiliary_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the auxiliary loss; 0: none")


class DSINSettings(BackboneSettings):
    """DSIN: interests by session, and how they evolve (Feng et al., 2019)."""

    name: Literal["dsin"] = Field("dsin", description="the backbone")
    num_sessions: PositiveInt = Field(5, description="sessions kept, the newest ones; older behaviors join the oldest of them")
    gap: PositiveInt = Field(1800, description="seconds (or steps) between two behaviors that begin a new session")
    num_heads: PositiveInt = Field(4, description="heads of the self-attention inside a session")
    attention_units: tuple[PositiveInt, ...] = Field((64, 32), min_length=1, description="dense layers of the activation unit over sessions")


class MIANSettings(BackboneSettings):
    """MIAN: the candidate meets behaviors, user and context one by one (Zhang et al., 2021)."""

    name: Literal["mian"] = Field("mian", description="the backbone")
    num_heads: PositiveInt = Field(4, description="heads of the self-attention over the behaviors")
    attention_units: tuple[PositiveInt, ...] = Field((64, 32), min_length=1, description="dense layers of the attention of the candidate")


class UniSRecSettings(BackboneSettings):
    """UniSRec: a transformer over the texts of the history (Hou et al., 2022); with model.tables and model.fusion=adaptor."""

    # An item is the sum of its fields, as wide as one of them.
    sums_fields: ClassVar[bool] = True

    name: Literal["unisrec"] = Field("unisrec", description="the backbone")
    num_layers: PositiveInt = Field(2, description="transformer blocks")
    num_heads: PositiveInt = Field(2, description="heads of the self-attention; must divide model.dim")
    intermediate_dim: PositiveInt = Field(256, description="hidden width of a block's dense layers")
    transformer_dropout: Share = Field(0.5, description="dropout in the transformer")


class URMSettings(TransformerSettings):
    """URM: behavior transformer over ids and multi-gate mixture of experts (PPM, section 3.2)."""

    name: Literal["urm"] = Field("urm", description="the backbone")
    width: PositiveInt | None = Field(
        64, description="width of the transformer, to which the concatenated item fields are projected; null = their sum, without a projection"
    )
    num_experts: PositiveInt = Field(4, description="experts of the mixture")
    expert_units: tuple[PositiveInt, ...] = Field((256, 128), min_length=1, description="dense layers of an expert")
    tower_units: tuple[PositiveInt, ...] = Field((64,), min_length=1, description="dense layers of a task's tower")
    dropout: Share = Field(0.0, description="dropout in the transformer, the experts and the towers")
    initializer_stddev: Annotated[float, Field(gt=0)] = Field(
        0.12, description="standard deviation of the transformer's Gaussian initial weights; the paper has 0.01, and log enough to grow them"
    )

    @model_validator(mode="after")
    def _has_whole_heads(self) -> URMSettings:
        if self.width and self.width % self.num_heads:
            raise ValueError(f"num_heads must divide width. Received: num_heads: {self.num_heads}, width: {self.width}")
        return self


Backbone = Annotated[
    WideDeepSettings
    | DeepFMSettings
    | XDeepFMSettings
    | PNNSettings
    | DCNSettings
    | DCNv2Settings
    | AutoIntSettings
    | FiBiNETSettings
    | DINSettings
    | DIENSettings
    | DSINSettings
    | MIANSettings
    | UniSRecSettings
    | URMSettings,
    Field(discriminator="name"),
]


class RankerFitSettings(TrainSettings):
    """The training of the ranking model."""

    table_optimizer: Literal["adam", "adagrad"] = Field("adam", description="optimiser of the id tables; either touches only the rows of a batch")
    table_learning_rate: Annotated[float, Field(gt=0)] = Field(1.0, description="learning rate of the id tables, in multiples of learning_rate")
    table_weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="decoupled weight decay of the id tables' rows of a batch")
    ppm_learning_rate: Annotated[float, Field(gt=0)] = Field(
        1.0, description="learning rate of PPM under model.ppm=finetune, in multiples of learning_rate"
    )


class ModelSettings(Section):
    """The ranking model: an ID backbone, with PPM plugged in or not (PPM, section 3.2)."""

    name: Name | None = Field(
        None,
        description="folder of the model inside <run>/models; null: <backbone>, then -<table> for each of model.tables, and -<ppm>",
    )
    backbone: Annotated[Backbone | TextModel, Field(discriminator="name")] = Field(
        default_factory=URMSettings, description="the network over the features, or a model that reads texts in their place"
    )
    ppm: Literal["none", "random", "frozen", "finetune"] = Field(
        "finetune",
        description="PPM as plug-in: none; random: not pre-trained, but trained on; frozen: pre-trained and fixed; finetune: both",
    )
    tables: Annotated[tuple[TableName, ...], Once] = Field((), description="item tables that enter as further item fields, beside the ids")
    fusion: Literal["dense", "mlp", "adaptor"] = Field(
        "dense",
        description=(
            "how a vector of model.tables becomes a field: one dense layer, CELA's MLP with dropout and LayerNorm, or UniSRec's mixture of experts"
        ),
    )
    similarity_bins: Annotated[int, Field(ge=0)] = Field(
        0, description="bins of the histogram of cosines between candidate and history that enters for each of model.tables; 0: none (SimTier)"
    )
    trainable_width: Annotated[int, Field(ge=0)] = Field(
        0,
        description="width of a trainable table by item id that enters as model.tables do: CELA's Scaled, weights without texts; 0: none",
    )
    item_id: bool = Field(True, description="the item id as an item field")
    user_id: bool = Field(True, description="the user id as a user field")
    min_count: PositiveInt = Field(2, description="items and users seen less often in training share the hashed rows of unknown ids")
    unknown_rows: PositiveInt = Field(16, description="rows that ids without a row of their own are hashed into")
    dim: PositiveInt = Field(16, description="width of a field's embedding; PPM has 64")
    initializer_stddev: Annotated[float, Field(gt=0)] = Field(0.05, description="standard deviation of the Gaussian initial embeddings; PPM has 0.01")
    tasks: dict[str, Annotated[float, Field(ge=0)]] = Field({}, description="task -> weight of its loss; without it all tasks of the data weigh 1")
    splits: Annotated[tuple[Literal["pretrain", "train"], ...], Once] = Field(
        ("train",), min_length=1, description="sample splits that the ranking model is trained on"
    )
    newest: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="share of these splits that is used, their newest requests")
    warm_start: str | None = Field(
        None,
        description=(
            "folder of an earlier ranking model of the same settings to go on from; new ids get rows behind its own. interactions: the run's own,"
            " aligned with the texts of its interactions (CTRL), which is made first"
        ),
    )
    warm_start_ppm: Literal["replace", "keep", "average"] = Field(
        "replace",
        description=(
            "with model.warm_start, the plug-in's weights: replace: those of the run's own PPM, which may be newer; keep: those of the earlier model;"
            " average: both, mixed, where the run's PPM went on from the one before (ppm.warm_start)"
        ),
    )
    warm_start_ppm_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="with model.warm_start_ppm=average: what the earlier model's weights of the plug-in count; the run's PPM counts the rest"
    )
    warm_start_optimizer: bool = Field(
        False,
        description=(
            "with model.warm_start: the optimiser goes on too, for PPM's weights unless they are replaced; the earlier training had"
            " model.train.keep_optimizer"
        ),
    )
    warm_start_part: Literal["all", "ids"] = Field(
        "all",
        description=(
            "with model.warm_start, what is taken over: all, or the id tables alone, into a network that starts anew; in pipelines.alternate ids"
            " lets each round go on from the ids of the one before"
        ),
    )
    seed: int | None = Field(None, description="seed of the ranking model; null: the run's seed")
    train: RankerFitSettings = Field(RankerFitSettings(), description="its training")

    @model_validator(mode="after")
    def _has_a_free_name(self) -> ModelSettings:
        if self.name in ("ppm", "tables"):
            raise ValueError(f"name must not be that of another report. Received: {self.name}")
        if self.similarity_bins == 1 or self.similarity_bins and not self.tables:
            raise ValueError(
                f"similarity_bins needs 2 bins or more, and a table in model.tables. Received: {self.similarity_bins}, tables {list(self.tables)}"
            )
        if self.trainable_width and not self.item_id:
            raise ValueError(f"trainable_width needs item_id: true, whose rows it has. Received: {self.trainable_width}, item_id: false")
        if self.tasks and not any(self.tasks.values()):
            raise ValueError(f"tasks must give a task a weight. Received: {self.tasks}")
        return self

    @model_validator(mode="after")
    def _has_a_start(self) -> ModelSettings:
        if self.warm_start_optimizer and (self.warm_start in (None, "interactions") or self.warm_start_part != "all"):
            raise ValueError(
                "warm_start_optimizer goes on from an earlier ranking model, all of it. Received: warm_start_optimizer: true, warm_start:"
                f" {self.warm_start or 'null'}, warm_start_part: {self.warm_start_part}"
            )
        if self.warm_start_ppm == "average" and self.ppm not in ("frozen", "finetune"):
            raise ValueError(f"warm_start_ppm: average needs a pre-trained PPM, ppm: frozen or finetune. Received: ppm: {self.ppm}")
        return self

    @model_validator(mode="after")
    def _reads_text_alone(self) -> ModelSettings:
        if self.reads_text:
            unread = {"ppm": "none", "tables": (), "trainable_width": 0, "warm_start": None}
            given = [f"{name}: {getattr(self, name)}" for name, without in unread.items() if getattr(self, name) != without]
            given += ["train.keep_optimizer: true"] if self.train.keep_optimizer else []
            if given:
                raise ValueError(
                    f"backbone.name: {self.backbone.name} reads texts, and no ids, tables or plug-in. Received: {', '.join(given)}. Remedy:"
                    f" model.ppm=none, and none of {', '.join(name for name in unread if name != 'ppm')}"
                )
        return self

    @property
    def reads_text(self) -> bool:
        """Whether the model reads a request as text (`ppm_tf.text_models`), and not its ids."""
        return isinstance(self.backbone, TextModelSettings)

    @property
    def earlier_ppm_share(self) -> float:
        """What the earlier model's weights of the plug-in count beside those of the run's PPM, where there are both."""
        return {"replace": 0.0, "average": self.warm_start_ppm_share, "keep": 1.0}[self.warm_start_ppm]

    @property
    def folder(self) -> str:
        """Name of the model's folder."""
        further = [word for word, holds in (("scaled", self.trainable_width), ("interactions", self.warm_start == "interactions")) if holds]
        further += [] if self.splits == ("train",) else self.splits
        return self.name or "-".join([self.backbone.name, *self.tables, *further, *([self.ppm] if self.ppm != "none" else [])])
