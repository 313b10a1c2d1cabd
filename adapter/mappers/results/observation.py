"""Observation to findings: one per reading, and one per component of a panel.

A component, and an Observation contained in another resource, inherits subject, status, effective time,
specimen, performer and category from what it is part of; a panel's own value is ignored where its parts are
about the same thing (pitfall E-15). A reading that must not decide is kept and says why; the first reason
found wins, from "was never valid" down to "cannot be used as it is".
Source: https://hl7.org/fhir/R4/observation.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import UNMODIFIED, Context, Mapped, issue, refused, source_of
from adapter.mappers.dates import moment_of
from adapter.mappers.flags import flags_of
from adapter.mappers.results.analytes import analyte_flags, category_of, method_of
from adapter.mappers.results.answers import BY_OWN_RANGE, Verdict, interpretation_of, judge
from adapter.mappers.results.codes import Meaning, meaning_of
from adapter.mappers.results.limits import Limited, laboratory_of, limits_of
from adapter.mappers.results.specimen import Sample, sample_of
from adapter.mappers.results.units import Canonical, canonical, elisa_default_fits
from adapter.mappers.results.values import Question, Value, quantity, value_of
from adapter.model.facts import Finding, Source
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.model.terminology import AS_REPORTED, CodeEntry, Concept

_STATUS = {
    "final": "",
    "amended": "",
    "corrected": "",
    "preliminary": "PRELIMINARY",
    "registered": "IN_PROGRESS",
    "cancelled": "CANCELLED",
    "entered-in-error": "ENTERED_IN_ERROR",
    "unknown": "STATUS_UNKNOWN",
}
_INHERITED = (
    "subject",
    "status",
    "category",
    "specimen",
    "performer",
    "focus",
    "effectiveDateTime",
    "effectivePeriod",
    "effectiveInstant",
    "effectiveTiming",
    "issued",
)
_EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming")


class Part(NamedTuple):
    """One reading inside a resource: where it is, and whom and what it belongs to."""

    reading: r4.Observation
    source: Source
    report: str = ""
    is_panel: bool = False


def map_observation(resource: r4.Observation, raw: RawResource, context: Context) -> Mapped:
    """All readings of one Observation resource."""
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Observation.subject")
    report = context.index.reports.get((subject, resource.id or ""), "")
    parts = tuple(parts_of(resource, source_of(resource, raw), report))
    return map_parts(parts, resource, raw, subject, context)


def map_parts(
    parts: tuple[Part, ...], owner: r4.Resource, raw: RawResource, subject: str, context: Context
) -> Mapped:
    """The findings of several readings of one resource, all about ``subject``."""
    findings: list[Finding] = []
    issues: list[Issue] = []
    identifiers: list[tuple[Source, tuple[str, ...]]] = []
    readings = [_Reading(part, subject, context) for part in parts]
    for part, reading in zip(parts, readings, strict=True):
        if part.is_panel and (reading.is_grouper or reading.concepts & _concepts_of_parts(readings)):
            continue
        if part.reading.modifierExtension:
            issues.append(
                issue(
                    "MODIFIER_EXTENSION",
                    owner,
                    raw,
                    path=part.source.path,
                    detail=UNMODIFIED,
                    subject=subject,
                )
            )
            continue
        findings += reading.findings()
        for code, detail in reading.issues:
            issues.append(issue(code, owner, raw, path=part.source.path, detail=detail, subject=subject))
        if known := identifiers_of(part.reading):
            identifiers.append((part.source, known))
    return Mapped(findings=tuple(findings), issues=tuple(issues), identifiers=tuple(identifiers))


def _concepts_of_parts(readings: list[_Reading]) -> set[str]:
    return {key for reading in readings if not reading.part.is_panel for key in reading.concepts}


def parts_of(reading: r4.Observation, source: Source, report: str, *, members: bool = True) -> Iterator[Part]:
    """The reading itself, its components, and (if ``members``) the Observations it contains as members."""
    prefix = f"{source.path}." if source.path else ""
    components = [inherit(component, reading) for component in reading.component]
    is_panel = bool(components or reading.hasMember)
    if not is_panel or has_value(reading):
        yield Part(reading, source, report, is_panel)
    for position, component in enumerate(components):
        at = msgspec.structs.replace(source, path=f"{prefix}component[{position}]")
        yield Part(component, at, report)
    if not (members and reading.hasMember):
        return
    for position, member in _contained_members(reading):
        at = msgspec.structs.replace(source, path=f"{prefix}contained[{position}]")
        yield from parts_of(inherit(member, reading), at, report, members=False)


def inherit(part: r4.Observation, owner: r4.Observation) -> r4.Observation:
    """The part with what it does not say itself taken from its owner; a time counts as one thing."""
    own_time = any(getattr(part, name) is not None for name in _EFFECTIVE)
    missing = {
        name: getattr(owner, name)
        for name in _INHERITED
        if not getattr(part, name) and not (own_time and name in _EFFECTIVE)
    }
    return msgspec.structs.replace(part, contained=part.contained or owner.contained, **missing)


def has_value(reading: r4.Observation) -> bool:
    """Whether any value[x], or a reason for having none, was sent."""
    sent = (
        reading.valueQuantity,
        reading.valueCodeableConcept,
        reading.valueString,
        reading.valueBoolean,
        reading.valueInteger,
        reading.valueRange,
        reading.valueRatio,
        reading.valueDateTime,
        reading.valuePeriod,
        reading.valueTime,
        reading.dataAbsentReason,
    )
    return any(one is not None for one in sent) or bool(bytes(reading.valueSampledData))


def identifiers_of(reading: r4.Observation) -> tuple[str, ...]:
    if not reading.identifier:
        return ()
    return tuple([f"{one.system or ''}|{one.value}" for one in reading.identifiers if one.value])


def _contained_members(reading: r4.Observation) -> Iterator[tuple[int, r4.Observation]]:
    wanted = {member.reference for member in reading.hasMember if (member.reference or "").startswith("#")}
    if not wanted:
        return
    for position, item in enumerate(reading.contained):
        try:
            head = msgspec.json.decode(item, type=r4.Head)
            if head.resourceType == "Observation" and f"#{head.id}" in wanted:
                yield position, r4.decode(item, r4.Observation)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue


class _Reading:
    """One reading on its way to findings; ``issues`` collects (code, detail) as it goes."""

    def __init__(self, part: Part, subject: str, context: Context) -> None:
        self.part = part
        self.reading = part.reading
        self.subject = subject
        self.context = context
        self.issues: list[tuple[str, str]] = []
        self.meaning: Meaning = meaning_of(self.reading.code, context.terminology)
        self.sample: Sample = sample_of(self.reading.specimen, self.reading.contained, context)
        self.moment = moment_of(self.reading, self.sample.resource, context)

    @property
    def concepts(self) -> frozenset[str]:
        return frozenset(entry.concept for entry in self.meaning.entries)

    @property
    def is_grouper(self) -> bool:
        """The code names a panel, or nothing known: a value beside its parts says nothing of its own."""
        return all(entry.shape == "panel" for entry in self.meaning.entries)

    def findings(self) -> list[Finding]:
        for code in self.meaning.corrupt:
            self.issues.append(("CODE_CORRUPT", code))
        if self.moment.unreadable:
            self.issues.append(("BAD_DATE", "effective[x], issued or specimen collection"))
        status, status_flag = self._status()
        wrong = self._wrong_subject()
        if not self.meaning.entries:
            sent = quantity(self.reading.valueQuantity) if self.reading.valueQuantity else Value()
            unmapped = self._row(
                excluded=status or wrong or "UNMAPPED",
                flags=(status_flag,),
                original=sent.original,
                original_unit=sent.original_unit,
            )
            return [unmapped]
        return [self._finding(entry, status or wrong, status_flag) for entry in self.meaning.entries]

    def _finding(self, entry: CodeEntry, invalid: str, status_flag: str) -> Finding:
        terminology = self.context.terminology
        concept = terminology.concepts[entry.concept]
        question = Question(concept, entry, terminology)
        value = value_of(self.reading, question, self.context)
        done = canonical(value, question)
        limited = limits_of(self.reading, question, done, self.subject, self.moment, self.context)
        done = _kit_is_known(done, limited)
        verdict = judge(value, done.interval if done.entry else None, limited.range, self.reading, question)
        if verdict.answer and done.excluded in ("UNIT_UNKNOWN", "UNIT_MISSING"):
            # The words decide a qualitative question; the number stays out, because its unit is not known.
            done = msgspec.structs.replace(done, excluded="")
        absent = self._absent()
        mismatch = (
            "" if terminology.specimen_fits(done.concept.key, self.sample.kind) else "SPECIMEN_MISMATCH"
        )
        if mismatch:
            self.issues.append((mismatch, f"{done.concept.key} in {self.sample.kind}"))
        excluded = (
            invalid
            or ("CODE_CONFLICT" if self.meaning.conflict else "")
            or ("NEVER_USE" if entry.use == "NEVER" else "")
            or (absent and "NO_VALUE")
            or mismatch
            or ("" if verdict.answer and value.excluded == "NO_VALUE" else value.excluded)
            or verdict.excluded
            or done.excluded
            or ("NO_DATE" if not self.moment.known else "")
            or ("PRELIMINARY" if self.reading.status == "preliminary" else "")
        )
        self._report_trouble(excluded, entry, value)
        qualitative = bool(verdict.answer) and value.interval is None and not question.ordinal
        row = self._row(
            concept=done.concept.key,
            use=entry.use,
            value=done.interval,
            unit=done.unit,
            answer=verdict.answer,
            value_code=value.value_code or (f"1:{value.dilution}" if value.dilution is not None else ""),
            value_date=value.value_date,
            original=value.original,
            original_unit=value.original_unit,
            conversion=done.conversion,
            range=limited.range,
            method=method_of(self.reading, entry),
            absent_reason=absent,
            excluded=excluded,
            flags=(
                *entry.flags,
                *value.flags,
                *done.flags,
                *limited.flags,
                *_told_of(verdict, concept),
                status_flag,
                "CODE_FLAGGED" if entry.use == "FLAG" else "",
                "CODE_CONFLICT" if self.meaning.conflict else "",
                "QUALITATIVE" if qualitative and concept.unit not in ("", AS_REPORTED) else "",
                "PRELIMINARY" if self.reading.status == "preliminary" else "",
                mismatch,
            ),
        )
        more = analyte_flags(row)
        return msgspec.structs.replace(row, flags=flags_of(more=(*row.flags, *more))) if more else row

    def _report_trouble(self, excluded: str, entry: CodeEntry, value: Value) -> None:
        """An issue for what a person of the hospital can mend."""
        shown = f"{entry.concept}: unit {value.original_unit[:30] or 'none'}"
        if excluded in ("UNIT_UNKNOWN", "UNIT_MISSING", "IMPLAUSIBLE"):
            self.issues.append((excluded, shown))
        elif excluded == "UNPARSED_TEXT":
            self.issues.append((excluded, f"{entry.concept}: {len(value.original)} characters"))
        elif excluded in ("CODE_CONFLICT", "CONFLICT", "NO_DATE"):
            self.issues.append((excluded, entry.concept))

    def _row(self, *, concept: str = "", excluded: str, flags: tuple[str, ...], **fields: Any) -> Finding:
        reading, moment = self.reading, self.moment
        said = interpretation_of(reading)
        return Finding(
            subject=self.subject,
            concept=concept,
            source=self.part.source,
            category=category_of(reading, concept),
            code=self.meaning.coding,
            interpretation=_in_words(said) if said else "",
            start=moment.start,
            end=moment.end,
            issued=self.context.date(reading.issued),
            status=reading.status or "",
            specimen=self.sample.kind,
            specimen_id=self.sample.id,
            laboratory=laboratory_of(reading),
            report=self.part.report,
            flags=flags_of(more=(*flags, *moment.flags)),
            excluded=excluded,
            **fields,
        )

    def _status(self) -> tuple[str, str]:
        """The reason a status gives, if it ends the matter, and a flag."""
        status = self.reading.status
        if not status:
            return "", "STATUS_MISSING"
        reason = _STATUS.get(status)
        if reason is None:
            self.issues.append(("BAD_CODE", "status is not in the required value set"))
            return "STATUS_UNKNOWN", ""
        flag = "AMENDED" if status in ("amended", "corrected") else ""
        return ("" if reason == "PRELIMINARY" else reason), flag

    def _wrong_subject(self) -> str:
        """The specimen, the focus or the contained reading itself names somebody else."""
        named = [self.reading.subject, *self.reading.focus]
        if self.sample.resource is not None:
            named.append(self.sample.resource.subject)
        for reference in named:
            if reference is not None and self.context.subject(reference) != self.subject:
                self.issues.append(
                    ("WRONG_SUBJECT", "specimen, focus or contained subject is not the patient")
                )
                return "WRONG_SUBJECT"
        return ""

    def _absent(self) -> str:
        reason = self.reading.dataAbsentReason
        if reason is None:
            return ""
        return r4.first_code(reason) or "stated as text"


def _in_words(interpretation: tuple[r4.CodeableConcept, ...]) -> str:
    said = [r4.first_code(one) or (one.text or "") for one in interpretation]
    return " ".join([text[:20] for text in said if text])


def _told_of(verdict: Verdict, concept: Concept) -> tuple[str, ...]:
    """That limits printed beside a value decided goes without saying, but where the scale is the assay's."""
    if verdict.flags == BY_OWN_RANGE and concept.unit != AS_REPORTED:
        return ()
    return verdict.flags


def _kit_is_known(done: Canonical, limited: Limited) -> Canonical:
    """An anti-PLA2R number whose unit the site assumed counts only beside the limits of that kit (A.5)."""
    if done.concept.key != "pla2r_antibody" or "UNIT_ASSUMED" not in done.flags:
        return done
    high = limited.range.high if limited.range and limited.range.origin == "resource" else None
    if elisa_default_fits(high):
        return done
    return Canonical(done.concept, flags=("UNIT_MISSING",), excluded="UNIT_MISSING")
