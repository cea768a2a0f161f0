"""What a ranking model costs: the weights that were trained for it, its training stage by stage, and what is served (CELA, table 2)."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

NOT_KNOWN = math.nan

# What the stages of a model are counted under: pattern of an artifact, the first that fits -> (part, whether its examples are requests).
# Items do not grow with the log: what is trained on them counts as it is, whatever part of the log the ranking model learns from.
PARTS = {
    "encoders/aligned": ("alignment", False),
    "tables/aligned_vectors": ("alignment", False),
    "interactions/*": ("alignment", True),
    "encoders/*": ("encoders", False),
    "tables/*": ("vectors", False),
    "ppm": ("ppm", True),
    "models/*": ("ids", True),
}
RANKER = "ranker"
NAMES = {
    "encoders": "encoders (DAP, MLM)",
    "ids": "ids to align with",
    "alignment": "alignment",
    "vectors": "vectors",
    "ppm": "PPM",
    RANKER: "ranking model",
}
# An encoder that was not trained, or fitted in a moment, has nothing written down.
_MAY_BE_SILENT = ("encoders/text", "encoders/image", "encoders/bow")


@dataclass(frozen=True)
class StageCost:
    """What an artifact took.

    Attributes:
        part: what it is counted under, of `NAMES`.
        artifact: its name.
        seconds: what its training, or the job that wrote it, took; nan where that was not written down.
        examples: requests, items or texts that it stepped through.
        of_requests: whether these are requests, so that more of the log costs more.
    """

    part: str
    artifact: str
    seconds: float
    examples: int
    of_requests: bool


@dataclass(frozen=True)
class Served:
    """What is served of a model.

    Attributes:
        weights: numbers that were trained and are served: a language model's where the model reads texts, of id tables and dense layers else.
        cached_values: numbers of item tables, folded.
        milliseconds: of a batch, the median of each round, all models of a benchmark in turns.
    """

    weights: int
    cached_values: int
    milliseconds: tuple[float, ...]


@dataclass(frozen=True)
class Cost:
    """What a ranking model costs.

    Attributes:
        stages: what was made for it, itself last.
        requests: requests of a pass of its training.
        weights: trained numbers of `"id_tables"`, `"other"` layers and the `"language_model"`, of that where one was trained in any stage.
        served: `None` where it was not timed.
    """

    stages: tuple[StageCost, ...] = ()
    requests: int = 0
    weights: dict[str, int] = field(default_factory=dict)
    served: Served | None = None

    def seconds(self, *parts: str) -> float:
        """What the stages took, those of some parts or all; nan where that of one is not known."""
        return sum((stage.seconds for stage in self.stages if not parts or stage.part in parts), 0.0)

    def per_thousand(self) -> float:
        """Seconds a thousand requests, of the stages that are trained on requests."""
        return 1000 * sum((self._rate(stage) for stage in self.stages if stage.of_requests), 0.0)

    def of_a_pass(self, requests: int, without: tuple[str, ...] = ()) -> float:
        """Seconds of all stages, those on requests as if each had stepped through so many requests, whatever part of the log it met."""
        stages = [stage for stage in self.stages if stage.part not in without]
        return sum((requests * self._rate(stage) if stage.of_requests else stage.seconds for stage in stages), 0.0)

    @staticmethod
    def _rate(stage: StageCost) -> float:
        return stage.seconds / stage.examples if stage.examples else NOT_KNOWN


def stage_costs(artifact: str, summary: dict[str, Any], own: bool) -> list[StageCost]:
    """What an artifact took, as its `summary.json` tells; none where there was nothing to train or to encode.

    Args:
        artifact: its name.
        summary: the content of `summary.json`; `{}` where there is none.
        own: whether it is the ranking model itself.
    """
    part, of_requests = next((found for pattern, found in PARTS.items() if fnmatchcase(artifact, pattern)), ("", False))
    if not part or ("seconds" not in summary and artifact in _MAY_BE_SILENT):
        return []
    known = "seconds" in summary and "examples" in summary  # before costs were written down, seconds were those of a whole process
    found = [
        StageCost(
            RANKER if own else part, artifact, summary["seconds"] if known else NOT_KNOWN, summary["examples"] if known else 0, of_requests
        )  # fmt: skip
    ]
    if "mlm_steps" in summary:  # masked prompts, before the ranking model
        found.insert(0, StageCost("encoders", artifact, summary.get("mlm_seconds", NOT_KNOWN), summary.get("mlm_examples", 0), True))
    return found


def weights_of(summaries: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Trained numbers by what they are of, from the summaries of all that was made for a ranking model, its own last."""
    summaries = list(summaries)
    own, tables = summaries[-1], summaries[-1].get("id_table_weights", 0)
    return {
        "id_tables": tables,
        "other": own.get("trainable_weights", 0) - tables - own.get("language_weights", 0),
        "language_model": max((summary.get("language_weights", 0) for summary in summaries), default=0),
    }


def mean_of(costs: Iterable[Cost]) -> Cost:
    """The mean of what each seed's training took; the weights and what is served are the first one's."""
    first, *others = costs
    stages = []
    for place, stage in enumerate(first.stages):
        alike = [stage, *(other.stages[place] for other in others if len(other.stages) == len(first.stages))]
        seconds, examples = (statistics.fmean(getattr(one, name) for one in alike) for name in ("seconds", "examples"))
        stages.append(StageCost(stage.part, stage.artifact, seconds, round(examples), stage.of_requests))
    return Cost(tuple(stages), first.requests, first.weights, next((one.served for one in (first, *others) if one.served), None))


def ratios(one: Served | None, other: Served | None) -> tuple[float, ...]:
    """How many times as long one takes as the other, round by round; empty where one of them was not timed."""
    return tuple(mine / theirs for mine, theirs in zip(one.milliseconds, other.milliseconds, strict=True)) if one and other else ()


def write_costs(costs: Iterable[tuple[dict[str, Any], Cost]], path: Path) -> None:
    """Writes `costs.jsonl`: a line a cell, with what names it before its cost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_finite({**about, **asdict(cost)}), allow_nan=False, ensure_ascii=False) + "\n" for about, cost in costs)
    path.write_text("".join(lines), encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
