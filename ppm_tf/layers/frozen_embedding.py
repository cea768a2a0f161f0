"""`FrozenEmbedding`: the cached item vectors of one modality, looked up by row."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from ppm_tf.rows import PADDING_ROW


class FrozenEmbedding(keras.layers.Layer):
    """Looks up cached item vectors and puts them on a common scale.

    For a row with a vector `v`, the output is `(v - mean) / scale`, both per dimension over the table's present rows, so
    that what enters a transformer is centred and of unit variance whatever encoder wrote the table. A row without a vector
    (an item without text or image, or an unknown item) gives a learned vector; the padding row gives zeros.

    The table is cached and fixed (PPM, section 3.2.2): it takes no gradient, is not part of checkpoints and saved
    weights, and may be replaced by a longer one of the same encoder with `load_table(..., keep_scale=True)`.

    Args:
        num_rows: int. Rows of the table, padding and unknown row included.
        dim: int. Width of the vectors.
        standardize: bool. Whether to centre and scale. Defaults to `True`.
        table_dtype: string. Dtype the table is kept in. `"int8"` keeps each row as `round(127 v / max|v|)` beside its scale
            `max|v| / 127`, for serving. Defaults to `"float16"`.

    Call arguments:
        rows: integer tensor `[...]`, each in `[0, num_rows)`.

    Returns:
        Tensor `[..., dim]`.

    Example:

    >>> import numpy as np
    >>> layer = FrozenEmbedding(num_rows=4, dim=2)
    >>> layer.load_table(np.array([[0, 0], [0, 0], [1, 2], [3, 6]], "float32"), np.array([False, False, True, True]))
    >>> layer(np.array([[2, 3]])).numpy().tolist()
    [[[-1.0, -1.0], [1.0, 1.0]]]
    """

    def __init__(self, num_rows, dim, standardize=True, table_dtype="float16", **kwargs):
        super().__init__(**kwargs)
        self.num_rows = num_rows
        self.dim = dim
        self.standardize = standardize
        self.table_dtype = table_dtype
        self.table = self.add_weight(name="table", shape=(num_rows, dim), dtype=table_dtype, initializer="zeros", trainable=False, autocast=False)
        self.row_scale = None
        if table_dtype == "int8":
            self.row_scale = self.add_weight(
                name="row_scale", shape=(num_rows,), dtype="float32", initializer="ones", trainable=False, autocast=False
            )
        self.present = self.add_weight(name="present", shape=(num_rows,), dtype="bool", initializer="zeros", trainable=False, autocast=False)
        self.mean = self.add_weight(name="mean", shape=(dim,), initializer="zeros", trainable=False, dtype="float32", autocast=False)
        self.scale = self.add_weight(name="scale", shape=(dim,), initializer="ones", trainable=False, dtype="float32", autocast=False)
        self.missing = self.add_weight(name="missing", shape=(dim,), initializer="zeros")
        self.built = True

    @property
    def cached_variables(self):
        """The variables that hold the table itself; checkpoints leave them out."""
        return [self.table, self.present, *([self.row_scale] if self.row_scale is not None else [])]

    def load_table(self, vectors, present, keep_scale=False):
        """Puts a table into the layer.

        Args:
            vectors: float array `[num_rows, dim]` in catalog row order.
            present: bool array `[num_rows]`, false where an item has no vector.
            keep_scale: bool. Whether to keep the mean and scale of the table loaded before. Defaults to `False`.

        Raises:
            ValueError: a shape differs, or a present vector holds NaN or infinity.
        """
        vectors, present = np.asarray(vectors), np.asarray(present, bool)
        if vectors.shape != (self.num_rows, self.dim) or present.shape != (self.num_rows,):
            raise ValueError(
                f"The table must have shape [{self.num_rows}, {self.dim}] and its flags [{self.num_rows}]. "
                f"Received: {list(vectors.shape)} and {list(present.shape)}."
            )
        bad = np.flatnonzero(present & ~np.isfinite(vectors.astype("float32")).all(axis=1))
        if len(bad):
            raise ValueError(f"Table vectors must be finite. Received: NaN or infinity in {len(bad)} rows, the first is row {bad[0]}.")
        if self.standardize and not keep_scale and present.any():
            mean, deviation = _moments(vectors, np.flatnonzero(present))
            self.mean.assign(mean)
            # A dimension that never varies says nothing; dividing by its zero deviation would.
            self.scale.assign(np.where(deviation > 1e-6, deviation, 1.0))
        vectors = np.where(present[:, None], vectors, 0)
        if self.row_scale is not None:
            scale = np.abs(vectors.astype("float32")).max(axis=1, initial=0.0) / 127.0
            scale = np.where(scale > 0, scale, 1.0)
            self.row_scale.assign(scale)
            vectors = np.rint(vectors.astype("float32") / scale[:, None])
        self.table.assign(vectors.astype(self.table_dtype))
        self.present.assign(present)

    def call(self, rows):
        rows = ops.cast(rows, "int32")
        vectors = ops.take(self.table, rows, axis=0)
        if self.row_scale is not None:
            vectors = ops.cast(vectors, "float32") * ops.expand_dims(ops.take(self.row_scale, rows, axis=0), -1)
        # In float32: where the mean is large beside the deviation, a half would round what differs away before it is subtracted.
        vectors = (ops.cast(vectors, "float32") - self.mean) / self.scale
        vectors = ops.cast(vectors, self.compute_dtype)
        known = ops.expand_dims(ops.take(self.present, rows, axis=0), -1)
        vectors = ops.where(known, vectors, ops.cast(self.missing, self.compute_dtype))
        real = ops.expand_dims(ops.not_equal(rows, PADDING_ROW), -1)
        return ops.where(real, vectors, ops.zeros_like(vectors))

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def save_own_variables(self, store):
        for name in ("mean", "scale", "missing"):
            store[name] = getattr(self, name).numpy() if hasattr(getattr(self, name), "numpy") else np.asarray(getattr(self, name))

    def load_own_variables(self, store):
        for name in ("mean", "scale", "missing"):
            getattr(self, name).assign(store[name])

    def get_config(self):
        config = super().get_config()
        config.update(num_rows=self.num_rows, dim=self.dim, standardize=self.standardize, table_dtype=self.table_dtype)
        return config


def _moments(vectors, rows, block=65536):
    """Mean and standard deviation of some rows, float64 `[D]`. In blocks: float32 sums of millions of rows lose the deviation."""
    parts = [rows[start : start + block] for start in range(0, len(rows), block)]
    mean = sum(vectors[part].astype("float64").sum(axis=0) for part in parts) / len(rows)
    variance = sum(np.square(vectors[part].astype("float64") - mean).sum(axis=0) for part in parts) / len(rows)
    return mean, np.sqrt(variance)
