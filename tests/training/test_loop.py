import json
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf import training
from ppm_tf.config import AdaptSettings, TrainSettings
from ppm_tf.data import samples
from ppm_tf.data.manifest import DamagedDataError
from ppm_tf.layers.id_embedding import IdEmbedding
from ppm_tf.losses import binary_cross_entropy
from ppm_tf.storage import DiskFullError
from ppm_tf.training.optimizers import dense_optimizer, ranking_optimizer
from tests.limited import file_size
from tests.processes import run_module, run_python
from tests.shards import SCHEMA, random_requests, write_split
from tests.training import training_run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_split(folder / "train", random_requests(320), shards=4)
    return folder


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    model, result = training_run.run(data, folder)
    return folder, [np.asarray(variable) for variable in training.state_variables(model)], result


def small_run(data, work, *more, **named):
    return training_run.run(data, work, *more, build=training_run.build_small, **named)


def test_the_loss_falls_and_the_log_says_so(unbroken):
    folder, _, result = unbroken
    assert result.steps == 40  # 320 requests, 2 epochs, 16 a step
    lines = [json.loads(line) for line in (folder / training.LOG).read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 8
    # A click is a coin of .9 or .1: ln 2 = .693 for who knows nothing, .325 at best.
    assert losses[0] > 0.6
    assert losses[-1] < 0.57
    assert [line["step"] for line in lines if "valid_auc" in line] == [10, 20, 30, 40]
    assert lines[0]["learning_rate"] == pytest.approx(5e-3 - 4e-3 * 5 / 40)
    assert list((folder / "tensorboard").rglob("events*"))


def test_a_killed_run_continues_bit_for_bit(data, unbroken, tmp_path):
    """Killed twice with SIGKILL, after a loop and in the middle of saving, then run to its end."""
    for when in ("after-a-loop", "while-saving"):
        done = run_module("tests.training.training_run", data, tmp_path, when)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    checkpoints = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.index"))
    assert checkpoints, "the killed runs left no checkpoint, so nothing was continued"
    model, result = training_run.run(data, tmp_path)
    folder, weights, _ = unbroken
    assert result.steps == 40
    for mine, theirs in zip(training.state_variables(model), weights, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), theirs)
    losses = [
        [line["loss"] for line in map(json.loads, (path / training.LOG).read_text().splitlines()) if "loss" in line] for path in (tmp_path, folder)
    ]
    assert losses[0] == losses[1]
    assert result.examples == 40 * 16  # whatever was stepped through again


def test_a_checkpoint_without_room_is_named_with_its_need_and_the_run_goes_on_later(data, unbroken, tmp_path):
    _, weights, _ = unbroken
    with (
        pytest.raises(
            DiskFullError, match=r"There must be room for .*\. Received: File too large \(.* free, 1.3 MiB needed\). Remedy: make room there"
        ),
        file_size(20_000),
    ):
        training_run.run(data, tmp_path)
    assert not list((tmp_path / "checkpoints").glob("*_temp"))
    model, result = training_run.run(data, tmp_path)
    assert result.steps == 40
    for mine, theirs in zip(training.state_variables(model), weights, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), theirs)


def test_a_seed_repeats_and_another_differs(data, tmp_path):
    settings = training_run.SETTINGS.model_copy(update={"max_step": 10})
    runs = [small_run(data, tmp_path / str(place), settings, seed=seed)[0] for place, seed in enumerate((1, 1, 2))]
    one, two, other = ([np.asarray(variable).copy() for variable in training.state_variables(model)] for model in runs)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_smaller_figure_may_be_the_better_one(data, tmp_path):
    settings = training_run.SETTINGS.model_copy(update={"patience": 1, "validate_every": 5})
    losses = iter([0.6, 0.4, 0.5])
    _, result = small_run(data, tmp_path, settings, lambda model: {"loss": next(losses)}, criterion="loss", minimize=True)
    assert (result.steps, result.best_step, result.best, result.stopped_early) == (15, 10, 0.4, True)


@pytest.mark.parametrize("undefined", [float("nan"), float("-inf")])
def test_a_criterion_that_is_no_number_is_an_error_and_no_miss(data, tmp_path, undefined):
    """As a miss it would end the training at its first looks, with the weights of the first."""
    settings = training_run.SETTINGS.model_copy(update={"patience": 1, "validate_every": 5})
    aucs = iter([0.6, undefined])
    with pytest.raises(
        training.UndefinedCriterionError,
        match=r"must be a number\. Received: auc (nan|-inf) at step 10 of 40, with log_loss 0\.5000\. Remedy: look at the held-out part",
    ):
        small_run(data, tmp_path, settings, lambda model: {"auc": next(aucs), "log_loss": 0.5})


def test_early_stopping_returns_the_best_weights(data, tmp_path):
    settings = training_run.SETTINGS.model_copy(update={"patience": 1, "validate_every": 5})
    aucs, seen = iter([0.6, 0.7, 0.65]), []

    def validate(model):
        seen.append([np.asarray(variable).copy() for variable in training.state_variables(model)])
        return {"auc": next(aucs)}

    model, result = small_run(data, tmp_path, settings, validate)
    assert (result.steps, result.best_step, result.best, result.stopped_early) == (15, 10, 0.7, True)
    best = {variable.path: np.asarray(variable) for variable in model.trainable_variables}
    kept = training_run.build_small()
    for variable, value in zip(training.state_variables(kept), seen[1], strict=True):
        variable.assign(value)
    for variable in kept.trainable_variables:
        np.testing.assert_array_equal(np.asarray(variable), best[variable.path])


def test_a_nan_label_stops_the_run_and_names_its_request(tmp_path):
    """The reader gives integers only; a NaN can come from a damaged pipeline of a user's own."""
    batch = _batch()
    batch["labels"][2, 1, 0] = np.nan
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4)
    model = training_run.build()
    before = [np.asarray(variable).copy() for variable in training.state_variables(model)]
    loss = lambda batch, logits: binary_cross_entropy(batch["labels"][..., :1], logits)
    settings = TrainSettings(batch_size=4, steps_per_loop=1)
    with pytest.raises(training.NonFiniteLossError, match=r"batch with 3298534883330 \(shard 3, request 2\)\. "):
        training.fit(model, loss, dataset, 4, lambda model: {"auc": 0.5}, settings, tmp_path)
    for mine, theirs in zip(training.state_variables(model)[:-1], before[:-1], strict=True):
        assert np.isfinite(np.asarray(mine)).all()
        if "seed" not in mine.name:
            np.testing.assert_array_equal(np.asarray(mine), theirs)


def test_damage_that_only_reading_finds_is_named_as_such(tmp_path):
    write_split(tmp_path / "train", random_requests(64), compression="none")
    shard = next((tmp_path / "train").glob("part-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF  # the same size, so a check of sizes passes
    shard.write_bytes(content)
    files = samples.find_shards(tmp_path, ["train"], verify="size")
    dataset = samples.read(files, SCHEMA, 16)
    loss = lambda batch, logits: binary_cross_entropy(batch["labels"][..., :1], logits)
    with (
        pytest.raises(
            DamagedDataError,
            match=(
                r"Received: .*train/part-0\.tfrecord: corrupted record at \d+\. Remedy: restore the file, or write it anew with `python -m"
                r" pipelines\.prepare`"
            ),
        ),
        samples.reading(files),
    ):
        training.fit(training_run.build(), loss, dataset, 64, lambda model: {"auc": 0.5}, TrainSettings(batch_size=16), tmp_path / "work")


def _batch():
    rng = np.random.default_rng(0)
    return {
        "request": (3 << 40) + np.arange(4),
        "user_id": np.arange(4),
        "time": np.full(4, 100),
        "history": rng.integers(2, 40, (4, 4)).astype("int32"),
        "history_time": rng.integers(0, 100, (4, 4)),
        "item": rng.integers(2, 40, (4, 3)).astype("int32"),
        "labels": rng.integers(0, 2, (4, 3, 2)).astype("float32"),
        "slot": np.zeros((4, 3), "int32"),
    }


def test_what_a_layer_adds_to_the_loss_is_trained_on():
    """`add_loss`, the one way in which a backbone hands over an auxiliary loss: value and update by hand, at each of several steps."""

    class Pulled(keras.layers.Layer):
        def build(self, shape):
            self.x = self.add_weight(name="x", shape=(), initializer=keras.initializers.Constant(1.0))

        def call(self, inputs):
            self.add_loss(0.5 * keras.ops.square(self.x))
            return inputs * 0.0 + 3.0 * self.x

    inputs = keras.Input((1,))
    model = keras.Model(inputs, Pulled()(inputs))
    dataset = tf.data.Dataset.from_tensors({"value": np.ones((2, 1), "float32")}).repeat()

    class OfValue(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.built = True

        def call(self, batch, training=False):
            return self.inner(batch["value"])

    trainer = training.Trainer(
        OfValue(),
        lambda batch, outputs: tf.reduce_mean(outputs),
        lambda batch: tf.constant(2.0),
        keras.optimizers.SGD(0.1),
        dataset,
        tf.distribute.get_strategy(),
        identify=lambda batch, outputs: tf.range(2),
    )
    x = 1.0
    for _ in range(3):
        output = trainer.train(tf.constant(1))
        assert float(output["loss"]) == pytest.approx(3 * x + x * x / 2)
        x -= 0.1 * (3 + x)  # the gradient of 3 x + x^2 / 2
        assert float(model.trainable_variables[0]) == pytest.approx(x)


def test_two_replicas_step_as_one(tmp_path):
    """MirroredStrategy over two logical CPU devices: uneven numbers of labels, clipping, one update."""
    code = """
import sys, numpy as np, tensorflow as tf
import ppm_tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from ppm_tf import training
from ppm_tf.losses import binary_cross_entropy
from ppm_tf.training.optimizers import dense_optimizer
from tests.training import training_run
from tests.training.test_loop import _batch
batch = _batch()
batch["labels"][2:, 1:] = -1  # the second replica has fewer labels
loss = lambda batch, logits: binary_cross_entropy(batch["labels"][..., :1], logits)
found = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = training_run.build()
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        optimizer = dense_optimizer(1e-2)
    dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(batch).batch(4).repeat(3))
    trainer = training.Trainer(model, loss, training.known_labels(1), optimizer, dataset, strategy, clip_norm=0.05)
    output = trainer.train(tf.constant(3))
    found.append([output["loss"], output["labels"]] + [variable.numpy() for variable in model.trainable_variables])
assert found[0][1] == found[1][1] == 24
for one, two in zip(*found):
    np.testing.assert_allclose(one, two, atol=2e-4)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("records", "epochs", "max_step", "steps"), [(100, 1, None, 7), (100, 3, None, 19), (100, 3, 5, 5), (1, 1, None, 1)])
def test_total_steps(records, epochs, max_step, steps):
    assert training.total_steps(TrainSettings(batch_size=16, epochs=epochs, max_step=max_step), records) == steps


def test_weight_decay_spares_biases_norms_and_embeddings():
    layer = training_run.build().ppm.transformer
    optimizer = dense_optimizer(1.0, weight_decay=0.1)
    optimizer.build(layer.trainable_variables)
    decayed = {variable.path.split("/")[-1] for variable in layer.trainable_variables if optimizer._use_weight_decay(variable)}
    assert decayed == {"kernel"}


def test_cached_tables_are_in_no_checkpoint():
    model = training_run.build()
    sizes = {tuple(variable.shape) for variable in training.state_variables(model)}
    assert (40, 8) not in sizes
    assert len(training.state_variables(model)) == len(model.variables) - 4  # table and present, of title and image


def test_mixed_precision_trains(data, tmp_path, float32_policy):
    settings = training_run.SETTINGS.model_copy(update={"max_step": 5, "precision": "mixed_bfloat16"})
    model, _ = training_run.run(data, tmp_path, settings)
    assert model.ppm.compute_dtype == "bfloat16"
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)


def test_labels_of_other_tasks_do_not_count():
    batch = {"labels": np.array([[[1, -1], [-1, 1]]], "float32")}
    assert float(training.known_labels(1)(batch)) == 1
    assert float(training.known_labels()(batch)) == 2


def test_the_learning_rate_follows_the_start_unless_it_is_set():
    assert training.starting_rate(AdaptSettings(), pretrained=True).learning_rate == 5e-5
    assert training.starting_rate(AdaptSettings(), pretrained=False).learning_rate == 1e-3
    assert training.starting_rate(AdaptSettings(learning_rate=0.1), pretrained=True).learning_rate == 0.1


class TableModel(keras.Model):
    """Logits from the id vectors of candidates and history; a third table is never read."""

    def __init__(self):
        super().__init__()
        self.items, self.users, self.unread = IdEmbedding(40, 4, 0.3), IdEmbedding(9, 4, 0.3), IdEmbedding(6, 4, 0.3)
        self.dropout = keras.layers.Dropout(0.2)
        self.hidden, self.head = keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)

    def call(self, batch, training=False):
        user = keras.ops.concatenate([self.items.pooled(batch["history"]), self.users(batch["user_id"])], -1)[:, None]
        item = self.items(batch["item"])
        inputs = keras.ops.concatenate([item, keras.ops.broadcast_to(user, (*keras.ops.shape(item)[:2], 8))], -1)
        return self.head(self.dropout(self.hidden(inputs), training=training))


def table_model(seed=1):
    keras.utils.set_random_seed(seed)
    model = TableModel()
    model(_batch())
    return model


def table_optimizer(model, kind="adam", schedule=3e-2):
    return ranking_optimizer(schedule, training.id_tables(model), kind)


def table_loss(batch, logits):
    return binary_cross_entropy(batch["labels"][..., :1], logits)


class Recording(keras.optimizers.SGD):
    """Keeps the gradients it is given."""

    def apply(self, grads, trainable_variables=None):
        self.seen = grads


def recorded(model, clip_norm=None):
    optimizer = Recording(0.1)
    dataset = tf.data.Dataset.from_tensors(_batch())
    training.Trainer(model, table_loss, training.known_labels(1), optimizer, dataset, tf.distribute.get_strategy(), clip_norm)._replica_step(_batch())
    return optimizer.seen


def dense_gradients(model):
    """What a tape gives for the same batch, as dense arrays; `model` must not drop out."""
    with tf.GradientTape() as tape:
        loss = table_loss(_batch(), model(_batch(), training=True))
    found = tape.gradient(loss, [variable.value for variable in model.trainable_variables], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def without_dropout(model):
    model.dropout.rate = 0.0
    return model


def test_gradients_of_id_tables_stay_sparse_with_each_row_once():
    model = without_dropout(table_model())
    found = dict(zip((variable.path for variable in model.trainable_variables), recorded(model), strict=True))
    tables = [found[table.path] for table in training.id_tables(model)]
    assert all(isinstance(gradient, tf.IndexedSlices) for gradient in tables)
    assert sum(isinstance(gradient, tf.IndexedSlices) for gradient in found.values()) == 3
    batch = _batch()
    assert sorted(tables[0].indices.numpy().tolist()) == np.unique([*batch["item"].ravel(), *batch["history"].ravel()]).tolist()
    assert tables[2].indices.numpy().tolist() == [0] and not tables[2].values.numpy().any()
    for gradient, expected in zip(found.values(), dense_gradients(model), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(gradient), expected, atol=1e-6)


def test_the_norm_to_clip_is_that_of_dense_gradients():
    model = without_dropout(table_model())
    expected = dense_gradients(model)
    norm = np.sqrt(sum(np.sum(gradient.astype("float64") ** 2) for gradient in expected))
    for gradient, whole in zip(recorded(model, clip_norm=norm / 4), expected, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(gradient), whole / 4, atol=1e-6)


def fit_tables(folder, kind="adam", validate=None, **more):
    training.prepare_backend(training_run.SETTINGS, 1)
    model = table_model()
    optimizers = []

    def optimizer(schedule):
        optimizers.append(table_optimizer(model, kind, schedule))
        return optimizers[0]

    dataset = tf.data.Dataset.from_tensor_slices(_batch()).repeat().shuffle(8, seed=3).batch(4).take(12)
    settings = TrainSettings(**{**_TABLE_FIT, **more})
    training.fit(model, table_loss, dataset, 4, validate or training_run.rising(), settings, folder, optimizer=optimizer)
    return [np.array(variable) for variable in training.state_variables(model)] + [np.array(variable) for variable in optimizers[0].variables]


_TABLE_FIT = {"batch_size": 4, "epochs": 12, "steps_per_loop": 2, "validate_every": 4, "checkpoint_every": 2, "patience": 100}


def test_averaged_weights_are_validated_and_kept_while_training_goes_on_as_without(tmp_path):
    seen = {0.0: [], 0.8: []}
    for momentum, steps in seen.items():

        def validate(model, steps=steps):
            steps.append([np.array(variable) for variable in model.trainable_variables])
            return {"auc": len(steps) / 100}

        fit_tables(tmp_path / str(momentum), validate=validate, ema_momentum=momentum, steps_per_loop=1, validate_every=1)
    own, averaged = seen.values()
    model = table_model()
    model.load_weights(tmp_path / "0.8" / "best.weights.h5")
    tables = {id(table) for table in training.id_tables(model)}
    for place, kept in enumerate(model.trainable_variables):
        values = [step[place] for step in own]
        expected = values[0]
        for value in values[1:]:
            expected = 0.8 * expected + 0.2 * value
        expected = values[-1] if id(kept) in tables else expected
        np.testing.assert_allclose(averaged[-1][place], expected, atol=1e-6)
        np.testing.assert_allclose(kept, expected, atol=1e-6)
    assert len(own) == 12 and not np.allclose(averaged[-1][-2], own[-1][-2], atol=1e-4)


def test_a_broken_off_run_with_averages_continues_bit_for_bit(tmp_path):
    def broken(model):
        raise InterruptedError

    whole = fit_tables(tmp_path / "whole", ema_momentum=0.9)
    with pytest.raises(InterruptedError):
        fit_tables(tmp_path / "broken", validate=broken, ema_momentum=0.9)
    for mine, theirs in zip(fit_tables(tmp_path / "broken", ema_momentum=0.9), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", ["adam", "adagrad"])
def test_a_broken_off_run_with_id_tables_continues_bit_for_bit(kind, tmp_path):
    def broken(model):
        raise InterruptedError

    whole = fit_tables(tmp_path / "whole", kind)
    with pytest.raises(InterruptedError):
        fit_tables(tmp_path / "broken", kind, broken)
    assert (tmp_path / "broken" / "checkpoints" / "checkpoint").is_file()
    for mine, theirs in zip(fit_tables(tmp_path / "broken", kind), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_frozen_table_gets_no_slots_and_stays():
    model = table_model()
    model.items.trainable = False
    before, moving = np.array(model.items.table), np.array(model.users.table)
    optimizer = table_optimizer(model)
    dataset = tf.data.Dataset.from_tensors(_batch()).repeat()
    training.Trainer(model, table_loss, training.known_labels(1), optimizer, dataset, tf.distribute.get_strategy(), 1.0).train(tf.constant(3))
    assert not [variable for variable in optimizer.variables if tuple(variable.shape) == (40, 4)]
    np.testing.assert_array_equal(model.items.table, before)
    assert (np.array(model.users.table)[:4] != moving[:4]).any(axis=1).tolist() == [False, True, True, True]  # user 0 is the padding row
    np.testing.assert_array_equal(np.array(model.users.table)[4:], moving[4:])


def test_two_replicas_update_id_tables_as_one():
    code = """
import numpy as np, tensorflow as tf
import ppm_tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from ppm_tf import training
from tests.training import training_run
from tests.training.test_loop import _batch, table_loss, table_model, table_optimizer, without_dropout
batch = _batch()
batch["labels"][2:, 1:] = -1  # the second replica has fewer labels
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for kind in ("adam", "adagrad"):
    found = []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        training.prepare_backend(training_run.SETTINGS, 1)
        with strategy.scope():
            model = without_dropout(table_model())
            optimizer = table_optimizer(model, kind)
        dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(batch).batch(4).repeat(5))
        trainer = training.Trainer(model, table_loss, training.known_labels(1), optimizer, dataset, strategy, clip_norm=0.05)
        output = trainer.train(tf.constant(5))
        found.append([output["loss"], output["labels"]] + [variable.numpy() for variable in [*model.trainable_variables, *optimizer.variables]])
    assert found[0][1] == found[1][1] == 40
    for one, two in zip(*found):
        np.testing.assert_allclose(one, two, atol=2e-4)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-3000:]


# --- a rate that is held, and then falls

HELD = training_run.SETTINGS.model_copy(update={"epochs": 3, "cooldown": 0.5, "steps_per_loop": 4, "validate_every": 8})  # 60 steps, falls from 30


def states(model):
    return [np.asarray(variable).copy() for variable in training.state_variables(model)]


def looks_of(folder):
    return [(line["step"], line["valid_auc"]) for line in training.read_log(folder / training.LOG) if "valid_auc" in line]


def test_a_longer_training_goes_on_from_the_trunk_of_a_shorter_one_and_ends_as_if_it_had_been_long(data, tmp_path):
    longer = HELD.model_copy(update={"epochs": 5})  # 100 steps, falls from 50
    whole, result = small_run(data, tmp_path / "whole", longer, lambda model: {"auc": model_sum(model)})
    short, first = small_run(data, tmp_path / "short", HELD, lambda model: {"auc": model_sum(model)})
    assert (first.steps, result.steps) == (60, 100)
    made = tmp_path / "made"
    made.mkdir()
    training.keep_logs(tmp_path / "short", made)
    training.keep_trunk(tmp_path / "short", made, HELD)
    assert training.step_of_trunk(made) == 30
    (tmp_path / "on").mkdir()
    training.take_up(made, tmp_path / "on")
    went_on, second = small_run(data, tmp_path / "on", longer, lambda model: {"auc": model_sum(model)})
    assert second == result
    for mine, theirs in zip(states(went_on), states(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert looks_of(tmp_path / "on") == looks_of(tmp_path / "whole")
    losses = [
        {line["step"]: line["loss"] for line in training.read_log(folder / training.LOG) if "loss" in line and line["step"] > 32}
        for folder in (tmp_path / "on", tmp_path / "whole")
    ]
    assert losses[0] == losses[1] and min(losses[0]) == 36  # those of 28 to 32 are two means in the one, and one in the other


def model_sum(model):
    """A figure that depends on the weights alone."""
    return float(sum(np.abs(np.asarray(variable)).sum() for variable in model.trainable_variables))


def test_out_of_patience_it_goes_back_to_its_best_and_the_rate_falls_from_there(data, tmp_path, caplog):
    caplog.set_level("INFO")
    settings = HELD.model_copy(update={"patience": 2})
    seen = []

    def validate(model):
        seen.append(states(model))
        return {"auc": {0: 0.6, 1: 0.7, 2: 0.65, 3: 0.66}.get(len(seen) - 1, 0.71 + 0.001 * len(seen))}

    settings = settings.model_copy(update={"validate_every": 4})
    _, result = small_run(data, tmp_path, settings, validate)
    lines = training.read_log(tmp_path / training.LOG)
    fall = next(line for line in lines if "falls" in line)
    assert (fall["step"], fall["falls"], fall["left"]) == (8, "patience", [[12, 0.65], [16, 0.66]])
    assert (result.steps, result.stopped_early, result.standing.state) == (16, True, "done")  # half of the steps are the fall, as planned
    assert result.examples == 16 * (16 + 8)  # those of the steps that it went back from, too
    assert [line["step"] for line in lines if "valid_auc" in line] == [4, 8, 12, 16]
    after = [line["learning_rate"] for line in lines if "loss" in line and line["step"] > 8]
    assert after == pytest.approx([5e-3 - 4e-3 / 2, 1e-3])
    assert "2 looks brought nothing better than auc 0.7000; back to step 8" in caplog.text
    assert not all(np.array_equal(a, b) for a, b in zip(seen[2], seen[4], strict=True))  # the same steps at a rate that falls


def test_killed_while_the_rate_fell_early_it_goes_on_as_if_it_had_not_been(data, tmp_path):
    settings = HELD.model_copy(update={"patience": 2, "validate_every": 4})

    def validation(broken=None):
        count = iter(range(100))

        def validate(model):
            look = next(count)
            if look == broken:
                raise InterruptedError
            return {"auc": {0: 0.6, 1: 0.7, 2: 0.65, 3: 0.66}.get(look, 0.8)}

        return validate

    whole, result = small_run(data, tmp_path / "whole", settings, validation())
    with pytest.raises(InterruptedError):
        small_run(data, tmp_path / "broken", settings, validation(broken=4))
    mended, second = small_run(data, tmp_path / "broken", settings, lambda model: {"auc": 0.8})
    assert second == result
    for mine, theirs in zip(states(mended), states(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
