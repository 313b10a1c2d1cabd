"""Conditions in words: one line, or an outline where several are combined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adapter.model.course import ArmIs, DoseChanged, DoseIs, EligibilityIs, GapIs, LadderIs, ResponseIs
from adapter.model.rules import (
    Age,
    AllOf,
    AnyOf,
    Apart,
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
from adapter.model.selection import Beside, EventTest, ExposureTest
from adapter.protocol.render.course import say_course
from adapter.protocol.render.moments import say_days, say_duration, say_moment
from adapter.protocol.render.readings import say_bound, say_readings, say_selection, say_test
from adapter.protocol.render.records import say_event, say_exposure
from adapter.protocol.render.voice import Voice


class Row(NamedTuple):
    """One line of an outline."""

    depth: int
    text: str


def say_condition(condition: Condition, voice: Voice) -> str:
    """The whole condition in one line."""
    match condition:
        case AllOf(parts=parts):
            return voice.phrase("AllOf", parts=_parts(parts, voice))
        case AnyOf(parts=parts):
            return voice.phrase("AnyOf", parts=_parts(parts, voice))
        case SomeOf(parts=parts, count=count):
            return voice.phrase("SomeOf", count=count, parts=_parts(parts, voice))
        case Not(part=part):
            return voice.phrase("Not", part=_inner(part, voice))
        case Implies(guard=guard, then=then):
            return voice.phrase("Implies", guard=_inner(guard, voice), then=_inner(then, voice))
        case CriterionIs(id=name, verdict=verdict):
            return voice.phrase(f"CriterionIs.{verdict.value}", id=name)
        case ReadingIs(selection=selection, test=test):
            said = say_selection(selection, voice)
            return voice.phrase("ReadingIs", selection=said, test=say_test(test, voice))
        case Attested(link=link, test=test):
            return voice.phrase("Attested", link=voice.quoted(link), test=say_test(test, voice))
        case Change():
            return _change(condition, voice)
        case Repeated():
            return _repeated(condition, voice)
        case Share(selection=selection, test=test, bound=bound):
            return voice.phrase(
                "Share",
                selection=say_readings(selection, voice),
                bound=say_bound(bound, voice),
                test=say_test(test, voice) + _beside(condition.beside, voice),
            )
        case Age():
            return _age(condition, voice)
        case SexIs(sex=sex):
            return voice.phrase(f"SexIs.{sex}")
        case Deceased(before=before):
            return voice.phrase("Deceased", before=say_moment(before, voice))
        case Elapsed():
            return _elapsed(condition, voice)
        case DayIs(moment=moment, relation=relation, other=other):
            return voice.phrase(
                f"DayIs.{relation}", moment=say_moment(moment, voice), other=say_moment(other, voice)
            )
        case EventTest():
            return say_event(condition, voice)
        case ExposureTest():
            return say_exposure(condition, voice)
        case (
            ResponseIs()
            | DoseIs()
            | DoseChanged()
            | GapIs()
            | LadderIs()
            | ArmIs()
            | EligibilityIs() as course
        ):
            return say_course(course, voice)


def outline(condition: Condition, voice: Voice, depth: int = 0) -> Iterator[Row]:
    """The condition as indented lines, one for each simple condition in it."""
    match condition:
        case AllOf(parts=parts) | AnyOf(parts=parts):
            yield Row(depth, voice.phrase(f"{type(condition).__name__}.head"))
            for part in parts:
                yield from outline(part, voice, depth + 1)
        case SomeOf(parts=parts, count=count):
            yield Row(depth, voice.phrase("SomeOf.head", count=count))
            for part in parts:
                yield from outline(part, voice, depth + 1)
        case Not(part=AllOf() | AnyOf() | SomeOf() | Implies() as part):
            yield Row(depth, voice.phrase("Not.head"))
            yield from outline(part, voice, depth + 1)
        case Implies(guard=guard, then=then):
            yield Row(depth, voice.phrase("Implies.if"))
            yield from outline(guard, voice, depth + 1)
            yield Row(depth, voice.phrase("Implies.then"))
            yield from outline(then, voice, depth + 1)
        case _:
            yield Row(depth, say_condition(condition, voice))


def _parts(parts: tuple[Condition, ...], voice: Voice) -> str:
    return voice.phrase("semicolon").join(_inner(part, voice) for part in parts)


def _inner(part: Condition, voice: Voice) -> str:
    """Brackets keep apart what is combined within a combination."""
    said = say_condition(part, voice)
    return f"[{said}]" if isinstance(part, AllOf | AnyOf | SomeOf | Implies) else said


def _change(test: Change, voice: Voice) -> str:
    details = []
    if test.series:
        details.append(voice.phrase("Change.series", series=voice.one_of(test.series)))
    elif test.same_series:
        details.append(voice.phrase("Change.same_series"))
    if test.apart:
        details.append(_apart(test.apart, voice))
    if test.reaching:
        details.append(voice.phrase("Change.reaching", bound=say_bound(test.reaching, voice)))
    return voice.phrase(
        f"Change.{test.direction}",
        start=say_selection(test.start, voice),
        end=say_selection(test.end, voice),
        bound=say_bound(test.bound, voice),
        details=voice.bracketed(details),
    )


def _repeated(test: Repeated, voice: Voice) -> str:
    apart = []
    if test.apart_at_least:
        apart.append(voice.phrase("Repeated.at_least", days=say_days(test.apart_at_least, voice)))
    if test.apart_at_most is not None:
        apart.append(voice.phrase("Repeated.at_most", days=say_days(test.apart_at_most, voice)))
    return voice.phrase(
        "Repeated",
        readings=test.readings,
        selection=say_readings(test.selection, voice),
        test=say_test(test.test, voice) + _beside(test.beside, voice),
        apart=voice.bracketed(apart),
    )


def _apart(apart: Apart, voice: Voice) -> str:
    limits = (("at_least", apart.at_least), ("at_most", apart.at_most))
    return voice.both(
        voice.phrase(f"Apart.{word}", count=limit, unit=voice.phrase(apart.unit))
        for word, limit in limits
        if limit is not None
    )


def _beside(parts: tuple[Beside, ...], voice: Voice) -> str:
    return "".join(
        voice.phrase("Beside", what=voice.named(part.selection.concepts), test=say_test(part.test, voice))
        for part in parts
    )


def _age(test: Age, voice: Voice) -> str:
    bounds = voice.both(
        voice.phrase(f"Bound.{word}", amount=voice.phrase("Age.years", years=years))
        for word, years in test.bounds
    )
    return voice.phrase("Age", at=say_moment(test.at, voice), bounds=bounds)


def _elapsed(test: Elapsed, voice: Voice) -> str:
    bounds = voice.both(
        voice.phrase(f"Elapsed.{word}", duration=say_duration(duration, voice))
        for word, duration in test.bounds
    )
    since, until = say_moment(test.since, voice), say_moment(test.until, voice)
    return voice.phrase("Elapsed", since=since, until=until, bounds=bounds)
