"""Tiny models for the contract suite: `python -m tests.serving.local.contract_models <folder>` writes them with a `model.config`.

A real server over the same folder, for `python -m pytest tests/serving/local/test_contract.py --server http://127.0.0.1:8501`:

    tensorflow_model_server --rest_api_port=8501 --model_config_file=<folder>/model.config

`--base-path /models/contract` writes other paths into the config, for a container that sees the folder there.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

MAX_CANDIDATES = 1000
LABELS = {"stable": 1, "canary": 2}

CONFIG = """model_config_list {{
  config {{ name: "plain" base_path: "{base}/plain" model_platform: "tensorflow" }}
  config {{ name: "ranker" base_path: "{base}/ranker" model_platform: "tensorflow" }}
  config {{ name: "latest" base_path: "{base}/latest" model_platform: "tensorflow" }}
  config {{
    name: "versions" base_path: "{base}/versions" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
}}
"""


def write_plain(folder: Path) -> None:
    """A signature for each rule of the contract; `serving_default` has four inputs and gives them back."""
    import tensorflow as tf

    module = tf.Module()
    module.two = tf.Variable(2.0)
    matrix = [None, None]

    def echo(dtype: tf.DType, output: str = "y") -> object:
        return tf.function(lambda x: {output: tf.identity(x)}, input_signature=[tf.TensorSpec(matrix, dtype, name="x")])

    def of_floats(function: object, shape: list) -> object:
        return tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])

    def capped(candidate_ids: tf.Tensor) -> dict:
        count = tf.shape(candidate_ids)[1]
        with tf.control_dependencies([tf.debugging.assert_less_equal(count, MAX_CANDIDATES, f"at most {MAX_CANDIDATES} candidates")]):
            return {"click": tf.cast(candidate_ids, tf.float32) / 1000}

    mixed = tf.function(
        lambda ids, weights, words, flags: {
            "ids_out": ids + 0,
            "weights_out": weights * 1,
            "words_out": tf.identity(words),
            "flags_out": tf.identity(flags),
        },
        input_signature=[
            tf.TensorSpec(matrix, dtype, name=name)
            for name, dtype in (("ids", tf.int64), ("weights", tf.float32), ("words", tf.string), ("flags", tf.bool))
        ],
    )
    two_inputs = [tf.TensorSpec([None], tf.float32, name=name) for name in ("a", "b")]
    signatures = {
        "serving_default": mixed,
        "floats": of_floats(lambda x: {"y": x * module.two}, matrix),
        "four_wide": of_floats(lambda x: {"y": tf.reduce_sum(x, 1)}, [None, 4]),
        "same_shape": of_floats(lambda x: {"y": tf.ensure_shape(x, [None, 4]) * module.two}, [None, 4]),
        "doubles": echo(tf.float64),
        "longs": echo(tf.int64),
        "ints": echo(tf.int32),
        "small_ints": echo(tf.uint8),
        "texts": echo(tf.string),
        "raw_bytes": echo(tf.string, "y_bytes"),
        "half_in": tf.function(lambda x: {"y": tf.cast(x, tf.float32)}, input_signature=[tf.TensorSpec(matrix, tf.float16, name="x")]),
        "half_out": of_floats(lambda x: {"y": tf.cast(x, tf.float16)}, matrix),
        "scalar": of_floats(lambda x: {"y": x * module.two}, []),
        "total": of_floats(lambda x: {"y": tf.reduce_sum(x)}, matrix),
        "batches": of_floats(lambda x: {"a": x, "b": tf.concat([x, x], 0)}, [None]),
        "lengths": tf.function(lambda a, b: {"a_total": tf.reduce_sum(a), "b_total": tf.reduce_sum(b)}, input_signature=two_inputs),
        "missing_file": of_floats(lambda x: {"y": x + tf.cast(tf.strings.length(tf.io.read_file("/no/such/file")), tf.float32)}, matrix),
        "capped": tf.function(capped, input_signature=[tf.TensorSpec(matrix, tf.int64, name="candidate_ids")]),
        "endless": of_floats(lambda x: {"y": tf.while_loop(lambda i: i < 1e30, lambda i: [i + 1.0], [x])[0]}, []),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def write_ranker(folder: Path) -> None:
    """The shape of an exported ranker: click = candidate / 1000 + length of the history, order = click + user + time + letters of the city."""
    import tensorflow as tf

    module = tf.Module()
    module.scale = tf.Variable(1000.0)

    def rank(candidate_ids, history_ids, history_times, time, user_id, user_city):
        length = tf.reduce_sum(tf.cast(history_ids >= 0, tf.float32), 1, keepdims=True)
        click = tf.cast(candidate_ids, tf.float32) / module.scale + length
        known = tf.cast(tf.reduce_sum(history_times, 1) * 0 + time + user_id, tf.float32)[:, None]
        letters = tf.reduce_sum(tf.strings.length(user_city), 1, keepdims=True)
        return {"click": click, "order": click + known + tf.cast(letters, tf.float32)}

    specs = [tf.TensorSpec([None, None], tf.int64, name=name) for name in ("candidate_ids", "history_ids", "history_times")]
    specs += [tf.TensorSpec([None], tf.int64, name=name) for name in ("time", "user_id")]
    specs.append(tf.TensorSpec([None, None], tf.string, name="user_city"))
    words = [tf.TensorSpec([None, None], tf.string, name=name) for name in ("candidate_ids", "history_ids")]
    by_word = tf.function(lambda candidate_ids, history_ids: {"click": tf.cast(tf.strings.length(candidate_ids), tf.float32)}, input_signature=words)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": tf.function(rank, input_signature=specs), "by_word": by_word})


def write_multiplier(folder: Path, factor: float) -> None:
    """`x -> y = factor * x`, the factor looked up in a table of two rows."""
    import tensorflow as tf

    module = tf.Module()
    module.table = tf.Variable([[0.0], [factor]])
    spec = tf.TensorSpec([None, None], tf.float32, name="x")
    function = tf.function(lambda x: {"y": x * tf.gather(module.table, tf.ones_like(x, tf.int32))[:, :, 0]}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})


def write_contract_models(folder: Path, base_path: str = "") -> Path:
    """Writes all models below a folder; returns the path of their `model.config`.

    Args:
        folder: made if it is not there; its models are overwritten.
        base_path: where the server sees the folder, if elsewhere.
    """
    write_plain(folder / "plain" / "1")
    write_ranker(folder / "ranker" / "1")
    for model in ("latest", "versions"):
        for version in (1, 2):
            write_multiplier(folder / model / str(version), float(version))
    config = folder / "model.config"
    config.write_text(CONFIG.format(base=base_path or folder.resolve()), encoding="utf-8")
    return config


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.serving.local.contract_models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base-path", default="", help="where the server sees the folder (default: where it is)")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(write_contract_models(options.folder, options.base_path))


if __name__ == "__main__":
    main()
