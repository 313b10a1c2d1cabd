"""Ladders in words: what is measured, a state, a way out of it."""

from __future__ import annotations

from adapter.model.ladder import ENTRY, Ladder, Measure, State, Transition
from adapter.protocol.render.moments import say_days, say_offset
from adapter.protocol.render.readings import say_bound
from adapter.protocol.render.voice import Voice


def say_measure(measure: Measure, voice: Voice) -> str:
    """``a fall of eGFR against its baseline``; nothing for a ladder that goes by the calendar."""
    what = voice.named(measure.selection.concepts)
    if measure.kind == "multiple":
        limit = voice.phrase(f"Measure.{measure.limit}")
        return voice.phrase(f"Measure.multiple.{measure.worst}", what=what, limit=limit)
    return voice.phrase(f"Measure.{measure.kind}", what=what)


def say_state(state: State, voice: Voice) -> str:
    return (state.name_zh if voice.language == "zh" else "") or state.name


def say_way(way: Transition, ladder: Ladder, voice: Voice) -> str:
    """``to S2 quartered: above 30 % at the review``."""
    trigger = way.trigger
    target = f"{way.target} {say_state(ladder.state(way.target), voice)}"
    if way.after is not None:
        length = say_offset(way.after, voice) if way.after.months else say_days(way.after.days, voice)
        return voice.phrase("Way.after", target=target, length=length)
    parts = [say_bound(bound, voice) for bound in trigger.bounds]
    if trigger.risen:
        parts.append(voice.phrase("Way.risen"))
    if trigger.since is not None:
        day = trigger.since.day
        name = voice.phrase("Way.entry") if day == ENTRY else day.replace("_", " ")
        parts.append(voice.phrase("Way.since", days=say_days(trigger.since.days, voice), day=name))
    if trigger.again_within is not None:
        parts.append(
            voice.phrase("Way.again", first=trigger.again_after, last=say_days(trigger.again_within, voice))
        )
    return voice.phrase(
        f"Way.{trigger.timing}",
        target=target,
        condition=voice.both(parts),
    )
