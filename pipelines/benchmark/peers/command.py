"""`speed`: models of this product beside those of others, on the same rows, in processes that take turns."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from pipelines.benchmark.peers.options import PEERS, Options
from pipelines.benchmark.timing import in_turns, show
from pipelines.stage import make, stage_of
from ppm_tf.config import Config, from_dict
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)

_TURN = 3.0  # seconds that a turn of training, and one of inference, is to take
_CANDIDATES = (1, 100, 500)
_REQUESTS = 40
_TASK = "click"
_DIN_A = {"name": "din", "mlp_units": [128, 64, 64], "attention_units": [64, 32]}
_DIN_B = {"name": "din", "mlp_units": [256, 128, 64], "attention_units": [64, 32]}


@dataclass(frozen=True)
class Workload:
    """One size of data and model.

    Attributes:
        history: behaviors a request.
        candidates: candidates a request; peers have a row for each.
        width: of an embedding.
        batch: candidates a batch.
        backbones: name of a model -> its backbone and what it reads more. The first meets the peers, if `peers` is true.
        peers: whether peers have this model.
        tables: name of a model -> the tables of random vectors that it reads, and their widths.
    """

    history: int
    candidates: int
    width: int
    batch: int
    backbones: dict[str, dict[str, Any]]
    peers: bool = True
    tables: dict[str, dict[str, int]] = field(default_factory=dict)


WORKLOADS = {
    "A": Workload(20, 1, 16, 1024, {"DIN": {"backbone": _DIN_A}}),
    "B": Workload(50, 1, 64, 4096, {"DIN": {"backbone": _DIN_B}}),
    "C": Workload(50, 10, 64, 4096, {"DIN": {"backbone": _DIN_B}}),
    "plug-ins": Workload(
        30, 10, 64, 640,
        {"DIN": {"backbone": {"name": "din"}}, "DIN + table": {"backbone": {"name": "din"}, "tables": ["title"]},
         "URM": {"backbone": {"name": "urm"}}, "URM + PPM": {"backbone": {"name": "urm"}, "ppm": "random"}},
        peers=False, tables={"DIN + table": {"title": 384}, "URM + PPM": {"title": 64, "image": 64}},
    ),
}  # fmt: skip


def speed(config: Config, workspace: Workspace, options: Options) -> None:
    """Rates, waits, memory and AUC of every model of the workloads, beside peers, and the share of the machine's floor that they reach.

    Raises:
        RuntimeError: an environment could not be made, or a process of a model ended; its log is named.
    """
    from ppm_tf.reports.speed import speed_table

    folder = workspace.folder / "benchmark" / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    pythons = {peer: _environment(peer, Path(options.environments)) for peer in options.peers}
    lines = []
    for name in options.workloads:
        lines += _measured(name, config, folder, pythons, options)
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    table = speed_table(lines)
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n\n{folder}")


def _environment(peer: str, folder: Path) -> str:
    """The Python of a peer's virtual environment, made where it is missing."""
    python = folder / peer / "bin" / "python"
    if not (folder / peer / "whole").exists():
        logger.info("%s: installing %s into %s", peer, ", ".join(PEERS[peer]), folder / peer)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder / peer)],
            [str(python), "-m", "pip", "install", "--quiet", *PEERS[peer]],
        ):
            if subprocess.run(command).returncode:
                raise RuntimeError(f"The environment of {peer} could not be made; the reason is above. Received: `{' '.join(command)}`.")
        (folder / peer / "whole").touch()
    return str(python.absolute())


def _measured(name: str, config: Config, folder: Path, pythons: dict[str, str], options: Options) -> list[dict[str, Any]]:
    """The lines of one workload."""
    load, size = WORKLOADS[name], folder / f"T{WORKLOADS[name].history}N{WORKLOADS[name].candidates}"
    base = _of_workload(config, load, size)
    make(stage_of("data"), base, Workspace(base.run))  # its own, made anew under other settings
    # What this process asked of its own TensorFlow is not for theirs.
    env = {name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS", "KERAS_BACKEND")}
    env |= {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    env |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    commands = {}
    for model, more in load.backbones.items():
        path = size / f"{model}.yaml".replace(" ", "_")
        path.write_text(yaml.safe_dump(_with(base, more).model_dump(mode="json")), encoding="utf-8")
        spec = {"settings": [str(path)], "threads": options.threads, "tables": load.tables.get(model, {})}
        commands["ppm_tf", model] = ([sys.executable, "-m", "pipelines.benchmark.peers.ours"], spec)
    if load.peers:
        rows, vocabularies = _write_rows(base, size)
        spec = {
            "rows": str(rows), "vocabularies": vocabularies, "width": load.width, "history": load.history, "batch_size": load.batch,
            "learning_rate": base.model.train.learning_rate, "seed": base.seed, "threads": options.threads,
            "mlp_units": list(base.model.backbone.mlp_units), "attention_units": list(base.model.backbone.attention_units),
        }  # fmt: skip
        for peer, python in pythons.items():
            commands[peer, next(iter(load.backbones))] = ([python, str(Path(__file__).parent / f"{peer}_din.py")], spec)
    with ExitStack() as stack:
        workers = {key: stack.enter_context(_worker(key, command, spec, size, env)) for key, (command, spec) in commands.items()}
        return _answers(name, workers, size, options)


def _of_workload(config: Config, load: Workload, folder: Path) -> Config:
    """The settings of a workload's data and of its first model."""
    values = config.model_dump(mode="json")
    values["run"] = str(folder / "run")
    values["data"] |= {"history_length": load.history, "candidates": load.candidates, "requests": "single" if load.candidates == 1 else "column"}
    if config.data.source == "synthetic":  # a row more for each that a request holds less
        values["data"]["requests_per_user"] = max(1, 10 * config.data.requests_per_user // load.candidates)
    values["data"]["split"]["pretrain"] = 0.0
    values["model"] |= {
        "ppm": "none", "tables": [], "dim": load.width, "tasks": {_TASK: 1.0},
        "train": values["model"]["train"] | {"batch_size": load.batch // load.candidates},
    }  # fmt: skip
    return _with(from_dict(values), next(iter(load.backbones.values())))


def _with(config: Config, more: dict[str, Any]) -> Config:
    values = config.model_dump(mode="json")
    values["model"] |= more
    return from_dict(values)


def _write_rows(config: Config, folder: Path) -> tuple[Path, dict[str, int]]:
    """The rows of the train and test parts as NumPy files, a candidate each in the order of the samples, and the size of each vocabulary."""
    import numpy as np

    from ppm_tf.data import samples
    from ppm_tf.models.inputs import Inputs

    workspace, rows = Workspace(config.run), folder / "rows"
    inputs = Inputs.read(workspace, ())
    schema, catalog = inputs.schema, inputs.catalog
    of_items = {"item_id": np.arange(catalog.num_rows, dtype="int32")}
    of_items |= {name: values[:, 0].astype("int32") for name, values in catalog.fields.items() if values.shape[1] == 1}
    sizes = {name: int(values.max()) + 1 for name, values in of_items.items()}
    parts = {}
    for split in ("train", "test"):
        found: dict[str, list] = {}
        for batch in samples.read(samples.find_shards(workspace.path("data") / "samples", [split]), schema, 4096).as_numpy_iterator():
            request, place = np.nonzero(batch["labels"][..., schema.tasks.index(_TASK)] >= 0)
            item, history = batch["item"][request, place], batch["history"][request]
            columns = {"user_id": batch["user_id"][request], "label": batch["labels"][request, place, schema.tasks.index(_TASK)].astype("int32")}
            for side in ("user", "context"):
                start = 0
                for one in schema.side(side):
                    if one.num_values == 1:
                        columns[f"{side}_{one.name}"] = batch[side][request, start].astype("int32")
                        sizes[f"{side}_{one.name}"] = one.num_rows
                    start += one.num_values
            columns |= {name: values[item] for name, values in of_items.items()}
            columns |= {f"hist_{name}": values[history] for name, values in of_items.items()}
            for name, values in columns.items():
                found.setdefault(name, []).append(values)
        parts[split] = {name: np.concatenate(values) for name, values in found.items()}
    users = np.unique(parts["train"]["user_id"])
    sizes["user_id"] = len(users) + 1
    shutil.rmtree(rows, ignore_errors=True)  # a column that only earlier data had would be read with these
    for split, columns in parts.items():
        place = np.searchsorted(users, columns["user_id"]).clip(max=len(users) - 1)
        columns["user_id"] = np.where(users[place] == columns["user_id"], place + 1, 0).astype("int32")
        (rows / split).mkdir(parents=True, exist_ok=True)
        for name, values in columns.items():
            np.save(rows / split / f"{name}.npy", values)
    return rows, sizes


@contextmanager
def _worker(key: tuple[str, str], command: list[str], spec: dict[str, Any], folder: Path, env: dict[str, str]) -> Iterator[_Worker]:
    """A process that answers orders, until the block ends."""
    name = "-".join(key).replace(" ", "_")
    path = folder / f"{name}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env)
        worker = _Worker(process, name, log.name)
        try:
            worker.answer()
            yield worker
        finally:
            with suppress(BrokenPipeError):  # what it did not take any more
                process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()  # type: ignore[union-attr]


class _Worker:
    """The other end of `worker.serve`."""

    def __init__(self, process: subprocess.Popen, name: str, log: str):
        self.process, self.name, self.log = process, name, log

    def answer(self) -> dict[str, Any]:
        output: IO[str] = self.process.stdout  # type: ignore[assignment]
        line = output.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(f"The process of {self.name} ended with {self.process.returncode}. Its log is {self.log}.")
        return json.loads(line)

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        with suppress(BrokenPipeError):  # of a process that has ended, which `answer` says
            self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        return self.answer()


def _answers(name: str, workers: dict[tuple[str, str], _Worker], folder: Path, options: Options) -> list[dict[str, Any]]:
    import numpy as np

    from ppm_tf.metrics import auc

    often = {}
    for key, worker in workers.items():
        logger.info("%s: warming up %s", name, worker.name)
        worker.ask("train", steps=3), worker.ask("infer", batches=3)
        often[key] = [
            max(1, math.ceil(3 * _TURN / worker.ask(do, **{what: 3})["seconds"])) for do, what in (("train", "steps"), ("infer", "batches"))
        ]
        for candidates in _CANDIDATES:
            worker.ask("request", candidates=candidates, times=1)

    def turn(key: tuple[str, str]) -> dict[str, float]:
        worker, (steps, batches) = workers[key], often[key]
        trained, inferred = worker.ask("train", steps=steps), worker.ask("infer", batches=batches)
        found = {"train": trained["examples"] / trained["cpu_seconds"], "infer": inferred["examples"] / inferred["cpu_seconds"]}
        found |= {f"ms_{candidates}": worker.ask("request", candidates=candidates, times=_REQUESTS)["ms"] for candidates in _CANDIDATES}
        return found

    logger.info("%s: %d rounds, in which %s take turns", name, options.rounds, ", ".join(worker.name for worker in workers.values()))
    rounds = in_turns({key: lambda key=key: turn(key) for key in workers}, options.rounds)  # type: ignore[misc]
    lines = []
    for (system, model), worker in workers.items():
        turns = rounds[system, model]
        line = {"benchmark": "speed", "workload": name, "system": system, "model": model}
        line |= {what: float(np.median([one[what] for one in turns])) for what in turns[0]}
        if system == "ppm_tf":
            floor = worker.ask("floor")
            batch = worker.ask("train", steps=1)["examples"]
            line |= {"train_of_floor": floor["step_floor"] * line["train"] / batch, "infer_of_floor": floor["infer_floor"] * line["infer"] / batch}
            line |= {what: floor[what] for what in ("step_gflop", "gflops", "gather_gb")}
        if options.epoch and WORKLOADS[name].peers:
            logger.info("%s: a pass of %s", name, worker.name)
            passed = worker.ask("epoch")
            scores = folder / f"{worker.name}.npy"
            line |= {"epoch": passed["examples"] / passed["cpu_seconds"], "peak_mib": worker.ask("score", path=str(scores))["peak_mib"]}
            labels = _labels(folder)
            found = np.load(scores)
            if len(found) != len(labels):
                raise RuntimeError(f"{worker.name} must score each of the {len(labels)} test rows. Received: {len(found)} scores.")
            line["auc"] = float(auc(labels, found))
        show(**line)
        lines.append(line)
    return lines


def _labels(folder: Path):
    import numpy as np

    return np.load(folder / "rows" / "test" / "label.npy")
