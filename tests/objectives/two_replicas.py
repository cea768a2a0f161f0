"""A step of query matching and of SimCSE by one replica and by two: `python -m tests.objectives.two_replicas`."""

import numpy as np
import tensorflow as tf

from ppm_tf import training
from ppm_tf.config import FitSettings
from ppm_tf.objectives.domain_adaptation import DomainAdaptation
from ppm_tf.objectives.query_matching import QueryMatching
from tests import tiny_encoders
from tests.objectives.test_query_matching import IDS, QUERIES, TEXTS


def step(make, strategy, batch_of):
    settings = FitSettings(batch_size=6, learning_rate=0.1, clip_norm=None)
    training.prepare_backend(settings, 1)
    import keras

    with strategy.scope():
        encoder = tiny_encoders.bert(dropout=0.0)
        model = make(encoder)
        optimizer = keras.optimizers.SGD(0.1)
    dataset = tf.data.Dataset.from_tensors(batch_of(encoder))
    if strategy.num_replicas_in_sync > 1:
        dataset = strategy.experimental_distribute_dataset(dataset)
    trainer = training.Trainer(model, model.loss_of, model.weight, optimizer, dataset, strategy, identify=model.identify)
    found = trainer.train(tf.constant(1))
    return found["loss"], [np.asarray(variable) for variable in model.trainable_variables]


def main():
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])  # one for both cases: a second one would reuse the keys of the first
    cases = {
        "query matching": (
            lambda encoder: QueryMatching(encoder, temperature=0.5),
            lambda encoder: {"query": encoder.tokenize(QUERIES), "item": encoder.tokenize(TEXTS), "ids": tf.constant(IDS)},
        ),
        "SimCSE": (
            lambda encoder: DomainAdaptation(encoder, mlm_weight=0.0, temperature=0.5),
            lambda encoder: {"tokens": encoder.tokenize(TEXTS), "row": tf.constant(IDS[:, 0])},
        ),
    }
    for name, (make, batch_of) in cases.items():
        one, mine = step(make, tf.distribute.get_strategy(), batch_of)
        two, theirs = step(make, mirrored, batch_of)
        assert abs(one - two) < 1e-5, (name, one, two)
        for left, right in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    main()
