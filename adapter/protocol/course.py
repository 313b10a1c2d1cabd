"""Conditions about what happens after entry: response, doses, gaps, ladders, the arm, entry itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache

import msgspec

from adapter.model.course import (
    EARLIER,
    ArmIs,
    CourseCondition,
    DoseChanged,
    DoseIs,
    EligibilityIs,
    GapIs,
    LadderIs,
    ResponseIs,
    ResponseWord,
)
from adapter.model.decision import CriterionResult, Decision, Evidence, Overall
from adapter.model.kleene import Truth
from adapter.model.monitoring import LadderState
from adapter.model.nodes import Moment, descend
from adapter.model.protocol import OtherResponse, Protocol, ResponseLine
from adapter.model.rules import Condition, CriterionIs
from adapter.protocol.context import Context
from adapter.protocol.dose_tests import change_of_dose, dose_outcome
from adapter.protocol.gaps import gap_outcome
from adapter.protocol.outcome import Outcome, conjunction, disjunction, merge_evidence, overall_of, unique
from adapter.protocol.partial import PARTIAL_RECORD, is_partial, unsettled
from adapter.protocol.saying import say, spoken

Asked = Callable[[Condition, Context], Outcome]
Lines = tuple[tuple[ResponseWord, str, Outcome], ...]


def course_outcome(condition: CourseCondition, context: Context, ask: Asked) -> Outcome:
    match condition:
        case ResponseIs():
            return _response(condition, context, ask)
        case DoseIs():
            return dose_outcome(condition, context)
        case DoseChanged():
            return change_of_dose(condition, context)
        case GapIs():
            return _gap(condition, context)
        case LadderIs():
            return _ladder(condition, context)
        case ArmIs():
            return _arm(condition, context)
        case EligibilityIs():
            return _eligibility(condition, context)


def _gap(test: GapIs, context: Context) -> Outcome:
    found = gap_outcome(test, context, held_days(test, context))
    holds = (context.ladders.get(hold.ladder) for hold in test.holds)
    if context.lost and any(state is not None and is_partial(state.flags) for state in holds):
        return unsettled(found, context.lost, context)
    return found


def state_outcomes(context: Context, ask: Asked) -> Lines:
    """For each line of the response table: its state, its reason, and whether it is the one that holds.

    A line holds if its condition is true and that of every line above is not; unknown lines above leave it
    open. Worked out once per visit: a line may ask about every earlier one.
    """
    return _kept(context, ask)[""]


def other_outcomes(context: Context, ask: Asked) -> dict[OtherResponse, Lines]:
    """The same for each other reading of one of the lines."""
    kept = _kept(context, ask)
    others = (other for line in context.protocol.plan.responses for other in line.alternatives)
    return {other: kept[other.name] for other in others}


def _kept(context: Context, ask: Asked) -> dict[str, Lines]:
    if "responses" not in context.kept:
        lines = context.protocol.plan.responses
        tables = {"": lines}
        for place, line in enumerate(lines):
            for other in line.alternatives:
                read = msgspec.structs.replace(line, when=other.when)
                tables[other.name] = (*lines[:place], read, *lines[place + 1 :])
        context.kept["responses"] = {
            name: _state_outcomes(table, context, ask) for name, table in tables.items()
        }
    kept: dict[str, Lines] = context.kept["responses"]
    return kept


def held(lines: Lines) -> ResponseWord:
    """The response that a table comes to."""
    return next((state for state, _, outcome in lines if outcome.truth is Truth.TRUE), "unknown")


def _state_outcomes(table: tuple[ResponseLine, ...], context: Context, ask: Asked) -> Lines:
    found: list[tuple[ResponseWord, str, Outcome]] = []
    above: list[Outcome] = []
    for line in table:
        asked = ask(line.when, context)
        found.append(
            (line.state, spoken(line.because), conjunction((*(one.negated() for one in above), asked)))
        )
        above.append(asked)
    return tuple(found)


def _response(test: ResponseIs, context: Context, ask: Asked) -> Outcome:
    if test.at == EARLIER:
        earlier = [_response_at(test, place, ask) for place in _earlier(context)]
        said = (one for one in earlier if one.truth is Truth.TRUE or is_partial(one.flags))
        return disjunction((Outcome(Truth.FALSE), *said))
    return _response_at(test, context.at(test.at) if test.at else context, ask)


def _response_at(test: ResponseIs, context: Context, ask: Asked) -> Outcome:
    if context.visit is None:
        return Outcome(Truth.UNKNOWN, needs=(say("the visit that is meant"),))
    found = _in_table(test, state_outcomes(context, ask), context)
    if found.truth is Truth.UNKNOWN:
        return found
    differing = tuple(
        other.name
        for other, lines in other_outcomes(context, ask).items()
        if _in_table(test, lines, context).truth is ~found.truth
    )
    flags = unique((*found.flags, *(("READING_DIFFERS",) if differing else ()), *differing))
    return msgspec.structs.replace(found, flags=flags)


def _in_table(test: ResponseIs, lines: Lines, context: Context) -> Outcome:
    wanted = [outcome for state, _, outcome in lines if state in test.states]
    if "unknown" in test.states:
        known = any(outcome.truth is Truth.TRUE for _, _, outcome in lines)
        open_ = tuple(outcome for _, _, outcome in lines if outcome.truth is Truth.UNKNOWN)
        silent = disjunction(open_) if open_ else Outcome(Truth.UNKNOWN)
        truth = Truth.UNKNOWN if not known and is_partial(silent.flags) else Truth.of(not known)
        wanted.append(
            Outcome(truth, silent.evidence, silent.flags, silent.needs if truth is Truth.UNKNOWN else ())
        )
    found = disjunction(wanted) if wanted else Outcome(Truth.FALSE)
    if found.truth is Truth.FALSE and "unknown" not in test.states and _unseen(lines, context):
        still_open = [outcome for _, _, outcome in lines if outcome.truth is Truth.UNKNOWN]
        unseen = disjunction((found, *still_open)) if still_open else Outcome(Truth.UNKNOWN)
        return unsettled(unseen, context.lost, context) if context.lost else unseen
    return found


def _unseen(lines: Lines, context: Context) -> bool:
    """Nobody looked: no line is known to hold, and nothing of the visit's window was used to say so."""
    if any(outcome.truth is Truth.TRUE for _, _, outcome in lines):
        return False
    first, last = (context.resolve(Moment(anchor=name)) for name in ("visit_first", "visit_last"))
    if first is None or last is None:
        return True
    days = (item.when[:10] for _, _, outcome in lines for item in outcome.evidence if item.role == "used")
    return not any(str(first.first) <= day <= str(last.last) for day in days if len(day) == len("2019-06-03"))


def _earlier(context: Context) -> Iterator[Context]:
    """Visits planned before the one in hand; without one in hand, all."""
    for visit in context.protocol.visits:
        if context.visit is None or visit.day.order < context.visit.day.order:
            yield context.at(visit.id)


def _ladder(test: LadderIs, context: Context) -> Outcome:
    state = context.ladders.get(test.ladder)
    if state is None:
        return Outcome(Truth.UNKNOWN, needs=(say("the ladder {name}", name=test.ladder),))
    evidence = merge_evidence(step.evidence for step in state.steps)
    if context.lost and is_partial(state.flags):
        return Outcome(Truth.UNKNOWN, evidence, state.flags, state.settles)
    flags = tuple(flag for flag in state.flags if not is_partial((flag,)))
    if state.state in test.states:
        return Outcome(Truth.TRUE, evidence, flags)
    if not state.terminal and (state.overdue or state.settles):
        return Outcome(Truth.UNKNOWN, evidence, flags, state.settles)
    return Outcome(Truth.FALSE, evidence, flags)


def held_days(test: GapIs, context: Context) -> tuple[tuple[date, date], ...]:
    """First and last day of each stretch in which a ladder held the drug."""
    found = []
    for hold in test.holds:
        state = context.ladders.get(hold.ladder)
        if state is not None:
            found += list(_stretches(state, hold.states, context.as_of.last))
    return tuple(sorted(found))


def _stretches(ladder: LadderState, states: tuple[str, ...], until: date) -> Iterator[tuple[date, date]]:
    moved = [step for step in ladder.steps if step.source != step.target]
    for place, step in enumerate(moved):
        if step.target in states:
            later = moved[place + 1 :]
            yield step.on, later[0].on if later else until


def _arm(test: ArmIs, context: Context) -> Outcome:
    arms, evidence = assigned_arms(context)
    if not arms:
        return Outcome(Truth.UNKNOWN, needs=(say("the assigned arm"),))
    if len(arms) > 1:
        return Outcome(Truth.UNKNOWN, evidence, ("CONFLICT",), (say("which of two assigned arms is right"),))
    known = {arm.code for arm in context.protocol.study.arms}
    if arms[0] not in known:
        return Outcome(
            Truth.UNKNOWN, evidence, ("ARM_UNKNOWN",), (say("which arm {name!r} is", name=arms[0]),)
        )
    return Outcome(Truth.of(arms[0] in test.arms), evidence)


def assigned_arms(context: Context) -> tuple[tuple[str, ...], tuple[Evidence, ...]]:
    """The arms that records of being on this study name; one, unless they contradict each other."""
    study = context.protocol.study.identifier or context.protocol.id
    rows = [
        row
        for row in context.record.events.get("research_subject", ())
        if not row.excluded
        and row.presence in ("present", "past")
        and row.attribute("assigned_arm")
        and study in (*row.attribute("study_identifier").split(), row.attribute("study").rpartition("/")[2])
    ]
    evidence = tuple(
        Evidence(row.source, "used", row.concept, original=row.attribute("assigned_arm"), value="arm")
        for row in rows
    )
    called = context.protocol.study.arm_called
    arms = {called(name) or name for row in rows for name in [row.attribute("assigned_arm")]}
    return tuple(sorted(arms)), evidence


def assess(context: Context, made: Decision) -> None:
    """Let the context know an assessment that was made of the same records, so that nobody makes it again.

    It was made without ladders and visits; nothing is taken from it where a criterion asks about these.
    """
    if not _looks_ahead(context.protocol):
        found = {one.id: one for top in made.criteria for one in top.walk()}
        context.once(("assessment", made.as_of), lambda: found)


def _assessed(day: date, context: Context) -> list[CriterionResult]:
    """The criteria that count, as of a day, by what is known now."""
    made: dict[str, CriterionResult] = context.once(("assessment", day), lambda: {})
    if made:
        return [made[name] for name in context.protocol.counts]
    then = context.on(day)
    return [then.result(name) for name in context.protocol.counts]


@lru_cache(maxsize=4)
def _looks_ahead(protocol: Protocol) -> bool:
    """Whether a criterion that counts, or one it asks about, is about what happens after entry."""
    waiting, seen = [*protocol.counts], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in descend(protocol.criterion(name)):
            if isinstance(node, CourseCondition):
                return True
            if isinstance(node, CriterionIs):
                waiting.append(node.id)
    return False


def _eligibility(test: EligibilityIs, context: Context) -> Outcome:
    """An open assessment is neither the one nor the other."""
    day = context.resolve(test.at)
    if day is None or day.day is None:
        return Outcome(Truth.UNKNOWN, needs=context.missing(test.at))
    results = _assessed(day.day, context)
    overall = overall_of(results)
    decisive = [one for one in results if overall_of((one,)) is overall] or results
    evidence = tuple(item for one in decisive for item in one.evidence)
    flags = tuple(dict.fromkeys(flag for one in decisive for flag in one.flags))
    needs = tuple(dict.fromkeys(need for one in decisive for need in one.settles))
    partial = (PARTIAL_RECORD,) if any(is_partial(one.flags) for one in decisive) else ()
    if overall is test.overall and not (overall is Overall.UNDETERMINED and partial):
        return Outcome(Truth.TRUE, evidence, flags)
    if overall is Overall.UNDETERMINED:
        return Outcome(Truth.UNKNOWN, evidence, partial, needs)
    return Outcome(Truth.FALSE, evidence, flags)
