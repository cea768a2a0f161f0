"""Experiments: grids of ranking models and searches over settings, as files; their cells, results and claims."""

from ppm_tf.experiments.benchmark import BenchmarkSettings, Cell, cells_of, read_benchmark
from ppm_tf.experiments.results import Outcome, Results, write_gains, write_results
from ppm_tf.experiments.sweep import SweepSettings, Trial, read_sweep, trials_of

__all__ = [
    "BenchmarkSettings",
    "Cell",
    "Outcome",
    "Results",
    "SweepSettings",
    "Trial",
    "cells_of",
    "read_benchmark",
    "read_sweep",
    "trials_of",
    "write_gains",
    "write_results",
]
