"""What follows from the charts that were read: drugs still to read, and coverage of a person's records."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import msgspec

from adapter.model.coverage import Coverage


class Lack(msgspec.Struct, frozen=True):
    """Why an answer is not the whole; ``reason`` "" if it is.

    ``limited``: all that was asked for came. ``refused``: it was refused from the start, which is what the
    hospital does not offer if it is so for everyone, else a loss.
    """

    reason: str = ""
    limited: bool = False
    refused: bool = False


WHOLE = Lack()


def medications_of(resource: dict[str, Any]) -> Iterator[str]:
    """Ids of the Medications a prescription, dispense or administration refers to on its own server."""
    reference = resource.get("medicationReference")
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if isinstance(literal, str) and literal.startswith("Medication/"):
        yield literal.split("/")[1]


def joined(
    rows: list[Coverage], groups: dict[str, frozenset[str]], refused: Container[tuple[str, str]] = ()
) -> Iterator[Coverage]:
    """A person's records are one: what is incomplete for one of them is incomplete for all.

    ``refused`` are the types and subjects refused from the start: limited, if it is so for everyone.
    """
    kept = {row.resource_type for row in rows if (row.resource_type, row.subject) not in refused}
    rows = [
        msgspec.structs.replace(row, limited=row.resource_type not in kept)
        if (row.resource_type, row.subject) in refused
        else row
        for row in rows
    ]
    broken = {(row.resource_type, row.subject): row for row in rows if not row.complete}
    for row in sorted(rows, key=lambda row: (row.resource_type, row.subject)):
        parts = [
            broken[row.resource_type, name]
            for name in sorted(groups.get(row.subject, frozenset({row.subject})))
            if (row.resource_type, name) in broken
        ]
        limited = not any(part.lost for part in parts)
        if row.complete and parts:
            reason = f"a merged record: {min(part.reason for part in parts)}"
            yield msgspec.structs.replace(row, complete=False, reason=reason, limited=limited)
        else:
            yield msgspec.structs.replace(row, limited=row.limited and limited)
