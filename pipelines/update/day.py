"""One day's update, from its plan to its manifest."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import asdict
from datetime import date
from typing import Any

from pipelines.update import steps
from pipelines.update.days import candidates, pass_over, statistics_of
from pipelines.update.folders import (
    LEDGER, MANIFEST, NOTHING, PUBLISHED, REFUSED, ROLLED_BACK, Update, begin, exports_of, folder_of, manifest_of, manifests, parent_of, plain, with_ppm,
)
from ppm_tf.config import Config
from ppm_tf.daily import Ledger, judge, judge_data, judge_live
from ppm_tf.daily.plan import learnt, plan_of
from ppm_tf.daily.verdict import FAILED, Line, Verdict
from ppm_tf.storage import write_json
from ppm_tf.workspace import Workspace

logger = logging.getLogger(__name__)


def update_day(config: Config, day: date, scratch: bool = False) -> dict[str, Any]:
    """Does the update of a day, or what is left of it; returns its manifest.

    Raises:
        DayError: the log of a day that it reads is not there yet, or out of order.
        ValueError, FileNotFoundError: what the user can mend.
        RuntimeError: another process updates this run.
    """
    root = Workspace(config.run)
    with root.lock("update"):
        made = manifest_of(config, day)
        ...
