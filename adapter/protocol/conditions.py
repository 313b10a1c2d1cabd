"""Evaluating a condition: one case per word, three values, never an exception for missing data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from fractions import Fraction
from typing import Any

import msgspec

from adapter.model.course import CourseCondition
from adapter.model.dates import add_days, completed_years
from adapter.model.decision import Evidence, Verdict
from adapter.model.kleene import Truth, all_of
from adapter.model.quantity import Interval
from adapter.model.rules import (
    Age,
    AllOf,
    AnyOf,
    Attested,
    Change,
    Condition,
    CriterionIs,
    DayIs,
    Deceased,
    Elapsed,
    Implies,
    Not,
    ReadingIs,
    Repeated,
    SexIs,
    Share,
    SomeOf,
)
from adapter.model.selection import EventTest, ExposureTest
from adapter.protocol.answers import attested_outcome
from adapter.protocol.changes import change_outcome
from adapter.protocol.context import Context
from adapter.protocol.course import course_outcome
from adapter.protocol.days import Span, compare_days
from adapter.protocol.judge import worded
from adapter.protocol.measured import reading_outcome
from adapter.protocol.occurrences import event_outcome, exposure_outcome
from adapter.protocol.outcome import Outcome, at_least, conjunction, disjunction
from adapter.protocol.partial import bounded, is_partial
from adapter.protocol.saying import length, say
from adapter.protocol.several import repeated_outcome, share_outcome

_VERDICT_TRUTH = {Verdict.MET: Truth.TRUE, Verdict.NOT_MET: Truth.FALSE, Verdict.UNKNOWN: Truth.UNKNOWN}


def outcome_of(condition: Condition, context: Context) -> Outcome:
    """What the condition comes to for the subject of the context, by what of the record came."""
    known = context.outcomes.get(condition)
    if known is None:
        found = _outcome(condition, context)
        known = bounded(condition, found, context) if context.lost or context.limited else found
        context.outcomes[condition] = known
    return known


def _outcome(condition: Condition, context: Context) -> Outcome:
    return _ASK.get(type(condition), _after_entry)(condition, context)


def _after_entry(test: CourseCondition, context: Context) -> Outcome:
    return course_outcome(test, context, outcome_of)


def _implies(test: Implies, context: Context) -> Outcome:
    return disjunction((outcome_of(test.guard, context).negated(), outcome_of(test.then, context)))


def _each(parts: Iterable[Condition], context: Context) -> list[Outcome]:
    return [outcome_of(part, context) for part in parts]


def _criterion(test: CriterionIs, context: Context) -> Outcome:
    result = context.result(test.id)
    if test.verdict is Verdict.MET:
        truth = _VERDICT_TRUTH[result.verdict]
    else:
        truth = Truth.of(result.verdict is test.verdict)
        if result.verdict is Verdict.UNKNOWN and is_partial(result.flags):
            truth = Truth.UNKNOWN
    return Outcome(
        truth,
        result.evidence,
        result.flags,
        result.settles if truth is Truth.UNKNOWN else (),
        result.distance,
        result.review,
    )


def _age(test: Age, context: Context) -> Outcome:
    """Completed years on the day; a birthday not known to the day gives the ages it allows."""
    birth, day = context.subject.birth, context.resolve(test.at)
    if birth is None or day is None:
        needs = (say("the date of birth"),) if birth is None else context.missing(test.at)
        return Outcome(Truth.UNKNOWN, needs=needs)
    youngest, oldest = completed_years(birth.last, day.first), completed_years(birth.first, day.last)
    ages = Interval(Interval.exactly(youngest).low, Interval.exactly(oldest).high)
    truth = all_of(ages.compare(comparison, Fraction(years)) for comparison, years in test.bounds)
    said = context.subject_evidence("birthDate", birth.iso)
    shown = f"{youngest}" if youngest == oldest else f"{youngest}{say(' or ')}{oldest}"
    compared = say(" and ").join(
        worded(
            f"{shown}{say(' y')}",
            word.replace("_", " "),
            f"{years}{say(' y')}",
            ages.compare(word, Fraction(years)),
        )
        for word, years in test.bounds
    )
    evidence = (_compared(said, say("on {day}: {compared}", day=day, compared=compared)), *day.evidence)
    birthday = Span.of(birth).day == birth.first and any(
        _completes(birth.first, years, day) for _, years in test.bounds
    )
    needs = (say("the full date of birth"),) if truth is Truth.UNKNOWN else ()
    return Outcome(truth, evidence, ("BOUNDARY",) if birthday else (), needs)


def _completes(birth: date, years: int, day: Span) -> bool:
    """Whether the day is the birthday on which this age is reached."""
    if day.day is None:
        return False
    return completed_years(birth, day.day) == years == completed_years(birth, add_days(day.day, -1)) + 1


def _sex(test: SexIs, context: Context) -> Outcome:
    sex = context.subject.sex
    if sex not in ("male", "female"):
        return Outcome(Truth.UNKNOWN, needs=(say("the recorded sex"),))
    return Outcome(
        Truth.of(sex == test.sex), (context.subject_evidence("gender", sex),), context.subject.flags
    )


def _deceased(test: Deceased, context: Context) -> Outcome:
    """A death without a date happened before now, not surely before the day asked for."""
    subject, day = context.subject, context.resolve(test.before)
    if not subject.deceased and subject.death is None:
        return Outcome(Truth.FALSE, (context.subject_evidence("deceased", say("not recorded as deceased")),))
    evidence = (
        context.subject_evidence("deceased", subject.death.iso if subject.death else say("deceased")),
    )
    if subject.death is None or day is None:
        return Outcome(Truth.UNKNOWN, evidence, needs=(say("the date of death"),))
    truth = compare_days(Span.of(subject.death), "before", day)
    return Outcome(truth, evidence, needs=(say("the date of death"),) if truth is Truth.UNKNOWN else ())


def _elapsed(test: Elapsed, context: Context) -> Outcome:
    """``more_than: 6 months`` holds from the day after the date six calendar months later."""
    since, until = context.resolve(test.since), context.resolve(test.until)
    if since is None or until is None:
        return Outcome(Truth.UNKNOWN, needs=context.missing(test.since, test.until))
    truths, flags = [], list(since.flags + until.flags)
    for word, duration in test.bounds:
        due = since.shifted(duration.count, duration.unit)
        match word:
            case "more_than":
                truths.append(compare_days(until, "after", due))
            case "at_least":
                truths.append(compare_days(until, "on_or_after", due))
            case "less_than":
                truths.append(compare_days(until, "before", due))
            case "at_most":
                truths.append(compare_days(until, "on_or_before", due))
        if due.day is not None and due.day == until.day:
            flags.append("BOUNDARY")
    asked = say(" and ").join(
        f"{say(word.replace('_', ' '))} {length(duration.count, duration.unit)}"
        for word, duration in test.bounds
    )
    truth = all_of(truths)
    compared = worded(say("{first} to {last}:", first=since, last=until), asked, "", truth).rstrip()
    evidence = tuple(_compared(item, compared) for item in (*since.evidence, *until.evidence))
    needs = (
        (say("the exact date of {what}", what=say(test.since.anchor.replace("_", " "))),)
        if truth is Truth.UNKNOWN
        else ()
    )
    days = length((until.first - since.first).days, "days") if since.day and until.day else ""
    return Outcome(truth, evidence, tuple(dict.fromkeys(flags)), needs, days)


def _day(test: DayIs, context: Context) -> Outcome:
    left, right = context.resolve(test.moment), context.resolve(test.other)
    if left is None or right is None:
        return Outcome(Truth.UNKNOWN, needs=context.missing(test.moment, test.other))
    truth = compare_days(left, test.relation, right)
    compared = worded(str(left), test.relation.replace("_", " "), str(right), truth)
    evidence = tuple(_compared(item, compared) for item in (*left.evidence, *right.evidence))
    needs = (
        (say("the exact date of {what}", what=say(test.moment.anchor.replace("_", " "))),)
        if truth is Truth.UNKNOWN
        else ()
    )
    return Outcome(truth, evidence, left.flags + right.flags, needs)


def _compared(evidence: Evidence, text: str) -> Evidence:
    return msgspec.structs.replace(evidence, compared=text)


_ASK: Mapping[type, Callable[[Any, Context], Outcome]] = {
    AllOf: lambda test, context: conjunction(_each(test.parts, context)),
    AnyOf: lambda test, context: disjunction(_each(test.parts, context)),
    SomeOf: lambda test, context: at_least(test.count, _each(test.parts, context)),
    Not: lambda test, context: outcome_of(test.part, context).negated(),
    Implies: _implies,
    CriterionIs: _criterion,
    ReadingIs: reading_outcome,
    Repeated: repeated_outcome,
    Share: share_outcome,
    Change: change_outcome,
    Attested: attested_outcome,
    EventTest: event_outcome,
    ExposureTest: exposure_outcome,
    Age: _age,
    SexIs: _sex,
    Deceased: _deceased,
    Elapsed: _elapsed,
    DayIs: _day,
}
"""One word, one function; what happens after entry is asked of :mod:`adapter.protocol.course`."""
