"""Going on from an earlier ranking model whose vocabularies were shorter, or in another order."""

from __future__ import annotations

import keras
import numpy as np

from ppm_tf.data.schema import Schema
from ppm_tf.layers.frozen_embedding import FrozenEmbedding
from ppm_tf.layers.id_embedding import IdEmbedding
from ppm_tf.models.feature_embedding import ITEM_ID, USER_ID, field_of
from ppm_tf.models.ranking import RankingModel
from ppm_tf.models.vocabularies import Vocabularies
from ppm_tf.private_apis import all_layers, cached_variables
from ppm_tf.rows import FIRST_ROW, FIRST_UNKNOWN_ROW, UNKNOWN_ROW


def carry_over(
    old: RankingModel,
    new: RankingModel,
    old_schema: Schema,
    new_schema: Schema,
    old_ids: Vocabularies,
    new_ids: Vocabularies,
    ppm_share: float = 1.0,
    ids_alone: bool = False,
) -> int:
    """Gives `new` all that `old` has learnt.

    A row that `old` does not have begins as what `old` read in its place: an id's as the hashed row of that id, a word's as the row of
    unknown words. So the new model scores as the old one until it learns more.

    Args:
        old: a trained model.
        new: a built model of the same settings.
        old_schema: what `old` was trained on.
        new_schema: what `new` is for. Its fields must have the same names; their vocabularies may differ.
        old_ids: id vocabularies of `old`.
        new_ids: those of `new`, grown from `old_ids`.
        ppm_share: what `old`'s weights of the plug-in count beside those of `new`: 1: they are carried over, 0: `new` keeps its own, between:
            both are mixed.
        ids_alone: whether the id tables are all that is carried over; the models may differ in all else, and in which tables they have.

    Returns:
        How many embedding rows are new.

    Raises:
        ValueError: a weight has another shape in the earlier model, so its settings were others; or plug-ins are to be mixed whose
            weights belong to item vectors on other scales.
    """
    maps = rows_of_fields(old_schema, new_schema, old_ids, new_ids)
    old_tables, new_tables = old.embedding.id_tables(), new.embedding.id_tables()
    if ids_alone:
        new_tables = {name: table for name, table in new_tables.items() if name in old_tables and table.dim == old_tables[name].dim}
    if not new_tables or not ids_alone and set(old_tables) != set(new_tables):
        raise ValueError(f"model.warm_start must have the same fields. Received: {sorted(old_tables)} there, {sorted(new_tables)} here.")
    fresh = 0
    for name, table in new_tables.items():
        old_rows, new_rows = maps[field_of(name)]
        values, learnt = np.array(table.table), np.array(old_tables[name].table)
        values[new_rows] = learnt[old_rows]
        others = np.setdiff1d(np.arange(len(values)), new_rows)
        values[others] = learnt[_read_before(others, field_of(name), new_ids)]
        table.table.assign(values)
        fresh += len(others)
    if ids_alone:
        return fresh
    mixed = _to_be_mixed(old, new) if 0.0 < ppm_share < 1.0 else frozenset()
    mine, theirs = (_other_variables(model, with_ppm=ppm_share > 0.0) for model in (old, new))
    if [variable.shape for variable in mine] != [variable.shape for variable in theirs]:
        raise ValueError(
            "model.warm_start must be a model of the same settings. Received: one whose weights have other shapes. "
            "Look at model.backbone, model.dim and model.ppm."
        )
    for source, target in zip(mine, theirs, strict=True):
        target.assign(ppm_share * np.array(source) + (1.0 - ppm_share) * np.array(target) if id(target) in mixed else source)
    return fresh


def _read_before(rows: np.ndarray, field: str, new_ids: Vocabularies) -> np.ndarray:
    """Which rows of the earlier model's table stood for what has a row of its own now, `[rows]`."""
    ids = {f"item.{ITEM_ID}": new_ids.items, f"user.{USER_ID}": new_ids.users}.get(field)
    return np.full(len(rows), UNKNOWN_ROW) if ids is None else ids.hashed_rows(ids.ids[rows - FIRST_UNKNOWN_ROW - ids.unknown_rows])


def rows_of_tables(
    new: RankingModel, old_schema: Schema, new_schema: Schema, old_ids: Vocabularies, new_ids: Vocabularies
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Of each id table of `new`, by the `id` of its variable, the rows that the earlier model's has too: where they were, and where they are.

    What is kept beside a weight, such as an optimiser's slots, is carried over by them. Arguments as of `carry_over`.
    """
    maps = rows_of_fields(old_schema, new_schema, old_ids, new_ids)
    return {id(layer.table): maps[field_of(name)] for name, layer in new.embedding.id_tables().items()}


def carry_inner(old: RankingModel, new: RankingModel) -> int:
    """Gives `new` all weights of `old` but those of the outputs: those whose shape depends on how many outputs a model has.

    Args:
        old: a trained model.
        new: a built model of the same settings and data, with another number of outputs.

    Returns:
        How many weights `new` keeps as it had them.
    """
    kept = 0
    for mine, theirs in zip(old.variables, new.variables, strict=True):
        if mine.shape == theirs.shape:
            theirs.assign(mine)
        else:
            kept += theirs.shape.num_elements()
    return kept


def _to_be_mixed(old: RankingModel, new: RankingModel) -> frozenset[int]:
    """The weights of `new`'s plug-in; what tells how item vectors are scaled is the same in both, and random states are no weights."""
    pairs = [
        (name, getattr(old.ppm.tables[name], what), getattr(table, what)) for name, table in new.ppm.tables.items() for what in ("mean", "scale")
    ]
    if others := dict.fromkeys(name for name, mine, theirs in pairs if not np.array_equal(np.array(mine), np.array(theirs))):
        raise ValueError(
            "model.warm_start_ppm=average mixes two PPMs of one line, which see item vectors on one scale. Received: other means or deviations of"
            f" the vectors of {', '.join(others)}. Remedy: let the run's PPM go on from the one before (ppm.warm_start), or take"
            " model.warm_start_ppm=replace."
        )
    scales = {id(one) for table in new.ppm.tables.values() if isinstance(table, FrozenEmbedding) for one in (table.mean, table.scale)}
    return frozenset(id(weight) for weight in new.ppm.weights) - scales


def _other_variables(model: RankingModel, with_ppm: bool) -> list[keras.Variable]:
    """What is neither an id table nor the data's own (catalog, item tables, user ids), nor perhaps the plug-in's."""
    data = cached_variables(model)
    data += model.embedding.users.variables if model.embedding.users is not None else []
    tables = [layer.table for layer in all_layers(model) if isinstance(layer, IdEmbedding)]
    plug_in = model.ppm.variables if model.ppm is not None and not with_ppm else []
    left_out = {id(variable) for variable in (*data, *tables, *plug_in)}
    return [variable for variable in model.variables if id(variable) not in left_out]


def rows_of_fields(old_schema: Schema, new_schema: Schema, old_ids: Vocabularies, new_ids: Vocabularies) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each field, `<side>.<field>`, the rows that both models have: where they were, and where they are."""
    maps = {}
    old_fields = {(field.side, field.name): field for field in old_schema.fields}
    for field in new_schema.fields:
        old = old_fields.get((field.side, field.name))
        if old is None:
            continue
        place = {word: row for row, word in enumerate(old.vocabulary)}
        both = [(place[word], row) for row, word in enumerate(field.vocabulary) if word in place]
        rows = np.array(both, np.int64).reshape(-1, 2) + FIRST_ROW
        first = np.arange(FIRST_ROW)
        maps[f"{field.side}.{field.name}"] = (np.concatenate([first, rows[:, 0]]), np.concatenate([first, rows[:, 1]]))
    for name, old, new in ((f"item.{ITEM_ID}", old_ids.items, new_ids.items), (f"user.{USER_ID}", old_ids.users, new_ids.users)):
        if old is not None and new is not None:
            rows = np.arange(old.num_rows)  # a grown vocabulary appends
            maps[name] = (rows, rows)
    return maps
