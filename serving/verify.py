"""Loads an export the way the server does, and judges it: `python -m serving.verify <version folder>`.

Takes the v1 Session loader, which is the server's path: what loads in eager Python may still fail there. Only TensorFlow
itself is imported here, so an op of any other library fails to load, as it would there. Refuses ops that touch files or Python,
replays the warm-up and compares the golden answers. Prints one JSON line; exits with 1 and a reason otherwise.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from serving.client import printing

TOLERANCE = 1e-5
# A SavedModel is a program: these would read or write files, or need Python, where it is served.
_REFUSED = {"WriteFile", "ReadFile", "MatchingFiles", "WholeFileReaderV2", "PyFunc", "PyFuncStateless", "EagerPyFunc", "PrintV2", "SaveDatasetV2", "LoadDataset"}


def verify(folder: Path) -> dict[str, float]:
    """The figures of an export: seconds to load, largest difference to a golden score, size.

    Raises:
        ValueError: it must not be published.
    """
    import numpy as np
    import tensorflow as tf

    from serving.layout import EXTRA, GOLDEN, SIGNATURE
    from serving.warmup import read_warmup

    ops = ops_of(folder)
    if ops & _REFUSED:
        raise ValueError(f"A served graph must not touch files or Python. Received: {', '.join(sorted(ops & _REFUSED))}.")
    warmup = read_warmup(folder / EXTRA)
    start = time.perf_counter()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        seconds = time.perf_counter() - start

        def answer(signature: str, inputs: dict) -> dict:
            one = meta.signature_def[signature]
            feed = {one.inputs[name].name: value for name, value in inputs.items()}
            return session.run({name: tensor.name for name, tensor in one.outputs.items()}, feed)

        for signature, inputs in warmup:
            answer(signature, inputs)
        golden, difference = json.loads((folder / EXTRA / GOLDEN).read_text(encoding="utf-8")), 0.0
        kinds = {name: tf.dtypes.as_dtype(info.dtype) for name, info in meta.signature_def[SIGNATURE].inputs.items()}
        inputs = {name: np.array(value, object if kinds[name] == tf.string else kinds[name].as_numpy_dtype) for name, value in golden["inputs"].items()}
        found = answer(golden["signature_name"], inputs)
        for task, expected in golden["outputs"].items():
            distance = np.abs(found[task] - np.array(expected)).max()
            if not distance <= TOLERANCE:  # nan, too
                raise ValueError(f"The scores of {task} must equal the trainer's to {TOLERANCE}. Received: a difference of {distance:g}.")
            difference = max(difference, float(distance))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    graph = (folder / "saved_model.pb").stat().st_size / 2**20
    return {"load_seconds": seconds, "difference": difference, "megabytes": size, "graph_megabytes": graph, "ops": len(ops)}


def ops_of(folder: Path) -> set[str]:
    """The names of all ops in the graph and its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    return {node.op for node in graph.node} | {node.op for function in graph.library.function for node in function.node_def}


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
        print(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
