"""The user's Keras settings do not reach the product, and what it cannot work with is refused."""

import json
import os
import subprocess
import sys
import types

import pytest

import ppm_tf

CODE = """
import ppm_tf, keras
from ppm_tf.encoders.image_start import resnet
backbone = resnet("small_resnet")
print(keras.config.backend(), keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(), end=" ")
print(backbone.dtype, backbone.input_shape[-1])
"""


def test_the_users_keras_settings_do_not_leak_in(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch", "floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}))
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "0"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["tensorflow", "float32", "1e-07", "channels_last", "float32", "3"]


def test_keras_that_is_imported_already_is_set_or_refused(monkeypatch):
    found = {}
    config = types.SimpleNamespace(
        backend=lambda: "tensorflow",
        **{f"set_{name}": lambda value, name=name: found.setdefault(name, value) for name in ("floatx", "epsilon", "image_data_format")},
    )
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(config=config))
    ppm_tf.own_keras()
    assert found == {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
    config.backend = lambda: "jax"
    with pytest.raises(
        RuntimeError, match="ppm_tf needs Keras on TensorFlow. Received: Keras is imported already, on jax. Remedy: import ppm_tf before keras"
    ):
        ppm_tf.own_keras()


def test_a_child_process_has_the_same_folder():
    before = os.environ["KERAS_HOME"]
    assert os.path.basename(before) == "ppm_tf"
    ppm_tf.own_keras()
    assert os.environ["KERAS_HOME"] == before
