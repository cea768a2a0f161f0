"""A training that goes on with an earlier one's optimiser: as if the two had been one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf import training
from ppm_tf.config import RankerFitSettings, TrainSettings
from ppm_tf.data import samples
from ppm_tf.models.growth import carry_over, rows_of_tables
from ppm_tf.models.ppm import click_loss
from ppm_tf.training.optimizer_state import save_optimizer
from ppm_tf.training.optimizers import ranking_optimizer
from ppm_tf.training.trunk import BEST_OPTIMIZER, BEST_WEIGHTS, Trunk, take_up
from tests.models.test_growth import LATER, LaterCatalog
from tests.models.tiny_ranking import DIN, SCHEMA, batch, model, vocabularies
from tests.shards import SCHEMA as SHARDS
from tests.shards import random_requests, write_split
from tests.training import training_run

# A day: one pass, one look at its end, a rate that neither rises nor falls.
DAY = TrainSettings(batch_size=16, learning_rate=5e-3, warmup=0.0, cooldown=0.0, validate_every=10**9, keep_optimizer=True, steps_per_loop=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_split(folder / "train", random_requests(320), shards=2)
    return folder


def day(data, work, steps, settings=DAY, since=0, earlier=None, with_optimizer=True, seed=1, validate=None, build=training_run.build_small):
    """Trains a model with dropout for so many of the batches of a fixed order; the artifact's two files lie in `work`."""
    files = samples.find_shards(data, ["train"])
    ppm = build(seed, settings)
    if earlier:
        ppm.load_weights(earlier / BEST_WEIGHTS)
    result = training.fit(
        ppm, click_loss, samples.read(files, SHARDS, settings.batch_size, epochs=None, shuffle_buffer=64, seed=1).skip(since), files.records,
        validate or (lambda _: {"auc": 0.5}), settings.model_copy(update={"max_step": steps}), work, weight=training.known_labels(1),
        start=training.OptimizerStart(earlier, "ppm") if earlier and with_optimizer else None, keep_optimizer=settings.keep_optimizer,
    )  # fmt: skip
    if settings.keep_optimizer:
        training.keep_best_optimizer(work, work, settings)
    return [np.asarray(weight) for weight in ppm.weights], result


def state_of(folder):
    with np.load(folder / "optimizer.npz") as file:
        return {name: file[name] for name in file}


def same(one, other):
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize("ema_momentum", [0.0, 0.9])
def test_a_training_cut_into_two_ends_with_the_weights_of_one_that_was_not(data, tmp_path, ema_momentum):
    """Bit for bit, with dropout; without the optimiser it does not. Under a moving average the trained weights go on, not the averages.

    That one is of a PPM, the other of a small model.
    """
    settings = DAY.model_copy(update={"ema_momentum": ema_momentum})
    of = {"build": training_run.build} if ema_momentum else {}
    whole, result = day(data, tmp_path / "whole", 20, settings, **of)
    day(data, tmp_path / "one", 10, settings, **of)
    two, _ = day(data, tmp_path / "two", 10, settings, 10, tmp_path / "one", seed=2, **of)
    apart, _ = day(data, tmp_path / "apart", 10, settings, 10, tmp_path / "one", with_optimizer=False, seed=2, **of)
    assert result.steps == result.best_step == 20
    assert same(two, whole) and not same(apart, whole)
    mine, theirs = state_of(tmp_path / "two"), state_of(tmp_path / "whole")
    assert mine.keys() == theirs.keys() and mine["steps"] == 20
    assert same(mine.values(), theirs.values())
    assert any(name.startswith("random/") for name in mine) and any(name.startswith("trained/") for name in mine) == bool(ema_momentum)


def test_a_rate_that_never_falls_stays_what_it_is_to_the_last_step(data, tmp_path):
    day(data, tmp_path, 8)
    rates = [line["learning_rate"] for line in training.read_log(tmp_path / training.LOG) if "loss" in line]
    assert len(rates) == 2 and set(rates) == {float(np.float32(5e-3))}
    assert [line["step"] for line in training.read_log(tmp_path / training.LOG) if "valid_auc" in line] == [8]


def test_without_a_fall_patience_ends_the_training(data, tmp_path):
    settings = DAY.model_copy(update={"patience": 2, "validate_every": 4})
    aucs = iter([0.7, 0.6, 0.6])
    _, result = day(data, tmp_path, 20, settings, validate=lambda _: {"auc": next(aucs)})
    assert (result.steps, result.best_step, result.stopped_early) == (12, 4, True)


def test_the_state_is_that_of_the_weights_that_are_kept(data, tmp_path):
    """The best look was not the last: weights and slots are both of it."""
    aucs = iter([0.7, 0.6])
    day(data, tmp_path / "two-looks", 8, DAY.model_copy(update={"validate_every": 4}), validate=lambda _: {"auc": next(aucs)})
    day(data, tmp_path / "one-look", 4)
    mine, theirs = state_of(tmp_path / "two-looks"), state_of(tmp_path / "one-look")
    assert mine["steps"] == 4 and same(mine.values(), theirs.values())


def test_the_schedule_begins_anew_where_the_optimiser_goes_on(data, tmp_path):
    day(data, tmp_path / "one", 4)
    rising = DAY.model_copy(update={"warmup": 0.4, "steps_per_loop": 1})  # 8 steps
    day(data, tmp_path / "two", 3, rising, 4, tmp_path / "one")
    rates = [line["learning_rate"] for line in training.read_log(tmp_path / "two" / training.LOG) if "loss" in line]
    # What the log shows after a step is the rate of the next.
    np.testing.assert_allclose(rates, [5e-3 * step / 3 for step in (2, 3, 3)], rtol=1e-5)


def test_a_second_day_that_was_stopped_goes_on_from_its_checkpoint(data, tmp_path):
    """And not from the first day's state again, which is still beside it."""

    def stop(_):
        raise RuntimeError("stopped")

    day(data, tmp_path / "one", 4)
    settings = DAY.model_copy(update={"checkpoint_every": 4})
    with pytest.raises(RuntimeError, match="stopped"):
        day(data, tmp_path / "two", 8, settings, 4, tmp_path / "one", validate=stop)
    assert (tmp_path / "two" / "checkpoints" / "ckpt-4.index").is_file()
    stopped, _ = day(data, tmp_path / "two", 8, settings, 4, tmp_path / "one")
    whole, _ = day(data, tmp_path / "whole", 8, settings, 4, tmp_path / "one")
    assert same(stopped, whole) and state_of(tmp_path / "two")["steps"] == 12


def test_the_state_goes_with_the_trunk_of_a_training(tmp_path):
    """The best weights before the fall may stay the best ones: a longer training that takes them up takes up their state too."""
    work, artifact, later = (tmp_path / name for name in ("work", "artifact", "later"))
    for folder in (work, artifact, later):
        folder.mkdir()
    (work / BEST_WEIGHTS).write_bytes(b"weights")
    (work / BEST_OPTIMIZER).write_bytes(b"slots")
    (artifact / training.LOG).write_text("")
    step = tf.Variable(3, dtype=tf.int64)
    Trunk(tf.train.Checkpoint(step=step), work, step).save()
    training.keep_trunk(work, artifact, TrainSettings())
    take_up(artifact, later)
    assert [(later / name).read_bytes() for name in (BEST_WEIGHTS, BEST_OPTIMIZER)] == [b"weights", b"slots"]


# === a ranking model whose vocabularies grow ===

RATE = 0.02


def linear(ranker, seed, words, rows, steps=6):
    """Batches whose loss is linear in rows of the brands' table, so that the gradient of each is known: coefficients by word."""
    rng = np.random.default_rng(seed)
    coefficients = [{word: rng.normal(size=4).astype("float32") for word in rng.choice(words, 2, replace=False)} for _ in range(steps)]
    batches = [{**batch(), "rows": np.array([rows[word] for word in one], "int32"), "by": np.stack(list(one.values()))} for one in coefficients]
    dataset = tf.data.Dataset.from_tensor_slices({name: np.stack([one[name] for one in batches]) for name in batches[0]})
    table = ranker.embedding.embeddings["item.brand"]
    return coefficients, dataset, lambda one, _: tf.reduce_sum(table(one["rows"]) * one["by"])


def fit_linear(ranker, work, seed, words, rows, kind, start=None):
    settings = RankerFitSettings(
        batch_size=1, learning_rate=RATE, warmup=0.0, cooldown=0.0, clip_norm=None, validate_every=10**9, keep_optimizer=True
    )
    coefficients, dataset, loss = linear(ranker, seed, words, rows)
    training.fit(
        ranker, loss, dataset, len(coefficients), lambda _: {"auc": 0.5}, settings, work,
        optimizer=lambda schedule: ranking_optimizer(schedule, training.id_tables(ranker), kind), start=start, keep_optimizer=True,
    )  # fmt: skip
    training.keep_best_optimizer(work, work, settings)
    return coefficients


class Lazy:
    """Lazy Adam or Adagrad in NumPy, by word."""

    def __init__(self, kind):
        self.kind, self.step, self.table, self.slots = kind, 0, {}, {}

    def learn(self, coefficients):
        for gradients in coefficients:
            self.step += 1
            for word, gradient in gradients.items():
                gradient = gradient.astype("float64")
                first, second = self.slots.get(word, (np.zeros(4), np.full(4, 0.1 if self.kind == "adagrad" else 0.0)))
                if self.kind == "adagrad":
                    second = second + gradient**2
                    change = RATE * gradient / np.sqrt(second + 1e-7)
                else:
                    first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
                    rate = RATE * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
                    change = rate * first / (np.sqrt(second) + 1e-7)
                self.table[word] = self.table[word] - change
                self.slots[word] = (first, second)


@pytest.mark.parametrize("kind", ["adam", "adagrad"])
def test_slots_follow_their_words_where_a_field_changed_its_order(tmp_path, kind):
    """Two days of lazy steps on brands; on the second a new brand sorts first. Against NumPy, which knows words and no rows."""
    keras.utils.set_random_seed(0)
    old = model(*DIN, "model.ppm=none")
    was, now = {"acme": 2, "bolt": 3}, {"aaa": 2, "acme": 3, "bolt": 4}
    lazy = Lazy(kind)
    lazy.table = {word: np.array(old.embedding.embeddings["item.brand"].table)[row].astype("float64") for word, row in was.items()}
    lazy.learn(fit_linear(old, tmp_path / "one", 0, list(was), was, kind))
    keras.utils.set_random_seed(1)
    ids = vocabularies(items=(10, 30, 50), users=(7, 8, 9))
    new = model(*DIN, "model.ppm=none", schema=LATER, catalog=LaterCatalog(), ids=ids)
    grown = (SCHEMA, LATER, vocabularies(), ids)
    carry_over(old, new, *grown)
    table = new.embedding.embeddings["item.brand"].table
    lazy.table["aaa"] = np.array(table)[2].astype("float64")
    start = training.OptimizerStart(tmp_path / "one", "model", rows_of_tables(new, *grown))
    lazy.learn(fit_linear(new, tmp_path / "two", 1, list(now), now, kind, start))
    for word, row in now.items():
        np.testing.assert_allclose(np.array(table)[row], lazy.table[word], atol=2e-6)
    slot = next(value for name, value in state_of(tmp_path / "two").items() if "item.brand/" in name and name.startswith(("velocity", "accumulator")))
    for word, row in now.items():
        np.testing.assert_allclose(slot[row], lazy.slots[word][1], rtol=1e-5)
    assert state_of(tmp_path / "two")["steps"] == 12
    # Ids of today begin as any new id; those that no batch met have the slots that they began with.
    users = [value for name, value in state_of(tmp_path / "two").items() if "user.user_id/" in name]
    assert [value.shape for value in users] == [(6, 4)] * (1 if kind == "adagrad" else 2)
    assert all((value == (0.1 if kind == "adagrad" else 0.0)).all() for value in users)


def test_weights_of_a_replaced_plug_in_begin_with_new_slots(tmp_path):
    """And those of a kept one go on."""
    keras.utils.set_random_seed(0)
    ranker = model(*DIN, "model.ppm=random")

    def optimizer():
        made = ranking_optimizer(RATE, training.id_tables(ranker))
        made.build(ranker.trainable_variables)
        return made

    first = optimizer()
    first.apply([tf.ones(weight.shape) for weight in ranker.trainable_variables], ranker.trainable_variables)
    save_optimizer(first, ranker, tmp_path / "optimizer.npz")
    of_ppm = frozenset(id(weight) for weight in ranker.ppm.weights)
    for anew in (frozenset(), of_ppm):
        fresh = optimizer()
        assert training.OptimizerStart(tmp_path, "model", anew=anew).take_over(fresh, ranker) == 1
        for weight, mine, theirs in zip(ranker.trainable_variables, fresh._momentums, first._momentums, strict=True):
            np.testing.assert_array_equal(np.array(mine), np.zeros(mine.shape) if id(weight) in anew else np.array(theirs))
            assert np.array(theirs).all()


def test_the_state_of_another_optimiser_is_refused_by_its_first_missing_slot(data, tmp_path):
    keras.utils.set_random_seed(0)
    ranker = model(*DIN, "model.ppm=none")
    (tmp_path / "one").mkdir()
    was = {"acme": 2, "bolt": 3}
    fit_linear(ranker, tmp_path / "one", 0, list(was), was, "adam")
    start = training.OptimizerStart(tmp_path / "one", "model")
    with pytest.raises(
        ValueError,
        match=(
            r"model.warm_start_optimizer needs the state of an optimiser of the same settings. Received: .*one, which holds no accumulator of"
            r" model/embedding/embeddings\.item\.brand/0-table. Remedy: model.warm_start_optimizer=false, or the settings of the earlier training"
        ),
    ):
        other = ranking_optimizer(0.1, training.id_tables(ranker), "adagrad")
        other.build([ranker.embedding.embeddings["item.brand"].table])
        start.take_over(other, ranker)
    wide = model("model.backbone={name: din, mlp_units: [16], attention_units: [4]}", "model.ppm=none")
    other = ranking_optimizer(0.1, training.id_tables(wide))
    other.build(wide.trainable_variables)
    with pytest.raises(ValueError, match=r"holds a momentum of model/backbone/.*, one of shape \[\d+, 8\] for \[\d+, 16\]"):
        start.take_over(other, wide)


def test_paths_of_weights_do_not_depend_on_what_was_built_before():
    """Keras numbers the names of layers in a process; a state is read in another one."""
    from ppm_tf.private_apis import random_states, weight_paths

    settings = (*DIN, "model.ppm=random", "model.tables=[title]", "model.fusion=mlp")
    one, two = model(*settings), model(*settings)
    paths = [list(weight_paths(each).values()) for each in (one, two)]
    assert paths[0] == paths[1] and len(set(paths[0])) == len(paths[0])
    found = weight_paths(one)
    assert {id(weight) for weight in one.trainable_variables} <= set(found)
    assert list(random_states(one)) == list(random_states(two)) and len(random_states(one)) == 2  # FusionMLP's dropout
