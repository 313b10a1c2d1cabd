"""Values that follow from other values of the same subject: 24 h protein and eGFR."""

from __future__ import annotations

from collections.abc import Iterable

from adapter.mappers.context import Context
from adapter.mappers.results.filtration import filtration_of
from adapter.mappers.results.protein import protein_of
from adapter.model.facts import Finding


def derive(findings: Iterable[Finding], context: Context) -> tuple[Finding, ...]:
    """The findings and what follows from them. Call it after corrections: it reads only what still stands."""
    by_subject: dict[str, list[Finding]] = {}
    for row in findings:
        by_subject.setdefault(row.subject, []).append(row)
    derived: list[Finding] = []
    for rows in by_subject.values():
        own = protein_of(tuple(rows), context)
        derived += own
        derived += filtration_of(own, context)
    return tuple(derived)
