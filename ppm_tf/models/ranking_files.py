"""Ranking models on disk: the folder that holds a trained one, and what can be made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ppm_tf.config import Config, load
from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.data.schema import Schema, differences, other_form
from ppm_tf.models.build import build_ranking_model
from ppm_tf.models.feature_embedding import field_of
from ppm_tf.models.growth import carry_over, rows_of_fields, rows_of_tables
from ppm_tf.models.inputs import Inputs
from ppm_tf.models.provenance import MODEL_ANEW, START_ANEW, Provenance, precision_of
from ppm_tf.models.ranking import RankingModel
from ppm_tf.models.vocabularies import Vocabularies
from ppm_tf.rows import FIRST_ROW, PADDING_ROW, UNKNOWN_ROW
from ppm_tf.storage import load_all_weights, load_weights, save_weights
from ppm_tf.workspace import SETTINGS

WEIGHTS = "ranking.weights.h5"
SCHEMA = "schema.json"
STRANGERS = "strangers.npz"


@dataclass(frozen=True)
class Carried:
    """What an earlier model has given to a new one.

    Attributes:
        fresh: embedding rows that are new.
        rows: `id(table)` -> of each row that the earlier table has too, where it was and where it is; none where ids alone were taken.
        strangers: name of a table -> rows that no training has learnt so far: each is what the earlier model read of strangers.
    """

    fresh: int
    rows: dict[int, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)
    strangers: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def save_ranking_model(
    folder: Path,
    model: RankingModel,
    schema: Schema,
    vocabularies: Vocabularies,
    counts: SampleCounts,
    provenance: Provenance,
    strangers: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes all that `load_ranking_model` needs beside the data, what the weights belong to, and the counts of the training samples.

    `strangers` are the rows of each table that were settled after the training (`FeatureEmbedding.settle_strangers`).
    """
    save_weights(model, folder / WEIGHTS)
    provenance.write(folder)
    schema.write(folder / SCHEMA)
    vocabularies.write(folder)
    counts.write(folder)
    if strangers:
        np.savez(folder / STRANGERS, **strangers)


def load_ranking_model(config: Config, inputs: Inputs, folder: Path, table_dtype: str | None = None) -> RankingModel:
    """The trained model in `folder`, over the items of `inputs`.

    Items that came after the training are known by their fields and tables, and by a hashed id; a value of an item field
    that training did not know is an unknown one. Requests must be encoded as in training (`check_requests`).

    Args:
        config: the settings of the training.
        inputs: the data and tables to score with.
        folder: the trained model.
        table_dtype: how item tables are kept, if not as they were written.

    Returns:
        The model, at the precision of its training.

    Raises:
        ValueError: the data or the tables mean something else than in the training; the message names what.
    """
    schema, provenance = Schema.read(folder / SCHEMA), Provenance.read(folder)
    require_same_values(folder, schema, inputs.schema)
    provenance.require(inputs.versions, folder, MODEL_ANEW)
    with precision_of(provenance):
        model = build_ranking_model(config, schema, _Known(inputs, schema), inputs.tables, Vocabularies.read(folder), table_dtype=table_dtype)
    load_weights(model, folder / WEIGHTS, MODEL_ANEW)  # with the means and scales of the training, whatever items came since
    return model


def require_same_values(folder: Path, trained: Schema, now: Schema) -> None:
    """Refuses data whose ids, times or words are read otherwise than in a model's training: every id would be a stranger.

    Args:
        folder: the model, for the message.
        trained: the schema it was trained with.
        now: that of the data.

    Raises:
        ValueError: they are; the message names each difference and the setting that undoes it.
    """
    found = differences(trained, now)
    if found:
        raise ValueError(
            f"The data must be read as in the training of {folder}. Received: {'; '.join(found)}. Remedy: run `python -m pipelines.prepare` with the"
            " settings named, or train a model of the new data from its start, without model.warm_start."
        )


def require_same_form(folder: Path, trained: Schema, now: Schema, remedy: str) -> None:
    """Refuses requests whose tasks, histories or units are of another form than those of a training.

    Args:
        folder: the model, or PPM, for the message.
        trained: the schema it was trained with.
        now: that of the data.
        remedy: what to do.

    Raises:
        ValueError: they are; the message names each difference.
    """
    if others := other_form(trained, now):
        raise ValueError(f"{folder} was trained on requests of another form than the data holds: {'; '.join(others)}. Remedy: {remedy}.")


def check_requests(inputs: Inputs, folder: Path) -> None:
    """Refuses to score prepared requests that are of another form than those of the training.

    Raises:
        ValueError: they have other tasks, histories, or vocabularies of user and request fields; the message names what.
    """
    schema = Schema.read(folder / SCHEMA)
    require_same_form(folder, schema, inputs.schema, "prepare the data as it was, or train the model anew: `python -m pipelines.train`")
    trained = {(field.side, field.name): field for field in schema.fields}
    for field in inputs.schema.fields:
        if field.side != "item" and ((field.side, field.name) not in trained or trained[field.side, field.name].vocabulary != field.vocabulary):
            raise ValueError(
                f"{folder} was trained on other values of the {field.side} field {field.name} than the data holds. "
                f"Train anew, or go on from it: `python -m pipelines.train model.warm_start={folder} model.name=<another name>`."
            )


def warm_start(folder: Path, model: RankingModel, config: Config, inputs: Inputs, vocabularies: Vocabularies, ppm_share: float) -> Carried:
    """Gives `model` what the earlier model in `folder` has learnt.

    With `model.warm_start_part=ids` that is its id tables alone, and it may be of another network and read other tables.

    Args:
        folder: the earlier model.
        model: one of the same settings.
        config: the settings.
        inputs: the data and tables of `model`.
        vocabularies: those of `model`.
        ppm_share: what the plug-in's weights of the earlier model count: 1: they are taken, 0: `model` keeps its own, between: both are mixed.

    Raises:
        ValueError: the earlier model has other settings, or read vectors of other encoders, or tables that are not there; or the plug-ins
            cannot be mixed.
    """
    ids_alone = config.model.warm_start_part == "ids"
    # PPM that is replaced brings vectors of its own encoders.
    kept = {name: version for name, version in inputs.versions.items() if ppm_share > 0.0 or name in config.model.tables}
    if not ids_alone:
        Provenance.read(folder).require(kept, folder, START_ANEW)
    schema, earlier = Schema.read(folder / SCHEMA), Vocabularies.read(folder)
    require_same_values(folder, schema, inputs.schema)
    its = load([str(folder / SETTINGS)]) if ids_alone else config
    if unread := [name for name in its.ranking_tables if name not in inputs.tables]:
        raise ValueError(
            f"The tables that model.warm_start read must be among those of the new model. Received: {folder}, which read {', '.join(unread)} too."
            f" Remedy: name them in model.tables, or {START_ANEW}."
        )
    old = build_ranking_model(its, schema, _NoItems(schema), inputs.tables, earlier)
    try:
        load_all_weights(old, folder / WEIGHTS)
    except ValueError as error:
        raise ValueError(
            f"model.warm_start must be a model of the same settings. Received: {folder}, whose weights do not fit ({str(error).splitlines()[0]})."
        ) from None
    vocabularies_of = (schema, inputs.schema, earlier, vocabularies)
    fresh = carry_over(old, model, *vocabularies_of, ppm_share, ids_alone)
    if ids_alone:
        return Carried(fresh)
    return Carried(fresh, rows_of_tables(model, *vocabularies_of), _strangers(folder, model, rows_of_fields(*vocabularies_of)))


def _strangers(folder: Path, model: RankingModel, maps: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """The rows that the earlier training settled, where they are now, and those of words that are new."""
    settled: dict[str, np.ndarray] = {}
    if (folder / STRANGERS).is_file():
        with np.load(folder / STRANGERS) as file:
            settled = {name: file[name] for name in file}
    found = {}
    for name, table in model.embedding.id_tables().items():
        were, are = maps[field_of(name)]
        rows = are[np.isin(were, settled.get(name, []))]
        if field_of(name) not in model.embedding.unknown_rows:  # an id has a row of its own only where it was met
            rows = np.concatenate([rows, np.setdiff1d(np.arange(table.table.shape[0]), are)])
        found[name] = rows
    return found


class _Known:
    """A catalog whose item fields are in the rows of an earlier schema's vocabularies."""

    def __init__(self, inputs: Inputs, schema: Schema):
        catalog, now = inputs.catalog, {field.name: field for field in inputs.schema.side("item")}
        self.ids, self.num_rows, self.numbers = catalog.ids, catalog.num_rows, catalog.numbers
        missing = [
            name for name in (*(field.name for field in schema.side("item")), *schema.numbers) if name not in now and name not in catalog.numbers
        ]
        if missing:
            raise ValueError(f"The catalog must hold the item columns of the training. Received: none for {', '.join(missing)}. Look at data.items.")
        self.fields = {}
        for field in schema.side("item"):
            place = {word: row for row, word in enumerate(field.vocabulary, start=FIRST_ROW)}
            known = [place.get(word, UNKNOWN_ROW) for word in now[field.name].vocabulary]
            rows = np.array([PADDING_ROW, UNKNOWN_ROW, *known], np.int32)[catalog.fields[field.name]]
            width = min(rows.shape[1], field.num_values)  # further values of an item are left out, as in preparation
            self.fields[field.name] = np.zeros((catalog.num_rows, field.num_values), np.int32)
            self.fields[field.name][:, :width] = rows[:, :width]


class _NoItems:
    """A catalog without items, to rebuild a model whose catalog is gone."""

    def __init__(self, schema: Schema):
        self.num_rows = FIRST_ROW
        self.ids = pa.array([], pa.int64() if schema.item_id_type == "int" else pa.string())
        self.fields = {field.name: np.zeros((FIRST_ROW, field.num_values), np.int32) for field in schema.side("item")}
        self.numbers = {name: np.full(FIRST_ROW, np.nan, np.float32) for name in schema.numbers}
