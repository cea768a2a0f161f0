"""Optimisers: Adam or AdamW, and their lazy form for id tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import keras
import tensorflow as tf

_NOT_DECAYED = ["bias", "alpha", "gamma", "beta", "positions", "recencies", "slots", "no_more", "missing", "embedding"]


def dense_optimizer(learning_rate: float | keras.optimizers.schedules.LearningRateSchedule, weight_decay: float = 0.0) -> keras.optimizers.Optimizer:
    """Adam; with `weight_decay` AdamW, which decays kernels alone: no bias, scale, slope or embedding."""
    if not weight_decay:
        return Adam(learning_rate)
    optimizer = KernelAdamW(learning_rate, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


def ranking_optimizer(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    tables: Iterable[keras.Variable],
    table_optimizer: Literal["adam", "adagrad"] = "adam",
    table_rate: float = 1.0,
    rates: Mapping[int, float] | None = None,
    weight_decay: float = 0.0,
    table_decay: float = 0.0,
) -> TableAdam:
    """The dense optimiser for most weights, and its lazy form for id tables, under one schedule.

    Args:
        learning_rate: float or schedule.
        tables: variables `[V, D]` of which a step updates only the rows in the batch (`ppm_tf.training.id_tables`).
        table_optimizer: `"adam"` or `"adagrad"`.
        table_rate: learning rate of the tables, in multiples of `learning_rate`.
        rates: `id(variable)` -> its learning rate in multiples of `learning_rate`; without an entry 1.
        weight_decay: AdamW's, of kernels alone: no bias, scale, slope, embedding or table.
        table_decay: that of the tables' rows in the batch.
    """
    tables = list(tables)
    optimizer = TableAdam(
        learning_rate,
        tables,
        table_optimizer,
        {**{id(table): table_rate for table in tables}, **(rates or {})},
        table_decay=table_decay,
        weight_decay=weight_decay or None,
    )
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


def _is_decayed(variable: keras.Variable) -> bool:
    """Whether weight decay may reach a variable: kernels only. All else is a bias, a scale, a slope, or an embedding of some kind."""
    return len(variable.shape) > 1 and "kernel" in variable.name


class OneKernel:
    """Keras' Adam with the update of a variable as one kernel of TensorFlow, where Keras' own is a dozen operations that each pass over it.

    The equations are the same, `m <- m + (1 - b1) (g - m)`, `v <- v + (1 - b2) (g^2 - v)`, `w <- w - a m / (sqrt(v) + eps)` with
    `a = rate sqrt(1 - b2^t) / (1 - b1^t)`; results agree to rounding.
    """

    def apply(self, grads, trainable_variables=None):
        # Computed once: a step updates so many variables that scalars of each would be a third of its graph.
        self.__dict__["_of_step"] = self._scalars()
        try:
            super().apply(grads, trainable_variables)
        finally:
            self.__dict__["_of_step"] = None

    def update_step(self, gradient, variable, learning_rate):
        place = self._get_variable_index(variable)
        value = variable.value if isinstance(variable, keras.Variable) else variable
        scalars = self._scalars()
        tf.raw_ops.ResourceApplyAdam(
            var=value.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            lr=tf.cast(learning_rate, value.dtype),
            grad=tf.cast(gradient, value.dtype),
            **{name: tf.cast(scalar, value.dtype) for name, scalar in scalars.items()},
        )

    def _scalars(self):
        """What the kernel takes besides, the same for all variables of a step; within `apply` the ones that it has computed."""
        if self.__dict__.get("_of_step"):
            return self.__dict__["_of_step"]
        step, beta1, beta2, epsilon = (tf.cast(one, tf.float32) for one in (self.iterations + 1, self.beta_1, self.beta_2, self.epsilon))
        return {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "beta1_power": tf.pow(beta1, step), "beta2_power": tf.pow(beta2, step)}


class Adam(OneKernel, keras.optimizers.Adam):
    """Adam, a kernel a variable."""


class KernelAdamW(OneKernel, keras.optimizers.AdamW):
    """AdamW that decays kernels alone."""

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._decayed = [self._use_weight_decay(variable) for variable in variables]

    def _use_weight_decay(self, variable):
        return _is_decayed(variable) and super()._use_weight_decay(variable)

    def update_step(self, gradient, variable, learning_rate):
        if self._decayed[self._get_variable_index(variable)]:
            variable.assign_sub(variable * self.weight_decay * learning_rate)
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` decays, at the learning rate that is there."""


class TableAdam(OneKernel, keras.optimizers.Adam):
    """Adam(W) for dense weights, and Adam or Adagrad that touches only the rows of a batch for id tables.

    For a table, the gradients of a row that occurs several times are summed; then the slots of these rows are gathered,
    updated and scattered back, and so are the rows themselves:

        Adam:     m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  w <- w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
        Adagrad:  a <- a + g^2,            w <- w - rate g / sqrt(a + eps)

    and, with `table_decay`, either also less `rate table_decay w`; `t` counts the steps of the whole run. Rows that are not in the batch,
    and their slots, stay as they are ("lazy"), where dense Adam would go on moving them. A row in every batch moves as under dense Adam.
    A step costs O(rows in the batch).

    Args:
        learning_rate: float or schedule.
        tables: variables updated by row. Those that do not train when the optimiser is built get no slots.
        table_optimizer: string. `"adam"` or `"adagrad"`. Defaults to `"adam"`.
        rates: dict of `id(variable)` -> learning rate in multiples of `learning_rate`; without an entry 1.
        initial_accumulator: float. Adagrad's accumulators before the first step. Defaults to `0.1`.
        table_decay: float. Decoupled weight decay of the rows in the batch, as AdamW's. Defaults to `0.0`.

    References:

    - Kingma and Ba, "Adam: a method for stochastic optimization", 2015; Duchi et al., "Adaptive subgradient methods", 2011.
    """

    def __init__(self, learning_rate, tables, table_optimizer="adam", rates=None, initial_accumulator=0.1, table_decay=0.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        if table_optimizer not in ("adam", "adagrad"):
            raise ValueError(f'table_optimizer must be "adam" or "adagrad". Received: {table_optimizer!r}.')
        self.table_optimizer = table_optimizer
        self.initial_accumulator = initial_accumulator
        self.table_decay = table_decay
        # Functions, not containers: Keras would take what they hold for its own state.
        self._is_table = frozenset(id(table) for table in tables).__contains__
        self._rate_of = dict(rates or {}).get

    def build(self, variables):
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        self._lazy = [self._is_table(id(variable)) for variable in variables]
        self._rates = [float(self._rate_of(id(variable), 1.0)) for variable in variables]
        self._decayed = [
            bool(self.weight_decay) and not lazy and _is_decayed(variable) and self._use_weight_decay(variable)
            for variable, lazy in zip(variables, self._lazy, strict=True)
        ]
        self._momentums, self._velocities, self._accumulators = [], [], []
        for variable, lazy in zip(variables, self._lazy, strict=True):
            adagrad = lazy and self.table_optimizer == "adagrad"
            self._momentums.append(None if adagrad else self.add_variable_from_reference(variable, "momentum"))
            self._velocities.append(None if adagrad else self.add_variable_from_reference(variable, "velocity"))
            start = keras.initializers.Constant(self.initial_accumulator)
            self._accumulators.append(self.add_variable_from_reference(variable, "accumulator", start) if adagrad else None)

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """One variable for each that is given, such as its average (`use_ema`); `None` for a table: a step would cost all of its rows."""
        dense = [variable for variable in trainable_variables if not self._is_table(id(variable))]
        made = iter(super().add_optimizer_variables(dense, name, initializer))
        return [None if self._is_table(id(variable)) else next(made) for variable in trainable_variables]

    def update_step(self, gradient, variable, learning_rate):
        place = self._get_variable_index(variable)
        rate = learning_rate * self._rates[place] if self._rates[place] != 1.0 else learning_rate
        if self._lazy[place]:
            self._update_rows(sum_duplicates(gradient), variable, rate, place)
            return
        if self._decayed[place]:
            variable.assign_sub(variable * self.weight_decay * rate)
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` decays, by the variable's own learning rate."""

    def _update_rows(self, gradient, table, rate, place):
        rows, values = gradient.indices, gradient.values
        decay = rate * self.table_decay * tf.gather(table, rows) if self.table_decay else 0.0
        if self.table_optimizer == "adagrad":
            accumulators = self._accumulators[place].value
            accumulator = tf.gather(accumulators, rows) + tf.square(values)
            accumulators.scatter_update(tf.IndexedSlices(accumulator, rows))
            change = rate * values / tf.sqrt(accumulator + self.epsilon)
        else:
            scalars = self._scalars()
            rate = rate * tf.sqrt(1.0 - scalars["beta2_power"]) / (1.0 - scalars["beta1_power"])
            momentums, velocities = self._momentums[place].value, self._velocities[place].value
            momentum, velocity = tf.gather(momentums, rows), tf.gather(velocities, rows)
            momentum += (values - momentum) * (1.0 - self.beta_1)
            velocity += (tf.square(values) - velocity) * (1.0 - self.beta_2)
            momentums.scatter_update(tf.IndexedSlices(momentum, rows))
            velocities.scatter_update(tf.IndexedSlices(velocity, rows))
            change = rate * momentum / (tf.sqrt(velocity) + self.epsilon)
        table.scatter_sub(tf.IndexedSlices(change + decay, rows))


def sum_duplicates(gradient: tf.Tensor | tf.IndexedSlices) -> tf.IndexedSlices:
    """The gradient of a table with every row at most once, those of repeated rows summed; a dense one as slices of all rows.

    Example:

    >>> slices = sum_duplicates(tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([7, 3, 7]), tf.constant([9, 1])))
    >>> slices.indices.numpy().tolist(), slices.values.numpy().tolist()
    ([7, 3], [[5.0], [2.0]])
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient, tf.range(tf.shape(gradient)[0]), tf.shape(gradient))
    rows, place = tf.unique(gradient.indices)
    return tf.IndexedSlices(tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows)), rows, gradient.dense_shape)
