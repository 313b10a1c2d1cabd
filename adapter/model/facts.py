"""Four fact tables with the names of CDISC's observation classes (SDTM v2.0, section 3).

The protocol and the exports read the same rows, so what decided eligibility is what the sponsor
receives. Rows are immutable. A row that must not decide is kept and says why in ``excluded``:
an auditor asks for the readings that were ignored as often as for the ones that were used.

A row holds texts, numbers and smaller rows, never what holds it, so no cycle can run through one and Python
need not look for any (``gc=False``): a tenth of the time of mapping went into looking.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.dates import PartialDate
from adapter.model.issue import Issue
from adapter.model.quantity import Interval

Use = Literal["AUTO", "FLAG", "SUPP", "NEVER"]
Answer = Literal["", "positive", "weak_positive", "negative", "equivocal", "invalid"]


class Source(msgspec.Struct, frozen=True, gc=False, order=True, cache_hash=True):
    """Where a fact comes from: the evidence pointer of every row.

    ``reference`` is ``Type/id``; ``version`` is ``meta.versionId`` (or ``meta.lastUpdated``, or "");
    ``path`` the element within the resource (``component[1]``, ``contained[0]``); ``sha256`` the hash
    of the raw bytes, which outlives servers that keep no versions.
    """

    reference: str
    version: str = ""
    path: str = ""
    sha256: str = ""


class Coding(msgspec.Struct, frozen=True, gc=False, order=True):
    """A code as the source wrote it (R4 Coding); ``display`` may be the CodeableConcept text."""

    system: str = ""
    code: str = ""
    display: str = ""


class ReferenceRange(msgspec.Struct, frozen=True, gc=False):
    """Limits as printed by the laboratory, converted to the canonical unit of the finding."""

    low: Fraction | None = None
    high: Fraction | None = None
    text: str = ""
    origin: Literal["resource", "site"] = "resource"


class Subject(msgspec.Struct, frozen=True, gc=False):
    """One person after merges: ``id`` is the surviving Patient.id, ``merged`` the ids folded into it."""

    id: str
    source: Source
    sex: Literal["male", "female", "other", "unknown"] = "unknown"
    birth: PartialDate | None = None
    deceased: bool = False
    death: PartialDate | None = None
    merged: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    excluded: str = ""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One reading: a laboratory result, a vital sign, a questionnaire answer, a derived value.

    ``value`` is in ``unit`` (the canonical UCUM unit of the concept); ``original`` and
    ``original_unit`` are the source's own characters, comparator included. ``start`` is when the
    specimen was (or began to be) collected, ``end`` when a timed collection ended. ``excluded``
    is empty if the row may decide, else the reason it may not. ``derived_from`` lists the inputs of a
    computed value and ``method`` names the equation, assay or timing (``CKD-EPI 2009``, ``BCG``,
    ``trough``). Questionnaire answers have ``category`` ``questionnaire``, the canonical in
    ``code.system`` and the linkId in ``code.code``; dates answered there are in ``value_date``.
    """

    subject: str
    concept: str
    source: Source
    category: Literal["laboratory", "vital-signs", "questionnaire", "pathology", "derived", "other"]
    code: Coding = Coding()
    use: Use = "AUTO"
    value: Interval | None = None
    unit: str = ""
    answer: Answer = ""
    value_code: str = ""
    value_date: PartialDate | None = None
    original: str = ""
    original_unit: str = ""
    range: ReferenceRange | None = None
    interpretation: str = ""
    start: PartialDate | None = None
    end: PartialDate | None = None
    issued: PartialDate | None = None
    status: str = ""
    method: str = ""
    specimen: str = ""
    specimen_id: str = ""
    laboratory: str = ""
    report: str = ""
    conversion: str = ""
    absent_reason: str = ""
    flags: tuple[str, ...] = ()
    derived_from: tuple[Source, ...] = ()
    excluded: str = ""

    @property
    def when(self) -> PartialDate | None:
        """The day that look-backs use: the end of a timed collection, else its start."""
        return self.end or self.start


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened or is so: a diagnosis, procedure, consent, encounter, adverse event.

    ``presence``: ``present`` (active, recurrence, relapse), ``past`` (inactive, remission, resolved,
    history), ``unconfirmed`` (provisional, differential, "待查"), ``refuted``. ``category`` separates
    ``diagnosis``, ``procedure``, ``consent``, ``encounter``, ``adverse-event``, ``research-subject``,
    ``allergy``, ``report`` and ``specimen``. ``attributes`` carries what only some categories have
    (consent scope and status, ResearchSubject status, study and arm, allergy criticality and type).
    """

    subject: str
    concept: str
    source: Source
    category: str
    code: Coding = Coding()
    use: Use = "AUTO"
    presence: Literal["present", "past", "unconfirmed", "refuted"] = "present"
    start: PartialDate | None = None
    end: PartialDate | None = None
    recorded: PartialDate | None = None
    status: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    excluded: str = ""

    def attribute(self, name: str) -> str:
        return next((value for key, value in self.attributes if key == name), "")


class Intervention(msgspec.Struct, frozen=True, gc=False):
    """A drug ordered, dispensed, given or stated.

    ``concept`` is the drug key and ``classes`` its classes from ``mappings/drugs.csv``. ``systemic``
    is None when the route is not known. ``exposure_end`` is the last day the drug may have been in
    use according to this row (administration, supply end, ordered end); None with ``ongoing`` true
    means still being taken. ``dose`` is per intake and ``daily_dose`` per calendar day, both in
    ``dose_unit``; ``daily_dose`` is None when no frequency is known: it is never assumed.
    """

    subject: str
    concept: str
    source: Source
    kind: Literal["order", "dispense", "administration", "statement"]
    code: Coding = Coding()
    classes: tuple[str, ...] = ()
    role: str = ""
    use: Use = "AUTO"
    systemic: bool | None = None
    route: str = ""
    form: str = ""
    dose: Fraction | None = None
    dose_unit: str = ""
    daily_dose: Fraction | None = None
    frequency: str = ""
    indication: str = ""
    start: PartialDate | None = None
    end: PartialDate | None = None
    exposure_end: PartialDate | None = None
    ongoing: bool = False
    recorded: PartialDate | None = None
    status: str = ""
    flags: tuple[str, ...] = ()
    excluded: str = ""


class Account(msgspec.Struct, frozen=True, gc=False):
    """How one resource type added up: ``read == facts + issues + not_relevant`` (each resource once)."""

    resource_type: str
    read: int
    facts: int
    issues: int
    not_relevant: int

    @property
    def balanced(self) -> bool:
        return self.read == self.facts + self.issues + self.not_relevant


class Facts(msgspec.Struct, frozen=True):
    """What a set of resources says, in canonical order, with its issues, accounts and coverage."""

    subjects: tuple[Subject, ...] = ()
    findings: tuple[Finding, ...] = ()
    events: tuple[Event, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    issues: tuple[Issue, ...] = ()
    accounts: tuple[Account, ...] = ()
    coverage: tuple[Coverage, ...] = ()

    def of(self, subject: str) -> Facts:
        """The rows of one subject; accounts stay with the whole. Build an index for many subjects."""
        return Facts(
            subjects=tuple(row for row in self.subjects if row.id == subject),
            findings=tuple(row for row in self.findings if row.subject == subject),
            events=tuple(row for row in self.events if row.subject == subject),
            interventions=tuple(row for row in self.interventions if row.subject == subject),
            issues=tuple(row for row in self.issues if row.subject == subject),
            coverage=tuple(row for row in self.coverage if row.subject in ("", subject)),
        )

    def by_subject(self) -> dict[str, Facts]:
        """One :class:`Facts` per subject in a single pass, subjects in id order."""
        parts: dict[str, _Rows] = {row.id: _Rows([], [], [], []) for row in self.subjects}
        for finding in self.findings:
            if finding.subject in parts:
                parts[finding.subject].findings.append(finding)
        for event in self.events:
            if event.subject in parts:
                parts[event.subject].events.append(event)
        for intervention in self.interventions:
            if intervention.subject in parts:
                parts[intervention.subject].interventions.append(intervention)
        for issue in self.issues:
            if issue.subject in parts:
                parts[issue.subject].issues.append(issue)
        people = {row.id: row for row in self.subjects}
        whole = tuple(row for row in self.coverage if not row.subject)
        own: dict[str, list[Coverage]] = {}
        for span in self.coverage:
            if span.subject:
                own.setdefault(span.subject, []).append(span)
        return {
            subject: Facts(
                subjects=(people[subject],),
                findings=tuple(rows.findings),
                events=tuple(rows.events),
                interventions=tuple(rows.interventions),
                issues=tuple(rows.issues),
                coverage=whole + tuple(own.get(subject, ())),
            )
            for subject, rows in sorted(parts.items())
        }


class _Rows(NamedTuple):
    findings: list[Finding]
    events: list[Event]
    interventions: list[Intervention]
    issues: list[Issue]
