"""Encounter: when the patient was seen, and how. Source: https://hl7.org/fhir/R4/encounter.html."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import field

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, codings_of, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.model.facts import Coding, Event
from adapter.model.resource import RawResource

_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {"planned": "PLANNED", "cancelled": "CANCELLED", "entered-in-error": "ENTERED_IN_ERROR"}
)


class Encounter(r4.Resource, frozen=True, kw_only=True):
    status: str | None = None
    class_: r4.Coding | None = field(default=None, name="class")
    type: tuple[r4.CodeableConcept, ...] = ()
    subject: r4.Reference | None = None
    period: r4.Period | None = None


def map_encounter(resource: Encounter, raw: RawResource, context: Context) -> Mapped:
    """One event ``encounter``; attributes: class (AMB, IMP, EMER...) and the type's first code."""
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Encounter.subject")
    period = resource.period or r4.Period()
    kind = resource.class_ or r4.Coding()
    start, end = context.date(period.start), context.date(period.end)
    types = [coding for one in resource.type for coding in codings_of(one)]
    return Mapped(
        events=(
            Event(
                subject=subject,
                concept="encounter",
                source=source_of(resource, raw),
                category="encounter",
                code=Coding(kind.system or "", kind.code or "", kind.display or ""),
                start=start,
                end=end,
                status=resource.status or "",
                attributes=tuple(
                    (name, value)
                    for name, value in (("class", kind.code or ""), ("type", types[0].code if types else ""))
                    if value
                ),
                flags=flags_of("" if resource.status else "STATUS_MISSING", dates=(start, end)),
                excluded=_EXCLUDED.get(resource.status or "", ""),
            ),
        )
    )
