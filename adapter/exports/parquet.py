"""Parquet with exact numbers: integers as int64, all others as decimal128(38, 18), text as UTF-8.

Never a double. A variable with a number that needs more digits than that is text in this file, and its
field says so (``type: decimal as text``). Missing text is "", a missing number null. Each field carries the
label, length and item of Define-XML. The same rows give the same bytes from the same version of pyarrow,
which the manifest names.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from adapter.exports.dataset import Cell, Column, Dataset, Row, check
from adapter.exports.exact import exact_text

_DIGITS, _PLACES = 38, 18
_BATCH = 65_536
_EXACT = Context(prec=_DIGITS, traps=[Inexact, InvalidOperation])
_STEP = Decimal(1).scaleb(-_PLACES)


def write_parquet(dataset: Dataset, path: Path) -> None:
    """Write one dataset, a batch of rows at a time.

    Raises :class:`adapter.errors.ExportError` for rows that break their own columns.
    """
    check(dataset)
    as_text = frozenset(
        index
        for index, column in enumerate(dataset.columns)
        if column.kind == "float" and any(not _fits(row[index]) for row in dataset.rows)
    )
    fields = [_field(dataset.name, column, index in as_text) for index, column in enumerate(dataset.columns)]
    schema = pa.schema(fields, metadata={"dataset": dataset.name, "label": dataset.label})
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as out:
        for batch in _batches(dataset.rows):
            columns = [
                pa.array([_cell(column, field.type, row[index]) for row in batch], field.type)
                for index, (column, field) in enumerate(zip(dataset.columns, fields, strict=True))
            ]
            out.write_batch(pa.record_batch(columns, schema=schema))


def _batches(rows: tuple[Row, ...]) -> Iterator[tuple[Row, ...]]:
    return (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


def _field(dataset: str, column: Column, as_text: bool) -> pa.Field:
    kind = "decimal as text" if as_text else column.kind
    told = {"label": column.label, "type": kind, "item": f"IT.{dataset}.{column.name}"}
    if not column.is_numeric:
        told["length"] = str(column.length)
    if column.key:
        told["key"] = str(column.key)
    stored = pa.string()
    if column.kind == "integer":
        stored = pa.int64()
    elif column.kind == "float" and not as_text:
        stored = pa.decimal128(_DIGITS, _PLACES)
    return pa.field(column.name, stored, metadata=told)


def _fits(cell: Cell) -> bool:
    try:
        return cell is None or _decimal(cell) is not None
    except (Inexact, InvalidOperation):
        return False


def _decimal(cell: Cell) -> Decimal:
    return _EXACT.quantize(Decimal(exact_text(cell)), _STEP)


def _cell(column: Column, stored: pa.DataType, cell: Cell) -> str | int | Decimal | None:
    if column.is_numeric and cell is None:
        return None
    if pa.types.is_string(stored):
        return exact_text(cell)
    return int(exact_text(cell)) if pa.types.is_integer(stored) else _decimal(cell)
