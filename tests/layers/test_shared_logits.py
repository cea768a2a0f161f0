"""Logits that tasks share, by hand; and where a backbone's file of weights has them."""

import h5py
import keras
import numpy as np
import pytest

from ppm_tf.backbones import BACKBONES
from ppm_tf.layers.shared_logits import add_task_scale, scaled_by_task, task_logits
from tests.battery import built, random_features


def test_each_task_weighs_one_number_by_its_own():
    values = np.array([[[2.0], [-1.0]]], "float16")
    found = scaled_by_task(values, np.array([1.0, 0.5, 0.0], "float16"))
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, [[[2.0, 1.0, 0.0], [-1.0, -0.5, 0.0]]])


def test_a_scale_is_a_weight_of_the_layer_itself_and_starts_at_1():
    layer = keras.layers.Layer()
    scale = add_task_scale(layer, 2)
    assert layer.trainable_weights == [scale] and scale.name == "linear_scale"
    np.testing.assert_array_equal(scale, [1, 1])


def test_logits_of_interactions_have_no_bias_and_full_precision(float32_policy):
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = task_logits(2, (None, 3, 4))
    assert [tuple(weight.shape) for weight in layer.weights] == [(4, 2)]
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(layer(x), x @ layer.kernel.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "own"),
    [("wide_deep", 1), ("deepfm", 1), ("xdeepfm", 1), ("autoint", 1), ("fibinet", 1), ("dcn", 0), ("dcn_v2", 0)],
)
def test_weights_lie_where_files_of_earlier_models_have_them(name, own, tmp_path):
    """The scale is the backbone's own first variable, the logits of interactions are in `logits`, and no part of them is elsewhere."""
    model = keras.Sequential([built(BACKBONES[name], {"num_tasks": 2, "mlp_units": (5,)}, random_features(np.random.default_rng(0)))])
    model.built = True
    model.save_weights(tmp_path / "all.weights.h5")
    with h5py.File(tmp_path / "all.weights.h5") as file:
        (backbone,) = file["layers"].values()
        assert [tuple(one.shape) for one in backbone["vars"].values()] == [(2,)] * own
        shared = name in ("xdeepfm", "autoint", "dcn", "dcn_v2")
        assert [one.shape[1] for one in backbone["logits"]["vars"].values()] == [2] if shared else "logits" not in backbone
        assert not [key for key in backbone if "scale" in key or "shared" in key]
