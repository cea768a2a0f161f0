"""Manifests of updates, made of scored rows whose figures are known."""

from __future__ import annotations

from ppm_tf.daily import TableDrift, UpdateManifest, judge, judge_data
from tests.daily.made_up import day, days, gate, rows

TASKS = ("click", "order")


def manifest(number, poisoned=False, **changes):
    """The update of 2026-11-(10 + number): better by the day than the live model; poisoned: its labels are shuffled."""
    name = f"2026-11-{10 + number}"
    first = number == 0
    candidate = rows(tasks=TASKS, seed=number + 1, noise=0.0, shuffled=poisoned)
    live = None if first else rows(tasks=TASKS, seed=number + 1, noise=0.25, shuffled=poisoned)
    statistics = day(f"2026-11-{9 + number:02}")
    verdict = judge(
        candidate, live, gate(resamples=100), day=name, golden=None if first else ({"click": [[0.2]]}, {"click": [[0.25]]}),
        live_before=None if first else {task: [0.74, 0.745] for task in TASKS}, tables=() if first else [TableDrift("title", 900, 4, 1.0, 1.01)],
        data=judge_data(statistics, [] if first else days(), gate()),
    )  # fmt: skip
    refused = not verdict.passed
    made = {
        "day": name, "status": "refused" if refused else "published", "model": "urm-finetune", "version": None if refused else number + 1,
        "made_at": f"{name}T03:12:00Z", "parents": {} if first else {"update": f"2026-11-{9 + number:02}", "ppm": "1f0c9d"},
        "encoders": {"title": "a1" if number < 3 else "b2", "image": "c3"}, "inputs": {f"2026-11-{9 + number:02}": "9f" * 32},
        "window": {"ppm": [f"2026-11-{7 + number:02} tail", f"2026-11-{8 + number:02} head"], "held out": [f"2026-11-{9 + number:02} tail"]},
        "counts": {"items": 5000 + 20 * number, "new items": 20, "training requests": 41_500}, "data": statistics,
        "seconds": {"prepare": 20.0 + number, "embed": 4.0, "pretrain": 60.0, "train": 90.0, "evaluate": 12.0, "export": 15.0},
        "verdict": verdict, "settings": {"model.backbone.name": "urm", "seed": 3}, "sizes": {"export": 12_500_000 + 50_000 * number},
        "latency": {"p50, 100 candidates": 1.6},
        "live": None if refused else {"version": number + 1, "served": True, "seconds": 2.1, "difference": 1e-7, "reason": ""},
    }  # fmt: skip
    return UpdateManifest(**{**made, **changes})
