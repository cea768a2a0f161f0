"""Settings and fixtures of the whole suite."""

from __future__ import annotations

import os

# Before anything imports TensorFlow: quiet logs, and tf.keras as Keras 2 for the packages that still need it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the suite's bit-for-bit claims are made for the CPU

import pytest

_FIRST = ("tests/pipelines/test_train.py", "tests/training/test_loop.py", "tests/pipelines/")


def pytest_collection_modifyitems(items):
    """Files that train whole models come first, so that no process ends alone with one of them; while one process makes their shop, the other
    has a long file that needs none."""
    place = {path: number for number, path in enumerate(_FIRST)}
    items.sort(key=lambda item: next((place[path] for path in _FIRST if item.nodeid.startswith(path)), len(_FIRST)))


@pytest.fixture
def float32_policy():
    """Puts the global precision back after a test that changes it."""
    import keras

    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def requests():
    """Two requests: three behaviors and none, two candidates each; catalog rows 2 to 6."""
    import numpy as np

    return {
        "request": np.array([10, 11]),
        "user_id": np.array([1, 2]),
        "history": np.array([[4, 3, 2, 0], [0, 0, 0, 0]], "int32"),
        "history_time": np.array([[90, 60, 10, 0], [0, 0, 0, 0]]),
        "time": np.array([100, 100]),
        "item": np.array([[5, 6], [2, 0]], "int32"),
        "slot": np.array([[0, 1], [0, -1]], "int32"),
        "labels": np.array([[[1], [0]], [[1], [-1]]], "float32"),
    }
