"""`UpdateManifest`: what one update did, the file `updates/<day>/manifest.json`; what model cards and the index of versions are made of.

The file is a JSON object with these keys. Those that an update did not get to are empty or null; keys of later releases are passed over.

- `day`: the day that is served, YYYY-MM-DD.
- `status`: `published`; `refused`, by the gate, by the server or for its data; `nothing`, where there was nothing to do.
- `reason`: why it was refused, or did nothing.
- `model`, `version`: under which name and number it was published; the number is null where it was not.
- `made_at`: when, UTC.
- `trained`: id of the ranking model's artifact, which its export repeats.
- `started`: day of the update that the model's weights began with.
- `learnt`: the newest day whose window each model has learnt from, such as `{"ranker": "2026-11-18", "ppm": "2026-11-17"}`.
- `content`: what the newest day of the log held, by hash; of one that could not be prepared, why.
- `parents`: what it goes on from, such as `{"update": "2026-11-19", "ranker": <id>, "ppm": <id>}`.
- `encoders`: version of the encoder behind each table.
- `inputs`: hash of each day of the log that was prepared, by day.
- `window`: what was trained and judged on, such as `{"ppm": ["2026-11-17 tail", "2026-11-18 head"], "ranker": [...], "held out": [...]}`.
- `counts`: any counts by name, such as requests, items, new items.
- `data`: counts of the newest day, see `DayStatistics`.
- `seconds`: by step, in order.
- `verdict`: see `Verdict`; its `figures` are the metrics, with the live model's on the same rows.
- `metrics`: the same, short: `{task: {slice: {metric: value}}}`; written for others, not read.
- `live`: what the server said, see `serving.live.LiveCheck`.
- `settings`: those that differ from the defaults, by their dotted names.
- `sizes`: bytes by name, such as export, id tables.
- `latency`: milliseconds by name, such as p50.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ppm_tf.daily.day_data import DayStatistics
from ppm_tf.daily.verdict import Verdict
from ppm_tf.storage import write_json, writing

Status = Literal["published", "refused", "nothing"]
MANIFEST = "manifest.json"
UPDATES = "updates"


@dataclass(frozen=True)
class UpdateManifest:
    """What one update did; the keys are those of the module."""

    day: str
    status: Status
    reason: str = ""
    model: str = ""
    version: int | None = None
    made_at: str = ""
    trained: str = ""
    started: str = ""
    learnt: dict[str, str | None] = field(default_factory=dict)
    content: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    encoders: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    window: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    data: DayStatistics | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    live: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"The status of an update must be one of {', '.join(get_args(Status))}. Received: {self.status!r}.")

    @property
    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """The new version's figures, `{task: {slice: {metric: value}}}`."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for one in self.verdict.figures if self.verdict else ():
            found.setdefault(one.task, {}).setdefault(one.slice, {})[one.metric] = one.value
        return found

    def write(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            DiskFullError: there is no room.
        """
        path = Path(path)
        content = asdict(self) | {
            "data": self.data.plain() if self.data else None,
            "verdict": self.verdict.plain() if self.verdict else None,
            "metrics": self.metrics,
        }
        temporary = path.with_name(f".{path.name}.new")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(temporary, content)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)

    @classmethod
    def read(cls, path: str | Path) -> UpdateManifest:
        """Reads what `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no manifest.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"The manifest of an update must be there. Received: {path}. Run `python -m pipelines.update` first.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {one.name: content[one.name] for one in fields(cls) if one.name in content}
            known["data"] = DayStatistics.from_plain(known["data"]) if known.get("data") else None
            known["verdict"] = Verdict.from_plain(known["verdict"]) if known.get("verdict") else None
            return cls(**known)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} must be the manifest of an update. Received: {error!r}. Make it again, or remove it.") from error


def read_manifests(run: str | Path) -> list[UpdateManifest]:
    """The manifests of all updates of a run, the oldest day first; updates without one are not done and are passed over."""
    return sorted((UpdateManifest.read(path) for path in Path(run).glob(f"{UPDATES}/*/{MANIFEST}")), key=lambda one: one.day)


def published(manifests: Iterable[UpdateManifest], before: str | None = None) -> list[UpdateManifest]:
    """Those that were published, the oldest first; with `before`, those of earlier days."""
    return [one for one in sorted(manifests, key=lambda one: one.day) if one.status == "published" and (before is None or one.day < before)]


def live_before(manifests: Iterable[UpdateManifest], before: str) -> dict[str, list[float]]:
    """AUC by task of the model that was live, on the newest rows of each published day before; what `judge` takes.

    Of the first update, which had no live model, its own.
    """
    found: dict[str, list[float]] = {}
    for manifest in published(manifests, before):
        for one in manifest.verdict.figures if manifest.verdict else ():
            if one.metric == "auc" and one.slice == "all":
                found.setdefault(one.task, []).append(one.value if math.isnan(one.live) else one.live)
    return found


def data_before(manifests: Iterable[UpdateManifest], before: str) -> list[DayStatistics]:
    """Counts of the newest day of each published update before; what `judge_data` takes."""
    return [one.data for one in published(manifests, before) if one.data is not None]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where two mappings differ: key, old, new; `None` where one lacks it."""
    return [(key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
