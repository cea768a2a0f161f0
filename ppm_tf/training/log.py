"""The training log, one JSON object a line, what a training has cost, and the progress bar."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ppm_tf.config import TrainSettings
from ppm_tf.metrics.standing import standing_of

LOG = "train.jsonl"


class TrainingLog:
    """Metrics as one JSON object a line. On a restart, lines after the restored step are dropped.

    Each line also holds the `seconds` that the training has taken and the `examples` that it has stepped through, over all processes that it
    went on in; what a kill has lost is in neither. A training that goes back to its best look has spent what lies behind it.

    Attributes:
        examples: examples so far, which the training counts up by whole batches.
    """

    def __init__(self, path: Path, step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._open(step)
        last = next((line for line in reversed(read_log(path)) if "seconds" in line), {})
        self.examples: int = last.get("examples", 0)
        self._begun = time.monotonic() - last.get("seconds", 0.0)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._begun

    def _open(self, step: int) -> None:
        lines = [json.dumps(line) for line in read_log(self.path) if line["step"] <= step]
        self.path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        self.file = self.path.open("a", encoding="utf-8")

    def go_back(self, step: int) -> None:
        """Drops the lines after a step that the training goes back to."""
        self.close()
        self._open(step)

    def write(self, **values: Any) -> None:
        values |= {"seconds": round(self.seconds, 3), "examples": self.examples}
        self.file.write(
            json.dumps({key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()}) + "\n"
        )
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a training log, in order; a last line that a kill cut off is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def keep_logs(work: Path, folder: Path) -> None:
    """Copies the training log and the TensorBoard events of a run's working folder into its artifact."""
    shutil.copy(work / LOG, folder / LOG)
    if (work / "tensorboard").is_dir():
        shutil.copytree(work / "tensorboard", folder / "tensorboard")


def standing_line(folder: Path, settings: TrainSettings, section: str | Callable[[str], str]) -> str:
    """Where the training of the click model in `folder` stands, in a sentence; `section` holds its settings, or says where each is."""
    return standing_of(read_log(folder / LOG), settings.criterion, settings.minimizes).line(settings.criterion, section)


class ProgressBar:
    """Steps, examples a second, time left and the last loss, on standard error."""

    def __init__(self, total: int, start: int, title: str, unit: str = "candidates"):
        self.bar = tqdm(total=total, initial=start, desc=title, unit="step", dynamic_ncols=True, mininterval=1.0, smoothing=0.1)
        self.unit = unit
        self.time = time.monotonic()

    def update(self, steps: int, loss: float, examples: float) -> float:
        """Moves on by a loop; returns its examples a second."""
        now = time.monotonic()
        rate = examples / max(now - self.time, 1e-9)
        self.bar.set_postfix_str(f"loss {loss:.4f}, {rate:,.0f} {self.unit}/s")
        self.bar.update(steps)
        return rate

    def move(self, step: int, total: int) -> None:
        """Puts the bar elsewhere, on a way of another length."""
        self.bar.total, self.bar.n = total, step
        self.bar.refresh()

    def restart_clock(self) -> None:
        """Leaves out the time that validation and saving took."""
        self.time = time.monotonic()
