"""The card of an update, and the index of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.update.folders import folder_of
from ppm_tf.config import Config
from ppm_tf.daily import UpdateManifest, published
from ppm_tf.reports.model_card import CARD, write_card
from ppm_tf.reports.version_index import write_index


def write_reports(config: Config, manifest: UpdateManifest, before: Sequence[UpdateManifest]) -> None:
    """Writes `updates/<day>/card/` and the index of the run, from the manifests of the updates before and of this one."""
    from datetime import date

    earlier = published(before)
    write_card(manifest, folder_of(config, date.fromisoformat(manifest.day)) / CARD, earlier[-1] if earlier else None)
    write_index([*before, manifest], Path(config.run))
