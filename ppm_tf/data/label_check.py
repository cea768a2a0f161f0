"""What preparation counted of the labels, asked before a training relies on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

STATISTICS = "statistics.json"


def tasks_to_validate(data: str | Path, tasks: Sequence[str], split: str = "valid") -> tuple[str, ...]:
    """Those of `tasks` whose AUC a split can give, since it holds both positives and negatives of them.

    An AUC of labels of one kind is undefined: as the figure that stops a training and chooses its weights it would stop it
    at the first looks and choose the first weights. So a training asks this before its first step.

    Args:
        data: the folder that `pipelines.prepare` wrote.
        tasks: the tasks that are learnt.
        split: the split that the training is validated on.

    Raises:
        ValueError: the split has no task of both kinds; the message names the tasks with their counts.
        FileNotFoundError: the folder is not a whole data set.
    """
    path = Path(data, STATISTICS)
    if not path.is_file():
        raise FileNotFoundError(f"{data} must hold {STATISTICS}; without it the folder is not whole. Run `python -m pipelines.prepare` again.")
    found = json.loads(path.read_text(encoding="utf-8"))["splits"][split]
    defined = tuple(task for task in tasks if found["positives"][task] and found["negatives"][task])
    if not defined:
        counts = ", ".join(f"{task} with {found['positives'][task]} positives and {found['negatives'][task]} negatives" for task in tasks)
        raise ValueError(
            f"The {split} split must hold both positives and negatives of a task that is learnt, since its AUC there chooses the weights. Received:"
            f" {counts}, in {found['requests']} requests. Remedy: raise data.split.{split} or move the cuts (data.split.by, data.split.test), or"
            " check data.log.labels, and run `python -m pipelines.prepare` again."
        )
    return defined
