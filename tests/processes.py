"""Processes of their own for what no test may do in its own: two logical devices, being killed, a full disk. TensorFlow is imported once for all."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Imported in the server that the processes are forked from. Importing starts nothing in TensorFlow: each fork has its devices for itself.
_PRELOADED = ["tests.processes", "tensorflow", "keras", "keras_nlp", "orbit", "ppm_tf.training", "ppm_tf.data.samples", "ppm_tf.models.build"]


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """What `python -c <code> <arguments>` would give, in the folder that the tests run in."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_execute, args=(code, [str(argument) for argument in arguments], folder, dict(os.environ)))
        process.start()
        process.join()
        out, errors = ((Path(folder) / name).read_text(errors="replace") for name in ("out", "errors"))
    return subprocess.CompletedProcess([code, *arguments], process.exitcode, out, errors)


def run_module(name: str, *arguments: object) -> subprocess.CompletedProcess:
    """What `python -m <name> <arguments>` would give."""
    return run_python(f"import runpy; runpy.run_module({name!r}, run_name='__main__')", *arguments)


def _execute(code, arguments, folder, environment):
    for number, name in ((1, "out"), (2, "errors")):
        descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<test>", "exec"), {"__name__": "__main__"})
