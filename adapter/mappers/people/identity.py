"""Who is who: hospitals merge patient records, and every fact must follow the person.

``Patient.link`` says so in both directions: ``replaced-by`` on the record that was given up, ``replaces``
on the one that survived (https://hl7.org/fhir/R4/patient.html#linking, https://hl7.org/fhir/R4/valueset-link-type.html).
Both are followed to the end of the chain. ``seealso`` only says that two records may be one person: that is
for a person to decide, here it is reported. A ring of links, or a record with two survivors, names nobody:
the records concerned stay apart and are excluded, so that no verdict rests on half a history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec

from adapter.mappers import index, r4
from adapter.model.dates import PartialDate
from adapter.model.facts import Subject
from adapter.model.issue import Issue

CYCLE = "MERGE_CYCLE"
AMBIGUOUS = "MERGE_AMBIGUOUS"

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Merges(msgspec.Struct, frozen=True):
    """What the links of all patient records say together.

    ``survivors`` holds an entry for each record that was folded into another; ``broken`` says of each
    record whose links contradict each other why (``MERGE_CYCLE``, ``MERGE_AMBIGUOUS``); ``suggested`` are
    the pairs that a ``seealso`` connects.
    """

    survivors: Mapping[str, str] = _NOTHING
    broken: Mapping[str, str] = _NOTHING
    suggested: tuple[tuple[str, str], ...] = ()

    def survivor(self, patient: str) -> str:
        return self.survivors.get(patient, patient)


def resolve(patients: Iterable[r4.Patient]) -> Merges:
    """Follow every link to its end; the order of the records does not matter."""
    people = sorted((one for one in patients if one.id), key=lambda one: one.id or "")
    known = index.build(people, (), ())
    replaced_by: dict[str, set[str]] = {}
    suggested: set[tuple[str, str]] = set()
    for person in people:
        own = person.id or ""
        for link in person.link:
            other = known.find(link.other, "Patient")
            if not other:
                continue
            if link.type == "replaced-by":
                replaced_by.setdefault(own, set()).add(other)
            elif link.type == "replaces":
                replaced_by.setdefault(other, set()).add(own)
            elif link.type == "seealso" and other != own:
                suggested.add((min(own, other), max(own, other)))
    survivors: dict[str, str] = {}
    broken: dict[str, str] = {}
    for records in _connected(replaced_by):
        reason = _contradiction(records, replaced_by)
        if reason:
            broken.update(dict.fromkeys(records, reason))
            continue
        last = next(one for one in records if one not in replaced_by)
        survivors.update({one: last for one in records if one != last})
    return Merges(
        MappingProxyType(dict(sorted(survivors.items()))),
        MappingProxyType(dict(sorted(broken.items()))),
        tuple(sorted(suggested)),
    )


def _connected(links: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of records that links hold together, each sorted."""
    neighbours: dict[str, set[str]] = {}
    for one, others in links.items():
        for other in others:
            neighbours.setdefault(one, set()).add(other)
            neighbours.setdefault(other, set()).add(one)
    groups: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(neighbours):
        if start in seen:
            continue
        group, waiting = {start}, [start]
        while waiting:
            new = neighbours[waiting.pop()] - group
            group |= new
            waiting += new
        seen |= group
        groups.append(sorted(group))
    return groups


def _contradiction(records: list[str], replaced_by: Mapping[str, set[str]]) -> str:
    """Why a group has not exactly one survivor; "" if it has.

    Records are taken away from the end of the chains; what cannot be taken away lies on a ring.
    """
    ends = [one for one in records if one not in replaced_by]
    settled = set(ends)
    remaining = [one for one in records if one in replaced_by]
    while remaining:
        later = [one for one in remaining if not replaced_by[one] <= settled]
        if len(later) == len(remaining):
            return CYCLE
        settled |= set(remaining) - set(later)
        remaining = later
    return "" if len(ends) == 1 else AMBIGUOUS


def fold(subjects: Iterable[Subject], merges: Merges) -> tuple[tuple[Subject, ...], tuple[Issue, ...]]:
    """One row per person from one row per record, with the issues of what had to be settled.

    The survivor's own record is the source of the row. Two birth dates that cannot both be true leave
    none (flag BIRTH_CONFLICT); of two that can (1967 and 1967-03-14) the more precise one stands. The same
    holds for the date of death; two recorded sexes leave ``unknown`` (flag SEX_CONFLICT). A survivor that
    was never sent is represented by what was folded into it (flag SURVIVOR_MISSING).
    """
    groups: dict[str, dict[str, Subject]] = {}
    for row in sorted(subjects, key=_version_order):
        groups.setdefault(row.id, {})[row.source.reference] = row  # the latest version of each record stands
    people: list[Subject] = []
    issues: list[Issue] = []
    for patient, records in sorted(groups.items()):
        person = _folded(patient, [row for _, row in sorted(records.items())])
        if reason := merges.broken.get(patient):
            person = msgspec.structs.replace(person, excluded=reason, flags=_flags(person.flags, reason))
        people.append(person)
        issues += _issues_of(person)
    issues += [
        Issue(
            "MERGE_SUGGESTED",
            "information",
            "Patient",
            f"Patient/{one}",
            "Patient.link",
            f"seealso Patient/{other}: a person decides whether both records are one patient",
            merges.survivor(one),
        )
        for one, other in merges.suggested
    ]
    return tuple(people), tuple(issues)


def _version_order(row: Subject) -> tuple[int, str, str]:
    """Numbered versions by number; anything else by text, before them."""
    number = int(row.source.version) if row.source.version.isdecimal() else -1
    return (number, row.source.version, row.source.sha256)


def _folded(patient: str, records: list[Subject]) -> Subject:
    own = next((row for row in records if row.source.reference == f"Patient/{patient}"), None)
    first = own or records[0]
    flags = [flag for row in records for flag in row.flags]
    if own is None:
        flags.append("SURVIVOR_MISSING")
    birth, births_agree = _common([row.birth for row in records])
    death, deaths_agree = _common([row.death for row in records])
    sexes = {row.sex for row in records if row.sex != "unknown"}
    flags += [] if births_agree else ["BIRTH_CONFLICT"]
    flags += [] if deaths_agree else ["DEATH_CONFLICT"]
    flags += ["SEX_CONFLICT"] if len(sexes) > 1 else []
    merged = sorted({one for row in records for one in row.merged})
    flags += ["MERGED"] if merged else []
    return Subject(
        id=patient,
        source=first.source,
        sex=sexes.pop() if len(sexes) == 1 else "unknown",
        birth=birth,
        deceased=any(row.deceased for row in records),
        death=death,
        merged=tuple(merged),
        flags=_flags(flags),
    )


def _common(dates: Iterable[PartialDate | None]) -> tuple[PartialDate | None, bool]:
    """The most precise date if all may mean the same day, else None and False."""
    given = [one for one in dates if one is not None]
    if not given:
        return None, True
    if max(one.first for one in given) > min(one.last for one in given):
        return None, False
    return min(given, key=lambda one: ((one.last - one.first).days, one.order)), True


def _flags(*parts: Iterable[str] | str) -> tuple[str, ...]:
    flat: set[str] = set()
    for part in parts:
        flat |= {part} if isinstance(part, str) else set(part)
    return tuple(sorted(flat))


_EXPLAINED: Mapping[str, Callable[[Subject], str]] = MappingProxyType(
    {
        "MERGED": lambda row: f"{len(row.merged)} other record(s) folded into this one",
        "SURVIVOR_MISSING": lambda row: "the surviving record was not sent; its predecessors stand for it",
        "BIRTH_CONFLICT": lambda row: "the merged records give different birth dates; none is used",
        "DEATH_CONFLICT": lambda row: "the merged records give different dates of death; none is used",
        "SEX_CONFLICT": lambda row: "the merged records give different sexes; read as unknown",
        CYCLE: lambda row: "Patient.link runs in a circle; nothing about this person can be decided",
        AMBIGUOUS: lambda row: "Patient.link names more than one survivor; nothing can be decided",
    }
)


def _issues_of(person: Subject) -> list[Issue]:
    return [
        Issue(
            flag,
            "information" if flag == "MERGED" else "warning",
            "Patient",
            person.source.reference,
            "Patient.link",
            _EXPLAINED[flag](person),
            person.id,
        )
        for flag in person.flags
        if flag in _EXPLAINED
    ]
