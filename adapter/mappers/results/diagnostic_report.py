"""DiagnosticReport: the readings it contains, its coded conclusions, and that a person must read its text.

Narrative conclusions and PDF attachments are not parsed (pitfall E-14): the report is an event with flag
REVIEW and its reference. Readings in ``contained`` are mapped like any other and are usually copies.
Source: https://hl7.org/fhir/R4/diagnosticreport.html.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, codings_of, issue, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.results.observation import Part, inherit, map_parts, parts_of
from adapter.model.facts import Coding, Event
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

_EXCLUDED = {
    "registered": "IN_PROGRESS",
    "partial": "PRELIMINARY",
    "preliminary": "PRELIMINARY",
    "cancelled": "CANCELLED",
    "entered-in-error": "ENTERED_IN_ERROR",
    "unknown": "STATUS_UNKNOWN",
}
# A reading without its own status takes the report's, in the words of Observation.status.
_AS_OBSERVATION = {"partial": "preliminary", "appended": "amended"}


def map_diagnostic_report(resource: r4.DiagnosticReport, raw: RawResource, context: Context) -> Mapped:
    """One event for the report, one for each coded conclusion, and the contained readings."""
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="DiagnosticReport.subject")
    issues: list[Issue] = []
    parts = tuple(_contained_readings(resource, raw, subject, context, issues))
    readings = map_parts(parts, resource, raw, subject, context)
    return Mapped(
        findings=readings.findings,
        events=tuple(_events(resource, raw, subject, context)),
        issues=(*issues, *readings.issues),
        identifiers=readings.identifiers,
    )


def _contained_readings(
    resource: r4.DiagnosticReport, raw: RawResource, subject: str, context: Context, issues: list[Issue]
) -> Iterator[Part]:
    owner = r4.Observation(
        resourceType="Observation",
        subject=resource.subject,
        status=_AS_OBSERVATION.get(resource.status or "", resource.status),
        category=resource.category,
        specimen=resource.specimen[0] if len(resource.specimen) == 1 else None,
        performer=resource.performer,
        effectiveDateTime=resource.effectiveDateTime,
        effectivePeriod=resource.effectivePeriod,
        issued=resource.issued,
        contained=resource.contained,
    )
    source = source_of(resource, raw)
    for position, item in enumerate(resource.contained):
        path = f"contained[{position}]"
        try:
            if msgspec.json.decode(item, type=r4.Head).resourceType != "Observation":
                continue
            reading = r4.decode(item, r4.Observation)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            issues.append(issue("CONTAINED_UNREADABLE", resource, raw, path=path, subject=subject))
            continue
        at = msgspec.structs.replace(source, path=path)
        # Members of a contained panel stand beside it and have their own turn.
        yield from parts_of(inherit(reading, owner), at, resource.reference, members=False)


def _events(
    resource: r4.DiagnosticReport, raw: RawResource, subject: str, context: Context
) -> Iterator[Event]:
    start = context.date(resource.effectiveDateTime)
    period = resource.effectivePeriod
    start = start or context.date(period.start if period else None)
    end = context.date(period.end if period else None)
    recorded = context.date(resource.issued)
    status = resource.status or ""
    narrative = [
        name
        for name, sent in (("conclusion", resource.conclusion), ("presentedForm", resource.presentedForm))
        if sent
    ]
    common = flags_of("" if status else "STATUS_MISSING", dates=(start, end, recorded))
    report = Event(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        category="report",
        code=next(iter(codings_of(resource.code)), Coding()),
        use="SUPP",
        start=start,
        end=end,
        recorded=recorded,
        status=status,
        attributes=tuple((name, "unread") for name in narrative),
        flags=flags_of("REVIEW" if narrative else "", more=common),
        excluded=_EXCLUDED.get(status, ""),
    )
    yield report
    for position, conclusion in enumerate(resource.conclusionCode):
        for coding in codings_of(conclusion):
            for entry in context.terminology.concepts_for_coding(coding.system, coding.code):
                if context.terminology.concepts[entry.concept].kind != "event":
                    continue
                yield msgspec.structs.replace(
                    report,
                    concept=entry.concept,
                    source=source_of(resource, raw, f"conclusionCode[{position}]"),
                    code=coding,
                    attributes=(),
                    flags=flags_of(more=(*entry.flags, *common)),
                )
