"""`Trainer`: one optimiser step, over one device or several replicas."""

from __future__ import annotations

from collections.abc import Callable

import keras
import orbit
import tensorflow as tf

from ppm_tf.layers.id_embedding import IdEmbedding
from ppm_tf.private_apis import all_layers, iterator_of, keep_losses_apart
from ppm_tf.training.optimizers import sum_duplicates


class Trainer(orbit.StandardTrainer):
    """One optimiser step a batch.

    The loss is the mean over all known labels of the global batch: with several replicas each adds its share. Gradients of
    id tables stay sparse on their way to the optimiser, with each row once, so that their norm counts as that of the dense
    gradient.

    Args:
        model: built Keras model; `model(batch, training=True)` gives its outputs, a tensor or several.
        loss: `loss(batch, outputs)`, a mean over `weight(batch)` labels. What the model's layers hand over with Keras' `add_loss`,
            such as the auxiliary loss of a backbone, is added: means over the batch, already weighed.
        weight: `weight(batch)`, how many labels the loss is a mean of.
        optimizer: Keras optimizer.
        dataset: batches; a `tf.data.Dataset` or a distributed one.
        strategy: `tf.distribute.Strategy`.
        clip_norm: global norm the gradients are clipped to, or `None`.
        identify: `identify(batch, outputs)`, the ids that the message about a loss that is not finite names.
    """

    def __init__(self, model, loss, weight, optimizer, dataset, strategy, clip_norm=None, identify=None):
        super().__init__(dataset)
        self.model = model
        self.loss = loss
        self.weight = weight
        self.optimizer = optimizer
        self.strategy = strategy
        self.clip_norm = clip_norm
        self.identify = identify or bad_requests
        self.tables = {id(table) for table in id_tables(model)}
        self.global_step = orbit.utils.create_global_step()
        if strategy.num_replicas_in_sync > 1:
            keep_losses_apart(model)
        with strategy.scope():
            self.loss_sum = tf.Variable(
                0.0, trainable=False, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM
            )
            self.label_sum = tf.Variable(
                0.0, trainable=False, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM
            )
            optimizer.build(model.trainable_variables)

    def iterator(self):
        """The dataset's iterator, made once; a checkpoint saves and restores it."""
        return iterator_of(self)

    def train_loop_begin(self):
        self.loss_sum.assign(0.0)
        self.label_sum.assign(0.0)

    def train_step(self, iterator):
        self.strategy.run(self._replica_step, args=(next(iterator),))
        self.global_step.assign_add(1)

    def train_loop_end(self):
        labels = float(self.label_sum.read_value())
        return {"loss": float(self.loss_sum.read_value()) / max(labels, 1.0), "labels": labels}

    def _replica_step(self, batch):
        replicas = self.strategy.num_replicas_in_sync
        weight = tf.cast(self.weight(batch), tf.float32)
        total = weight
        if replicas > 1:
            total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, weight)
        with tf.GradientTape() as tape:
            outputs = self.model(batch, training=True)
            loss = sum(self.model.losses, self.loss(batch, outputs))
            share = loss * weight / tf.maximum(total, 1.0)
        # The check stops the graph, and the update waits for it, so that no weight ever turns NaN.
        checked = tf.debugging.Assert(
            tf.math.is_finite(loss), ["loss", loss, "step", self.global_step, "examples", self.identify(batch, outputs)], summarize=16
        )
        variables = self.model.trainable_variables
        found = tape.gradient(share, [variable.value for variable in variables])
        gradients = [self._whole(gradient, variable) for gradient, variable in zip(found, variables, strict=True)]
        with tf.control_dependencies([checked]):  # no update before the loss is known to be finite
            gradients = [tf.identity(gradient) for gradient in gradients]
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [sum_duplicates(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
        if self.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        if replicas > 1:  # Keras sums the gradients over the replicas once more
            gradients = [_divided(gradient, replicas) for gradient in gradients]
        self.optimizer.apply(gradients, variables)
        self.loss_sum.assign_add(loss * weight)
        self.label_sum.assign_add(weight)

    def _whole(self, gradient, variable):
        """The gradient of an id table with each row once, that of any other variable as a dense tensor."""
        if id(variable) not in self.tables:
            # Small tables (positions, recencies) give sliced gradients; as dense ones their norm counts repeated rows rightly.
            return tf.zeros_like(variable.value) if gradient is None else tf.convert_to_tensor(gradient)
        if gradient is None:
            # Nothing for the padding row rather than no row: TensorFlow crashes when replicas sum slices without a row.
            return tf.IndexedSlices(tf.zeros([1, variable.shape[1]]), tf.zeros([1], tf.int32), tf.constant(variable.shape.as_list()))
        return sum_duplicates(gradient)


def id_tables(model: keras.Model) -> list[keras.Variable]:
    """The tables of the model's `IdEmbedding`s, whose gradients stay sparse."""
    return [layer.table for layer in all_layers(model) if isinstance(layer, IdEmbedding)]


def bad_requests(batch, logits):
    """The requests whose logits or labels are not finite, or all of the batch; for models of `[R, N, K]` logits."""
    bad = tf.reduce_any(~tf.math.is_finite(tf.cast(logits, tf.float32)), axis=list(range(1, len(logits.shape))))
    bad |= tf.reduce_any(tf.math.is_nan(batch["labels"]), axis=[1, 2])
    return tf.cond(tf.reduce_any(bad), lambda: tf.boolean_mask(batch["request"], bad), lambda: batch["request"])


def known_labels(num_tasks: int | None = None) -> Callable[[dict], tf.Tensor]:
    """Counts the labels of a batch that are there, in its first `num_tasks` tasks; `None` = all."""
    return lambda batch: tf.reduce_sum(tf.cast(batch["labels"][..., :num_tasks] >= 0, tf.float32))


def _divided(gradient, replicas):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / replicas, gradient.indices, gradient.dense_shape)
    return gradient / replicas
