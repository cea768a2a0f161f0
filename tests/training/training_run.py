"""A small training run, also as a script that kills itself: `python -m tests.training.training_run <data> <work> <when>`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from ppm_tf.config import TrainSettings

SETTINGS = TrainSettings(
    batch_size=16,
    epochs=2,
    learning_rate=5e-3,
    final_learning_rate=1e-3,
    steps_per_loop=5,
    validate_every=10,
    checkpoint_every=5,
    shuffle_buffer=64,
    patience=100,
    warmup=0.0,
    cooldown=1.0,
)


def build(seed=1, settings=SETTINGS):
    """A PPM with dropout over two random tables of 40 rows."""
    from ppm_tf import training
    from ppm_tf.config import load
    from ppm_tf.data.tables import EmbeddingTable
    from ppm_tf.models.build import build_pretraining_model
    from tests.shards import SCHEMA

    strategy = training.prepare_backend(settings, seed)
    config = load(
        [
            "ppm.num_encoder_layers=1",
            "ppm.num_decoder_layers=1",
            "ppm.num_heads=2",
            "ppm.mlp_units=[16]",
            "ppm.dropout=0.2",
            "ppm.initializer_stddev=0.1",
        ]
    )
    rng = np.random.default_rng(0)
    tables = {name: EmbeddingTable(name, rng.normal(size=(40, 8)).astype("float16"), np.arange(40) >= 2, "v1") for name in ("title", "image")}
    with strategy.scope():
        return build_pretraining_model(config, SCHEMA, tables)


def build_small(seed=1, settings=SETTINGS):
    """What the loop must carry, at a quarter of the time that a PPM takes to trace: dropout, biases, a norm, a table that is not trained."""
    import keras
    from keras import ops

    from ppm_tf import training

    class Small(keras.Model):
        def __init__(self):
            super().__init__(name="small")
            self.items = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
            self.hidden, self.norm = keras.layers.Dense(16, activation="relu", name="hidden"), keras.layers.LayerNormalization(name="norm")
            self.dropout, self.head = keras.layers.Dropout(0.2), keras.layers.Dense(1, name="head")

        def call(self, batch, training=False):
            items = ops.convert_to_tensor(self.items)
            item, history = (ops.take(items, batch[name], axis=0) for name in ("item", "history"))
            x = ops.concatenate([item, item * ops.mean(history, 1, keepdims=True)], -1)
            return self.head(self.dropout(self.norm(self.hidden(x)), training=training))

    strategy = training.prepare_backend(settings, seed)
    with strategy.scope():
        model = Small()
        model({"item": np.zeros((1, 3), "int32"), "history": np.zeros((1, 4), "int32")})
    return model


def run(data: Path, work: Path, settings=SETTINGS, validate=None, seed=1, build=build, **more):
    """Trains on the split `train` of `data`; returns the model and the result."""
    from ppm_tf import training
    from ppm_tf.data import samples
    from ppm_tf.models.ppm import click_loss
    from tests.shards import SCHEMA

    model = build(seed, settings)
    files = samples.find_shards(data, ["train"])
    dataset = samples.read(files, SCHEMA, settings.batch_size, epochs=None, shuffle_buffer=settings.shuffle_buffer, seed=seed)
    result = training.fit(
        model,
        click_loss,
        dataset,
        files.records,
        validate or rising(),
        settings,
        work,
        weight=training.known_labels(1),
        **more,
    )
    return model, result


def rising():
    """A validation that always improves, so that the last weights are the best ones."""
    import time

    return lambda model: {"auc": time.time()}


def kill_at(when: str) -> None:
    """Arranges for this process to kill itself."""
    import tensorflow as tf

    from ppm_tf.training.log import TrainingLog

    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
    if when == "after-a-loop":
        write = TrainingLog.write

        def write_and_kill(self, **values):
            write(self, **values)
            if values["step"] == 15:
                kill()

        TrainingLog.write = write_and_kill
    else:
        save, written = tf.train.CheckpointManager.save, []

        def half_save(self, *rest, **named):
            if len(written) == 3:
                # the data file of the next checkpoint is begun, its index and the pointer are not
                Path(self.directory, "ckpt-99.data-00000-of-00001").write_bytes(b"half")
                kill()
            written.append(save(self, *rest, **named))
            return written[-1]

        tf.train.CheckpointManager.save = half_save


if __name__ == "__main__":
    kill_at(sys.argv[3])
    run(Path(sys.argv[1]), Path(sys.argv[2]))
