"""`IdEmbedding`: the trained vectors of an id field, in a table of any length."""

from __future__ import annotations

import keras
import tensorflow as tf

from ppm_tf.rows import PADDING_ROW


class IdEmbedding(keras.layers.Layer):
    """Looks up trained vectors by row, at a cost that depends on the rows asked for and not on the table's length.

    The output of row `r` is `table[r]`, and zeros for the padding row 0, which gets no gradient. The gradient of the table
    is a `tf.IndexedSlices`, and nothing here reads the table as a whole: a variable that is read as a whole is copied by
    the next scattered update, all rows of it. `ppm_tf.training.optimizers.ranking_optimizer` updates the rows of a batch in place.

    Args:
        num_rows: int. Rows of the table, the padding row included.
        dim: int. Width of the vectors.
        initializer_stddev: float. Standard deviation of the Gaussian initial values. Defaults to `0.01` (PPM, section 4.2.3).

    Call arguments:
        rows: integer tensor `[...]`, each in `[0, num_rows)`.

    Returns:
        Tensor `[..., dim]` in the compute dtype; the table itself is float32.

    Example:

    >>> import numpy as np
    >>> layer = IdEmbedding(num_rows=4, dim=2)
    >>> _ = layer.table.assign([[9, 9], [1, 2], [3, 4], [5, 8]])
    >>> layer(np.array([[0, 2]])).numpy().tolist()
    [[[0.0, 0.0], [3.0, 4.0]]]
    >>> layer.pooled(np.array([[2, 3, 0], [0, 0, 0]])).numpy().tolist()
    [[4.0, 6.0], [0.0, 0.0]]
    """

    def __init__(self, num_rows, dim, initializer_stddev=0.01, **kwargs):
        super().__init__(**kwargs)
        self.num_rows = num_rows
        self.dim = dim
        self.initializer_stddev = initializer_stddev
        # Without autocast: mixed precision would cast, and so read, all rows.
        self.table = self.add_weight(
            name="table",
            shape=(num_rows, dim),
            dtype="float32",
            initializer=keras.initializers.RandomNormal(stddev=initializer_stddev),
            autocast=False,
        )
        self.built = True

    def call(self, rows):
        return tf.cast(self._look_up(tf.cast(rows, tf.int32)), self.compute_dtype)

    def pooled(self, rows):
        """The vectors of a field of several values: the mean over the rows that are no padding, zeros where there are none.

        Args:
            rows: integer tensor `[..., M]`.

        Returns:
            Tensor `[..., dim]`.
        """
        rows = tf.cast(rows, tf.int32)
        total = tf.reduce_sum(self._look_up(rows), axis=-2)
        count = tf.reduce_sum(tf.cast(rows != PADDING_ROW, tf.float32), axis=-1, keepdims=True)
        return tf.cast(total / tf.maximum(count, 1.0), self.compute_dtype)

    def _look_up(self, rows):
        vectors = tf.nn.embedding_lookup(self.table.value, rows)
        return tf.where(tf.expand_dims(rows != PADDING_ROW, -1), vectors, 0.0)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def get_config(self):
        config = super().get_config()
        config.update(num_rows=self.num_rows, dim=self.dim, initializer_stddev=self.initializer_stddev)
        return config
