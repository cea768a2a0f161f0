"""Runs a Beam pipeline on the runner that the settings name."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState

from ppm_tf.config import BeamSettings
from ppm_tf.terminal import interrupted

logger = logging.getLogger(__name__)


def run_job(name: str, build: Callable[[beam.Pipeline], None], settings: BeamSettings) -> None:
    """Builds a pipeline, runs it and waits for its end.

    Args:
        name: what the job does, for the log and for remote runners.
        build: adds the steps to an empty pipeline.
        settings: runner, its options and the time it may take.

    Raises:
        ValueError: the runner is `DirectRunner`.
        TimeoutError: a remote job did not end in time; it was cancelled.
        RuntimeError: the job failed.
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    if settings.runner == "DirectRunner":
        raise ValueError(
            "beam.runner must name the runner that does the work. Received: DirectRunner, which picks one by what it finds and may download it."
            " Remedy: set beam.runner=FnApiRunner."
        )
    started = time.monotonic()
    logger.info("%s: started on %s", name, settings.runner)
    # An explicit list keeps Beam from reading this process's own command line.
    options = PipelineOptions([f"--job_name={name.replace(' ', '-')}", *settings.options])
    local = settings.runner == "FnApiRunner"
    pipeline = beam.Pipeline(runner=FnApiRunner() if local else settings.runner, options=options)
    build(pipeline)
    result = _run_here(pipeline) if local else pipeline.run()
    state = result.wait_until_finish() if local or settings.timeout is None else result.wait_until_finish(duration=int(settings.timeout * 1000))
    if state is None or not PipelineState.is_terminal(state):
        result.cancel()
        raise TimeoutError(
            f"The job '{name}' must end within beam.timeout={settings.timeout:g} seconds. Received: state {state} on {settings.runner}; it was"
            " cancelled. Remedy: look at the runner's workers (is the package installed there?) or raise beam.timeout."
        )
    if state != PipelineState.DONE:
        raise RuntimeError(f"The job '{name}' must end in state DONE. Received: {state} on {settings.runner}. Look at the runner's log.")
    logger.info("%s: done in %.1f s", name, time.monotonic() - started)


def _run_here(pipeline: beam.Pipeline):
    """Runs in this process, where an error comes back as it is: Beam's own accounts of it on standard error would say it again."""
    try:
        with contextlib.nullcontext() if os.environ.get("PPM_TF_TRACEBACK") else _without_accounts():
            return pipeline.run()
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        raise


@contextlib.contextmanager
def _without_accounts() -> Iterator[None]:
    log = logging.getLogger("apache_beam")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
