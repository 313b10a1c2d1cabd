"""CDISC Dataset-JSON 1.1: the same rows as the transport file, in the attribute order of the standard.

Source: CDISC, *Dataset-JSON Specification v1.1* (2024). Missing numbers are null and missing text
is "" (section 4.1.4). Numbers are JSON numbers with the shortest text of the nearest IEEE double, the
same double that the transport file holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from adapter.errors import ExportError
from adapter.exports.columns import Remembered, columns_of
from adapter.exports.dataset import Cell, Column, Dataset, Kind, check, day_number, day_text

_DATA_TYPES: dict[Kind, str] = {
    "text": "string",
    "integer": "integer",
    "float": "float",
    "date": "date",
    "datetime": "datetime",
}
_KINDS: dict[str, Kind] = {name: kind for kind, name in _DATA_TYPES.items()} | {
    "double": "float",
    "decimal": "float",
}


class Provenance(msgspec.Struct, frozen=True):
    """Who wrote the file, from what study and when (``created`` carries a zone)."""

    study_oid: str
    metadata_version_oid: str
    originator: str
    system: str
    system_version: str
    created: datetime


def write_dataset_json(dataset: Dataset, path: Path, provenance: Provenance) -> None:
    """Write one dataset; raises :class:`ExportError` for rows that break their own columns."""
    check(dataset)
    write_checked(dataset, path, provenance)


def write_checked(dataset: Dataset, path: Path, provenance: Provenance) -> None:
    """:func:`write_dataset_json` of a dataset that has passed :func:`check`."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(_compact(_head(dataset, provenance))[:-1] + ',"rows":[')
        between = "\n"
        for rows in _rows(dataset):
            out.write(between + ",\n".join(rows))
            between = ",\n"
        out.write("]}\n")


def write_dataset_ndjson(dataset: Dataset, path: Path, provenance: Provenance) -> None:
    """The NDJSON form of the same: the first line is everything but the rows, then a line a row."""
    check(dataset)
    write_checked_lines(dataset, path, provenance)


def write_checked_lines(dataset: Dataset, path: Path, provenance: Provenance) -> None:
    """:func:`write_dataset_ndjson` of a dataset that has passed :func:`check`."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(_compact(_head(dataset, provenance)) + "\n")
        for rows in _rows(dataset):
            out.write("\n".join(rows) + "\n")


def _rows(dataset: Dataset) -> Iterator[list[str]]:
    """Each row as a JSON array, a batch at a time."""
    texts = [Remembered(partial(_json_text, column)) for column in dataset.columns]
    for columns in columns_of(dataset.rows):
        cells = [one.of(column) for one, column in zip(texts, columns, strict=True)]
        yield [f"[{','.join(row)}]" for row in zip(*cells, strict=True)]


def _json_text(column: Column, cell: Cell) -> str:
    return _compact(_to_json(column, cell))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_dataset_json(path: Path) -> Dataset:
    """Read one file back, ``.json`` or ``.ndjson``; numbers as exact fractions of their JSON text.

    Raises :class:`ExportError` when it is not a Dataset-JSON 1.1 file or the record count is wrong.
    """
    try:
        content = _content(path)
        columns = tuple(_column(item) for item in content["columns"])
        rows = tuple(
            tuple(_from_json(one, cell) for one, cell in zip(columns, row, strict=True))
            for row in content.get("rows", ())
        )
        name, label, version, records = (
            content[key] for key in ("name", "label", "datasetJSONVersion", "records")
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
        raise ExportError(f"not a Dataset-JSON file ({type(fault).__name__})", where=str(path)) from fault
    if not str(version).startswith("1.1") or records != len(rows):
        raise ExportError(f"version {version} with {len(rows)} of {records} records", where=str(path))
    return Dataset(name, label, columns, rows)


def _content(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ndjson":
        return dict(json.loads(text, parse_float=Fraction))
    head, *rows = (json.loads(line, parse_float=Fraction) for line in text.splitlines())
    return {**head, "rows": rows}


def _head(dataset: Dataset, provenance: Provenance) -> dict[str, Any]:
    created = provenance.created.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "datasetJSONCreationDateTime": created,
        "datasetJSONVersion": "1.1.0",
        "fileOID": f"{provenance.study_oid}.{dataset.name}",
        "dbLastModifiedDateTime": created,
        "originator": provenance.originator,
        "sourceSystem": {"name": provenance.system, "version": provenance.system_version},
        "studyOID": provenance.study_oid,
        "metaDataVersionOID": provenance.metadata_version_oid,
        "itemGroupOID": f"IG.{dataset.name}",
        "records": len(dataset.rows),
        "name": dataset.name,
        "label": dataset.label,
        "columns": [_describe(dataset.name, column) for column in dataset.columns],
    }


def _describe(dataset: str, column: Column) -> dict[str, Any]:
    described: dict[str, Any] = {
        "itemOID": f"IT.{dataset}.{column.name}",
        "name": column.name,
        "label": column.label,
        "dataType": "date" if column.is_day else _DATA_TYPES[column.kind],
    }
    if column.is_day:
        described["targetDataType"] = "integer"
    if column.kind == "text":
        described["length"] = column.length
    if column.format:
        described["displayFormat"] = column.format
    if column.key:
        described["keySequence"] = column.key
    return described


def _column(item: dict[str, Any]) -> Column:
    kind = _KINDS.get(item.get("targetDataType", item["dataType"]), "text")
    length = item.get("length", 19 if kind in ("date", "datetime") else 8)
    shown = item.get("displayFormat", "")
    return Column(item["name"], item["label"], kind, length, item.get("keySequence", 0), shown)


def _to_json(column: Column, cell: Cell) -> str | int | float | None:
    """A numeric date is written as the date itself (section 4.2, targetDataType)."""
    if column.is_numeric and cell is None:
        return None
    if column.is_day:
        return day_text(int(cell or 0))
    if column.is_numeric:
        return int(cell or 0) if column.kind == "integer" else float(cell or 0)
    return str(cell or "")


def _from_json(column: Column, cell: Any) -> Cell:
    return day_number(date.fromisoformat(cell)) if column.is_day and cell else cell
