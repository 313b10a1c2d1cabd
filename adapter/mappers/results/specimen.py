"""Specimen: what a reading was taken from, and the event of its collection.

Source: https://hl7.org/fhir/R4/specimen.html. Two readings belong together if they name the same specimen;
so a contained specimen counts as the one that was sent with the same identifier, else as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, codings_of, issue, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.model.facts import Coding, Event
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

_STATUS = {
    "unavailable": "CANCELLED",
    "unsatisfactory": "UNSATISFACTORY",
    "entered-in-error": "ENTERED_IN_ERROR",
}


class Sample(NamedTuple):
    """``kind`` is a word of ``codes/specimens.csv`` or ""; ``id`` is the same for the same specimen."""

    resource: r4.Specimen | None = None
    kind: str = ""
    id: str = ""


_NOT_NAMED = Sample()


def sample_of(reference: r4.Reference | None, contained: Iterable[msgspec.Raw], context: Context) -> Sample:
    """The specimen a reading names, whether it was sent, is contained, or is known by reference alone."""
    if reference is None:
        return _NOT_NAMED
    resource = context.index.specimen(reference, contained)
    kind = kind_of(resource, context) if resource else ""
    if (reference.reference or "").startswith("#"):
        return Sample(resource, kind, _by_identifier(resource, context))
    known = context.index.find(reference, "Specimen")
    if known:
        return Sample(resource, kind, f"Specimen/{known}")
    identifier = reference.identifier
    logical = f"{identifier.system or ''}|{identifier.value}" if identifier and identifier.value else ""
    return Sample(resource, kind, logical)


def kind_of(resource: r4.Specimen, context: Context) -> str:
    entry = context.terminology.specimen_for(codings_of(resource.type), r4.display(resource.type))
    return entry.specimen if entry else ""


def map_specimen(resource: r4.Specimen, raw: RawResource, context: Context) -> Mapped:
    """One event: when it was collected, of what kind. The readings themselves are Observations."""
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Specimen.subject")
    collection = resource.collection
    period = collection.collectedPeriod if collection else None
    start = context.date(collection.collectedDateTime if collection else None)
    start = start or context.date(period.start if period else None)
    end = context.date(period.end if period else None)
    issues: tuple[Issue, ...] = ()
    written = (
        collection.collectedDateTime if collection else None,
        period.start if period else None,
        period.end if period else None,
    )
    if any(text and context.date(text) is None for text in written):
        issues = (issue("BAD_DATE", resource, raw, path="Specimen.collection", subject=subject),)
    event = Event(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        category="specimen",
        code=next(iter(codings_of(resource.type)), Coding()),
        use="SUPP",
        start=start,
        end=end,
        recorded=context.date(resource.receivedTime),
        status=resource.status or "",
        attributes=(("kind", kind_of(resource, context)),),
        flags=flags_of(dates=(start, end)),
        excluded=_STATUS.get(resource.status or "", ""),
    )
    return Mapped(events=(event,), issues=issues)


def _by_identifier(resource: r4.Specimen | None, context: Context) -> str:
    if resource is None:
        return ""
    for identifier in (resource.accessionIdentifier, *resource.identifiers):
        if identifier is None or not identifier.value:
            continue
        known = context.index.find(r4.Reference(type="Specimen", identifier=identifier), "Specimen")
        return f"Specimen/{known}" if known else f"{identifier.system or ''}|{identifier.value}"
    return ""
