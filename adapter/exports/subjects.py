"""Facts of one patient become a subject of the study: reference dates, arm, and what may leave."""

from __future__ import annotations

from datetime import date
from typing import TypeVar

import msgspec

from adapter.exports.consent import Standing
from adapter.exports.derive import day_of
from adapter.exports.exposure import constant_dose_intervals
from adapter.exports.record import Exposure, Person
from adapter.exports.study import StudyConfig
from adapter.model.dates import PartialDate, completed_years
from adapter.model.decision import Decision, Overall
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject
from adapter.model.monitoring import VisitState

NEVER_EXPORTED = frozenset(
    {"SUPERSEDED", "DUPLICATE", "ENTERED_IN_ERROR", "CANCELLED", "NEVER_USE", "WRONG_SUBJECT", "IN_PROGRESS"}
)


_Ended = TypeVar("_Ended", Event, Intervention)


class Participant(msgspec.Struct, frozen=True):
    """A person with the facts that may leave, the study drug separated from all other drugs.

    ``study_drugs`` are the records that ``exposures`` were made from, as the hospital wrote them;
    ``responses`` what the protocol says of the subject's visits.
    """

    person: Person
    facts: Facts
    exposures: tuple[Exposure, ...]
    other_drugs: tuple[Intervention, ...]
    study_drugs: tuple[Intervention, ...]
    standing: Standing
    decision: Decision | None
    withheld: dict[str, int]
    responses: tuple[VisitState, ...] = ()


def participant(
    facts: Facts,
    standing: Standing,
    decision: Decision | None,
    study: StudyConfig,
    number: str,
    usubjid: str,
    snapshot_day: date,
) -> Participant:
    """Assemble one subject; ``withheld`` counts the rows kept back, by reason."""
    subject = facts.subjects[0]
    withheld: dict[str, int] = {}
    kept = _until(facts, standing.until, withheld)
    arm = study.arm(standing.enrolment.attribute("assigned_arm")) if standing.enrolment else None
    drugs = frozenset(arm.drugs) if arm else study.study_drugs
    for row in kept.interventions:
        if row.excluded:
            reason = f"CM/EX {row.excluded}"
            withheld[reason] = withheld.get(reason, 0) + 1
    taken, other = _split_drugs(kept.interventions, drugs, standing)
    ends_by = min(snapshot_day, standing.until or snapshot_day)
    exposures = _known_by(constant_dose_intervals(taken), ends_by)
    enrolled_on = standing.enrolment.start if standing.enrolment else None
    person = Person(
        usubjid=usubjid,
        subjid=number,
        sex=subject.sex,
        age=_age(subject, standing.signed or enrolled_on),
        consented=_iso(standing.signed),
        consent_day=_day(standing.signed),
        enrolled=standing.enrolment is not None,
        enrolment_day=_day(enrolled_on),
        screen_failure=standing.failed or (decision is not None and decision.overall is Overall.INELIGIBLE),
        arm_code=arm.code if arm else "",
        arm_name=arm.name if arm else "",
        deceased=subject.deceased,
        death=_iso(subject.death),
        until=standing.until,
    )
    person = _with_exposure(person, exposures, enrolled_on, study)
    last_contact = _last_contact(kept, _last_known_days(person, standing), ends_by)
    person = msgspec.structs.replace(person, last_contact=last_contact, doses=_timed_doses(taken))
    open_ended = tuple(_as_of(row, day_of(last_contact) or ends_by) for row in other)
    written = tuple(_as_of(row, ends_by) for row in taken if row.start and row.start.first <= ends_by)
    return Participant(person, kept, exposures, open_ended, written, standing, decision, withheld)


def _last_known_days(person: Person, standing: Standing) -> list[date]:
    """Days of contact that no single record dates: the last dose, leaving the study, withdrawing from it."""
    left = standing.enrolment.end if standing.enrolment else None
    days = (person.last_dose_day, left.day if left else None, standing.until)
    return [day for day in days if day is not None]


def _timed_doses(rows: list[Intervention]) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            {
                (row.concept, row.start.iso)
                for row in rows
                if row.kind == "administration" and row.start is not None and row.start.at is not None
            }
        )
    )


def _known_by(exposures: tuple[Exposure, ...], day: date) -> tuple[Exposure, ...]:
    """What had begun by the day; a supply that reaches beyond it has no known end yet."""

    def clipped(one: Exposure) -> Exposure:
        later = one.end and one.end[:10] > day.isoformat()[: len(one.end)]
        return msgspec.structs.replace(one, end="") if later else one

    begun = (one for one in exposures if one.start[:10] <= day.isoformat()[: len(one.start)])
    return tuple(clipped(one) for one in begun)


def _with_exposure(
    person: Person, exposures: tuple[Exposure, ...], enrolled_on: PartialDate | None, study: StudyConfig
) -> Person:
    """First and last dose and the reference period; an open interval leaves its end unknown."""
    first = min((one.start for one in exposures), default="")
    ends = [one.end for one in exposures]
    last = max(ends, default="") if all(ends) else ""
    start = _iso(enrolled_on) if study.reference == "enrolment" else first
    return msgspec.structs.replace(
        person,
        first_dose=first,
        last_dose=last,
        first_dose_day=day_of(first),
        last_dose_day=day_of(last),
        reference_start=start,
        reference_end=last,
        reference_day=day_of(start),
    )


def _split_drugs(
    rows: tuple[Intervention, ...], drugs: frozenset[str], standing: Standing
) -> tuple[list[Intervention], tuple[Intervention, ...]]:
    """Study drug is what an enrolled subject's own arm prescribes, from enrolment (else consent) on.

    The same drug before that day, or in someone not enrolled, is a concomitant medication.
    """
    usable = [row for row in rows if not row.excluded]
    enrolment = standing.enrolment
    begins = enrolment.start if enrolment and enrolment.start else standing.signed
    if enrolment is None or begins is None:
        return [], tuple(usable)

    def is_study_drug(row: Intervention) -> bool:
        own = row.concept in drugs and row.systemic is not False
        return own and row.start is not None and row.start.first >= begins.first

    taken = [row for row in usable if is_study_drug(row)]
    return taken, tuple(row for row in usable if not is_study_drug(row))


def _as_of(row: Intervention, last_contact: date) -> Intervention:
    """A supply or order that reaches beyond the last contact was still running then; its end is a plan."""
    if row.end is None or row.end.first <= last_contact:
        return row
    return msgspec.structs.replace(row, end=None, ongoing=True)


def _clipped(row: _Ended, last_day: date) -> _Ended:
    """The row without an end that may lie after the day."""
    changes: dict[str, None] = {}
    for name in ("end", "exposure_end"):
        when = getattr(row, name, None)
        if when is not None and when.last > last_day:
            changes[name] = None
    return msgspec.structs.replace(row, **changes) if changes else row


def _until(facts: Facts, last_day: date | None, withheld: dict[str, int]) -> Facts:
    """Only what is known to be of or before the day; a row without a date is not known to be."""
    if last_day is None:
        return facts

    def early(when: PartialDate | None) -> bool:
        kept = when is not None and when.last <= last_day
        if not kept:
            withheld["AFTER_WITHDRAWAL"] = withheld.get("AFTER_WITHDRAWAL", 0) + 1
        return kept

    return msgspec.structs.replace(
        facts,
        findings=tuple(row for row in facts.findings if early(row.when)),
        events=tuple(_clipped(row, last_day) for row in facts.events if early(row.start or row.recorded)),
        interventions=tuple(
            _clipped(row, last_day) for row in facts.interventions if early(row.start or row.recorded)
        ),
    )


def _age(subject: Subject, at: PartialDate | None) -> int | None:
    """Completed years if every possible birthday and day give the same number."""
    if subject.birth is None or at is None:
        return None
    ages = {completed_years(birth, on) for birth in _ends(subject.birth) for on in _ends(at)}
    return ages.pop() if len(ages) == 1 else None


def _ends(when: PartialDate) -> tuple[date, date]:
    return (when.first, when.last)


def _last_contact(facts: Facts, also: list[date], until: date) -> str:
    """The last known day, up to ``until``, on which anything was observed, taken, done or happened."""
    days = list(also)
    rows: list[Finding | Event | Intervention] = [*facts.findings, *facts.events, *facts.interventions]
    for row in rows:
        if row.excluded in NEVER_EXPORTED:
            continue
        when = row.when if isinstance(row, Finding) else row.start
        if when is not None and when.day is not None:
            days.append(when.day)
    death = facts.subjects[0].death
    if death is not None and death.day is not None:
        days = [day for day in days if day <= death.day] + [death.day]
    known = [day for day in days if day <= until]
    return max(known).isoformat() if known else ""


def _iso(when: PartialDate | None) -> str:
    return when.iso if when else ""


def _day(when: PartialDate | None) -> date | None:
    return when.day if when else None
