"""What the defaults compute, as numbers that were written down: a later change of them is seen, and is somebody's decision.

Figures in README and docs/results were made by the numerics that these numbers stand for. Who changes one on purpose makes those figures anew
(`python -m pipelines.benchmark all`), or marks them, and writes the new numbers here.
"""

import numpy as np
import pytest
import tensorflow as tf

from ppm_tf import training
from ppm_tf.config import load
from ppm_tf.losses import multi_task_cross_entropy
from ppm_tf.models.build import build_pretraining_model, build_ranking_model
from ppm_tf.models.ppm import click_loss
from ppm_tf.training.optimizers import ranking_optimizer
from tests.models.tiny_ranking import SCHEMA, Catalog, tables, vocabularies

STEPS, REQUESTS = 6, 64
# after six steps with all defaults: the loss of the sixth, and how far the weights have gone from where they began (the root of the summed squares)
WRITTEN = {
    "ppm": (0.647231, 2.158059),
    "din": (1.256980, 2.057021),
    "urm with ppm": (1.011290, 3.636979),
    "deepfm with a table": (1.225827, 2.149552),
}
MODELS = {
    "ppm": [],
    "din": ["model.backbone.name=din", "model.ppm=none"],
    "urm with ppm": ["model.ppm=random"],
    "deepfm with a table": ["model.backbone.name=deepfm", "model.ppm=none", "model.tables=[title]"],
}


def batches():
    """The same 64 requests again and again; what is clicked hangs on the candidate and the newest behavior."""
    rng = np.random.default_rng(0)
    history = rng.integers(2, 7, (REQUESTS, 4)).astype("int32")
    history[np.arange(4) >= rng.integers(0, 5, (REQUESTS, 1))] = 0
    item = rng.integers(2, 7, (REQUESTS, 3)).astype("int32")
    click = (item + history[:, :1]) % 2
    request = {
        "request": np.arange(REQUESTS), "user_id": rng.choice([7, 8, 9], REQUESTS), "history": history, "item": item,
        "history_time": rng.integers(0, 100, (REQUESTS, 4)), "time": np.full(REQUESTS, 100),
        "user": rng.integers(0, 4, (REQUESTS, 1)).astype("int32"),
        "context": rng.integers(0, 4, (REQUESTS, 1)).astype("int32"), "slot": np.tile(np.arange(3, dtype="int32"), (REQUESTS, 1)),
        "labels": np.stack([click, click * rng.integers(0, 2, click.shape)], -1).astype("float32"),
    }  # fmt: skip
    return tf.data.Dataset.from_tensors(request).repeat()


def after_six_steps(name, work):
    config = load(["train.precision=float32", "model.train.precision=float32", *MODELS[name]])
    settings = config.train if name == "ppm" else config.model.train
    settings = settings.model_copy(update={"max_step": STEPS, "steps_per_loop": 1, "validate_every": STEPS})
    training.prepare_backend(settings, 1)
    if name == "ppm":
        model, loss, optimizer = build_pretraining_model(config, SCHEMA, tables()), click_loss, {}
    else:
        needed = {table: tables()[table] for table in config.ranking_tables}
        model = build_ranking_model(config, SCHEMA, Catalog(), needed, vocabularies())

        def loss(batch, logits):
            return multi_task_cross_entropy(batch["labels"], logits, [1.0, 1.0])

        optimizer = {"optimizer": lambda schedule: ranking_optimizer(schedule, training.id_tables(model))}
    began = [variable.numpy() for variable in model.trainable_variables]
    training.fit(model, loss, batches(), 100 * REQUESTS, lambda _: {"auc": 0.5}, settings, work, **optimizer)
    moved = sum(float(((now.numpy() - then) ** 2).sum()) for now, then in zip(model.trainable_variables, began, strict=True)) ** 0.5
    return training.read_log(work / training.LOG)[STEPS - 1]["loss"], moved


@pytest.mark.parametrize("name", WRITTEN)
def test_the_defaults_compute_what_was_written_down(name, tmp_path):
    assert after_six_steps(name, tmp_path) == pytest.approx(WRITTEN[name], rel=1e-4)  # kernels of other libraries and threads: 1e-6
