"""What others do with the same file, as well as we can make them: what the read path is measured against.

Each reads ``Observation.ndjson`` and returns how many rows belong to a candidate, so that nobody is fast by
being wrong. One core each.
"""

from __future__ import annotations

import subprocess
from decimal import Decimal
from pathlib import Path

import msgspec


def wc(path: Path) -> int:
    """``wc -l``: reading the bytes and nothing else; returns lines."""
    return int(subprocess.run(["wc", "-l", str(path)], capture_output=True, check=True).stdout.split()[0])


class _Coding(msgspec.Struct):
    system: str = ""
    code: str = ""
    display: str = ""


class _Code(msgspec.Struct):
    coding: list[_Coding] = []
    text: str = ""


class _Reference(msgspec.Struct):
    reference: str = ""


class _Quantity(msgspec.Struct):
    value: Decimal | None = None
    comparator: str = ""
    unit: str = ""
    code: str = ""


class _Range(msgspec.Struct):
    low: _Quantity | None = None
    high: _Quantity | None = None
    text: str = ""


class _Observation(msgspec.Struct):
    resourceType: str
    id: str
    status: str
    code: _Code
    subject: _Reference
    effectiveDateTime: str = ""
    valueQuantity: _Quantity | None = None
    referenceRange: list[_Range] = []


def msgspec_everything(path: Path, candidates: frozenset[str]) -> int:
    """Decode every line to typed structs with Decimal, then keep the candidates' as flat rows."""
    decoder = msgspec.json.Decoder(_Observation)
    rows = []
    with path.open("rb") as lines:
        for line in lines:
            seen = decoder.decode(line)
            patient = seen.subject.reference.removeprefix("Patient/")
            quantity = seen.valueQuantity
            if patient in candidates and quantity is not None:
                rows.append(
                    (patient, seen.code.coding[0].code, quantity.value, quantity.unit, seen.effectiveDateTime)
                )
    return len(rows)


_COLUMNS = """{
  id: 'VARCHAR', status: 'VARCHAR',
  code: 'STRUCT(coding STRUCT(system VARCHAR, code VARCHAR, display VARCHAR)[], "text" VARCHAR)',
  subject: 'STRUCT(reference VARCHAR)', effectiveDateTime: 'VARCHAR',
  valueQuantity: 'STRUCT("value" DECIMAL(18,6), comparator VARCHAR, unit VARCHAR, code VARCHAR)'
}"""


def duckdb_typed(path: Path, candidates: frozenset[str]) -> int:
    """DuckDB's JSON reader with declared struct types, one thread, joined to the candidates."""
    import duckdb

    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("CREATE TABLE candidate (reference VARCHAR)")
        names = [(f"Patient/{name}",) for name in sorted(candidates)]
        database.executemany("INSERT INTO candidate VALUES (?)", names)
        rows = database.execute(
            "SELECT subject.reference, code.coding[1].code, valueQuantity.value, valueQuantity.unit, "  # noqa: S608
            "effectiveDateTime "
            f"FROM read_json(?, format='newline_delimited', columns={_COLUMNS}) "
            "WHERE subject.reference IN (SELECT reference FROM candidate)",
            [str(path)],
        ).fetchall()
        return len(rows)
