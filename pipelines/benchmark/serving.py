"""What a served ranking model costs: `serving`, latency by candidates with and without PPM, and `lookup`, a catalog of two million items."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.benchmark.ranking import built, training_inputs, with_model
from pipelines.benchmark.timing import memory, show
from pipelines.stage import make, stage_of
from ppm_tf.config import Config
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)

_HISTORY, _SIZES, _SMALL, _LARGE = 50, (1, 100, 500, 1000), 100, 500
_FLAT = "flat"
_ALONE, _PLUGGED, _INT8 = "without PPM", "with PPM", "with PPM, int8 tables"
_ROUNDS, _CALLS = 20, 10  # short turns: what else the machine does falls on all alike
_CLIENTS, _CALLS_A_CLIENT = (1, 4), 100
_MANY_ITEMS, _WIDTH = 2_000_000, 128


def serving(config: Config, workspace: Workspace) -> None:
    """Latency of requests with a history of 50, through the session alone and over REST from the local server.

    The models are untrained: their weights cost what trained ones do. They take turns, round by round, so that other work on the
    machine slows each alike; a ratio is the median of those of the rounds, with its quartiles. `flat` sends the candidates of one
    request as rows of one candidate each, with the history repeated; `encoding` adds what it would cost to encode the texts of the
    request's items in place of looking their vectors up. An operation gets one thread, as under the server, or
    TF_NUM_INTRAOP_THREADS.
    """
    import keras
    import numpy as np

    from serving.local.models import Models
    from serving.local.server import LocalServer

    threads = _set_threads()
    backbone = config.model.backbone.name
    variants = {_ALONE: ("none", None), _PLUGGED: ("random", None), _INT8: ("random", "int8")}
    needed = with_model(config, backbone, "random")
    for name in stage_of("models").parents(needed):
        make(stage_of(name), needed, workspace, asked=False)
    keras.utils.set_random_seed(config.seed)
    inputs, _, counts = training_inputs(needed, workspace)
    about = {"benchmark": "serving", "backbone": backbone}
    with TemporaryDirectory(dir=workspace.folder) as folder:
        for place, (ppm, dtype) in enumerate(variants.values()):
            model = built(with_model(config, backbone, ppm), inputs, counts, _HISTORY, None, dtype)
            _write(model, replace(inputs.schema, history_length=_HISTORY), inputs.catalog, Path(folder, f"model{place}", "1"))
        with LocalServer(Models(Path(folder)), port=0, poll_seconds=None) as server:
            sessions = {name: _Session(server, f"model{place}") for place, name in enumerate(variants)}
            rng = np.random.default_rng(config.seed)
            requests: dict[Any, dict] = {size: _request(inputs, 1, size, rng, counts) for size in _SIZES}
            requests[_FLAT] = _request(inputs, _LARGE, 1, rng, counts)
            times = _take_turns(sessions, requests)
            loads = _loads(sessions, requests[_SMALL])
    encoding = _encoding(workspace, inputs, _LARGE + _HISTORY, rng)
    lines = [{**about, **line} for line in (*times.lines(), *loads, encoding)]
    lines += [
        {**about, "ratio": name, "median": middle, "quartiles": [low, high], **threads}
        for name, (low, middle, high) in _ratios(times, encoding).items()
    ]
    for line in lines:
        show(**line)
    show(benchmark="serving", memory_mib=memory())
    out = workspace.folder / "benchmark" / "serving"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{backbone}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    _plot(lines, out / f"{backbone}.png")
    print(out)


def lookup(config: Config, workspace: Workspace) -> None:
    """A catalog of two million items with 128 float16 numbers each: size, time to load, and the time of a lookup of 550 ids."""
    import numpy as np
    import tensorflow as tf

    from serving.local.loaded_version import LoadedVersion
    from serving.lookup import RowLookup

    class Table(tf.Module):
        def __init__(self):
            super().__init__()
            self.items = RowLookup(np.arange(_MANY_ITEMS) * 7 + 1, "items")
            self.table = tf.Variable(
                np.random.default_rng(0).normal(size=(_MANY_ITEMS + 2, _WIDTH)).astype("float16"), trainable=False, shape=[None, _WIDTH]
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="item_ids")])
        def look(self, item_ids):
            return {"vectors": tf.cast(tf.gather(self.table, self.items(item_ids) + 2), tf.float32)}

    _set_threads()
    ids = (np.random.default_rng(1).integers(0, _MANY_ITEMS, _LARGE + _HISTORY) * 7 + 1).astype("int64")
    with TemporaryDirectory() as folder:
        table = Table()
        tf.saved_model.save(table, folder, signatures={"serving_default": table.look})
        expected = tf.cast(tf.gather(table.table, (ids - 1) // 7 + 2), tf.float32)
        del table
        start, before = time.perf_counter(), memory()
        version = LoadedVersion(Path(folder))
        seconds, size = time.perf_counter() - start, sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        signature = version.signature("serving_default")
        found = version.run(signature, {"item_ids": ids})["vectors"]
        waits = []
        for _ in range(2000):
            begun = time.perf_counter()
            version.run(signature, {"item_ids": ids})
            waits.append(1000 * (time.perf_counter() - begun))
        show(
            benchmark="lookup", items=_MANY_ITEMS, width=_WIDTH, dtype="float16", ids=len(ids), megabytes=size / 2**20, load_seconds=seconds,
            memory_mib=memory() - before,
            p50_ms=float(np.median(waits)), p99_ms=float(np.quantile(waits, 0.99)), right=bool(np.array_equal(found, expected)),
        )  # fmt: skip
        version.close()


class _Session:
    """One model of the local server, asked directly and over HTTP."""

    def __init__(self, server, name: str):
        self.server, self.name = server, name

    def time(self, how: str, inputs: dict, calls: int) -> list[float]:
        """Seconds of each of some calls, after one that warms up and connects."""
        waits = []
        with self._asking(how, inputs) as ask:
            ask()
            for _ in range(calls):
                begun = time.perf_counter()
                ask()
                waits.append(time.perf_counter() - begun)
        return waits

    def load(self, how: str, inputs: dict, clients: int) -> tuple[float, float]:
        """Requests a second and the 99th percentile of their milliseconds, with this many clients at once."""
        import numpy as np

        found: list[list[float]] = []
        threads = [threading.Thread(target=lambda: found.append(self.time(how, inputs, _CALLS_A_CLIENT))) for _ in range(clients)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
        return clients * (_CALLS_A_CLIENT + 1) / seconds, float(1000 * np.quantile(np.concatenate(found), 0.99))

    @contextmanager
    def _asking(self, how: str, inputs: dict) -> Iterator[Callable[[], Any]]:
        from serving.client import Client
        from serving.requests import plain

        if how == "session":
            with self.server.models.serving(self.name).use() as (_, version):
                yield lambda: version.run(version.signature("serving_default"), inputs)
        else:
            request = plain(inputs)
            with Client(self.server.url, self.name) as client:
                yield lambda: client.predict(request)


class _Times:
    """Seconds of calls, by what was called and by round."""

    def __init__(self):
        self.of: dict[tuple, list[list[float]]] = {}

    def add(self, what: tuple, seconds: list[float]) -> None:
        self.of.setdefault(what, []).append(seconds)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was called, and the quantiles of all its calls."""
        import numpy as np

        for (name, how, size), rounds in self.of.items():
            calls = 1000 * np.concatenate(rounds)
            low, high = np.quantile(calls, [0.5, 0.99])
            yield {
                "model": name,
                "through": how,
                "candidates": size,
                "history": _HISTORY,
                "p50_ms": float(low),
                "p99_ms": float(high),
                "calls": len(calls),
            }

    def quartiles(self, what: tuple) -> list[float]:
        """Quartiles over the rounds of their median milliseconds."""
        import numpy as np

        return _quartiles([1000 * np.median(seconds) for seconds in self.of[what]])

    def ratio(self, what: tuple, over: tuple) -> list[float]:
        """Quartiles over the rounds of the ratio of their medians."""
        import numpy as np

        return _quartiles([np.median(seconds) / np.median(others) for seconds, others in zip(self.of[what], self.of[over], strict=True)])


def _quartiles(values: list[float]) -> list[float]:
    import numpy as np

    return np.quantile(values, [0.25, 0.5, 0.75]).tolist()


def _take_turns(sessions: dict[str, _Session], requests: dict[Any, dict]) -> _Times:
    times = _Times()
    for _ in range(_ROUNDS):
        for size, request in requests.items():
            ways, calls = (("session",), 1) if size == _FLAT else (("session", "rest"), _CALLS)
            for how in ways:
                for name, session in sessions.items():
                    times.add((name, how, size), session.time(how, request, calls))
    return times


def _loads(sessions: dict[str, _Session], request: dict) -> list[dict[str, Any]]:
    lines = []
    for how in ("session", "rest"):
        for name, session in sessions.items():
            for clients in _CLIENTS:
                rate, p99 = session.load(how, request, clients)
                lines.append({"model": name, "through": how, "candidates": _SMALL, "clients": clients, "requests_per_second": rate, "p99_ms": p99})
    return lines


def _ratios(times: _Times, encoding: dict[str, Any]) -> dict[str, list[float]]:
    """Lower quartile, median and upper quartile of each."""
    large, small, flat = ((_PLUGGED, "session", size) for size in (_LARGE, _SMALL, _FLAT))
    return {
        f"{_LARGE}_over_{_SMALL}_candidates": times.ratio(large, small),
        f"{_LARGE}_rows_over_{_LARGE}_candidates": times.ratio(flat, large),
        "with_over_without_ppm": times.ratio(large, (_ALONE, "session", _LARGE)),
        "int8_over_float16": times.ratio((_INT8, "session", _LARGE), large),
        "encoding_over_cached": [encoding["p50_ms"] / milliseconds + 1 for milliseconds in reversed(times.quartiles(large))],
    }


def _set_threads() -> dict[str, int]:
    """Gives an operation as many threads as under the server; returns what holds, for a process whose TensorFlow runs keeps its own."""
    import tensorflow as tf

    from serving.local.loaded_version import INTRA_OP_THREADS

    wanted = int(os.environ.get("TF_NUM_INTRAOP_THREADS", INTRA_OP_THREADS))
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError:
        logger.warning(
            "TensorFlow runs already: its operations keep their %d threads (0 = all cores)", tf.config.threading.get_intra_op_parallelism_threads()
        )
    return {"cores": len(os.sched_getaffinity(0)), "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads()}


def _write(model, schema, catalog, folder: Path) -> None:
    from serving.export import write_saved_model
    from serving.signature import Limits, ServingModule

    model.embedding.fold_tables()  # as `pipelines.export` does
    write_saved_model(ServingModule(model, schema, catalog, Limits(candidates=max(_SIZES))), folder)


def _request(inputs, rows: int, candidates: int, rng, counts) -> dict[str, Any]:
    """Raw inputs of `rows` requests of one user, with a full history."""
    import numpy as np

    from serving.times import units_per_second

    schema, ids = inputs.schema, inputs.catalog.ids.to_numpy(zero_copy_only=False)
    words = lambda field: np.full((rows, 1), field.vocabulary[0].encode(), object)
    draw = lambda count: ids[rng.integers(0, len(ids), count)]
    found: dict[str, Any] = {
        "candidate_ids": draw((rows, candidates)),
        "history_ids": np.tile(draw((1, _HISTORY)), (rows, 1)),
        "user_id": np.full(rows, counts.user_id[0]),
    }
    if schema.has_time:
        scale = units_per_second(schema.time_unit)
        now = schema.time_range[1] if schema.time_range else 10**6  # the time of the newest training request
        found |= {"time": np.full(rows, now * scale), "history_times": np.tile((now - np.arange(1, _HISTORY + 1) * 1000) * scale, (rows, 1))}
    return found | {f"{field.side}_{field.name}": words(field) for field in schema.fields if field.side != "item"}


def _encoding(workspace: Workspace, inputs, items: int, rng) -> dict[str, Any]:
    """What it takes to encode the texts of so many items, as a request without tables would have to."""
    import numpy as np

    from ppm_tf.encoders.saved import load_encoder

    encoder = load_encoder(workspace.path("encoders/text"))
    texts = [inputs.catalog.text[place] or "-" for place in rng.integers(0, inputs.catalog.num_items, items)]
    waits = []
    for number in range(6):
        begun = time.perf_counter()
        encoder.encode_batch([encoder.read(text) for text in texts])
        if number:  # the first call traces
            waits.append(1000 * (time.perf_counter() - begun))
    return {"model": f"text encoder {encoder.version}", "encoding_texts": items, "p50_ms": float(np.median(waits))}


def _plot(lines: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    shown = [line for line in lines if "p99_ms" in line and isinstance(line.get("candidates"), int) and "clients" not in line]
    for place, model in enumerate(dict.fromkeys(line["model"] for line in shown)):
        for how, style in (("session", "-"), ("rest", "--")):
            mine = [line for line in shown if (line["model"], line["through"]) == (model, how)]
            axes.plot(
                [line["candidates"] for line in mine], [line["p50_ms"] for line in mine], f"o{style}", color=f"C{place}", label=f"{model}, {how}"
            )
    axes.set(xlabel="candidates a request", ylabel="p50, ms", title=f"{shown[0]['backbone']}, history of {_HISTORY}")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
