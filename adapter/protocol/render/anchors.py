"""Anchors in words: which day a name stands for."""

from __future__ import annotations

from adapter.model.rules import (
    AnchorDay,
    AnchorRule,
    AsOf,
    AttestedDay,
    BirthDay,
    EarliestOf,
    EventDay,
    ExposureDay,
    FirstKnown,
    ReadingDay,
)
from adapter.protocol.render.moments import say_moment, say_period
from adapter.protocol.render.readings import say_selection, say_test
from adapter.protocol.render.records import say_attributes
from adapter.protocol.render.voice import Voice


def say_anchor(rule: AnchorRule, voice: Voice) -> str:
    """Which day an anchor is."""
    match rule:
        case AsOf():
            return voice.phrase("AsOf")
        case BirthDay():
            return voice.phrase("BirthDay")
        case AttestedDay(link=link):
            return voice.phrase("AttestedDay", link=voice.quoted(link))
        case EventDay():
            return _event_day(rule, voice)
        case ExposureDay(drugs=drugs):
            return voice.phrase(
                "ExposureDay",
                take=voice.phrase(f"EventDay.{rule.take}"),
                edge=voice.phrase(f"EventDay.{rule.edge}"),
                drugs=voice.one_of(voice.name(drug) for drug in drugs),
                period=say_period(rule.period, voice),
            )
        case ReadingDay(selection=selection, test=test):
            said = voice.phrase("ReadingDay.test", test=say_test(test, voice)) if test else ""
            return voice.phrase("ReadingDay", selection=say_selection(selection, voice), test=said)
        case AnchorDay(moment=moment):
            return voice.phrase("AnchorDay", moment=say_moment(moment, voice))
        case FirstKnown(options=options):
            return voice.phrase("FirstKnown", options=_options(options, voice))
        case EarliestOf(options=options):
            return voice.phrase("EarliestOf", options=_options(options, voice))


def _event_day(rule: EventDay, voice: Voice) -> str:
    having = say_attributes(rule.having, voice)
    return voice.phrase(
        "EventDay",
        take=voice.phrase(f"EventDay.{rule.take}"),
        edge=voice.phrase(f"EventDay.{rule.edge}"),
        what=voice.named(rule.concepts),
        having=voice.bracketed((voice.phrase("EventTest.having", attributes=having),)) if having else "",
    )


def _options(options: tuple[AnchorRule, ...], voice: Voice) -> str:
    return voice.phrase("semicolon").join(say_anchor(option, voice) for option in options)
