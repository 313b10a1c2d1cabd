"""A participant's elements, visits, milestones and responses, out of consent, enrolment, doses, readings.

Nothing is assumed: an element starts on a known day, a visit happened if its window holds a record, and how
participation ended is said in the words of the record ("reason not recorded" where it gives none).
Sources: SDTMIG 3.4, sections 5.3 (SE), 5.5 (SV), 6.2.3 (DS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction

from adapter.exports.derive import day_of, epoch_on, study_day, unscheduled_name, visit_on
from adapter.exports.participation import Disposition, LivedElement, SubjectVisit, VisitResponse
from adapter.exports.record import Person
from adapter.exports.study import Element, StudyConfig, Visit
from adapter.exports.subjects import Participant
from adapter.model.monitoring import VisitState

UNPLANNED = "UNPLAN"
_DAY = timedelta(days=1)


def elements(person: Person, study: StudyConfig) -> Iterator[LivedElement]:
    """SE: each planned element of the arm that was entered; it ends where the next one starts.

    Who was treated without a known arm lived an element that nobody planned (SDTMIG 3.4, section 5.3).
    """
    own = [one for one in study.elements if not one.arms or person.arm_code in one.arms]
    places: dict[str, int | None] = {one.code: order for order, one in enumerate(own, start=1)}
    if not any(one.epoch == "TREATMENT" for one in own):
        later = next((index for index, one in enumerate(own) if one.epoch != "SCREENING"), len(own))
        places |= dict.fromkeys(one.code for one in own[later:])
        own.insert(later, Element(UNPLANNED, "", "TREATMENT", ""))
    lived = [(one, start) for one in own if (start := _start(one, person)) is not None]
    for index, (one, start) in enumerate(lived):
        last = index == len(lived) - 1
        end = _last_end(one, person) if last else lived[index + 1][1]
        why = "TREATED, ARM NOT RECORDED" if one.code == UNPLANNED else ""
        yield LivedElement(one.code, one.name, places.get(one.code), one.epoch, start, end, why)


def _start(element: Element, person: Person) -> str | None:
    if element.epoch == "SCREENING":
        return person.consented or None
    if element.epoch == "TREATMENT":
        return person.first_dose or None
    last_day, contact = person.last_dose_day, day_of(person.last_contact)
    if last_day is None or contact is None or contact <= last_day:
        return None
    return (last_day + _DAY).isoformat()


def _last_end(element: Element, person: Person) -> str:
    """Treatment ends with the last dose, follow-up with the last contact; nothing ends a screening."""
    if element.epoch == "SCREENING":
        return person.until.isoformat() if person.until else ""
    return person.last_dose if element.epoch == "TREATMENT" else person.last_contact


def dispositions(one: Participant) -> Iterator[Disposition]:
    """DS: consent, randomisation, and how
    participation ended if it did."""
    person, enrolment = one.person, one.standing.enrolment
    if person.consented:
        term = "INFORMED CONSENT OBTAINED"
        yield Disposition(term, term, "PROTOCOL MILESTONE", "", person.consented)
    if enrolment is not None and person.arm_code:
        on = enrolment.start.iso if enrolment.start else ""
        yield Disposition("RANDOMIZED", "RANDOMIZED", "PROTOCOL MILESTONE", "", on, (enrolment.source,))
    ended = _end(one)
    if ended is not None:
        term, decoded, on = ended
        yield Disposition(term, decoded, "DISPOSITION EVENT", "STUDY PARTICIPATION", on)


def _end(one: Participant) -> tuple[str, str, str] | None:
    """(term, controlled term, when); of several the one that explains the others."""
    person, standing, enrolment = one.person, one.standing, one.standing.enrolment
    if person.deceased:
        return "DEATH", "DEATH", person.death
    if standing.reason == "WITHDRAWN":
        return (
            "WITHDRAWAL OF CONSENT",
            "WITHDRAWAL BY SUBJECT",
            standing.until.isoformat() if standing.until else "",
        )
    if enrolment is not None and enrolment.status == "off-study":
        on = enrolment.end.iso if enrolment.end else ""
        return "OFF STUDY, REASON NOT RECORDED", "REASON NOT RECORDED", on
    if enrolment is None and person.screen_failure:
        return "SCREEN FAILURE", "SCREEN FAILURE", ""
    return None


def visits(
    one: Participant, study: StudyConfig, attended: Mapping[int | Fraction, Sequence[str]]
) -> Iterator[SubjectVisit]:
    """SV: ``attended`` holds the --DTC of the rows of other datasets by VISITNUM; encounters count too.

    A visit without anything is missed once its window is over and the subject was still seen after it.
    """
    days = {number: sorted(texts) for number, texts in attended.items()}
    for event in one.facts.events:
        if event.category != "encounter" or event.excluded or event.start is None:
            continue
        day = study_day(event.start.day, one.person.reference_day)
        visit = visit_on(study.visits, day)
        consent = one.person.consent_day
        if visit is not None and (consent is None or event.start.first >= consent):
            days[visit.number] = sorted([*days.get(visit.number, ()), event.start.iso[:10]])
    last_seen = study_day(day_of(one.person.last_contact), one.person.reference_day)
    for visit in study.visits:
        seen = days.get(visit.number)
        if seen:
            first, last = seen[0][:10], seen[-1][:10]
            yield SubjectVisit(visit.number, visit.name, visit.target, "Y", first, last)
        elif one.person.enrolled and last_seen is not None and last_seen > visit.last:
            yield SubjectVisit(visit.number, visit.name, visit.target, "N")
    for number in sorted(number for number in days if isinstance(number, Fraction)):
        first, last = days[number][0][:10], days[number][-1][:10]
        yield SubjectVisit(
            number, unscheduled_name(number), None, "", first, last, "", "RESULTS OUTSIDE PLANNED VISITS"
        )


def unscheduled(days: Iterable[date], person: Person, visits: Sequence[Visit]) -> dict[date, Fraction]:
    """The number of each day that is an unscheduled visit: within participation and in no visit's window.

    n.m is the m-th such day after the window of visit n, with as many decimals as the subject's count asks
    for. Source: SDTMIG 3.4, sections 4.4.5 and 5.5.
    """
    found: dict[int, list[date]] = {}
    contact = day_of(person.last_contact)
    for day in sorted(set(days)):
        number = study_day(day, person.reference_day)
        if number is None or epoch_on(person, day) is None or (contact is not None and day > contact):
            continue
        if visit_on(visits, number) is None:
            before = max((visit.number for visit in visits if visit.last < number), default=0)
            found.setdefault(before, []).append(day)
    return {
        day: before + Fraction(place, 10 ** len(str(len(own))))
        for before, own in found.items()
        for place, day in enumerate(own, start=1)
    }


def responses(states: Sequence[VisitState], known_by: str) -> Iterator[VisitResponse]:
    """RS: the visits whose response is known, dated by the reading it rests on, up to the last contact."""
    for state in states:
        used = [one for one in state.evidence if one.role == "used"]
        if state.response == "unknown" or not used:
            continue
        on = max(used, key=lambda one: one.when).when
        if on[:10] <= known_by:
            sources = tuple(dict.fromkeys(one.source for one in used))
            yield VisitResponse(state.visit, state.response, on, sources)
