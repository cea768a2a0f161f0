"""What a column of some raw files holds as a whole, found before any of it is used."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.config.data import ColumnarData, FieldColumn
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import INTEGER, WORDS, ColumnForm

_BATCH_ROWS = 131072


def survey_column(columns: ColumnarData, pattern: str, setting: str, column: str, separator: str | None = None) -> ColumnForm:
    """The form of a column over all files, read as far as it takes: one word that is no number decides.

    Args:
        columns: where the files are, how CSV is written, and which words mean that nothing is here.
        pattern: files, as `raw_files.find` takes them.
        setting: the setting that names them.
        column: the column.
        separator: splits one string into several values.
    """
    form = ColumnForm()
    files = raw_files.find(columns.path, pattern, setting)
    types = {path.absolute(): raw_files.column_types(path).get(column) if raw_files.format_of(path) == "parquet" else None for path in files}
    for split in raw_files.splits(files, columns.csv):
        kind = types[Path(split.path)]
        if kind is not None and pa.types.is_integer(kind) and kind != pa.uint64():
            form.update(ColumnForm(INTEGER))
            continue
        for first_row, batch in raw_files.batches(split, [column], _BATCH_ROWS):
            form.add(flat(batch.column(0), separator), columns.missing, split.path, first_row)
            if form.form == WORDS:
                return form
    return form


def flat(column: pa.Array, separator: str | None) -> pa.Array:
    """All values of a column whose cells may hold several."""
    if pa.types.is_string(column.type) and separator is not None:
        column = pc.split_pattern(column, separator)
    return pc.list_flatten(column) if pa.types.is_list(column.type) else column


def is_numeric(field: FieldColumn, form: ColumnForm) -> bool:
    """Whether the words of a field are read as numbers: where they are, and one is written otherwise somewhere, or by its setting."""
    return field.type == "number" or (field.type == "auto" and form.numeric and form.rewritten)
