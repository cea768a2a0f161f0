"""`ItemAttributes`: what the catalog says of an item, looked up by its row."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


class ItemAttributes(keras.layers.Layer):
    """Vocabulary rows of each item field and the normalised numbers of an item, by catalog row.

    A number `v` becomes `(s - mean) / scale` with `s = sign(v) log(1 + |v|)`, mean and scale over the catalog, cut at five
    deviations; a missing one becomes 0, and a flag beside it says so. Like item tables these arrays are the catalog's: they
    take no gradient and are in no checkpoint, except mean and scale, which stay as they were in training.

    Args:
        num_rows: int. V, rows of the catalog.
        widths: dict of field name -> values an item has at most.
        num_numbers: int. Numeric columns. Defaults to `0`.

    Call arguments:
        rows: integer tensor `[...]`.

    Returns:
        dict of field name -> int32 `[..., values]`, vocabulary rows, 0 = none.
    """

    def __init__(self, num_rows, widths, num_numbers=0, **kwargs):
        super().__init__(**kwargs)
        self.num_rows = num_rows
        self.widths = dict(widths)
        self.num_numbers = num_numbers
        fixed = {"trainable": False, "autocast": False, "initializer": "zeros"}
        self.fields = {
            name: self.add_weight(name=f"field_{place}", shape=(num_rows, width), dtype="int32", **fixed)
            for place, (name, width) in enumerate(self.widths.items())
        }
        self.values = self.add_weight(name="values", shape=(num_rows, num_numbers), dtype="float32", **fixed)
        self.mean = self.add_weight(name="mean", shape=(num_numbers,), dtype="float32", **fixed)
        self.scale = self.add_weight(name="scale", shape=(num_numbers,), dtype="float32", **{**fixed, "initializer": "ones"})
        self.built = True

    @property
    def cached_variables(self):
        """The variables that hold the catalog itself; checkpoints leave them out."""
        return [*self.fields.values(), self.values]

    def load_catalog(self, fields, numbers=(), keep_scale=False):
        """Puts a catalog into the layer.

        Args:
            fields: dict of field name -> int array `[V, values]`.
            numbers: float arrays `[V]`, NaN where missing.
            keep_scale: bool. Whether to keep mean and scale as they are. Defaults to `False`.

        Raises:
            ValueError: a field is missing or has another shape.
        """
        for name, width in self.widths.items():
            found = np.shape(fields[name]) if name in fields else None
            if found != (self.num_rows, width):
                raise ValueError(f"Item field {name} must have shape {[self.num_rows, width]}. Received: {found and list(found)}.")
            self.fields[name].assign(fields[name])
        values = np.stack([np.asarray(column, "float32") for column in numbers], axis=1) if len(numbers) else np.zeros((self.num_rows, 0), "float32")
        if values.shape != (self.num_rows, self.num_numbers):
            raise ValueError(f"The numbers must have shape {[self.num_rows, self.num_numbers]}. Received: {list(values.shape)}.")
        values = np.sign(values) * np.log1p(np.abs(values))
        if not keep_scale and self.num_numbers:
            known = np.where(np.isfinite(values), values, np.nan)
            counted = np.isfinite(known).any(axis=0)
            deviation = np.array([np.nanstd(column) if any_ else 0.0 for column, any_ in zip(known.T, counted, strict=True)])
            self.mean.assign([np.nanmean(column) if any_ else 0.0 for column, any_ in zip(known.T, counted, strict=True)])
            self.scale.assign(np.where(deviation > 1e-6, deviation, 1.0))
        self.values.assign(np.where(np.isfinite(values), values, np.nan))

    def call(self, rows):
        return {name: ops.take(table, rows, axis=0) for name, table in self.fields.items()}

    def numbers(self, rows):
        """The normalised numbers and their flags of absence, `[..., 2 P]`."""
        values = ops.take(self.values, rows, axis=0)
        missing = ops.isnan(values)
        scaled = ops.clip((ops.where(missing, self.mean, values) - self.mean) / self.scale, -5.0, 5.0)
        return ops.cast(ops.concatenate([scaled, ops.cast(missing, "float32")], axis=-1), self.compute_dtype)

    def save_own_variables(self, store):
        store["mean"], store["scale"] = np.asarray(self.mean), np.asarray(self.scale)

    def load_own_variables(self, store):
        self.mean.assign(store["mean"])
        self.scale.assign(store["scale"])

    def get_config(self):
        config = super().get_config()
        config.update(num_rows=self.num_rows, widths=self.widths, num_numbers=self.num_numbers)
        return config
