"""Loads an export the way the server does, and judges it: `python -m serving.verify <version folder>`.

Takes the v1 Session loader, which is the server's path: what loads in eager Python may still fail there. Only TensorFlow
itself is imported here, so an op of any other library fails to load, as it would there. Refuses a graph that runs anything but
the operations of `serving/allowed_ops.py`, replays the warm-up and compares the golden answers. Prints one JSON line; exits
with 1 and a reason otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.client import printing

TOLERANCE = 1e-5


def verify_afresh(folder: Path) -> dict[str, float]:
    """Judges a version in a fresh process, which knows of it only what lies in the folder; gives the figures of `verify`.

    Raises:
        ValueError: it would fail in the server, or answers otherwise than the trainer did.
    """
    done = subprocess.run([sys.executable, "-m", "serving.verify", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(
            f"The export {folder} must load and answer as the trainer does. Received:"
            f" {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def verify(folder: Path) -> dict[str, float]:
    """The figures of an export: seconds to load, largest difference to a golden score, size.

    Raises:
        ValueError: it must not be published.
    """
    import numpy as np
    import tensorflow as tf

    from serving.graph_check import check_graph
    from serving.layout import EXTRA, GOLDEN
    from serving.warmup import read_warmup

    ops = check_graph(folder)
    golden, warmup = json.loads((folder / EXTRA / GOLDEN).read_text(encoding="utf-8")), read_warmup(folder / EXTRA)
    if not golden["outputs"]:
        raise ValueError(f"{EXTRA}/{GOLDEN} must hold an answer. Received: none. Export it again.")
    start = time.perf_counter()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        seconds = time.perf_counter() - start

        def answer(signature: str, inputs: dict, outputs: Iterable[str] = ()) -> dict:
            one = signature_of(meta, signature, inputs, outputs)
            feed = {one.inputs[name].name: value for name, value in inputs.items()}
            return session.run({name: tensor.name for name, tensor in one.outputs.items()}, feed)

        for signature, inputs in warmup:
            answer(signature, inputs)
        signature = signature_of(meta, golden["signature_name"], golden["inputs"], golden["outputs"])
        found, difference = answer(golden["signature_name"], arrays_of(signature, golden["inputs"])), 0.0
        for task, expected in golden["outputs"].items():
            if found[task].shape != np.shape(expected):
                raise ValueError(f"The scores of {task} must have the shape of the trainer's, {np.shape(expected)}. Received: {found[task].shape}.")
            distance = np.abs(found[task] - np.array(expected)).max()
            if not distance <= TOLERANCE:  # nan, too
                raise ValueError(f"The scores of {task} must equal the trainer's to {TOLERANCE}. Received: a difference of {distance:g}.")
            difference = max(difference, float(distance))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    graph = (folder / "saved_model.pb").stat().st_size / 2**20
    return {"load_seconds": seconds, "difference": difference, "megabytes": size, "graph_megabytes": graph, "ops": len(ops)}


def arrays_of(signature: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of golden requests, in the types that a signature takes."""
    import numpy as np
    import tensorflow as tf

    kinds = {name: tf.dtypes.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    return {name: np.array(value, object if kinds[name] == tf.string else kinds[name].as_numpy_dtype) for name, value in inputs.items()}


def signature_of(meta: Any, name: str, inputs: Iterable[str], outputs: Iterable[str]) -> Any:
    """The signature of that name, which must take these inputs, all of them and no others, and give these outputs."""
    if name not in meta.signature_def:
        raise ValueError(f"The requests of a version must name one of its signatures, {', '.join(sorted(meta.signature_def))}. Received: {name!r}.")
    found = meta.signature_def[name]
    if set(inputs) != set(found.inputs) or not set(inputs):
        raise ValueError(
            f"A request of {name} must hold the inputs by their names: {', '.join(sorted(found.inputs)) or 'none, but there must be some'}. Received:"
            f" {', '.join(sorted(inputs)) or 'none'}."
        )
    unnamed = sorted(key for key, tensor in (*found.inputs.items(), *found.outputs.items()) if not tensor.name)
    if unnamed:
        raise ValueError(f"Each input and output of {name} must be one dense tensor. Received: {', '.join(unnamed)}, which are not.")
    if set(outputs) - set(found.outputs):
        raise ValueError(
            f"{name} must give what the golden answers hold. Received: no {', '.join(sorted(set(outputs) - set(found.outputs)))} among"
            f" {', '.join(sorted(found.outputs))}."
        )
    return found


@printing()
def main() -> None:
    """The command line."""
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        raise SystemExit(0 if len(sys.argv) == 2 else 2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        print(json.dumps(verify(Path(sys.argv[1]))))
    except Exception as error:  # whatever it is, it must not be published
        reason = str(error).removeprefix("Graph execution error:").strip().splitlines()  # TensorFlow's heading says nothing
        print(f"{type(error).__name__}: {reason[0] if reason else 'no reason given'}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
