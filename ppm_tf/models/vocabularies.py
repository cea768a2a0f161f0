"""`Vocabularies`: which item and user ids have rows of their own in a ranking model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppm_tf.config import ModelSettings
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.id_vocabulary import IdVocabulary
from ppm_tf.data.ids import stored_ids
from ppm_tf.data.sample_counts import SampleCounts
from ppm_tf.data.schema import Schema
from ppm_tf.rows import FIRST_ROW, PADDING_ROW, UNKNOWN_ROW

ITEMS, USERS = "items.npz", "users.npz"


@dataclass(frozen=True)
class Vocabularies:
    """The id vocabularies of a model; `None` where the id is no field of it."""

    items: IdVocabulary | None
    users: IdVocabulary | None

    @classmethod
    def of(
        cls, settings: ModelSettings, schema: Schema, catalog: ItemCatalog, counts: SampleCounts, earlier: Vocabularies | None = None
    ) -> Vocabularies:
        """The vocabularies of a training: ids seen at least `settings.min_count` times, behind those of an `earlier` model."""

        def made(wanted: bool, old: IdVocabulary | None, ids: np.ndarray, seen: np.ndarray) -> IdVocabulary | None:
            if not wanted:
                return None
            return old.grow(ids, seen, settings.min_count) if old else IdVocabulary.from_counts(ids, seen, settings.min_count, settings.unknown_rows)

        item_ids = stored_ids(catalog.ids, schema.item_id_type)
        return cls(
            # A behavior teaches an item's embedding as much as a candidate does.
            made(settings.item_id, earlier and earlier.items, item_ids, (counts.exposures + counts.behaviors)[FIRST_ROW:]),
            made(settings.user_id, earlier and earlier.users, counts.user_id, counts.user_requests),
        )

    def item_rows(self, schema: Schema, catalog: ItemCatalog) -> np.ndarray:
        """The embedding row of each catalog row, int32 `[V]`."""
        rows = np.full(catalog.num_rows, 1, np.int32)  # an item outside the catalog has the first unknown row
        rows[PADDING_ROW], rows[UNKNOWN_ROW] = 0, 1
        rows[FIRST_ROW:] = self.items.rows_of(stored_ids(catalog.ids, schema.item_id_type))
        return rows

    def write(self, folder: str | Path) -> None:
        """Writes what there is into `folder`."""
        for name, vocabulary in ((ITEMS, self.items), (USERS, self.users)):
            if vocabulary is not None:
                vocabulary.write(Path(folder, name))

    @classmethod
    def read(cls, folder: str | Path) -> Vocabularies:
        """Reads what `write` wrote."""
        return cls(*(IdVocabulary.read(Path(folder, name)) if Path(folder, name).is_file() else None for name in (ITEMS, USERS)))
