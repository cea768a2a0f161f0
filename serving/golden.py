"""The golden requests of a new version, asked of an earlier one: `python -m serving.golden <earlier version> <golden.json>`.

What the gate compares (`gate.max_golden_change`), before anything is published and without a server: a fresh process loads the earlier
version as the server does and prints its answers as one JSON line, a probability a candidate and task.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from serving.client import printing
from serving.layout import EXTRA, GOLDEN

Answers = dict[str, Any]  # task -> [R][N]


def golden_answers(new: Path, live: Path) -> tuple[Answers, Answers]:
    """The golden answers of a new version, and those of the live one to the same requests, by task; what `ppm_tf.daily.judge` takes.

    Args:
        new: folder of the new version, staged or published.
        live: folder of the live version.

    Raises:
        ValueError: the live version cannot answer these requests: it takes other inputs, as after a change of the schema, or does not load.
    """
    path = Path(new) / EXTRA / GOLDEN
    done = subprocess.run([sys.executable, "-m", "serving.golden", str(live), str(path)], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ValueError(f"The live version {live} must answer the golden requests of {new}. Received: {said[-1] if said else done.returncode}")
    return json.loads(path.read_text(encoding="utf-8"))["outputs"], json.loads(done.stdout.strip().splitlines()[-1])


def answers(folder: Path, golden: dict[str, Any]) -> Answers:
    """What a version answers to golden requests.

    Raises:
        ValueError: it takes other inputs.
    """
    import tensorflow as tf

    from serving.verify import arrays_of, signature_of

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = signature_of(meta, golden["signature_name"], golden["inputs"], ())
        feed = {signature.inputs[name].name: value for name, value in arrays_of(signature, golden["inputs"]).items()}
        found = session.run({name: tensor.name for name, tensor in signature.outputs.items()}, feed)
    return {task: found[task].tolist() for task in golden["outputs"] if task in found}


@printing()
def main() -> None:
    """The command line."""
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        raise SystemExit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        print(json.dumps(answers(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))))
    except Exception as error:  # of a version that was made elsewhere: whatever it is, it gives no answers
        print(f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
