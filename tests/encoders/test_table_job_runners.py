"""The job in worker processes: Beam's local runner with several, and a portable job service with an external worker pool."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ppm_tf.config import BeamSettings, EmbedSettings
from ppm_tf.encoders.bag_of_words import BagOfWords
from ppm_tf.encoders.table_job import write_table_job
from tests.encoders.fake_encoders import write_catalog

ITEMS = {number: f"lamp {number % 17} of {number % 5}" if number % 11 else "" for number in range(60)}


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@contextmanager
def portable_service():
    """The options of a runner whose jobs a service takes in and whose steps workers of another process run."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # the pool starts its workers as `python`
    ports, processes = (free_port(), free_port()), []
    try:
        for module, option, port in zip(
            ("portability.local_job_service_main", "worker.worker_pool_main"), ("--port", "--service_port"), ports, strict=True
        ):
            command = [sys.executable, "-m", f"apache_beam.runners.{module}", f"{option}={port}"]
            processes.append(subprocess.Popen(command, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for port in ports:
            wait_for(port)
        yield [f"--job_endpoint=localhost:{ports[0]}", "--environment_type=EXTERNAL", f"--environment_config=localhost:{ports[1]}"]
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def wait_for(port):
    for _ in range(300):
        with socket.socket() as caller:
            if caller.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


@contextmanager
def several_processes():
    yield ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.mark.slow
@pytest.mark.parametrize(("runner", "options"), [("FnApiRunner", several_processes), ("PortableRunner", portable_service)])
def test_another_runner_writes_the_same_bytes(tmp_path, runner, options):
    catalog, edited = write_catalog(tmp_path / "catalog", ITEMS), write_catalog(tmp_path / "edited", {**ITEMS, 3: "changed", 70: "new lamp"})
    BagOfWords(4).fit(ITEMS.values()).save(tmp_path / "encoder")

    def write(name, source, old, settings):
        (tmp_path / name).mkdir()
        about = write_table_job("bow", source, tmp_path / "encoder", ("text",), old, tmp_path / name, EmbedSettings(shards=3), settings).about
        shards = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).glob("*.tfrecord")}
        return about, shards

    expected = write("first", catalog, None, BeamSettings()), write("second", edited, tmp_path / "first", BeamSettings())
    with options() as found:
        settings = BeamSettings(runner=runner, options=found, timeout=200)
        assert write("other first", catalog, None, settings) == expected[0]
        assert write("other second", edited, tmp_path / "other first", settings) == expected[1]
    assert expected[1][0]["encoded"] == 2
