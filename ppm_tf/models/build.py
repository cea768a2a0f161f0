"""The one factory: settings, schema and tables to a built model."""

from __future__ import annotations

from collections.abc import Mapping

from ppm_tf.config import Config
from ppm_tf.data.schema import Schema
from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.layers.behavior_transformer import BehaviorTransformer
from ppm_tf.layers.frozen_embedding import FrozenEmbedding
from ppm_tf.models.ppm import PPM, PretrainingModel


def build_ppm(config: Config, schema: Schema, tables: Mapping[str, EmbeddingTable]) -> PPM:
    """The plug-in over the tables named in `ppm.tables`, its item vectors loaded, its weights at their start.

    Raises:
        ValueError: a table is missing, or a setting does not fit the data.
    """
    settings = config.ppm
    missing = [name for name in settings.tables if name not in tables]
    if missing:
        raise ValueError(f"ppm.tables names {', '.join(missing)}, and the run has {', '.join(tables) or 'none'}. Run `python -m pipelines.embed`, or change ppm.tables.")
    width = settings.width or sum(tables[name].dim for name in settings.tables)
    if width % settings.heads:
        raise ValueError(f"ppm.heads must divide the width of the transformer. Received: ppm.heads={settings.heads}, width {width} (ppm.width, or the sum of the table widths).")
    if settings.slots and not schema.has_slot:
        raise ValueError(f"ppm.slots needs a display position in the data. Received: ppm.slots={settings.slots}, and data.log.slot is not set.")
    layers = {}
    for name in settings.tables:
        table = tables[name]
        layers[name] = FrozenEmbedding(len(table.vectors), table.dim, standardize=settings.standardize, table_dtype=str(table.vectors.dtype), name=name)
        layers[name].load_table(table.vectors, table.present)
    transformer = BehaviorTransformer(
        num_encoder_layers=settings.encoder_layers,
        num_decoder_layers=settings.decoder_layers,
        num_heads=settings.heads,
        feedforward_multiple=settings.feedforward,
        width=settings.width,
        dropout=settings.dropout,
        max_positions=schema.history_length if settings.positions else 0,
        recency_buckets=settings.recency_buckets,
        num_slots=settings.slots,
        initializer_stddev=settings.initializer_stddev,
        name="transformer",
    )
    return PPM(layers, transformer, name="ppm")


def build_pretraining_model(config: Config, schema: Schema, tables: Mapping[str, EmbeddingTable]) -> PretrainingModel:
    """PPM under its click head, every weight built."""
    model = PretrainingModel(
        build_ppm(config, schema, tables),
        mlp_units=config.ppm.mlp_units,
        dropout=config.ppm.dropout,
        initializer_stddev=config.ppm.initializer_stddev,
    )
    model.build_from(schema.history_length, schema.num_candidates)
    return model
