"""`RowLookup`: raw ids to rows inside a served graph, by a hash table filled from a variable."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import lookup_ops


class RowLookup(tf.Module):
    """Finds the place of int64 keys in a list of them.

    The keys lie in a variable of unknown length, never in the graph: the graph stays small whatever the catalog, and the
    keys can be replaced by rewriting the variables of an export. The hash table is filled from it when the model is loaded.

    Args:
        keys: int64 array `[K]` without repetitions.
        name: name of the variable.

    Raises:
        ValueError: a key is there twice.
    """

    def __init__(self, keys: np.ndarray, name: str):
        super().__init__(name=name)
        keys = np.asarray(keys, np.int64)
        unique = np.unique(keys)
        if unique.size != keys.size:
            raise ValueError(
                f"The ids of {name} must differ. Received: {keys.size - unique.size} repetitions; for string ids two may share a 63-bit fingerprint:"
                " rename one of them."
            )
        self.keys = tf.Variable(keys, trainable=False, shape=[None], name=f"{name}_keys")
        self.table = tf.lookup.StaticHashTable(_FromVariable(self.keys), default_value=-1)

    def __call__(self, keys: tf.Tensor) -> tf.Tensor:
        """The place of each key, int32 of the same shape; -1 for one that is not in the list."""
        return tf.cast(self.table.lookup(keys), tf.int32)


class _FromVariable(lookup_ops.TableInitializerBase):
    """Fills a table with key i -> i from a variable, each time the model is loaded."""

    def __init__(self, keys: tf.Variable):
        super().__init__(tf.int64, tf.int64)
        self._keys = keys

    def initialize(self, table):
        keys = self._keys.read_value()
        return tf.raw_ops.InitializeTableV2(table_handle=table.resource_handle, keys=keys, values=tf.range(tf.size(keys, out_type=tf.int64)))


def fingerprint(values: tf.Tensor) -> tf.Tensor:
    """Strings as int64, as they are stored everywhere else: see `ppm_tf.data.ids.fingerprints`."""
    from ppm_tf.data.ids import FINGERPRINT_BUCKETS

    return tf.strings.to_hash_bucket_fast(values, FINGERPRINT_BUCKETS)
