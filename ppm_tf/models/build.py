"""The one factory: settings, schema and tables to a built model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ppm_tf.backbones import BACKBONES
from ppm_tf.config import Config
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.id_vocabulary import IdVocabulary
from ppm_tf.data.schema import Schema
from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.layers.behavior_transformer import BehaviorTransformer
from ppm_tf.layers.frozen_embedding import FrozenEmbedding
from ppm_tf.layers.id_lookup import IdLookup
from ppm_tf.layers.item_attributes import ItemAttributes
from ppm_tf.layers.similarity_pooling import SimilarityPooling
from ppm_tf.models.feature_embedding import ITEM_ID, USER_ID, FeatureEmbedding
from ppm_tf.models.ppm import PPM, PretrainingModel
from ppm_tf.models.ranking import RankingModel
from ppm_tf.models.vocabularies import Vocabularies
from ppm_tf.storage import load_weights


def build_ppm(config: Config, schema: Schema, tables: Mapping[str, EmbeddingTable], table_dtype: str | None = None) -> PPM:
    """The plug-in over the tables named in `ppm.tables`, its item vectors loaded, its weights at their start.

    Raises:
        ValueError: a table is missing, or a setting does not fit the data.
    """
    settings = config.ppm
    _require(settings.tables, tables, "ppm.tables")
    width = settings.width or sum(tables[name].dim for name in settings.tables)
    if width % settings.num_heads:
        raise ValueError(
            f"ppm.num_heads must divide the width of the transformer. Received: ppm.num_heads={settings.num_heads}, width {width}"
            " (ppm.width, or the sum of the table widths)."
        )
    if settings.slots and not schema.has_slot:
        raise ValueError(f"ppm.slots needs a display position in the data. Received: ppm.slots={settings.slots}, and data.log.slot is not set.")
    layers = {name: _frozen(tables[name], settings.standardize, table_dtype) for name in settings.tables}
    transformer = BehaviorTransformer(
        num_encoder_layers=settings.num_encoder_layers,
        num_decoder_layers=settings.num_decoder_layers,
        num_heads=settings.num_heads,
        feedforward_multiple=settings.feedforward_multiple,
        width=settings.width,
        dropout=settings.dropout,
        max_positions=schema.history_length if settings.positions else 0,
        num_recency_buckets=settings.num_recency_buckets,
        num_slots=settings.slots,
        initializer_stddev=settings.initializer_stddev,
        name="transformer",
    )
    similarity = None
    if settings.similarity_heads:
        similarity = SimilarityPooling(
            width,
            [layer.dim for layer in layers.values()],
            num_heads=settings.similarity_heads,
            max_positions=schema.history_length,
            num_recency_buckets=settings.num_recency_buckets,
            name="similarity",
        )
    return PPM(layers, transformer, similarity, name="ppm")


def build_pretraining_model(config: Config, schema: Schema, tables: Mapping[str, EmbeddingTable], table_dtype: str | None = None) -> PretrainingModel:
    """PPM under its click head, every weight built."""
    model = PretrainingModel(
        build_ppm(config, schema, tables, table_dtype),
        mlp_units=config.ppm.mlp_units,
        dropout=config.ppm.dropout,
        initializer_stddev=config.ppm.initializer_stddev,
    )
    model.build_from(schema.history_length, schema.num_candidates)
    return model


def build_ranking_model(
    config: Config,
    schema: Schema,
    catalog: ItemCatalog,
    tables: Mapping[str, EmbeddingTable],
    vocabularies: Vocabularies,
    pretrained: str | Path | None = None,
    table_dtype: str | None = None,
    outputs: int | None = None,
) -> RankingModel:
    """The ranking model of `config.model`, every weight built.

    Args:
        config: the settings.
        schema: schema of the data set.
        catalog: its items.
        tables: the tables named in `model.tables` and, where PPM is plugged in, `ppm.tables`.
        vocabularies: of the item and user ids.
        pretrained: weights of the pre-training model, from which PPM starts; `None` leaves it at random.
        table_dtype: how item tables are kept, if not as they were written.
        outputs: numbers a candidate that the backbone gives, if not a logit a task.

    Raises:
        ValueError: a table is missing, or a setting does not fit the data.
    """
    settings = config.model
    _require(settings.tables, tables, "model.tables")
    backbone = settings.backbone
    if settings.reads_text:
        raise ValueError(
            f"A ranking model over ids must have one of the backbones {', '.join(BACKBONES)}. Received: {backbone.name}, which reads texts and has no"
            " ids."
        )
    fields = {field.name: catalog.fields[field.name] for field in schema.side("item")}
    rows = {field.name: field.num_rows for field in schema.side("item")}
    for name, side in ((ITEM_ID, "item"), (USER_ID, "user")):
        if any(field.name == name for field in schema.side(side)):
            raise ValueError(f"No {side} field may be named {name}: the id itself has that name. Rename it in data.{side}s.fields.")
    if vocabularies.items is not None:
        fields = {ITEM_ID: vocabularies.item_rows(schema, catalog)[:, None], **fields}
        rows = {ITEM_ID: vocabularies.items.num_rows, **rows}
    attributes = ItemAttributes(catalog.num_rows, {name: values.shape[1] for name, values in fields.items()}, len(schema.numbers), name="attributes")
    attributes.load_catalog(fields, [catalog.numbers[name] for name in schema.numbers])
    embedding = FeatureEmbedding(
        attributes,
        rows,
        {field.name: (field.num_rows, field.num_values) for field in schema.side("user")},
        {field.name: (field.num_rows, field.num_values) for field in schema.side("context")},
        _user_lookup(vocabularies.users),
        {name: _frozen(tables[name], True, table_dtype) for name in settings.tables},
        dim=settings.dim,
        fusion=settings.fusion,
        similarity_bins=settings.similarity_bins,
        trainable_width=settings.trainable_width,
        first_order=getattr(BACKBONES[backbone.name], "reads_first_order", False),
        initializer_stddev=settings.initializer_stddev,
        unknown_items=vocabularies.items.unknown_rows if vocabularies.items is not None else 0,
        name="embedding",
    )
    network = BACKBONES[backbone.name](outputs or len(schema.tasks), **backbone.model_dump(exclude={"name"}), name="backbone")
    model = RankingModel(embedding, network, _plug_in(config, schema, tables, pretrained, table_dtype))
    model.build_from(schema.history_length, schema.num_candidates, schema.has_time)
    return model


def _user_lookup(users: IdVocabulary | None) -> IdLookup | None:
    if users is None:
        return None
    lookup = IdLookup(len(users.ids), users.unknown_rows, name="users")
    lookup.load_ids(users.ids)
    return lookup


def _plug_in(
    config: Config, schema: Schema, tables: Mapping[str, EmbeddingTable], pretrained: str | Path | None, table_dtype: str | None
) -> PPM | None:
    """PPM as `model.ppm` wants it; the head that pre-trained it is left behind."""
    if config.model.ppm == "none":
        return None
    pretraining = build_pretraining_model(config, schema, tables, table_dtype)
    if pretrained is not None:
        load_weights(pretraining, pretrained, "pre-train PPM anew with `python -m pipelines.pretrain`")
    pretraining.ppm.trainable = config.model.ppm != "frozen"
    return pretraining.ppm


def _require(names: tuple[str, ...], tables: Mapping[str, EmbeddingTable], setting: str) -> None:
    missing = [name for name in names if name not in tables]
    if missing:
        raise ValueError(
            f"{setting} names {', '.join(missing)}, and the run has {', '.join(tables) or 'none'}. Run `python -m pipelines.embed`, or change"
            f" {setting}."
        )
    empty = [name for name in names if not tables[name].present.any()]
    if empty:
        raise ValueError(
            f"A table of {setting} must hold a vector of some item. Received: none in {', '.join(empty)}. Remedy: look at the texts and images of the"
            f" items, or change {setting}."
        )


def _frozen(table: EmbeddingTable, standardize: bool, table_dtype: str | None) -> FrozenEmbedding:
    layer = FrozenEmbedding(
        len(table.vectors), table.dim, standardize=standardize, table_dtype=table_dtype or str(table.vectors.dtype), name=table.name
    )
    layer.load_table(table.vectors, table.present)
    return layer
