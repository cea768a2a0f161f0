"""A backbone's own loss on its way through the ranking model to the trainer, on one device and on two."""

from tests.processes import run_python

CODE = """
import numpy as np, tensorflow as tf
import ppm_tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from ppm_tf import training
from ppm_tf.losses import binary_cross_entropy
from ppm_tf.training.optimizers import ranking_optimizer
from tests.models.tiny_ranking import batch, model
three = batch()
four = {name: value[[0, 1, 0, 2]] for name, value in three.items()}  # on two devices: two histories, and one beside an empty one
four["labels"][3, :, :] = -1
four["labels"][3, 0, 0] = 1
known = four["labels"] >= 0
loss = lambda batch, logits: binary_cross_entropy(batch["labels"], logits)
one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for precision, strategy in (("float32", one), ("float32", two), ("mixed_bfloat16", one)):
    keras.mixed_precision.set_global_policy(precision)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        ranker = model("model.backbone={name: dien, mlp_units: [8], auxiliary_units: [4], auxiliary_weight: 0.5}", "model.ppm=none")
        for weight in ranker.backbone.auxiliary.logits.weights:
            weight.assign(np.zeros(weight.shape))
        optimizer = ranking_optimizer(1e-2, training.id_tables(ranker), "adam")
    logits = np.asarray(ranker(four), "float64")
    entropy = (np.log1p(np.exp(logits)) - np.where(known, four["labels"], 0) * logits)[known].mean()
    dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(four).batch(4).repeat())
    trainer = training.Trainer(ranker, loss, training.known_labels(), optimizer, dataset, strategy)
    before = [np.array(weight) for weight in ranker.backbone.auxiliary.trainable_weights]
    # A probability of 1/2 everywhere: 2 ln 2 a step, times the weight; the second device has no negatives, and so no loss.
    share = 1.0 if strategy.num_replicas_in_sync == 1 else known[:2].sum() / known.sum()
    found = trainer.train(tf.constant(1))["loss"]
    np.testing.assert_allclose(found, entropy + 0.5 * 2 * np.log(2) * share, rtol=1e-5 if precision == "float32" else 1e-2)
    trainer.train(tf.constant(3))
    assert all(np.any(np.array(now) != then) for now, then in zip(ranker.backbone.auxiliary.trainable_weights, before, strict=True))
    # A second graph, of other shapes: nothing of the first one's losses is left.
    ranker(three)
    assert not ranker.losses
"""
BESIDE_DICE = """
import numpy as np, tensorflow as tf
import ppm_tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from ppm_tf import training
from ppm_tf.layers.dice import Dice


class Added(keras.Model):
    def __init__(self, first):
        super().__init__()
        self.first, self.dice = first, Dice()
        self.dice.build((None, 1))
        self.built = True

    def call(self, batch, training=False):
        if self.first:
            self.add_loss(tf.reduce_mean(batch["x"]))
        outputs = self.dice(batch["x"], training=training)
        if not self.first:
            self.add_loss(tf.reduce_mean(batch["x"]))
        return outputs


strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
batch = {"x": np.array([[1.0], [2.0], [10.0], [20.0]], "float32")}
for first in (True, False):
    with strategy.scope():
        model, optimizer = Added(first), keras.optimizers.SGD(0.0)
    dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(batch).batch(4).repeat())
    trainer = training.Trainer(
        model, lambda batch, outputs: 0.0 * tf.reduce_mean(outputs), lambda batch: tf.constant(2.0), optimizer, dataset, strategy,
        identify=lambda batch, outputs: tf.range(2),
    )
    for _ in range(2):
        np.testing.assert_allclose(trainer.train(tf.constant(1))["loss"], (1.5 + 15.0) / 2)
"""


def test_losses_of_replicas_stay_apart_where_a_layer_waits_for_the_others():
    """`Dice` averages its statistics over the replicas, before or after a loss was added."""
    done = run_python(BESIDE_DICE)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_loss_of_a_backbone_is_trained_on_over_replicas_and_in_half_precision():
    done = run_python(CODE)
    assert done.returncode == 0, done.stderr[-3000:]
