"""A local server of exported models that speaks TF Serving's REST interface, for development and tests.

    python -m serving.local --base runs/synthetic/exports --port 8501

It loads <base>/<model>/<version> through the v1 Session loader, as TF Serving does, follows new versions, replays warm-up
records and gives TF Serving's answers and error codes. It is NOT TF Serving and not for production:

  - no gRPC, no batching, no metrics endpoint, no TLS, no authentication;
  - one process under one Python interpreter lock;
  - :classify and :regress are answered with 501;
  - stricter: bodies of at most --max-body-bytes (413), lists at most 32 deep (400), models with an op that this process does not
    know fail at load (there: at the first request), models with Python ops never run;
  - kinder: a version that failed to load is tried again when its folder was completed (there: only after the folder was gone);
  - error texts agree where shared by tests/serving/local/test_contract.py, and quote long values shortened.

What a request of an exported model holds, its model says (GET /v1/models/<model>/metadata). history_ids are given NEWEST FIRST, with
history_times likewise; of a longer history than the training kept (max_history in assets.extra/export.json) the newest count, the rest
is left out.

--tfserving-binary runs the real tensorflow_model_server over the same models and port instead.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path

from ppm_tf.config import pattern_in
from serving.client import printing
from serving.local.loaded_version import INTRA_OP_THREADS, LoadedVersion
from serving.local.model_versions import absent_pins
from serving.model_config import find_models, read_model_config, versions_in, write_model_config

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 2 * 2**20

_SECONDS_TO_END = 2  # of answers under way; a client that holds its connection open must not hold the server


class LocalServer:
    """Serves `Models` over HTTP; in the background as a context manager, or in the foreground with `run`.

    Args:
        models: what to serve; polled once before the port opens.
        host, port: address; port 0 takes a free one.
        max_body_bytes: most bytes of a request's body.
        poll_seconds: between two looks at the disk; None never looks again.
        log_requests: whether to log a line a request.

    Raises:
        OSError: the address is taken.

    Example:

    ```python
    with LocalServer(Models(Path("runs/synthetic/exports")), port=0) as server:
        print(server.url)
    ```
    """

    def __init__(
        self,
        models,
        host: str = "127.0.0.1",
        port: int = 8501,
        max_body_bytes: int = MAX_BODY_BYTES,
        poll_seconds: float | None = 1.0,
        log_requests: bool = False,
    ):
        import uvicorn

        from serving.local.asgi import application
        from serving.local.rest import RestApi

        self.models = models
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server((host, port), backlog=128)
        # Head and body of an answer are two writes: without this, the second waits 40 ms for the client's acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = application(RestApi(models), max_body_bytes, log_requests)
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=_SECONDS_TO_END)
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    def run(self) -> None:
        """Serves until interrupted or terminated."""
        self._begin()
        logger.info("Serving %s at %s", ", ".join(self.models.names) or "no model yet", self.url)
        try:
            self._server.run([self._socket])
        finally:
            self._end()

    def __enter__(self) -> LocalServer:
        self._begin()
        self._thread(self._server.run, [self._socket])  # the socket listens already: a request now waits for the thread
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._end()

    def _begin(self) -> None:
        self.models.poll()
        if self._poll_seconds is not None:
            self._thread(self.models.watch, self._stop, self._poll_seconds)

    def _end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()
        self.models.close()

    def _thread(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def tfserving_command(binary: str, models: list, folder: Path, port: int, grpc_port: int, intra_op_threads: int = INTRA_OP_THREADS) -> list[str]:
    """The command line of the real server; writes its `model.config` into `folder`."""
    file = folder / "model.config"
    file.write_text(write_model_config(models), encoding="utf-8")
    flags = {
        "port": grpc_port,
        "rest_api_port": port,
        "model_config_file": file,
        "file_system_poll_wait_seconds": 1,
        # the defaults try a bad version five times, a minute apart, and load nothing else meanwhile
        "max_num_load_retries": 1,
        "num_load_threads": 1,
        "tensorflow_intra_op_parallelism": intra_op_threads,
    }
    return [binary, *(f"--{name}={value}" for name, value in flags.items())]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="folder of models, <base>/<model>/<version>/saved_model.pb")
    parser.add_argument(
        "--model-config-file", "--model_config_file", type=Path, help="a model.config: names, version policies, labels; with --base models lie there"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8501, help="port of the REST interface, 0 for a free one (default: %(default)s)")
    parser.add_argument("--poll-seconds", type=float, default=1.0, help="between two looks for new versions (default: %(default)s)")
    parser.add_argument("--timeout-ms", type=int, default=30_000, help="longest run of a request in the model, then 504 (default: %(default)s)")
    parser.add_argument("--max-body-bytes", type=int, default=MAX_BODY_BYTES, help="most bytes of a request's body, then 413 (default: %(default)s)")
    parser.add_argument(
        "--intra-op-threads", type=int, default=INTRA_OP_THREADS, help="threads that one operation may use, 0 for all cores (default: %(default)s)"
    )
    parser.add_argument(
        "--log-requests", action="store_true", help="log a line a request: verb, path, code, bytes in and out, milliseconds, the message of an error"
    )
    parser.add_argument("--tfserving-binary", metavar="PATH", help="run this tensorflow_model_server instead; it listens at all addresses")
    parser.add_argument("--grpc-port", type=int, default=8500, help="gRPC port, with --tfserving-binary only (default: %(default)s)")
    return parser


@printing()
def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with 2 on wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.base is None and options.model_config_file is None:
        parser.error("--base or --model-config-file must be given.")
    if options.intra_op_threads < 0:
        parser.error(f"--intra-op-threads must be 0 or more. Received: {options.intra_op_threads}.")
    if options.base is not None and (reason := pattern_in(options.base)):
        parser.error(f"--base: {reason}")
    if options.tfserving_binary:
        _become_tfserving(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for library in ("tensorflow", "uvicorn"):
        logging.getLogger(library).setLevel(logging.ERROR)
    from serving.local.models import Models

    try:
        models = Models(options.base, options.model_config_file, lambda folder: LoadedVersion(folder, options.timeout_ms, options.intra_op_threads))
        server = LocalServer(models, options.host, options.port, options.max_body_bytes, options.poll_seconds, options.log_requests)
    except (OSError, ValueError, ImportError) as error:
        _refuse(error)
    server.run()


def _become_tfserving(options: argparse.Namespace) -> None:
    try:
        models = read_model_config(options.model_config_file, options.base) if options.model_config_file else find_models(options.base)
        if not models:
            raise ValueError(f"--base must hold a model, <base>/<model>/<version>. Received: {options.base}, which holds none.")
        if shutil.which(options.tfserving_binary) is None:
            raise FileNotFoundError(f"--tfserving-binary must be a program. Received: {options.tfserving_binary}. Without it, the local server runs.")
        for model in models:
            for version, what in absent_pins(model.policy, model.labels, versions_in(model.folder)).items():
                print(f"serving.local: {model.name}: version {version}, which {what} names, is not in {model.folder}", file=sys.stderr)
        command = tfserving_command(
            options.tfserving_binary,
            models,
            Path(tempfile.mkdtemp(prefix="model_config_")),
            options.port,
            options.grpc_port,
            options.intra_op_threads,
        )
        os.execvp(command[0], command)
    except (OSError, ValueError) as error:
        _refuse(error)


def _refuse(error: Exception) -> None:
    print(f"serving.local: {error}", file=sys.stderr)
    raise SystemExit(2) from None
