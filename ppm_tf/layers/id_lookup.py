"""`IdLookup`: raw ids to rows of a table, inside the graph."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ppm_tf.rows import FIRST_UNKNOWN_ROW


class IdLookup(keras.layers.Layer):
    """Finds the rows of int64 ids by bisection: the same rows as `ppm_tf.data.id_vocabulary.IdVocabulary.rows_of`.

    Rows 1 to `unknown_rows` are shared by the ids without an own row, by `1 + mixed(id) mod unknown_rows`; the ids of the
    vocabulary follow in its order. The ids are variables of the layer (12 bytes each), fixed and part of the saved weights.

    Args:
        num_ids: int. Ids with an own row.
        unknown_rows: int. Rows that the others are hashed into.

    Call arguments:
        ids: int64 tensor `[...]`.

    Returns:
        int32 tensor `[...]` of rows, each at least 1.

    Example:

    >>> import numpy as np
    >>> lookup = IdLookup(num_ids=2, unknown_rows=1)
    >>> lookup.load_ids([70, 50])
    >>> lookup(np.array([50, 70, 99])).numpy().tolist()
    [3, 2, 1]
    """

    def __init__(self, num_ids, unknown_rows, **kwargs):
        super().__init__(**kwargs)
        self.num_ids = num_ids
        self.unknown_rows = unknown_rows
        self.sorted_ids = self.add_weight(name="sorted_ids", shape=(num_ids,), dtype="int64", initializer="zeros", trainable=False, autocast=False)
        self.rows = self.add_weight(name="rows", shape=(num_ids,), dtype="int32", initializer="zeros", trainable=False, autocast=False)
        self.built = True

    def load_ids(self, ids):
        """Puts the ids of a vocabulary into the layer.

        Args:
            ids: int64 array `[num_ids]` in the order of their rows, without repetitions.

        Raises:
            ValueError: another number of ids, or an id is there twice.
        """
        ids = np.asarray(ids, np.int64)
        if ids.shape != (self.num_ids,) or len(np.unique(ids)) != len(ids):
            raise ValueError(f"There must be {self.num_ids} different ids. Received: {len(np.unique(ids))} in an array of shape {list(ids.shape)}.")
        order = np.argsort(ids)
        self.sorted_ids.assign(ids[order])
        self.rows.assign((FIRST_UNKNOWN_ROW + self.unknown_rows + order).astype(np.int32))

    def call(self, ids):
        ids = tf.cast(ids, tf.int64)
        unknown = FIRST_UNKNOWN_ROW + tf.cast(mixed(ids) % self.unknown_rows, tf.int32)
        if not self.num_ids:
            return unknown
        found = tf.searchsorted(self.sorted_ids.value, tf.reshape(ids, [-1]))
        found = tf.reshape(tf.minimum(found, self.num_ids - 1), tf.shape(ids))
        return tf.where(tf.gather(self.sorted_ids.value, found) == ids, tf.gather(self.rows.value, found), unknown)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = super().get_config()
        config.update(num_ids=self.num_ids, unknown_rows=self.unknown_rows)
        return config


def mixed(ids):
    """A 63-bit hash of int64 ids: the finalizer of SplitMix64 (Steele et al., 2014), without its sign bit."""
    ids = (ids ^ _shifted(ids, 30)) * tf.constant(0xBF58476D1CE4E5B9 - 2**64, tf.int64)
    ids = (ids ^ _shifted(ids, 27)) * tf.constant(0x94D049BB133111EB - 2**64, tf.int64)
    return (ids ^ _shifted(ids, 31)) & tf.constant(2**63 - 1, tf.int64)


def _shifted(ids, bits):
    """A shift to the right that draws in zeros; TensorFlow's repeats the sign of a signed integer."""
    return tf.bitwise.right_shift(ids, tf.constant(bits, tf.int64)) & tf.constant(2 ** (64 - bits) - 1, tf.int64)
