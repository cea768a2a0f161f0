"""Daily life: the quality gate, drift, and the ledger of the days. No TensorFlow."""

from ppm_tf.daily.day_data import DayStatistics, judge_data
from ppm_tf.daily.drift import TableDrift, js_divergence, psi, score_drift, table_drift
from ppm_tf.daily.gate import FIRST, judge, judge_golden, judge_live, judge_tables
from ppm_tf.daily.ledger import DISCARDED, PREPARED, REFUSED, TRAINED, Event, Ledger, LedgerError
from ppm_tf.daily.update_manifest import MANIFEST, UPDATES, UpdateManifest, data_before, live_before, published, read_manifests
from ppm_tf.daily.verdict import FAILED, NOT_JUDGED, PASSED, Figure, Line, Verdict
from ppm_tf.data.manifest import day_hash

__all__ = [
    "DISCARDED",
    "FAILED",
    "FIRST",
    "MANIFEST",
    "NOT_JUDGED",
    "PASSED",
    "PREPARED",
    "REFUSED",
    "TRAINED",
    "UPDATES",
    "DayStatistics",
    "Event",
    "Figure",
    "Ledger",
    "LedgerError",
    "Line",
    "TableDrift",
    "UpdateManifest",
    "Verdict",
    "data_before",
    "day_hash",
    "js_divergence",
    "judge",
    "judge_data",
    "judge_golden",
    "judge_live",
    "judge_tables",
    "live_before",
    "psi",
    "published",
    "read_manifests",
    "score_drift",
    "table_drift",
]
