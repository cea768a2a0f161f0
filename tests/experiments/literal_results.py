"""Results whose every figure is given: no model, no data."""

import math

import numpy as np

from ppm_tf.config import Config
from ppm_tf.evaluation import Measure
from ppm_tf.experiments import Cell, Outcome, Results

BUCKETS = ("train_frequency=0", "train_frequency=1-4", "train_frequency=5+")


def measures(auc, buckets=(), error=0.0, seed=0, precision=0.2):
    """Measures of click and order: order's AUC is .1 above click's, their mean is `auc`; resamples spread by `error` around each figure."""
    noise = error * np.random.default_rng(seed).standard_normal(200)
    found = {}
    for task, shift in (("click", -0.05), ("order", 0.05), ("mean", 0.0)):
        for place, (name, value) in enumerate((("all", auc), *zip(BUCKETS, buckets, strict=False))):
            count = 1000 if name == "all" else (100, 300, 600)[place - 1]
            found[task, name, "auc"] = Measure(value + shift, count, None, "" if not math.isnan(value) else "no rows", value + shift + noise)
        found[task, "all", "precision_at_2"] = Measure(precision, 1000, 300, "", precision + noise)
    return found


def results(axes, figures, errors=None, **more):
    """`figures(place, seed)` gives the measures of each cell of seeds 1 and 2, or None where there is none."""
    outcomes, places = [], [{}]
    for axis, names in axes.items():
        places = [{**place, axis: name} for place in places for name in names]
    for seed in (1, 2):
        for place in places:
            cell = Cell(place, seed, Config())
            found = figures(place, seed)
            error = (errors or {}).get(tuple(place.values()), "")
            outcomes.append(Outcome(cell, {} if error else found or {}, error=error))
    return Results(outcomes, axes, **more)
