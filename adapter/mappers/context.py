"""What every mapper is given and what it gives back.

A mapper is a plain function, one per resource type, registered in ``adapter.mappers.MAPPERS``::

    def map_condition(resource: Condition, raw: RawResource, context: Context) -> Mapped

``Condition`` is a struct derived from :class:`adapter.mappers.r4.Resource` that lists the elements the
mapper reads; it lives in the mapper's own file. The function never raises on data. It returns rows, or
one issue with ``fatal_for_resource``, or ``NOT_RELEVANT``; so each resource read is counted once.

``subject`` of every row is ``context.subject(resource.subject)``, which already follows merges. Versions
of one resource, duplicates and rows of unknown subjects are settled afterwards for all types alike
(``corrections.py``), so a mapper looks at its own resource only and at what ``context.index`` resolves.
Patients are special: ``identity.py`` exposes ``resolve(patients: Mapping[str, r4.Patient]) -> Identities``
(``survivors``: id to surviving id, and ``issues``) for the first pass, and
``fold(subjects: Iterable[Subject], identities: Identities) -> tuple[Subject, ...]`` for the end, which turns
one Subject per Patient (from ``map_patient``) into one per person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from adapter.mappers import r4
from adapter.mappers.index import Index
from adapter.model.dates import PartialDate, parse_date
from adapter.model.facts import Coding, Event, Finding, Intervention, Source, Subject
from adapter.model.issue import Issue, Severity
from adapter.model.resource import RawResource

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

Outcome = Literal["facts", "issue", "not_relevant"]


class Context(msgspec.Struct, frozen=True):
    """Everything a mapper may know besides its resource.

    ``zone`` is the site's time zone; ``options`` are switches of the site (``mappings/sites``). ``people``
    are the subjects by id, after merges; it is empty only while patients themselves are being mapped.
    """

    terminology: Terminology
    zone: tzinfo
    index: Index
    people: Mapping[str, Subject] = MappingProxyType({})
    options: Mapping[str, bool] = MappingProxyType({})

    def date(self, text: str | None) -> PartialDate | None:
        """A FHIR date, dateTime or instant in the site's zone; None if absent or not a date."""
        return parse_date(text, self.zone) if text else None

    def subject(self, reference: r4.Reference | None) -> str:
        """The surviving Patient.id a reference means; "" if it names no patient or none that is known."""
        return self.index.patient(reference)


class Mapped(msgspec.Struct, frozen=True, gc=False):
    """What one resource became. Build it with rows, with :func:`refused`, or use ``NOT_RELEVANT``.

    ``identifiers`` holds, for findings that have them, the business identifiers (``system|value``) by which
    copies and corrections of one result are recognised.
    """

    findings: tuple[Finding, ...] = ()
    events: tuple[Event, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    subjects: tuple[Subject, ...] = ()
    issues: tuple[Issue, ...] = ()
    identifiers: tuple[tuple[Source, tuple[str, ...]], ...] = ()

    @property
    def outcome(self) -> Outcome:
        """How the resource is counted: a fatal issue beats rows, rows beat nothing."""
        if any(issue.fatal_for_resource for issue in self.issues):
            return "issue"
        if self.findings or self.events or self.interventions or self.subjects:
            return "facts"
        return "not_relevant"


NOT_RELEVANT = Mapped()

# https://hl7.org/fhir/R4/extensibility.html#modifierExtension: what is not understood must not be processed.
UNMODIFIED = "a modifierExtension that is not understood may turn the meaning round"


class Mapper(NamedTuple):
    """One row of the dispatch table: the struct to decode into and the function that maps it."""

    struct: type[r4.Resource]
    function: Callable[[Any, RawResource, Context], Mapped]


def source_of(resource: r4.Resource, raw: RawResource, path: str = "") -> Source:
    """The evidence pointer of a row made from this resource (or from a part of it)."""
    return Source(resource.reference, resource.version, path, raw.sha256)


def where_of(resource: r4.Resource, raw: RawResource) -> str:
    """How an issue names the resource: ``Type/id``, or ``file:line`` where there is no id."""
    return resource.reference if resource.id else raw.where


def issue(
    code: str,
    resource: r4.Resource,
    raw: RawResource,
    *,
    severity: Severity = "warning",
    path: str = "",
    detail: str = "",
    subject: str = "",
) -> Issue:
    """Something to tell about a resource that still becomes facts. ``detail`` holds no personal data."""
    return Issue(code, severity, resource.resourceType, where_of(resource, raw), path, detail, subject)


def refused(
    code: str,
    resource: r4.Resource,
    raw: RawResource,
    *,
    severity: Severity = "error",
    path: str = "",
    detail: str = "",
    subject: str = "",
) -> Mapped:
    """The resource became no facts, and this is why (``NO_SUBJECT``, ``NO_CODE`` ...)."""
    return Mapped(
        issues=(
            Issue(
                code,
                severity,
                resource.resourceType,
                where_of(resource, raw),
                path,
                detail,
                subject,
                fatal_for_resource=True,
            ),
        )
    )


def codings_of(concept: r4.CodeableConcept | None) -> tuple[Coding, ...]:
    """The codings of a concept as model values; a concept with text alone gives one coding without code."""
    if concept is None:
        return ()
    found = tuple(
        Coding(coding.system or "", coding.code or "", coding.display or concept.text or "")
        for coding in concept.coding
        if coding.code or coding.display
    )
    if found or not concept.text:
        return found
    return (Coding(display=concept.text),)


def shape_of(text: str) -> str:
    """What a free text looks like without saying what it says, for issues: ``7 characters: Han, digit``.

    >>> shape_of("血清 12")
    '5 characters: Han, digit, space'
    """
    kinds = {_kind(character) for character in text}
    return f"{len(text)} characters: {', '.join(sorted(kinds))}" if text else "empty"


def _kind(character: str) -> str:
    if character.isdigit():
        return "digit"
    if character.isspace():
        return "space"
    if "\u3400" <= character <= "\u9fff":
        return "Han"
    return "letter" if character.isalpha() else "sign"
