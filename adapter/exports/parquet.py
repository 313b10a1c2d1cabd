"""Parquet with exact numbers: integers as int64, all others as decimal128(38, 18), text as UTF-8.

Never a double. A variable with a number that needs more digits than that is text in this file, and its
field says so (``type: decimal as text``). Missing text is "", a missing number null. Each field carries the
label, length and item of Define-XML. The same rows give the same bytes from the same version of pyarrow,
which the manifest names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from adapter.exports.columns import BATCH, Remembered, columns_of
from adapter.exports.dataset import Cell, Column, Dataset, check
from adapter.exports.exact import exact_text

_DIGITS, _PLACES = 38, 18
_PIECES = 65_536 // BATCH  # of a row group
_EXACT = Context(prec=_DIGITS, traps=[Inexact, InvalidOperation])
_STEP = Decimal(1).scaleb(-_PLACES)


def write_parquet(dataset: Dataset, path: Path) -> None:
    """Write one dataset, a batch of rows at a time.

    Raises :class:`adapter.errors.ExportError` for rows that break their own columns.
    """
    check(dataset)
    write_checked(dataset, path)


def write_checked(dataset: Dataset, path: Path) -> None:
    """:func:`write_parquet` of a dataset that has passed :func:`check`."""
    as_text = _too_long(dataset)
    fields = [_field(dataset.name, column, index in as_text) for index, column in enumerate(dataset.columns)]
    schema = pa.schema(fields, metadata={"dataset": dataset.name, "label": dataset.label})
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as out:
        pieces: list[list[pa.Array]] = []
        for arrays in _arrays(dataset, fields):
            pieces.append(arrays)
            if len(pieces) == _PIECES:
                out.write_batch(_joined(pieces, schema))
                pieces = []
        if pieces:
            out.write_batch(_joined(pieces, schema))


def _too_long(dataset: Dataset) -> frozenset[int]:
    """Places of the variables with a number that decimal128 cannot hold."""
    floats = [place for place, column in enumerate(dataset.columns) if column.kind == "float"]
    fits = {place: Remembered(_fits) for place in floats}
    found: set[int] = set()
    for columns in columns_of(dataset.rows) if floats else ():
        found |= {place for place in floats if not all(fits[place].of(columns[place]))}
    return frozenset(found)


def _arrays(dataset: Dataset, fields: Sequence[pa.Field]) -> Iterator[list[pa.Array]]:
    """Small batches as Arrow columns, which take a fraction of the room that Python's values take."""
    made = [
        Remembered(partial(_cell, column, field.type))
        for column, field in zip(dataset.columns, fields, strict=True)
    ]
    for columns in columns_of(dataset.rows):
        yield [
            pa.array(one.of(column), field.type)
            for one, column, field in zip(made, columns, fields, strict=True)
        ]


def _joined(pieces: Sequence[Sequence[pa.Array]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.concat_arrays(one) for one in zip(*pieces, strict=True)], schema=schema)


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
