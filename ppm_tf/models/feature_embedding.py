"""`FeatureEmbedding`: a batch of rows to the `Features` that every backbone reads."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ppm_tf.layers.features import Features
from ppm_tf.layers.frozen_embedding import FrozenEmbedding
from ppm_tf.layers.fusion_mlp import FusionMLP
from ppm_tf.layers.id_embedding import IdEmbedding
from ppm_tf.layers.id_lookup import IdLookup
from ppm_tf.layers.item_attributes import ItemAttributes
from ppm_tf.layers.moe_adaptor import MoEAdaptor
from ppm_tf.layers.similarity_histogram import SimilarityHistogram
from ppm_tf.models.ppm import recency
from ppm_tf.private_apis import layers_may_change
from ppm_tf.rows import FIRST_ROW, FIRST_UNKNOWN_ROW, UNKNOWN_ROW

USER_ID = "user_id"
ITEM_ID = "item_id"
TRAINABLE = "trainable"  # beside the names of item tables: the one that is learnt
FIRST_ORDER = ".linear"  # behind a field's name: its table of first-order weights


class FeatureEmbedding(keras.layers.Layer):
    """One embedding table a field, shared by the candidates and the histories.

    A sample holds catalog rows; what an item is, its fields and numbers, is looked up by row in `attributes`, in training and
    in serving alike. An item table with vectors of its own (titles, images) enters as one more item field (MF2; CELA, eq. 13):
    through one projection for candidates and behaviors to the common width, computed once for each different item of the batch.

    Args:
        attributes: `ItemAttributes`, with the fields of the items; its field `item_id`, if there, holds the id's own rows.
        item_rows: dict of item field -> rows of its table.
        user_fields: dict of user field -> (rows of its table, values at most), in the order of `batch["user"]`.
        context_fields: the same for the request, in the order of `batch["context"]`.
        users: `IdLookup` of the user ids, or `None`, when the user id is no field.
        tables: dict of name -> `FrozenEmbedding`, item tables that are further item fields.
        dim: int. Width of an embedding. Defaults to `16`.
        fusion: `"dense"`, `"mlp"` (`FusionMLP`) or `"adaptor"` (`MoEAdaptor`), the projection of table vectors. Defaults to `"dense"`.
        similarity_bins: int. Bins of each table's `SimilarityHistogram` in `other`; 0 leaves them out. Defaults to `0`.
        trainable_width: int. Width of a trainable table by item id that enters as `tables` do (CELA's Scaled); 0 leaves it out. Defaults to `0`.
        first_order: bool. Whether the backbone reads `first_order`; else it is zeros. Defaults to `False`.
        initializer_stddev: float. Of the Gaussian initial embeddings. Defaults to `0.01`.
        unknown_items: int. Rows of the field `item_id` that ids without a row of their own are hashed into. Defaults to `1`.

    Call arguments:
        batch: dict with `history` `[R, T]`, `item` `[R, N]`, `user_id` `[R]` and, where the data has them, `user`, `context`,
            `time` with `history_time`.

    Returns:
        `Features`; `recency` is `None` where the data has no times.
    """

    def __init__(
        self,
        attributes: ItemAttributes,
        item_rows: Mapping[str, int],
        user_fields: Mapping[str, tuple[int, int]],
        context_fields: Mapping[str, tuple[int, int]],
        users: IdLookup | None = None,
        tables: Mapping[str, FrozenEmbedding] | None = None,
        dim: int = 16,
        fusion: str = "dense",
        similarity_bins: int = 0,
        trainable_width: int = 0,
        first_order: bool = False,
        initializer_stddev: float = 0.01,
        unknown_items: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.attributes = attributes
        self.users = users
        self.frozen = dict(tables or {})
        self.dim = dim
        self.unknown_rows = {f"item.{ITEM_ID}": unknown_items, f"user.{USER_ID}": users.unknown_rows if users is not None else 0}
        if not item_rows and not self.frozen:
            raise ValueError(
                "A ranking model needs at least one item field. Received: model.item_id=false, no item fields in the data, and model.tables=[]."
            )
        self.widths = {
            "user": {name: width for name, (_, width) in user_fields.items()},
            "context": {name: width for name, (_, width) in context_fields.items()},
        }
        # A field is named by its side too: an item and a user may both have a `city`. One flat dict, because Keras saves no nested one.
        rows = {("item", name): count for name, count in item_rows.items()}
        rows |= {(side, name): count for side, fields in (("user", user_fields), ("context", context_fields)) for name, (count, _) in fields.items()}
        if users is not None:
            rows["user", USER_ID] = FIRST_UNKNOWN_ROW + users.unknown_rows + users.num_ids
        self.names = {side: [name for other, name in rows if other == side] for side in ("item", "user", "context")}
        self.embeddings = {
            f"{side}.{name}": IdEmbedding(count, dim, initializer_stddev, name=f"{side}_{name}") for (side, name), count in rows.items()
        }
        self.linear = {}
        if first_order:
            self.linear = {
                f"{side}.{name}": IdEmbedding(count, 1, initializer_stddev, dtype="float32", name=f"{side}_{name}_first_order")
                for (side, name), count in rows.items()
            }
        # The vectors themselves, which serving needs beside the folded tables.
        self.compared = dict(self.frozen) if similarity_bins else {}
        if trainable_width:
            self.frozen[TRAINABLE] = IdEmbedding(item_rows[ITEM_ID], trainable_width, initializer_stddev, name=TRAINABLE)
        self.projections = {name: self._projection(name, fusion, initializer_stddev) for name in self.frozen}
        self.folded = False
        self.histogram = SimilarityHistogram(similarity_bins, name="histogram") if similarity_bins else None

    def _projection(self, name, fusion, initializer_stddev):
        settings = {"dtype": self.dtype_policy, "name": f"{name}_projection"}
        if fusion == "dense" and name != TRAINABLE:
            # Cached vectors have unit variance: a field of them starts at the scale of the embeddings beside it, and does not drown them.
            settings["kernel_initializer"] = keras.initializers.VarianceScaling(initializer_stddev**2, "fan_in", "untruncated_normal")
        return {"dense": keras.layers.Dense, "mlp": FusionMLP, "adaptor": MoEAdaptor}[fusion](self.dim, **settings)

    def build(self, batch_shape=None):
        for layer in [*self.embeddings.values(), *self.linear.values()]:
            layer.build((None,))
        for name, layer in self.projections.items():
            layer.build((None, self.frozen[name].dim))
        self.built = True

    def shapes(self, history_length, num_candidates):
        """Shapes of the `Features` of requests of this size, as a `Features` of tuples."""
        items = len(self.names["item"]) + len(self.frozen)
        return Features(
            user=(None, len(self.names["user"]), self.dim),
            context=(None, len(self.names["context"]), self.dim),
            history=(None, history_length, items, self.dim),
            recency=(None, history_length),
            mask=(None, history_length),
            item=(None, num_candidates, items, self.dim),
            other=(
                None,
                num_candidates,
                2 * self.attributes.num_numbers + sum(self.histogram.num_bins for _ in self.compared),
            ),
            first_order=(None, num_candidates, 1),
        )

    def call(self, batch, training=False):
        history, item = batch["history"], batch["item"]
        of_history, of_item = self.attributes(history), self.attributes(item)
        values = {**self._values(batch, "user"), **({USER_ID: self.users(batch["user_id"])[:, None]} if self.users is not None else {})}
        context = self._values(batch, "context")
        first_order = ops.zeros((*ops.shape(item), 1), "float32")
        if self.linear:
            request = self._first_order("user", values) + self._first_order("context", context)
            first_order = first_order + self._first_order("item", of_item) + (ops.expand_dims(request, 1) if len(values) + len(context) else 0.0)
        requests = ops.shape(item)[:1]
        mask = ops.not_equal(history, 0)
        other = self.attributes.numbers(item)
        if self.compared:
            found = [self.histogram(table(history), table(item), mask) for table in self.compared.values()]
            other = ops.concatenate([other, *(ops.cast(one, other.dtype) for one in found)], axis=-1)
        tables_of_history, tables_of_item = self._of_tables([history, item], training)
        return Features(
            user=self._embed("user", values, requests),
            context=self._embed("context", context, requests),
            history=self._of_items(of_history, tables_of_history),
            recency=recency(batch),
            mask=mask,
            item=self._of_items(of_item, tables_of_item),
            other=other,
            first_order=first_order,
        )

    def items(self, rows):
        """The fields of items, `[..., Fi, D]`, from their catalog rows `[...]`."""
        return self._of_items(self.attributes(rows), *self._of_tables([rows]))

    def id_vectors(self, rows):
        """What the model knows of items by their ids and fields alone, `[..., Fi * D]`, without the fields of tables (CELA, eq. 8)."""
        values = self.attributes(rows)
        return ops.concatenate([self.embeddings[f"item.{name}"].pooled(values[name]) for name in self.names["item"]], axis=-1)

    def initial_values(self):
        """What was not learnt yet: dict of table name -> array `[rows, D]`.

        All rows of a field's table, of an id's those that strangers are hashed into.
        """
        return {name: np.array(layer.table[: self._may_be_strange(name, layer)]) for name, layer in self.id_tables().items()}

    def still_strange(self, before, strangers):
        """Says that some rows are as unlearnt as initial ones, though they have another value: the mean that an earlier training gave them.

        Args:
            before: `initial_values()`; the rows get the values that they have now, in place.
            strangers: dict of table name -> rows.
        """
        for name, layer in self.id_tables().items():
            if name in strangers:
                before[name][strangers[name]] = np.array(layer.table)[strangers[name]]

    def settle_strangers(self, before):
        """Gives the rows that never trained a meaning.

        With `min_count` 1 every value of the data has a row of its own, so the row of unknown values never trains, nor does that of a
        value whose items no request showed, and of ids no row is hashed into; whatever comes later, such as a new brand or item,
        would get the random vector that the row began with. Such rows become the mean of those that trained: the least that is known of a value.

        Args:
            before: `initial_values()` of the model as it was built, before the weights of an earlier one were put into it; a row
                that is still the same was learnt by neither. See `still_strange` for rows that the earlier training settled.

        Returns:
            The rows that were settled, by table.
        """
        settled = {}
        for name, layer in self.id_tables().items():
            values, some = np.array(layer.table), self._may_be_strange(name, layer)
            strange = np.zeros(len(values), bool)
            strange[:some] = (values[:some] == before[name]).all(axis=1)
            strange[:UNKNOWN_ROW] = False  # padding has no value
            learnt = ~strange
            learnt[: UNKNOWN_ROW if field_of(name) in self.unknown_rows else FIRST_ROW] = False
            if strange.any() and learnt.any():
                values[strange] = values[learnt].mean(axis=0)
                layer.table.assign(values)
                settled[name] = np.flatnonzero(strange)
        return settled

    def id_tables(self):
        """Every trained table by id or value: dict of name -> `IdEmbedding`; `field_of(name)` is the field that its rows are of."""
        tables = self.embeddings | {f"{name}{FIRST_ORDER}": layer for name, layer in self.linear.items()}
        return tables | ({f"item.{ITEM_ID}.{TRAINABLE}": self.frozen[TRAINABLE]} if TRAINABLE in self.frozen and not self.folded else {})

    def _may_be_strange(self, name, layer):
        """How many rows of a table, from the first, training may have passed by; an id has a row of its own only where it was met."""
        unknown = self.unknown_rows.get(field_of(name))
        return layer.table.shape[0] if unknown is None else FIRST_UNKNOWN_ROW + unknown

    def fold_tables(self):
        """Replaces each item table and its dense layer by a table of what comes out: the same scores from fewer numbers an item.

        For serving. The dense layers are gone afterwards, so the model must not be trained on, nor saved as weights.
        """
        with layers_may_change(self):
            rows = ops.arange(self.attributes.num_rows)
            for name in self.frozen:
                folded = FrozenEmbedding(len(rows), self.dim, standardize=False, table_dtype="float32", name=f"{name}_folded")
                folded.load_table(ops.convert_to_numpy(self.projections[name](self._vectors(name, rows))), [True] * len(rows))
                self.frozen[name] = folded
                self.projections[name] = keras.layers.Identity()
        self.folded = True

    def _values(self, batch, side):
        """Vocabulary rows of each field of a side, `[R, values]`."""
        found, start = {}, 0
        for name, width in self.widths[side].items():
            found[name] = batch[side][:, start : start + width]
            start += width
        return found

    def _embed(self, side, values, leading):
        """The fields of a side beside each other, `[..., F, D]`."""
        if not values:
            return ops.zeros((*leading, 0, self.dim), self.compute_dtype)
        return ops.stack([self.embeddings[f"{side}.{name}"].pooled(rows) for name, rows in values.items()], axis=-2)

    def _of_items(self, values, of_tables):
        fields = [self.embeddings[f"item.{name}"].pooled(values[name]) for name in self.names["item"]]
        return ops.stack([*fields, *of_tables], axis=-2)

    def _of_tables(self, groups, training=False):
        """The fields of the tables: for each tensor of catalog rows in `groups`, a list of `[..., D]`, one a table."""
        if not self.frozen:
            return [[] for _ in groups]
        if self.folded:
            return [[self._projected(name, rows) for name in self.frozen] for rows in groups]
        # An item that stands in many histories of the batch goes through the projection once.
        rows, place = tf.unique(tf.concat([tf.reshape(tf.cast(group, tf.int32), [-1]) for group in groups], axis=0))
        sizes = [tf.size(group) for group in groups]
        found = [[] for _ in groups]
        for name in self.frozen:
            projected = tf.gather(self._projected(name, rows, training), place)
            for part, group, mine in zip(tf.split(projected, sizes), groups, found, strict=True):
                mine.append(tf.reshape(part, [*tf.unstack(tf.shape(group)), self.dim]))
        return found

    def _projected(self, name, rows, training=False):
        layer, vectors = self.projections[name], self._vectors(name, rows)
        vectors = layer(vectors, training=training) if isinstance(layer, (FusionMLP, MoEAdaptor)) else layer(vectors)
        # What the projection adds must not speak for padding.
        return vectors * ops.expand_dims(ops.cast(ops.not_equal(rows, 0), vectors.dtype), -1)

    def _vectors(self, name, rows):
        """What a table, cached or trainable, holds of items, by their catalog rows."""
        table = self.frozen[name]
        return table.pooled(self.attributes(rows)[ITEM_ID]) if isinstance(table, IdEmbedding) else table(rows)

    def _first_order(self, side, values):
        return sum(self.linear[f"{side}.{name}"].pooled(values[name]) for name in self.names[side])


def field_of(name):
    """The field of a table, `<side>.<field>`; the table's name may go on with what it holds of the field."""
    return name.removesuffix(FIRST_ORDER).removesuffix(f".{TRAINABLE}")
