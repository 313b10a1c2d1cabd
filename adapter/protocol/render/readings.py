"""Selections of readings, their tests and thresholds in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from adapter.model.quantity import number_text
from adapter.model.selection import (
    Amount,
    Answers,
    Bound,
    Bounds,
    Codes,
    DayTest,
    EventTest,
    Exists,
    MeasuredBy,
    NotDuring,
    ReadingTest,
    Selection,
    Timed,
)
from adapter.protocol.render.moments import say_days, say_moment, say_period
from adapter.protocol.render.records import say_event, say_exposure
from adapter.protocol.render.voice import Voice


def say_selection(selection: Selection, voice: Voice) -> str:
    """A selection by its name under ``readings:``, or in full if it has none."""
    if selection.name:
        return voice.phrase("Selection.name", name=voice.quoted(selection.name))
    return define_selection(selection, voice)


def define_selection(selection: Selection, voice: Voice) -> str:
    """Which readings, from when, and which of them decides."""
    return _selection(selection, selection.take, voice)


def say_readings(selection: Selection, voice: Voice) -> str:
    """Which readings, where all of them count together."""
    return _selection(selection, "all", voice)


def _selection(selection: Selection, take: str, voice: Voice) -> str:
    near = say_moment(selection.near, voice) if selection.near else ""
    return voice.phrase(
        "Selection",
        what=voice.phrase(f"Selection.{take}", what=voice.named(selection.concepts), near=near),
        period=say_period(selection.period, voice),
        details=voice.bracketed(_details(selection, voice)),
    )


def _details(selection: Selection, voice: Voice) -> Iterator[str]:
    if selection.methods:
        yield voice.phrase("Selection.methods", methods=voice.one_of(selection.methods))
    if selection.last:
        yield voice.phrase("Selection.last", last=selection.last)
    if selection.minimum > 1 and selection.minimum != selection.last:
        yield voice.phrase("Selection.minimum", minimum=selection.minimum)
    yield from (say_not_during(guard, voice) for guard in selection.not_during)
    if selection.timed:
        yield say_timed(selection.timed, voice)
    if selection.support:
        shown = voice.both(voice.name(key) for key in selection.support)
        yield voice.phrase("Selection.support", support=shown)


def say_timed(timed: Timed, voice: Voice) -> str:
    """When a level counts as a trough, in hours after the last intake."""
    details = []
    if (timed.wide_low, timed.wide_high) != (timed.low, timed.high):
        low, high = number_text(timed.wide_low), number_text(timed.wide_high)
        details.append(voice.phrase("Timed.wide", low=low, high=high))
    details.append(voice.phrase("Timed.look_back", hours=number_text(timed.look_back)))
    if timed.named:
        named = voice.one_of(voice.name(key) for key in timed.named)
        details.append(voice.phrase("Timed.named", concepts=named))
    if timed.steady_days:
        details.append(voice.phrase("Timed.steady", days=say_days(timed.steady_days, voice)))
    return voice.phrase(
        "Timed",
        low=number_text(timed.low),
        high=number_text(timed.high),
        drugs=voice.one_of(voice.name(drug) for drug in timed.drugs),
        details=voice.bracketed(details),
    )


def say_not_during(guard: NotDuring, voice: Voice) -> str:
    """Which readings are set aside, and whether that leaves a flag."""
    condition = guard.condition
    said = say_event(condition, voice) if isinstance(condition, EventTest) else say_exposure(condition, voice)
    key = "NotDuring.margin" if guard.margin_days else "NotDuring"
    flag = voice.phrase("NotDuring.flag", flag=guard.flag) if guard.flag else ""
    return voice.phrase(key, condition=said, days=say_days(guard.margin_days, voice)) + flag


def say_test(test: ReadingTest, voice: Voice) -> str:
    """What is asked of a reading or an answer."""
    match test:
        case Bounds():
            return _bounds(test, voice)
        case Answers(answers=answers):
            said = voice.one_of(voice.phrase(f"answer.{answer}") for answer in answers)
            return voice.phrase("Answers", answers=said)
        case Codes(codes=codes):
            return voice.phrase("Codes", codes=voice.one_of(_code(code, voice) for code in codes))
        case MeasuredBy(methods=methods):
            return voice.phrase("MeasuredBy", methods=voice.one_of(methods))
        case Exists():
            return voice.phrase("Exists")
        case DayTest(relation=relation, moment=moment):
            return voice.phrase(f"DayTest.{relation}", moment=say_moment(moment, voice))


def _code(code: str, voice: Voice) -> str:
    return voice.phrase(f"Codes.{code}") if code in ("true", "false") else voice.quoted(code)


def _bounds(test: Bounds, voice: Voice) -> str:
    read = "".join(
        voice.phrase("Bounds.words", word=voice.quoted(word), meaning=meaning) for word, meaning in test.words
    )
    bounds = voice.both(say_bound(bound, voice) for bound in test.bounds)
    return voice.phrase("Bounds", bounds=bounds) + read


def say_bound(bound: Bound, voice: Voice) -> str:
    return voice.phrase(f"Bound.{bound.comparison}", amount=say_amount(bound.amount, voice))


def say_amount(amount: Amount, voice: Voice) -> str:
    """The threshold as its author wrote it, or times a limit or reading; UCUM's brackets are left out."""
    if amount.of:
        reading = voice.quoted(amount.reading)
        return voice.phrase(f"Amount.{amount.of}", value=number_text(amount.value), reading=reading)
    text = amount.text or f"{number_text(amount.value)} {amount.unit}".strip()
    return voice.phrase("Amount", text=plain_unit(text))


def plain_unit(text: str) -> str:
    """``mL/min/{1.73_m2}`` as "mL/min/1.73 m2", ``[IU]/mL`` as "IU/mL"."""
    return re.sub(r"[{}\[\]]", "", text).replace("1.73_m2", "1.73 m2")
