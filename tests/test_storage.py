import json
import math
import textwrap

import numpy as np
import pytest

from ppm_tf.storage import DiskFullError, no_room, reserve, write_json, writing
from ppm_tf.workspace import Recipe, Workspace
from tests.limited import file_size
from tests.processes import run_python

MESSAGE = (
    r"There must be room for .*{path}\. Received: File too large \([\d.]+ [KMGi]*B free, {need} needed\)\. Remedy: make room there or raise the limit"
    r" on file sizes"
)


def test_an_artifact_without_room_is_refused_by_its_path_and_nothing_partial_remains(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.commit("data", Recipe({})) as folder:
        (folder / "a.txt").write_text("old")
    with (
        pytest.raises(DiskFullError, match=MESSAGE.format(path="data", need=r"more than [\d.]+ KiB")),
        file_size(50_000),
        workspace.commit("data", Recipe({})) as folder,
    ):
        np.savez(folder / "a.npz", a=np.zeros(100_000))
    assert (workspace.path("data") / "a.txt").read_text() == "old"
    assert [path.name for path in (tmp_path / ".state").iterdir()] == ["lock-data"]
    with workspace.commit("data", Recipe({})) as folder:
        (folder / "a.txt").write_text("new")
    assert (workspace.path("data") / "a.txt").read_text() == "new"


def test_the_writers_of_tensorflow_and_arrow_are_understood(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf

    def records():
        with tf.io.TFRecordWriter(str(tmp_path / "r.tfrecord")) as writer:
            for _ in range(300):
                writer.write(bytes(1000))

    def checkpoint():
        tf.train.Checkpoint(v=tf.Variable(np.random.default_rng(0).normal(size=100_000))).save(str(tmp_path / "ckpt"))

    def parquet():
        pq.write_table(pa.table({"a": np.random.default_rng(0).normal(size=100_000)}), tmp_path / "a.parquet")

    for write in (records, checkpoint, parquet):
        with pytest.raises(DiskFullError, match=MESSAGE.format(path="x", need="2.0 KiB")), file_size(50_000), writing(tmp_path / "x", need=2048):
            write()


def test_a_json_file_is_valid_whatever_its_figures_are(tmp_path):
    write_json(tmp_path / "a.json", {"auc": math.nan, "of": [math.inf, 1.5, {"é": (-math.inf, 2)}], "what": "x"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    strict = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert strict == {"auc": None, "of": [None, 1.5, {"é": [None, 2]}], "what": "x"} and "é" in text


def test_no_other_error_is_taken_for_a_full_disk(tmp_path):
    import tensorflow as tf

    for error in (
        ValueError("No space left on device, says a column"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        OSError(2, "No such file"),
    ):
        assert no_room(error) == ""
        with pytest.raises(type(error)), writing(tmp_path):
            raise error
    wrapped = RuntimeError("a step failed")
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert no_room(wrapped) == "No space left on device"


def test_room_is_asked_for_and_given_back(tmp_path):
    reserve(tmp_path / "new" / "a", 10_000)
    with pytest.raises(DiskFullError, match=MESSAGE.format(path="new/a", need="1.0 MiB")), file_size(50_000):
        reserve(tmp_path / "new" / "a", 1 << 20)
    assert list((tmp_path / "new").iterdir()) == []


def test_weights_without_room_end_in_an_error_and_not_in_the_process(tmp_path):
    """HDF5 would end the whole process by a segmentation fault when it closes the file that it could not finish."""
    code = f"""
    import ppm_tf, keras
    from ppm_tf.encoders.image import ImageEncoder
    from ppm_tf.encoders.image_start import resnet
    from ppm_tf.storage import DiskFullError, save_weights
    from tests.limited import file_size
    model = keras.Sequential([keras.layers.Input((300,)), keras.layers.Dense(300), keras.layers.Dense(300)])
    encoder = ImageEncoder(resnet("small_resnet"), 16, 8)
    for save in (lambda: save_weights(model, {str(tmp_path / "a.weights.h5")!r}), lambda: encoder.save({str(tmp_path / "encoder")!r})):
        try:
            with file_size(200_000):
                save()
        except DiskFullError as error:
            print(error)
    save_weights(model, {str(tmp_path / "b.weights.h5")!r})
    """
    done = run_python(textwrap.dedent(code))
    assert done.returncode == 0, done.stderr[-2000:]
    weights, encoder = done.stdout.splitlines()
    assert "a.weights.h5. Received: File too large" in weights and "785.5 KiB needed" in weights
    assert f"{tmp_path / 'encoder' / 'backbone'}. Received: File too large" in encoder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.weights.h5", "encoder"] and not list((tmp_path / "encoder").iterdir())
    assert (tmp_path / "b.weights.h5").stat().st_size < 785.5 * 1024


def test_weights_of_a_network_that_was_built_otherwise_are_named_with_the_remedy(tmp_path):
    import keras

    from ppm_tf.storage import load_weights

    class Model(keras.Model):
        def __init__(self, use_bias):
            super().__init__()
            self.score = keras.layers.Dense(2, use_bias=use_bias, name="score")
            self.score.build((None, 3))
            self.built = True

    path = tmp_path / "a.weights.h5"
    Model(True).save_weights(path)
    with pytest.raises(
        ValueError,
        match=r"as this release builds it\. Received: .*a\.weights\.h5, where Layer 'score' expected 1 variables, .* Remedy: train it anew\.",
    ):
        load_weights(Model(False), path, "train it anew")
