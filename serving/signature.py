"""`ServingModule`: a ranking model with all that it needs to answer raw ids, as TF Serving loads it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import tensorflow as tf

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.ids import fingerprints, stored_ids
from ppm_tf.data.schema import Schema
from ppm_tf.models.ranking import RankingModel
from ppm_tf.private_apis import cached_variables, replace_value
from ppm_tf.rows import FIRST_ROW, PADDING_ROW, UNKNOWN_ROW
from serving.lookup import RowLookup, fingerprint
from serving.times import check_times, in_seconds
from serving.words import canonical_words


@dataclass(frozen=True)
class Limits:
    """What a request may hold.

    Attributes:
        candidates: most candidates of a request; more are answered with 400.
        pad_id: item id that stands for no item, where ids are integers; strings have "".
    """

    candidates: int = 1000
    pad_id: int = -1


class ServingModule(tf.Module):
    """Raw ids in, one probability a candidate and task out.

    A row of a request is one user: its candidates `[B, N]`, its history `[B, T]` newest first, and what else is known. Of a history
    longer than those of the training the newest behaviors count, as there. Times count what the training's log counted
    (`schema.time_unit`), and ids and words have the spelling they have there. Ids that
    the catalog does not hold are unknown items, and users without a row of their own share hashed ones, as in training. The pad
    id fills rows up; a padding candidate is scored too, and its score means nothing.

    The module holds raw `tf.Variable`s: a `tf.Module` that holds the Keras model loads in Python and fails in the server. Arrays
    of the catalog's length have an unknown first dimension, so that a longer catalog fits the same graph.

    Args:
        model: `RankingModel`, built over `catalog`.
        schema: that of its training.
        catalog: the items.
        limits: what a request may hold.

    Raises:
        ValueError: the catalog holds the pad id, or two ids share a fingerprint.
    """

    def __init__(self, model: RankingModel, schema: Schema, catalog: ItemCatalog, limits: Limits):
        super().__init__(name="ranking")
        self._schema, self._limits, self._integers = schema, limits, schema.item_id_type == "int"
        ids = stored_ids(catalog.ids, schema.item_id_type)
        if self._integers and (ids == limits.pad_id).any():
            raise ValueError(
                f"serve.pad_id must be no item's id. Received: {limits.pad_id}, which the catalog holds. Choose another, such as -9007199254740991."
            )
        self.items = RowLookup(ids, "items")
        self.words = {
            f"{field.side}_{field.name}": RowLookup(fingerprints(pa.array(field.vocabulary, pa.string())), f"{field.side}_{field.name}")
            for field in schema.fields
            if field.side != "item"
        }
        self._numeric = frozenset(f"{field.side}_{field.name}" for field in schema.fields if field.numeric)
        self._has_users = model.embedding.users is not None
        free_catalog_variables(model)
        self.variables_of_model = [variable.value for variable in model.variables]
        free = [place for place, variable in enumerate(self.variables_of_model) if variable.shape.rank and variable.shape[0] is None]
        self._catalog_keys = frozenset(
            f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("items/keys", *(f"variables_of_model/{place}" for place in free))
        )
        # Behind a function, so that tf.Module does not track the Keras model.
        self._model = lambda batch: model(batch, training=False)
        self._vectors = model.item_vectors

    @property
    def catalog_keys(self) -> frozenset[str]:
        """The names, in a checkpoint of the module, of what belongs to the catalog and not to the model."""
        return self._catalog_keys

    def inputs(self) -> dict[str, tf.TensorSpec]:
        """The inputs of `serving_default`, by name."""
        schema, item = self._schema, tf.int64 if self._integers else tf.string
        specs = {"candidate_ids": ([None, None], item), "history_ids": ([None, None], item)}
        if schema.has_time:
            specs |= {"history_times": ([None, None], tf.int64), "time": ([None], tf.int64)}
        if self._has_users:
            specs["user_id"] = ([None], tf.int64 if schema.user_id_type == "int" else tf.string)
        specs |= {name: ([None, None], tf.string) for name in self.words}
        return {name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in specs.items()}

    def rank(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of each task, float32 `[B, N]`, by the task's name."""
        schema = self._schema
        rank = {name: len(spec.shape) for name, spec in self.inputs().items()}
        # The server does not check declared shapes; these ops do, and their failure is a 400.
        inputs = {name: tf.ensure_shape(value, [None] * rank[name]) for name, value in inputs.items()}
        requests, candidates = tf.shape(inputs["candidate_ids"])[0], tf.shape(inputs["candidate_ids"])[1]
        checks = [
            tf.debugging.assert_equal(tf.shape(value)[0], requests, f"{name} must have one row a request, as candidate_ids has.")
            for name, value in inputs.items()
            if name != "candidate_ids"
        ]
        checks += [
            tf.debugging.assert_positive(candidates, "candidate_ids must hold at least one candidate a request."),
            tf.debugging.assert_less_equal(
                candidates, self._limits.candidates, f"candidate_ids must hold at most {self._limits.candidates} candidates a request."
            ),
        ]
        if schema.has_time:
            checks += check_times(inputs["time"], inputs["history_times"], self._is_padding(inputs["history_ids"]), schema)
        with tf.control_dependencies(checks):  # nothing is computed from a request that is not what it should be
            inputs = {name: tf.identity(value) for name, value in inputs.items()}
        inputs |= {
            name: inputs[name][:, : schema.history_length] for name in ("history_ids", "history_times") if name in inputs
        }  # the newest come first
        batch = {"item": self.rows_of(inputs["candidate_ids"]), "history": self.rows_of(inputs["history_ids"])}
        batch["user_id"] = self._stored(inputs["user_id"]) if self._has_users else tf.zeros([requests], tf.int64)
        if schema.has_time:
            batch |= {"time": in_seconds(inputs["time"], schema.time_unit), "history_time": in_seconds(inputs["history_times"], schema.time_unit)}
        for side in ("user", "context"):
            fields = schema.side(side)
            if fields:
                batch[side] = tf.concat(
                    [self._word_rows(f"{side}_{field.name}", inputs[f"{side}_{field.name}"], field.num_values) for field in fields], axis=1
                )
        probabilities = tf.sigmoid(tf.cast(self._model(batch), tf.float32))
        return {task: probabilities[:, :, place] for place, task in enumerate(schema.tasks)}

    def embed(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the model knows of items: `vectors`, float32 `[B, D]`, and whether the catalog holds them, `known`, bool `[B]`."""
        rows = self.rows_of(tf.ensure_shape(item_ids, [None]))
        return {"vectors": tf.cast(self._vectors(rows), tf.float32), "known": rows >= FIRST_ROW}

    def rows_of(self, ids: tf.Tensor) -> tf.Tensor:
        """Catalog rows of raw item ids: padding, unknown, or the item's."""
        padding, places = self._is_padding(ids), self.items(self._stored(ids))
        return tf.where(padding, PADDING_ROW, tf.where(places >= 0, places + FIRST_ROW, UNKNOWN_ROW))

    def _is_padding(self, ids: tf.Tensor) -> tf.Tensor:
        return ids == self._limits.pad_id if self._integers else canonical_words(ids, self._schema.missing) == ""

    def _stored(self, ids: tf.Tensor) -> tf.Tensor:
        return fingerprint(canonical_words(ids, self._schema.missing)) if ids.dtype == tf.string else ids

    def _word_rows(self, name: str, words: tf.Tensor, width: int) -> tf.Tensor:
        """Vocabulary rows `[B, width]` of a field's values `[B, M]`; "" and its like are no value, further ones are left out."""
        words = canonical_words(words, self._schema.missing, name in self._numeric)
        places = self.words[name](fingerprint(words))
        rows = tf.where(words == "", PADDING_ROW, tf.where(places >= 0, places + FIRST_ROW, UNKNOWN_ROW))[:, :width]
        return tf.pad(rows, [[0, 0], [0, width - tf.shape(rows)[1]]])


def free_catalog_variables(model: RankingModel) -> None:
    """Gives the variables of the catalog's length an unknown first dimension.

    Keras fixes a variable's shape, and a graph that was traced over it refuses a longer table; so the TensorFlow variable
    behind each is replaced.
    """
    for variable in cached_variables(model):
        value = variable.value
        replace_value(variable, tf.Variable(value, trainable=False, shape=[None, *value.shape[1:]], dtype=value.dtype, name=variable.name))
