"""Where a training stands when it ends: done, stopped while validation was still rising, or past its best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

TOLERANCE = 0.001  # of the criterion: PPM, section 4.3, takes deviations within 0.1 % as fluctuations
LOSS_TOLERANCE = 0.01  # of a loss, as a share of its lowest value
LAST_PART = 0.25  # of the steps, over which a rise is measured
MARKS = {"rising": "↑", "overfit": "↓"}
_LOSSES = ("log_loss", "loss", "perplexity")


class Standing(NamedTuple):
    """Where a training stands.

    Attributes:
        state: `"rising"`: the last look (before the learning rate fell, where it was held) was the best so far, and the last quarter of
            the steps still brought `TOLERANCE` or more; `"overfit"`: the
            loss of the weights that are kept lies above the lowest one that validation saw, by more than `LOSS_TOLERANCE` of it;
            `"done"`: neither; `"unknown"`: fewer than two looks.
        gained: what the last quarter of the steps brought in the criterion, in its own unit; positive is better; nan if unknown.
        risen: how far a validation loss of the kept weights lies above its lowest, as a share of that; nan where no loss was looked at.
        loss: the loss that has risen most.
    """

    state: str
    gained: float = math.nan
    risen: float = math.nan
    loss: str = ""

    @property
    def mark(self) -> str:
        """What stands behind a figure of the model: `""` where its training is done or nothing is known."""
        return MARKS.get(self.state, "")

    def line(self, criterion: str, section: str | Callable[[str], str]) -> str:
        """The standing in a sentence, with the setting to change.

        Args:
            criterion: the figure that chose the weights.
            section: the settings' section, such as `"train"`, or what says where a setting is by its name, where they lie in several.
        """
        setting = section if callable(section) else lambda name: f"{section}.{name}"
        if self.state == "rising":
            return (
                f"not done: validation {criterion} was best at the last look and changed by {self.gained:+.4f} in the last quarter of the steps."
                f" Remedy: raise {setting('epochs')} (or {setting('max_step')}, where that ended it)"
            )
        if self.state == "overfit":
            return (
                f"past its best: validation {self.loss} of the weights kept lies {self.risen:.1%} above its lowest, though {criterion} chose them."
                f" Remedy: lower {setting('epochs')} or {setting('learning_rate')}, or regularise"
            )
        if self.state == "unknown":
            return f"whether it is done is not known: one look at the validation part. Remedy: lower {setting('validate_every')}"
        return f"done: the last quarter of the steps changed validation {criterion} by {self.gained:+.4f}"


def standing_of(log: Iterable[Mapping[str, Any]], criterion: str = "auc", minimize: bool = False) -> Standing:
    """The standing that a training log tells.

    Args:
        log: lines of the log, in order; those with `valid_<criterion>` are looks at the validation part, and one with `falls` says
            where a learning rate that was held began to fall, and why.
        criterion: the figure that chose the weights.
        minimize: whether a smaller figure is the better one.

    Example:

    >>> looks = [{"step": step, "valid_auc": auc} for step, auc in ((10, 0.60), (20, 0.65), (30, 0.67), (40, 0.68))]
    >>> standing_of(looks).state, standing_of(looks + [{"step": 50, "valid_auc": 0.68}]).state
    ('rising', 'done')
    """
    log = list(log)
    name, sign = f"valid_{criterion}", -1.0 if minimize else 1.0
    looks = {line["step"]: line for line in log if line.get(name) is not None}  # of a step that was looked at twice, the later line
    if len(looks) < 2:
        return Standing("unknown")
    best_of = lambda steps: max(steps, key=lambda step: (sign * looks[step][name], -step))
    loss, risen = _risen(list(looks.values()), looks[best_of(looks)])
    # Where the rate was held before it fell, the fall always brings something; whether more passes would, the steps before it say.
    falls = next((line for line in reversed(log) if "falls" in line), None)
    steps = sorted(step for step in looks if not falls or step <= falls["step"])
    if len(steps) < 2:
        return Standing("overfit" if risen > LOSS_TOLERANCE else "unknown", math.nan, risen, loss)
    before = max((step for step in steps[:-1] if step <= (1 - LAST_PART) * steps[-1]), default=steps[0])
    gained = sign * (looks[steps[-1]][name] - looks[before][name])
    stopped = falls is not None and falls["falls"] == "patience"
    rising = best_of(steps) == steps[-1] and gained >= TOLERANCE and not stopped
    return Standing("overfit" if risen > LOSS_TOLERANCE else "rising" if rising else "done", gained, risen, loss)


def _risen(looks: list[Mapping[str, Any]], kept: Mapping[str, Any]) -> tuple[str, float]:
    """The validation loss of the kept weights that lies highest above its lowest, and by what share; the criterion itself cannot."""
    found = {}
    for name in kept:
        if name.startswith("valid_") and name.removeprefix("valid_").startswith(_LOSSES) and kept[name] is not None:
            lowest = min(line[name] for line in looks if line.get(name) is not None)
            found[name.removeprefix("valid_")] = kept[name] / lowest - 1 if lowest > 0 else math.nan
    worst = max(found, key=lambda name: (not math.isnan(found[name]), found[name]), default="")
    return (worst, found[worst]) if worst else ("", math.nan)
