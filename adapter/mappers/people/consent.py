"""Consent to research. Source: https://hl7.org/fhir/R4/consent.html.

Consents to treatment or to the use of data for other ends say nothing about a trial and are counted not
relevant. Which study a research consent is for stands in the attributes; whether it is this one, and was
signed in time, is for the protocol to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from adapter.mappers import r4
from adapter.mappers.context import NOT_RELEVANT, Context, Mapped, issue, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.model.facts import Coding, Event
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

_PRESENCE: Mapping[str, Literal["present", "past", "unconfirmed", "refuted"]] = MappingProxyType(
    {
        "active": "present",
        "inactive": "past",
        "rejected": "refuted",
        "draft": "unconfirmed",
        "proposed": "unconfirmed",
    }
)
_RESEARCH = frozenset({"research", "rsdid", "rsreid"})
_RESEARCH_TEXT = ("研究", "临床试验", "research", "clinical trial")
_STUDY_EXTENSION = "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy"


class ProvisionData(r4.Element, frozen=True, kw_only=True):
    meaning: str | None = None
    reference: r4.Reference | None = None


class Provision(r4.Element, frozen=True, kw_only=True):
    type: str | None = None
    period: r4.Period | None = None
    data: tuple[ProvisionData, ...] = ()


class Consent(r4.Resource, frozen=True, kw_only=True):
    status: str | None = None
    scope: r4.CodeableConcept | None = None
    category: tuple[r4.CodeableConcept, ...] = ()
    patient: r4.Reference | None = None
    dateTime: str | None = None
    policyRule: r4.CodeableConcept | None = None
    provision: Provision | None = None


def map_consent(resource: Consent, raw: RawResource, context: Context) -> Mapped:
    """One event ``research_consent`` starting at ``dateTime``.

    Attributes: status, scope, provision (permit or deny), study (``ResearchStudy/id``), policy. Presence:
    active is present, inactive (withdrawn or expired) past, rejected refuted, draft and proposed unconfirmed.
    """
    if not _is_research(resource):
        return NOT_RELEVANT
    subject = context.subject(resource.patient)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Consent.patient")
    provision = resource.provision or Provision()
    period = provision.period or r4.Period()
    start = context.date(resource.dateTime)
    status = resource.status or ""
    scope = resource.scope.coding[0] if resource.scope and resource.scope.coding else r4.Coding()
    attributes = {
        "status": status,
        "scope": scope.code or "research",
        "provision": provision.type or "",
        "study": " ".join(_studies(resource)),
        "policy": r4.first_code(resource.policyRule) or r4.display(resource.policyRule),
    }
    problems: tuple[Issue, ...] = ()
    if start is None:
        code = "BAD_DATE" if resource.dateTime else "NO_DATE"
        problems = (issue(code, resource, raw, path="Consent.dateTime", subject=subject),)
    flags = flags_of("" if status else "STATUS_MISSING", "" if start else "NO_DATE", dates=(start,))
    return Mapped(
        events=(
            Event(
                subject=subject,
                concept="research_consent",
                source=source_of(resource, raw),
                category="consent",
                code=Coding(scope.system or "", scope.code or "", scope.display or ""),
                presence=_PRESENCE.get(status, "unconfirmed"),
                start=start,
                end=context.date(period.end),
                status=status,
                attributes=tuple((name, value) for name, value in attributes.items() if value),
                flags=flags,
                excluded="ENTERED_IN_ERROR" if status == "entered-in-error" else "",
            ),
        ),
        issues=problems,
    )


def _is_research(resource: Consent) -> bool:
    """By scope; where a hospital left it out, by a category that says research."""
    if resource.scope is not None and resource.scope.coding:
        return any((coding.code or "").lower() == "research" for coding in resource.scope.coding)
    words = [resource.scope, *resource.category] if resource.scope else [*resource.category]
    codes = {(coding.code or "").lower() for one in words for coding in one.coding}
    texts = " ".join(_texts(words)).casefold()
    return bool(codes & _RESEARCH) or any(word in texts for word in _RESEARCH_TEXT)


def _texts(concepts: Iterable[r4.CodeableConcept]) -> Iterable[str]:
    for one in concepts:
        yield one.text or ""
        yield from (coding.display or "" for coding in one.coding)


def _studies(resource: Consent) -> list[str]:
    """The studies a consent names: by the data it speaks of, or by the workflow extension."""
    references = [item.reference for item in (resource.provision or Provision()).data]
    references += [one.valueReference for one in resource.extension if one.url == _STUDY_EXTENSION]
    texts = {(one.reference or "") for one in references if one}
    return sorted({found for text in texts if (found := study_reference(text))})


def study_reference(text: str) -> str:
    """``ResearchStudy/id`` from a literal reference in any spelling, or "".

    >>> study_reference("https://h.example/fhir/ResearchStudy/tac/_history/2")
    'ResearchStudy/tac'
    """
    found = text.split("/_history/")[0].rstrip("/").rpartition("ResearchStudy/")
    return f"ResearchStudy/{found[2]}" if found[1] and found[2] and "/" not in found[2] else ""
