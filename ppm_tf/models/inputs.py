"""`Inputs`: what models are built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.schema import Schema
from ppm_tf.data.tables import EmbeddingTable, read_table
from ppm_tf.workspace import Workspace


@dataclass(frozen=True)
class Inputs:
    """What models are built from.

    Attributes:
        schema: of the prepared data.
        catalog: its items.
        tables: embedding tables by name, in catalog order.
    """

    schema: Schema
    catalog: ItemCatalog
    tables: dict[str, EmbeddingTable]

    @classmethod
    def read(cls, workspace: Workspace, tables: Sequence[str]) -> Inputs:
        """Reads the schema, the catalog and the tables of these names from a run folder."""
        catalog = ItemCatalog.read(workspace.path("data") / "catalog")
        return cls(
            Schema.read(workspace.path("data") / "schema.json"),
            catalog,
            {name: read_table(workspace.path(f"tables/{name}"), catalog) for name in tables},
        )

    @property
    def versions(self) -> dict[str, str]:
        """The version of the encoder behind each table, by the table's name."""
        return {name: table.encoder_version for name, table in self.tables.items()}
