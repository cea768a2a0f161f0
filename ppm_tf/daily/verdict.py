"""`Verdict`: what the gate found, a line a bound; in sentences, and as plain values for a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
DATA, LIVE, VERSION, CHANGE, TABLES = "the day's data", "the live model on it", "the new version", "its change", "the tables"  # groups of lines


@dataclass(frozen=True)
class Line:
    """One bound, held against one figure.

    Attributes:
        bound: the setting behind it, without `gate.`, such as `min_auc`.
        what: the figure in words, such as "AUC".
        figure: its value; nan where it is undefined.
        outcome: `PASSED`, `FAILED` or `NOT_JUDGED`.
        group: what it is about: `DATA`, `LIVE`, `VERSION`, `CHANGE` or `TABLES`.
        task: the label, or "".
        slice: the rows, or "".
        low: lower end of the figure's interval; nan where there is none.
        high: upper end.
        least: the figure must not be below; `None`: no such bound.
        most: the figure must not be above; `None`: no such bound.
        count: rows behind the figure.
        judged: the number that was held against the bound, where that is an end of the interval; nan: the figure itself.
        why: why it was not judged, or what a failure means.
    """

    bound: str
    what: str
    figure: float
    outcome: str
    group: str = VERSION
    task: str = ""
    slice: str = ""
    low: float = math.nan
    high: float = math.nan
    least: float | None = None
    most: float | None = None
    count: int = 0
    judged: float = math.nan
    why: str = ""

    def where(self) -> str:
        """Figure, task and slice in words, "AUC (click, never_seen)"."""
        rows = ", ".join(part for part in (self.task, self.slice) if part)
        return f"{self.what} ({rows})" if rows else self.what

    def must(self) -> str:
        """The bound in words, "at least 0.52"."""
        ends = [f"at least {self.least:g}"] if self.least is not None else []
        return " and ".join([*ends, f"at most {self.most:g}"] if self.most is not None else ends)

    def value(self) -> str:
        """The figure and its interval."""
        if math.isnan(self.figure):
            return "undefined"
        return f"{self.figure:.4g}" + ("" if math.isnan(self.low) else f" [{self.low:.4g}, {self.high:.4g}]")

    def sentence(self) -> str:
        """The whole line in one sentence, with the setting and its value."""
        bound = self.least if self.most is None else self.most if self.least is None else [self.least, self.most]
        end = "" if math.isnan(self.judged) else f"; what counts is {self.judged:.4g}"
        rows = f", {self.count:,} rows" if self.count else ""
        where = self.where()
        must = f"{where[0].upper()}{where[1:]} must be {self.must()} (gate.{self.bound}={bound})."
        return f"{must} Received: {self.value()}{rows}{end}. {self.why}".strip()


def held(line: Line, judged: float | None = None, fails: str = "") -> Line:
    """A line with its outcome: whether the figure, or `judged` in its place, keeps the bound.

    Args:
        line: with figure and bound; its outcome is replaced, unless it says already why it is not judged.
        judged: an end of the interval that counts instead of the figure.
        fails: what a failure means.
    """
    if line.outcome == NOT_JUDGED and line.why:
        return line
    value = line.figure if judged is None else judged
    kept = not math.isnan(value) and (line.least is None or value >= line.least) and (line.most is None or value <= line.most)
    return replace(line, outcome=PASSED if kept else FAILED, judged=math.nan if judged is None else judged, why="" if kept else fails or line.why)


@dataclass(frozen=True)
class Figure:
    """A metric of the new version on a slice of the newest rows, beside the live model's on the same.

    `change` is the difference, of the log loss as a share of the live model's; `change_low` and `change_high` its paired interval. What is
    not there is nan, with a `reason`.
    """

    task: str
    slice: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    live: float = math.nan
    change: float = math.nan
    change_low: float = math.nan
    change_high: float = math.nan
    count: int = 0
    positives: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the gate found of one update.

    Attributes:
        day: the day of the update.
        lines: a line a bound.
        figures: the metrics behind them, on every slice, judged or not.
        no_live: why there was no live model to compare with; "" where there was one.
        override: the reason of a pass by hand; "" without one.
        problems: what no single bound says, such as that none could be judged.
    """

    day: str
    lines: tuple[Line, ...]
    figures: tuple[Figure, ...] = ()
    no_live: str = ""
    override: str = ""
    problems: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether every bound that could be judged was kept, and one on the model was."""
        return not self.problems and not self.failed

    @property
    def passed(self) -> bool:
        """Whether the version may be published: the bounds were kept, or it was passed by hand."""
        return self.kept or bool(self.override)

    @property
    def failed(self) -> tuple[Line, ...]:
        """The lines whose bound was not kept."""
        return tuple(line for line in self.lines if line.outcome == FAILED)

    def refusals(self) -> list[str]:
        """What speaks against the version, a sentence each, whether it was passed by hand or not."""
        return [*self.problems, *(line.sentence() for line in self.failed)]

    def with_lines(self, lines: Sequence[Line]) -> Verdict:
        """The verdict with these lines in place of those of the same bounds."""
        bounds = {line.bound for line in lines}
        return replace(self, lines=(*(line for line in self.lines if line.bound not in bounds), *lines))

    def summary(self) -> str:
        """The verdict in one line, without the refusals."""
        counts = {outcome: sum(line.outcome == outcome for line in self.lines) for outcome in (PASSED, FAILED, NOT_JUDGED)}
        counted = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        word = "passed" if self.kept else f"passed by hand ({self.override})" if self.override else "refused"
        return f"gate of {self.day}: {word}; bounds: {counted or 'none'}" + (f"; {self.no_live}: floors only" if self.no_live else "")

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON; nan becomes `None`."""
        found = {
            "day": self.day, "passed": self.passed, "kept": self.kept, "override": self.override, "no_live": self.no_live,
            "problems": list(self.problems), "refusals": self.refusals(),
            "lines": [asdict(line) for line in self.lines], "figures": [asdict(one) for one in self.figures],
        }  # fmt: skip
        return _finite(found)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Verdict:
        """Reads what `plain` gave."""
        return cls(
            values["day"],
            tuple(Line(**_numbers(line, ("figure", "low", "high", "judged"))) for line in values["lines"]),
            tuple(Figure(**_numbers(one, _OF_FIGURE)) for one in values["figures"]),
            values["no_live"],
            values["override"],
            tuple(values["problems"]),
        )


_OF_FIGURE = ("value", "low", "high", "live", "change", "change_low", "change_high")


def _numbers(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**values, **{name: math.nan for name in names if values[name] is None}}


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
