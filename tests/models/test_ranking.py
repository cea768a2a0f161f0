import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.losses import multi_task_cross_entropy
from ppm_tf.models.build import build_pretraining_model
from ppm_tf.training import id_tables
from tests.models.tiny_ranking import DIN, SCHEMA, URM, batch, model, settings, tables

CHOICES = [(backbone, ppm) for backbone in (DIN, URM) for ppm in ("none", "random", "frozen", "finetune")]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Weights of a pre-training model that no other seed gives."""
    keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("ppm") / "ppm.weights.h5"
    build_pretraining_model(settings(), SCHEMA, tables()).save_weights(path)
    return path


def one(backbone, ppm, pretrained=None, seed=0):
    keras.utils.set_random_seed(seed)
    return model(*backbone, f"model.ppm={ppm}", pretrained=pretrained)


@pytest.mark.parametrize(("backbone", "ppm"), CHOICES)
def test_logits_a_candidate_and_task(backbone, ppm):
    logits = one(backbone, ppm)(batch())
    assert logits.shape == (3, 3, 2) and logits.dtype == "float32" and np.isfinite(logits).all()


@pytest.mark.parametrize("ppm", ["frozen", "finetune"])
def test_ppm_starts_from_its_pretraining(pretrained, ppm):
    plugged = one(DIN, ppm, pretrained)
    trained = build_pretraining_model(settings(), SCHEMA, tables())
    trained.load_weights(pretrained)
    for mine, theirs in zip(plugged.ppm.get_weights(), trained.ppm.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    same = batch()
    user, item = plugged.ppm(same["history"], same["item"], plugged.embedding(same).recency, same["slot"])
    expected = trained.ppm(same["history"], same["item"], plugged.embedding(same).recency, same["slot"])
    np.testing.assert_array_equal(user, expected[0])
    np.testing.assert_array_equal(item, expected[1])


def test_a_random_ppm_does_not(pretrained):
    assert (
        np.abs(np.array(one(DIN, "random").ppm.transformer.recencies) - np.array(one(DIN, "finetune", pretrained).ppm.transformer.recencies)).max()
        > 1e-3
    )


def test_frozen_means_no_weight_of_ppm_trains(pretrained):
    frozen, tuned, none = (one(DIN, ppm, pretrained if ppm != "none" else None) for ppm in ("frozen", "finetune", "none"))
    assert frozen.ppm.trainable_variables == []
    assert len(frozen.trainable_variables) == len(none.trainable_variables)
    assert len(tuned.trainable_variables) == len(none.trainable_variables) + len(tuned.ppm.trainable_variables) > len(none.trainable_variables)


@pytest.mark.parametrize("backbone", [DIN, URM])
def test_the_plug_in_speaks_through_other(backbone):
    """The same item ids and fields, other vectors behind them: the score changes with PPM and not without."""
    for ppm, changes in (("none", False), ("random", True)):
        plugged = one(backbone, ppm)
        before = plugged(batch()).numpy()
        if plugged.ppm is not None:
            for layer in plugged.ppm.tables.values():
                layer.table.assign(np.array(layer.table)[::-1])
        assert bool(np.abs(plugged(batch()).numpy() - before).max() > 1e-6) is changes


def test_a_request_with_n_candidates_scores_as_n_requests():
    many = batch()
    alone = {name: np.repeat(value, 3, axis=0) for name, value in many.items()}
    alone |= {name: many[name].reshape(9, 1, *many[name].shape[2:]) for name in ("item", "slot", "labels")}
    plugged = one(URM, "random")
    np.testing.assert_allclose(plugged(alone).numpy().reshape(3, 3, 2), plugged(many), atol=1e-5)


@pytest.mark.parametrize(("backbone", "ppm"), [(DIN, "random"), (URM, "random")])
def test_weights_reload_equal(tmp_path, backbone, ppm):
    first, second = one(backbone, ppm, seed=0), one(backbone, ppm, seed=1)
    assert np.abs(first(batch()).numpy() - second(batch()).numpy()).max() > 1e-3
    first.save_weights(tmp_path / "ranking.weights.h5")
    second.load_weights(tmp_path / "ranking.weights.h5")
    np.testing.assert_array_equal(first(batch()), second(batch()))


def test_every_weight_gets_a_gradient_and_id_tables_a_sparse_one():
    plugged = one(URM, "random")
    labels = tf.constant(batch()["labels"])
    with tf.GradientTape() as tape:
        loss = multi_task_cross_entropy(labels, plugged(batch(), training=True), (1.0, 0.5))
    sparse = {id(table) for table in id_tables(plugged)}
    for variable, gradient in zip(
        plugged.trainable_variables, tape.gradient(loss, [variable.value for variable in plugged.trainable_variables]), strict=True
    ):
        assert gradient is not None, variable.path
        assert isinstance(gradient, tf.IndexedSlices) or id(variable) not in sparse, f"{variable.path} is read as a whole"
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_a_missing_table_is_named():
    with pytest.raises(ValueError, match="model.tables names bow, and the run has title, image"):
        model(*DIN, "model.ppm=none", "model.tables=[bow]")
