"""ADRS and ADTTE: what monitoring says of visits, endpoints and times, with the records it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from fractions import Fraction

import msgspec

from adapter.errors import ExportError
from adapter.exports.adam.spec import AdamSpec, Parameter
from adapter.exports.adam.subject import NOT_APPLICABLE, Row, Subject, assessed, evidence_day
from adapter.exports.adam.thresholds import Window
from adapter.model.decision import Evidence, Verdict
from adapter.model.monitoring import VisitState
from adapter.model.protocol import Protocol

NRI = "NRI"
WINDOW_OPEN, NO_RESULT = "VISIT WINDOW STILL OPEN", "NO RESULT IN THE VISIT WINDOW"
AT_LAST, NEVER = "DATE OF LAST ASSESSMENT", "DATE OF ORIGIN, NEVER ASSESSED AFTER IT"
_SOURCE_VARIABLES = {"AE": "AETERM", "MH": "MHTERM"}
_STATES: Mapping[str, tuple[str, ...]] = {
    "complete_remission": ("complete",),
    "remission": ("complete", "partial"),
    "relapse": ("relapse",),
}


class Known(msgspec.Struct, frozen=True):
    """A visit whose response is known, with the reading and its day."""

    state: VisitState
    evidence: Evidence
    day: date


def response_rows(subject: Subject, spec: AdamSpec, protocol: Protocol) -> list[Row]:
    """One row for each visit with a known response, and for each endpoint that applies."""
    rows: list[Row] = []
    for parameter in spec.parameters:
        if parameter.response:
            rows += _by_visit(subject, parameter, spec)
        elif parameter.endpoint:
            rows += _endpoint(subject, parameter, protocol)
    return rows


def _by_visit(subject: Subject, parameter: Parameter, spec: AdamSpec) -> Iterator[Row]:
    for known in known_visits(subject):
        window = next(one for one in subject.windows if one.visit == known.state.visit)
        row = Row(subject, parameter, text=spec.responses[known.state.response], day=known.day, window=window)
        row.used = row.observed = True
        _rest_on(row, known.evidence)
        yield row


def known_visits(subject: Subject) -> list[Known]:
    """Visits whose response is known by a reading that may leave, in order."""
    found = []
    for state in subject.followed.visits:
        evidence = assessed(state, subject.person.until)
        day = evidence_day(evidence) if evidence else None
        if state.response != "unknown" and evidence is not None and day is not None:
            found.append(Known(state, evidence, day))
    return found


def _endpoint(subject: Subject, parameter: Parameter, protocol: Protocol) -> Iterator[Row]:
    """Y or N as monitoring found; whoever could not be evaluated counts as N, with DTYPE NRI."""
    planned = next((one for one in protocol.plan.endpoints if one.id == parameter.endpoint), None)
    result = next((one for one in subject.followed.endpoints if one.id == parameter.endpoint), None)
    if planned is None:
        raise ExportError(f"the protocol has no endpoint {parameter.endpoint}", fix="see adrs.yaml")
    if result is not None and NOT_APPLICABLE in result.flags:
        return
    window = next((one for one in subject.windows if one.visit == planned.visit), None)
    verdict = subject.told(result, window) if result is not None else Verdict.UNKNOWN
    row = Row(subject, parameter, window=window, used=True)
    row.value, row.text = (Fraction(1), "Y") if verdict is Verdict.MET else (Fraction(0), "N")
    row.observed = verdict is not Verdict.UNKNOWN
    if result is None or verdict is Verdict.UNKNOWN:
        still_open = any(visit.last >= subject.followed.as_of for visit in subject.followed.visits)
        row.derivation, row.reason = NRI, WINDOW_OPEN if still_open else NO_RESULT
    else:
        _rest_on(row, _deciding([item for part in result.walk() for item in part.evidence], window))
    yield row


def _deciding(evidence: list[Evidence], window: Window | None) -> Evidence | None:
    """The latest record used; one within the window of the visit before any other."""

    def rank(one: Evidence) -> tuple[bool, str, str]:
        day = evidence_day(one)
        inside = window is not None and day is not None and window.first <= day <= window.last
        return (inside, one.when, one.source.reference)

    return max((one for one in evidence if one.role == "used"), key=rank, default=None)


def _rest_on(row: Row, evidence: Evidence | None) -> None:
    if evidence is None:
        return
    row.day = evidence_day(evidence)
    row.source = row.subject.source(evidence)
    if row.source is not None:
        dataset = row.source.dataset
        row.source_variable = _SOURCE_VARIABLES.get(dataset, f"{dataset}STRESC")


def time_rows(subject: Subject, spec: AdamSpec) -> Iterator[Row]:
    """One row for each time that began for the subject."""
    visits = known_visits(subject)
    for parameter in spec.parameters:
        if parameter.event not in _STATES:
            raise ExportError(f"nobody counts the days to {parameter.event!r}", fix=", ".join(_STATES))
        started = _since(subject, parameter, visits)
        if started is not None:
            yield _time(subject, parameter, started, visits)


def _since(subject: Subject, parameter: Parameter, visits: list[Known]) -> date | None:
    if not parameter.since:
        return subject.zero
    first = _event(subject, parameter.since, visits)
    return first.day if first else None


def _event(subject: Subject, event: str, visits: list[Known]) -> Known | None:
    """The visit on the day that monitoring counts to."""
    days = dict(subject.followed.days_to).get(event)
    if days is None or subject.zero is None:
        return None
    on = subject.zero + timedelta(days=days)
    return next((one for one in visits if one.day == on and one.state.response in _STATES[event]), None)


def _time(subject: Subject, parameter: Parameter, started: date, visits: list[Known]) -> Row:
    row = Row(subject, parameter, started=started)
    seen = _event(subject, parameter.event, visits)
    after = [one for one in visits if one.day >= started]
    if seen is not None:
        _rest_on(row, seen.evidence)
        row.censor, row.event = 0, parameter.described
    elif after:
        _rest_on(row, after[-1].evidence)
        row.censor, row.event, row.censored_at = 1, parameter.censored, AT_LAST
    else:
        row.day, row.censor, row.event, row.censored_at = started, 2, parameter.censored, NEVER
    if row.day is not None:
        row.value = Fraction((row.day - started).days + 1)
    return row
