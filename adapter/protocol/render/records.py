"""Events and exposures in words."""

from __future__ import annotations

from collections.abc import Iterator

from adapter.model.selection import EventTest, ExposureTest
from adapter.protocol.render.moments import say_period
from adapter.protocol.render.voice import Voice


def say_event(test: EventTest, voice: Voice) -> str:
    """The diagnosis (or procedure, allergy ...), how sure, when, and what silence means."""
    presence = voice.one_of(voice.phrase(f"presence.{word}") for word in test.presence)
    period = say_period(test.period, voice)
    timing = test.timing if period or test.timing == "overlap" else f"{test.timing}.open"
    return voice.phrase(
        "EventTest",
        presence=presence,
        what=voice.named(test.concepts),
        timing=voice.phrase(f"EventTest.{timing}"),
        period=period,
        details=voice.bracketed(_event_details(test, voice)),
    )


def _event_details(test: EventTest, voice: Voice) -> Iterator[str]:
    if _alone(test, voice):
        yield voice.phrase("EventTest.narrow")
    if test.category:
        yield voice.phrase("EventTest.category", category=test.category)
    if test.having:
        yield voice.phrase("EventTest.having", attributes=say_attributes(test.having, voice))
    if test.lacking:
        yield voice.phrase("EventTest.lacking", attributes=say_attributes(test.lacking, voice))
    yield voice.phrase(f"silence.{test.silence}")


def _alone(test: EventTest, voice: Voice) -> bool:
    """Whether narrower concepts were left out on purpose (``narrower: false``)."""
    known = [name for name in test.concepts if name in voice.vocabulary.concepts]
    return not test.category and any(
        narrower not in test.concepts for name in known for narrower in voice.vocabulary.with_narrower(name)
    )


def say_attributes(pairs: tuple[tuple[str, str], ...], voice: Voice) -> str:
    return voice.both(voice.phrase("attribute", name=name, value=value) for name, value in pairs)


def say_exposure(test: ExposureTest, voice: Voice) -> str:
    """The drugs, in which period, from which kinds of record."""
    names = voice.one_of(voice.name(name) if test.by == "drug" else voice.quoted(name) for name in test.names)
    kinds = voice.one_of(voice.phrase(f"kind.{kind}") for kind in test.kinds)
    return voice.phrase(
        "ExposureTest",
        kinds=voice.phrase("ExposureTest.kinds", kinds=kinds) if kinds else "",
        what=voice.phrase(f"ExposureTest.{test.by}", names=names),
        period=say_period(test.period, voice),
        details=voice.bracketed(_exposure_details(test, voice)),
    )


def _exposure_details(test: ExposureTest, voice: Voice) -> Iterator[str]:
    if test.systemic:
        yield voice.phrase("ExposureTest.systemic")
    if test.other_than:
        others = voice.both(voice.name(name) for name in test.other_than)
        yield voice.phrase("ExposureTest.other_than", names=others)
    if test.single_day:
        yield voice.phrase("ExposureTest.single_day")
    yield voice.phrase(f"silence.{test.silence}")
