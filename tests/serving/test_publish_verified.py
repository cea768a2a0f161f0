"""`python -m serving.publish` takes nothing live that a fresh process has not loaded and found to answer as its golden file says."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from serving.layout import EXTRA, GOLDEN
from serving.publish import main, versions
from serving.warmup import write_warmup


@pytest.fixture(scope="module")
def multiplier(contract_folder, tmp_path_factory):
    """A version that doubles, with its warm-up and golden answers."""
    folder = tmp_path_factory.mktemp("multiplier") / "staged"
    shutil.copytree(contract_folder / "versions" / "2", folder)
    (folder / EXTRA).mkdir()
    write_warmup(folder / EXTRA, "m", [("serving_default", {"x": np.float32([[1.0]])})])
    (folder / EXTRA / GOLDEN).write_text(json.dumps({"signature_name": "serving_default", "inputs": {"x": [[1.5]]}, "outputs": {"y": [[3.0]]}}))
    return folder


def test_a_version_that_answers_goes_live_and_one_with_cut_weights_does_not(multiplier, tmp_path, capsys):
    where = ["--base", str(tmp_path / "exports"), "--model", "m"]
    main([str(multiplier), *where])
    assert versions(tmp_path / "exports", "m") == [1]
    cut = shutil.copytree(multiplier, tmp_path / "cut")
    os.truncate(cut / "variables" / "variables.data-00000-of-00001", 2)
    with pytest.raises(SystemExit, match="1"):
        main([str(cut), *where])
    assert re.search("must load and answer as the trainer does. Received: OutOfRangeError: Read (less|fewer) bytes", capsys.readouterr().err)
    assert sorted(path.name for path in (tmp_path / "exports" / "m").iterdir()) == [".publish.lock", "1"]


def test_a_golden_request_must_name_the_inputs(multiplier, tmp_path):
    """Of a signature with none, of an input that it lacks, and of a signature that is not there."""
    from serving.verify import verify

    for golden, message in (
        ({"signature_name": "serving_default", "inputs": {}, "outputs": {"y": [[3.0]]}}, r"must hold the inputs by their names: x. Received: none"),
        (
            {"signature_name": "serving_default", "inputs": {"z": [[1.5]]}, "outputs": {"y": [[3.0]]}},
            r"must hold the inputs by their names: x. Received: z",
        ),
        (
            {"signature_name": "nobody", "inputs": {"x": [[1.5]]}, "outputs": {"y": [[3.0]]}},
            "must name one of its signatures, .*serving_default. Received: 'nobody'",
        ),
        (
            {"signature_name": "serving_default", "inputs": {"x": [[1.5]]}, "outputs": {"z": [[3.0]]}},
            "serving_default must give what the golden answers hold. Received: no z among y",
        ),
        (
            {"signature_name": "serving_default", "inputs": {"x": [[1.5]]}, "outputs": {"y": [3.0]}},
            r"must have the shape of the trainer's, \(1,\). Received: \(1, 1\)",
        ),
        ({"signature_name": "serving_default", "inputs": {"x": [[1.5]]}, "outputs": {}}, "golden.json must hold an answer. Received: none"),
    ):
        (multiplier / EXTRA / GOLDEN).write_text(json.dumps(golden))
        with pytest.raises(ValueError, match=message):
            verify(multiplier)


def test_a_signature_without_inputs_is_refused_in_words(tmp_path):
    import tensorflow as tf

    from serving.verify import verify

    module = tf.Module()
    module.one = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": tf.function(lambda: {"y": module.one * 2}, input_signature=[])})
    (tmp_path / EXTRA).mkdir()
    write_warmup(tmp_path / EXTRA, "m", [("serving_default", {"x": np.float32([1.0])})])
    (tmp_path / EXTRA / GOLDEN).write_text(json.dumps({"signature_name": "serving_default", "inputs": {"x": [1.0]}, "outputs": {"y": 2.0}}))
    with pytest.raises(ValueError, match="must hold the inputs by their names: none, but there must be some. Received: x"):
        verify(tmp_path)
