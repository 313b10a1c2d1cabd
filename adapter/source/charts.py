"""What follows from the charts that were read: drugs still to read, and coverage of a person's records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from adapter.model.coverage import Coverage


def medications_of(resource: dict[str, Any]) -> Iterator[str]:
    """Ids of the Medications a prescription, dispense or administration refers to on its own server."""
    reference = resource.get("medicationReference")
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if isinstance(literal, str) and literal.startswith("Medication/"):
        yield literal.split("/")[1]


def joined(rows: list[Coverage], groups: dict[str, frozenset[str]]) -> Iterator[Coverage]:
    """A person's records are one: what is incomplete for one of them is incomplete for all."""
    broken = {(row.resource_type, row.subject): row.reason for row in rows if not row.complete}
    for row in sorted(rows, key=lambda row: (row.resource_type, row.subject)):
        reasons = sorted(
            broken[row.resource_type, name]
            for name in groups.get(row.subject, frozenset({row.subject}))
            if (row.resource_type, name) in broken
        )
        if row.complete and reasons:
            yield msgspec.structs.replace(row, complete=False, reason=f"a merged record: {reasons[0]}")
        else:
            yield row
