"""From one enrolled subject's facts to outcomes, exits, doses, safety, visits and what is due.

Pure, like :mod:`adapter.protocol.evaluate`: no clock, no files, no order of input shows. Nothing dated after
the as-of day is seen. Software proposes; a person confirms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, tzinfo

import msgspec

from adapter.model.dates import PartialDate
from adapter.model.decision import CriterionResult, Decision
from adapter.model.facts import Facts
from adapter.model.kleene import Truth
from adapter.model.ladder import Ladder
from adapter.model.monitoring import (
    Due,
    DueStatus,
    LadderState,
    Monitoring,
    Response,
    ResponseRead,
    VisitState,
)
from adapter.model.nodes import Moment
from adapter.model.protocol import Criterion, DueRule, Protocol, Visit
from adapter.protocol.anchors import find_day
from adapter.protocol.conditions import outcome_of
from adapter.protocol.context import Context
from adapter.protocol.course import assess, assigned_arms, held, other_outcomes, state_outcomes
from adapter.protocol.evaluate import decide, fingerprint, pointer, said
from adapter.protocol.ladder import climb
from adapter.protocol.outcome import merge_evidence
from adapter.protocol.partial import AS_IF_WHOLE, PARTIAL_RECORD, is_partial
from adapter.protocol.readings import collect, deciding
from adapter.protocol.saying import say


def monitor(
    protocol: Protocol,
    facts: Facts,
    *,
    as_of: date,
    zone: tzinfo,
    ladders: Iterable[Ladder] = (),
    assessment: Decision | None = None,
) -> Monitoring:
    """Everything the protocol's ``monitoring:`` says about the one subject in ``facts`` as of a local day.

    ``ladders`` are those of :func:`adapter.protocol.ladder_load.load_ladders`; rules may ask where they
    stand. ``assessment`` is what :func:`adapter.protocol.evaluate.evaluate_candidate` said of the same facts
    by the same rules, as of whichever day: a rule about eligibility on that day need not judge it again, and
    says the same. Someone whose day zero is not known, or lies after ``as_of``, has nothing to be monitored.
    Raises ``ValueError`` unless ``facts`` holds exactly one subject.
    """
    if len(facts.subjects) != 1:
        raise ValueError(f"facts of exactly one subject are needed, not {len(facts.subjects)}")
    seen = _up_to(as_of, facts)
    context = Context(protocol, seen, as_of=as_of, zone=zone, find_day=find_day, decide=decide)
    if assessment is not None and _is_all(seen, facts):
        assess(context, assessment)
    zero = day_zero(context)
    found = Monitoring(
        subject=facts.subjects[0].id,
        protocol=protocol.id,
        protocol_version=protocol.version,
        as_of=as_of,
        randomised=zero,
    )
    if zero is not None:
        states = tuple(climb(ladder, context) for ladder in ladders)
        found = _watched(found, zero, context.with_ladders(states), states)
    return msgspec.structs.replace(found, fingerprint=_fingerprint(found))


def _up_to(as_of: date, facts: Facts) -> Facts:
    """What had happened by the day; what may have, by its date, stays."""

    def begun(when: PartialDate | None) -> bool:
        return when is None or when.first <= as_of

    return msgspec.structs.replace(
        facts,
        findings=tuple(row for row in facts.findings if begun(row.when)),
        events=tuple(row for row in facts.events if begun(row.start)),
        interventions=tuple(row for row in facts.interventions if begun(row.start)),
    )


def _is_all(seen: Facts, facts: Facts) -> bool:
    tables = ("findings", "events", "interventions")
    return all(len(getattr(seen, name)) == len(getattr(facts, name)) for name in tables)


def day_zero(context: Context) -> date | None:
    """The day of entry, if it is known to the day and has come."""
    name = context.protocol.plan.day_zero
    span = context.resolve(Moment(anchor=name)) if name else None
    if span is None or span.day is None or span.day > context.as_of.last:
        return None
    return span.day


def _watched(found: Monitoring, zero: date, context: Context, ladders: tuple[LadderState, ...]) -> Monitoring:
    plan = context.protocol.plan
    arms, _ = assigned_arms(context)
    visits = tuple(visit_state(visit, zero, context) for visit in context.protocol.visits)
    return msgspec.structs.replace(
        found,
        arm=arms[0] if len(arms) == 1 else "",
        endpoints=_results(plan.endpoints, context),
        exits=_results(plan.exits, context),
        doses=_results(plan.doses, context),
        safety=_results(plan.safety, context),
        deviations=_results(plan.deviations, context),
        visits=visits,
        ladders=ladders,
        due=tuple(_due(zero, context, ladders)),
        days_to=tuple(_days_to(visits, zero)),
    )


def _results(criteria: tuple[Criterion, ...], context: Context) -> tuple[CriterionResult, ...]:
    return tuple(context.result(criterion.id) for criterion in criteria)


def visit_state(visit: Visit, zero: date, context: Context) -> VisitState:
    """The first line of the response table that holds at the visit; without one the response is unknown."""
    here = context.at(visit.id)
    lines = state_outcomes(here, outcome_of)
    holds = next(
        ((state, why, outcome) for state, why, outcome in lines if outcome.truth is Truth.TRUE), None
    )
    open_ = [outcome for _, _, outcome in lines if outcome.truth is Truth.UNKNOWN]
    needs = tuple(dict.fromkeys(need for outcome in open_ for need in outcome.needs))
    evidence = holds[2].evidence if holds else merge_evidence(outcome.evidence for outcome in open_)
    response: Response = holds[0] if holds else "unknown"
    others = tuple(
        ResponseRead(other.name, other.reading, held(table))
        for other, table in other_outcomes(here, outcome_of).items()
    )
    differs = any(
        "unknown" not in (other.response, response) and other.response != response for other in others
    )
    partial = response == "unknown" and any(is_partial(outcome.flags) for outcome in open_)
    if partial and (came := held(state_outcomes(here.as_if_whole(), outcome_of))) != "unknown":
        others = (*others, ResponseRead(PARTIAL_RECORD, AS_IF_WHOLE, came))
    target, first, last = visit.days(zero)
    return VisitState(
        visit=visit.id,
        name=visit.name,
        target=target,
        first=first,
        last=last,
        response=response,
        reason=holds[1] if holds else say("not known: {needs}", needs="; ".join(needs)),
        evidence=evidence,
        alternatives=others,
        flags=(*(("READING_DIFFERS",) if differs else ()), *((PARTIAL_RECORD,) if partial else ())),
    )


def _days_to(visits: tuple[VisitState, ...], zero: date) -> Iterator[tuple[str, int]]:
    """Days from day zero to the reading that first showed it at a visit; nothing for what was not seen."""
    for name, states in (
        ("complete_remission", ("complete",)),
        ("remission", ("complete", "partial")),
        ("relapse", ("relapse",)),
    ):
        for visit in visits:
            if is_partial(visit.flags):
                break
            if visit.response in states and (day := _assessed(visit)) is not None:
                yield name, (day - zero).days
                break


def _assessed(visit: VisitState) -> date | None:
    """The day of the latest reading within the window that the response rests on."""
    days = [date.fromisoformat(item.when[:10]) for item in visit.evidence if len(item.when) >= 10]
    inside = [day for day in days if visit.first <= day <= visit.last]
    return max(inside, default=None)


def _due(zero: date, context: Context, ladders: tuple[LadderState, ...]) -> Iterator[Due]:
    """What is planned, without what would only begin after the end."""
    until = context.protocol.plan.until
    end = context.resolve(until) if until is not None else None
    for due in _planned(zero, context, ladders):
        if end is None or due.first <= end.last or due.status == "done":
            yield due


def _planned(zero: date, context: Context, ladders: tuple[LadderState, ...]) -> Iterator[Due]:
    as_of = context.as_of.last
    for visit in context.protocol.visits:
        days = visit.days(zero)
        status = _status(_visited(visit, context), days[1], days[2], as_of)
        yield Due(visit.id, visit.name, days[0], days[1], days[2], status, visit.source)
    for rule in context.protocol.plan.due:
        if rule.when is not None and outcome_of(rule.when, context).truth is not Truth.TRUE:
            continue
        counted = context.resolve(rule.after) if rule.after is not None else None
        start = zero if rule.after is None else counted.day if counted is not None else None
        if start is None:
            continue
        days = rule.days(start)
        status = _status(_done(rule, context), days[1], days[2], as_of)
        yield Due(rule.id, rule.what, days[0], days[1], days[2], status, rule.source)
    for ladder in ladders:
        if ladder.review_first is not None and ladder.review_last is not None and not ladder.terminal:
            first, last = ladder.review_first, ladder.review_last
            target = first + (last - first) / 2
            what = f"review or next step of {ladder.ladder} in state {ladder.state}"
            yield Due(ladder.ladder, what, target, first, last, _status(False, first, last, as_of))


def _visited(visit: Visit, context: Context) -> bool:
    """Whether the reading that the visit is for is on record."""
    selection = context.readings.get(visit.reading)
    if selection is None:
        return False
    bound = context.at(visit.id)
    return bool(deciding(collect(selection, bound).valid, selection, bound))


def _done(rule: DueRule, context: Context) -> bool:
    return rule.done_when is not None and outcome_of(rule.done_when, context).truth is Truth.TRUE


def _status(done: bool, first: date, last: date, as_of: date) -> DueStatus:
    if done:
        return "done"
    if as_of < first:
        return "upcoming"
    return "due" if as_of <= last else "overdue"


def _fingerprint(found: Monitoring) -> str:
    lines = [found.subject, found.protocol, found.protocol_version, found.as_of.isoformat()]
    lines += [found.randomised.isoformat() if found.randomised else "", found.arm]
    for results in (found.endpoints, found.exits, found.doses, found.safety, found.deviations):
        lines += said(results)
    for one in found.visits:
        lines.append(f"{one.visit} {one.response}")
        lines += sorted({pointer(item) for item in one.evidence if item.role == "used"})
    lines += [f"{state.ladder} {state.state} {state.entered} {state.overdue}" for state in found.ladders]
    lines += [f"{due.id} {due.first} {due.last} {due.status}" for due in found.due]
    return fingerprint(lines)
