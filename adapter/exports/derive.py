"""The named derivations a specification may ask for: study days, epochs, visits, last before exposure.

A method of a row sees that row; a method of a group sees all rows of one subject in one dataset.
Sources: SDTMIG 3.4, sections 4.1.4 (sequence), 4.4.4 (study day), 4.4 (timing), 4.5.9 (--LOBXFL).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from adapter.exports import results
from adapter.exports.dataset import Cell
from adapter.exports.record import Exposure, Person, Record, read
from adapter.exports.study import Visit
from adapter.model.facts import Event, Finding, Intervention
from adapter.model.quantity import number_text

RowMethod = Callable[[Record, dict[str, Any]], Cell]
GroupMethod = Callable[[Sequence[Record], dict[str, Any], str], None]

_CODED = {
    "http://snomed.info/sct": ("SNOMED CT", re.compile(r"\d{6,18}")),
    "http://hl7.org/fhir/sid/icd-10": ("ICD-10", re.compile(r"[A-Z]\d{2}(?:\.\d{1,4}(?:x\d{3})?)?")),
    "http://hl7.org/fhir/sid/icd-10-cm": ("ICD-10-CM", re.compile(r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?")),
    "http://www.whocc.no/atc": ("ATC", re.compile(r"[A-Z]\d{2}(?:[A-Z](?:[A-Z](?:\d{2})?)?)?")),
    "http://www.nlm.nih.gov/research/umls/rxnorm": ("RxNorm", re.compile(r"\d{1,8}")),
}


def day_of(text: str | None) -> date | None:
    """The calendar day of an ISO 8601 text; None when it is partial or missing."""
    return date.fromisoformat(text[:10]) if text and len(text) >= 10 else None


def study_day(day: date | None, reference: date | None) -> int | None:
    """Days from the reference, which is day 1; the day before it is -1: there is no day 0."""
    if day is None or reference is None:
        return None
    difference = (day - reference).days
    return difference + 1 if difference >= 0 else difference


def epoch_on(person: Person, day: date | None) -> str | None:
    """SCREENING from consent, TREATMENT from first to last dose, then FOLLOW-UP; None before consent.

    The days are those at which the elements of SE start, so EPOCH and SE cannot disagree.
    """
    if day is None or person.consent_day is None or day < person.consent_day:
        return None
    if person.first_dose_day is None or day < person.first_dose_day:
        return None if person.treated and person.first_dose_day is None else "SCREENING"
    if person.last_dose_day is None or day <= person.last_dose_day:
        return "TREATMENT"
    return "FOLLOW-UP"


def visit_on(visits: Sequence[Visit], day: int | None) -> Visit | None:
    """The visit whose window holds the day; of several the closest target, of equals the later one."""
    if day is None:
        return None
    inside = [visit for visit in visits if visit.first <= day <= visit.last]
    return min(
        inside, key=lambda visit: (abs(_axis(day) - _axis(visit.target)), -_axis(visit.target)), default=None
    )


def unscheduled_name(number: Fraction) -> str:
    return f"UNSCHEDULED {number_text(number)}"


def _axis(day: int) -> int:
    """Study days on a line without the gap at 0."""
    return day - 1 if day > 0 else day


def _study_day(record: Record, parameters: dict[str, Any]) -> Cell:
    """Days from the subject's reference start (RFSTDTC), which is day 1; the day before it is -1.

    None where either is not known to the day.
    """
    return study_day(_day(record, parameters), record.person.reference_day)


def _epoch(record: Record, parameters: dict[str, Any]) -> Cell:
    """SCREENING from consent, TREATMENT from first to last dose, then FOLLOW-UP; none before consent."""
    return epoch_on(record.person, _day(record, parameters))


def _visit(record: Record, parameters: dict[str, Any]) -> Cell:
    """The planned visit whose window holds the study day; of several the closest target, then the later.

    A day between consent and the last contact that lies in no window is an unscheduled visit: n.m is the
    m-th after the window of visit n.
    """
    on = _day(record, parameters)
    visit = visit_on(record.study.visits, study_day(on, record.person.reference_day))
    if visit is None:
        number = record.person.unscheduled.get(on) if on else None
        unplanned = {"number": number, "name": unscheduled_name(number) if number else None}
        return unplanned.get(parameters["give"])
    shown: dict[str, Cell] = {"number": visit.number, "name": visit.name, "day": visit.target}
    return shown[parameters["give"]]


def _label(record: Record, parameters: dict[str, Any]) -> Cell:
    """The name of a mapped concept: the specification's term, else the concept's own key in words.

    A code that maps to nothing is named by the public code system it belongs to; a display text is
    never used, because a hospital may have typed anything there.
    """
    if named := record.term.get(parameters["term"]):
        return named
    fact = record.fact
    if isinstance(fact, Exposure):
        return fact.concept.replace("_", " ").upper()
    if not isinstance(fact, Event | Intervention):
        raise TypeError("only events and interventions are labelled")
    if fact.concept:
        return fact.concept.replace("_", " ").upper()
    name, pattern = _CODED.get(fact.code.system, ("", None))
    return f"{name} {fact.code.code}" if pattern and pattern.fullmatch(fact.code.code) else None


def _coded_term(record: Record, parameters: dict[str, Any]) -> Cell:
    """What an event is called: by the table of known words or codes, else by its public code.

    Text leaves only through the table; an event that nothing names is still a row, under ``else``.
    """
    fact = record.fact
    if not isinstance(fact, Event):
        raise TypeError("only events have a coded term")
    names: dict[str, str] = parameters["names"]
    for word in (f"{fact.code.system}|{fact.code.code}", fact.code.code, fact.code.display.strip()):
        if word in names:
            return names[word]
    name, pattern = _CODED.get(fact.code.system, ("", None))
    return f"{name} {fact.code.code}" if pattern and pattern.fullmatch(fact.code.code) else parameters["else"]


def _last_dose(record: Record, parameters: dict[str, Any]) -> Cell:
    """When the drug was last seen to be taken before the sample, if that was within ``hours``.

    Only where the row has a ``reference``: SDTMIG wants the date of a reference point beside its name.
    """
    if not record.values.get(parameters["reference"]):
        return None
    found = _dose_before(record, parameters)
    return found.isoformat() if found else None


def _since_dose(record: Record, parameters: dict[str, Any]) -> Cell:
    """The time since then as an ISO 8601 duration in hours and minutes."""
    at, dose = record.values.get(parameters["of"]), _dose_before(record, parameters)
    if dose is None or not isinstance(at, str):
        return None
    minutes = int((datetime.fromisoformat(at) - dose).total_seconds()) // 60
    hours, minutes = divmod(minutes, 60)
    return "PT" + (f"{hours}H" if hours or not minutes else "") + (f"{minutes}M" if minutes else "")


def _dose_before(record: Record, parameters: dict[str, Any]) -> datetime | None:
    at = record.values.get(parameters["of"])
    if not isinstance(at, str) or "T" not in at:
        return None
    sampled = datetime.fromisoformat(at)
    timed = (datetime.fromisoformat(on) for drug, on in record.person.doses if drug == parameters["drug"])
    earlier = [on for on in timed if on <= sampled]
    latest = max(earlier, default=None)
    return latest if latest and sampled - latest <= timedelta(hours=int(parameters["hours"])) else None


def _source_token(record: Record, _: dict[str, Any]) -> Cell:
    """A keyed hash of the source record, by which the site finds it again."""
    fact = record.fact
    if isinstance(fact, Finding | Event | Intervention):
        return record.pseudonyms.source(fact.source)[:16]
    return None


def _exclusion(record: Record, parameters: dict[str, Any]) -> Cell:
    """Why a reading has no standardised result, in the words of ``names``."""
    names: dict[str, str] = parameters["names"]
    return names.get(record.fact.excluded) if isinstance(record.fact, Finding) else None


def _class_name(record: Record, parameters: dict[str, Any]) -> Cell:
    """The first of the listed drug classes that the drug belongs to, in the specification's words."""
    classes = record.fact.classes if isinstance(record.fact, Intervention) else ()
    names: dict[str, str] = parameters["names"]
    return next((name for known, name in names.items() if known in classes), None)


def _ongoing(record: Record, parameters: dict[str, Any]) -> Cell:
    """``give`` term: ONGOING; ``give`` point: the reference time point it refers to."""
    fact = record.fact
    if isinstance(fact, Intervention):
        open_ended = fact.ongoing and fact.end is None
    else:
        open_ended = isinstance(fact, Event) and fact.presence == "present" and fact.end is None
    point = read(record, parameters["point"])
    if not open_ended or not point:
        return None
    return "ONGOING" if parameters["give"] == "term" else str(point)[:10]


def _dose(record: Record, parameters: dict[str, Any]) -> Cell:
    """The dose per administration; a number whose unit is not known says nothing and is left out."""
    fact = record.fact
    known = _dose_unit(record, parameters) is not None
    return fact.dose if known and isinstance(fact, Intervention | Exposure) else None


def _dose_unit(record: Record, parameters: dict[str, Any]) -> Cell:
    """The dose unit in controlled terms; none when the spelling is not known."""
    fact = record.fact
    spelled = fact.dose_unit if isinstance(fact, Intervention | Exposure) else ""
    return record.units.term(parameters["list"], spelled) or None


def _flag(record: Record, parameters: dict[str, Any]) -> Cell:
    """Y if it is so of the subject, else empty."""
    return "Y" if getattr(record.person, parameters["when"]) else None


def _age_unit(record: Record, _: dict[str, Any]) -> Cell:
    """YEARS where there is an age."""
    return None if record.person.age is None else "YEARS"


def _actual_arm(record: Record, parameters: dict[str, Any]) -> Cell:
    """The planned arm once treated: a missing record of one drug is no proof that it was not taken."""
    if not record.person.treated:
        return None
    return (record.person.arm_code if parameters["give"] == "code" else record.person.arm_name) or None


def _arm_null_reason(record: Record, _: dict[str, Any]) -> Cell:
    """Why the planned or the actual arm is empty."""
    person = record.person
    if person.arm_code:
        return None if person.treated else "ASSIGNED, NOT TREATED"
    return "SCREEN FAILURE" if person.screen_failure and not person.enrolled else "NOT ASSIGNED"


def _category(record: Record, parameters: dict[str, Any]) -> Cell:
    """``primary`` for the study's own diagnosis, ``other`` for the rest."""
    primary = isinstance(record.fact, Event) and record.fact.concept in record.study.primary_diagnoses
    return str(parameters["primary" if primary else "other"])


def _day(record: Record, parameters: dict[str, Any]) -> date | None:
    text = record.values.get(parameters["of"])
    return day_of(text if isinstance(text, str) else None)


def last_before_exposure(rows: Sequence[Record], parameters: dict[str, Any], variable: str) -> None:
    """--LOBXFL: the last row with a result at or before the first dose, one per group of ``by``.

    Times are compared where both have one; otherwise a row of the same day counts as before. Of rows
    at the same moment the one with the values of ``prefer`` wins, then the later number.
    """
    at: str = parameters["at"]
    prefer: dict[str, str] = parameters.get("prefer", {})
    groups: dict[tuple[Cell, ...], Record] = {}

    def rank(row: Record) -> tuple[str, bool, int]:
        preferred = all(row.values.get(name) == value for name, value in prefer.items())
        sequence = row.values.get(parameters["number"])
        return (str(row.values[at]), preferred, sequence if isinstance(sequence, int) else 0)

    for row in rows:
        moment, first_dose = row.values.get(at), row.person.first_dose
        has_result = row.values.get(parameters["result"]) not in (None, "")
        if not has_result or not isinstance(moment, str) or not _not_after(moment, first_dose):
            continue
        group = tuple(row.values.get(name) for name in parameters["by"])
        if group not in groups or rank(row) > rank(groups[group]):
            groups[group] = row
    for row in groups.values():
        row.values[variable] = "Y"


def _not_after(moment: str, first_dose: str) -> bool:
    if len(moment) < 10 or len(first_dose) < 10:
        return False
    if len(moment) > 10 and len(first_dose) > 10:
        return moment <= first_dose
    return moment[:10] <= first_dose[:10]


ROW_METHODS: dict[str, tuple[RowMethod, frozenset[str]]] = {
    **results.METHODS,
    "study_day": (_study_day, frozenset({"of"})),
    "epoch": (_epoch, frozenset({"of"})),
    "visit": (_visit, frozenset({"of", "give"})),
    "label": (_label, frozenset({"term"})),
    "coded_term": (_coded_term, frozenset({"names", "else"})),
    "last_dose": (_last_dose, frozenset({"of", "drug", "hours", "reference"})),
    "since_dose": (_since_dose, frozenset({"of", "drug", "hours"})),
    "source_token": (_source_token, frozenset()),
    "exclusion": (_exclusion, frozenset({"names"})),
    "class_name": (_class_name, frozenset({"names"})),
    "ongoing": (_ongoing, frozenset({"give", "point"})),
    "dose": (_dose, frozenset({"list"})),
    "dose_unit": (_dose_unit, frozenset({"list"})),
    "flag": (_flag, frozenset({"when"})),
    "age_unit": (_age_unit, frozenset()),
    "actual_arm": (_actual_arm, frozenset({"give"})),
    "arm_null_reason": (_arm_null_reason, frozenset()),
    "category": (_category, frozenset({"primary", "other"})),
}
GROUP_METHODS: dict[str, tuple[GroupMethod, frozenset[str]]] = {
    "last_before_exposure": (
        last_before_exposure,
        frozenset({"at", "by", "result", "number", "prefer"}),
    ),
}
