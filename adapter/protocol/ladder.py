"""Climbing a ladder: what stands now, how it came to that, and what later corrections changed."""

from __future__ import annotations

import msgspec

from adapter.model.decision import Verdict
from adapter.model.ladder import Ladder, OtherLadder
from adapter.model.monitoring import LadderState, LadderStep
from adapter.protocol.context import Context
from adapter.protocol.ladder_history import revisions
from adapter.protocol.ladder_replay import replay
from adapter.protocol.outcome import unique
from adapter.protocol.partial import PARTIAL_RECORD, is_partial, lost_part, reach_of


def climb(ladder: Ladder, context: Context) -> LadderState:
    """Where a ladder stands for the subject of ``context`` on its as-of day.

    Pure: the whole history is replayed each time. A step whose source is its target shows a result that was
    stored and moved nothing. If another reading of the text ends in another state the flags say
    READING_DIFFERS and its name. ``settles`` is empty unless something is not known.
    """
    found = _by_what_came(replay(ladder, context), ladder, context)
    differing = tuple(
        other.name
        for other in ladder.alternatives
        if replay(_read_as(ladder, other), context).state != found.state
    )
    flags = unique((*found.flags, *(("READING_DIFFERS",) if differing else ()), *differing))
    return msgspec.structs.replace(found, flags=flags, revisions=revisions(ladder, context))


def _by_what_came(found: LadderState, ladder: Ladder, context: Context) -> LadderState:
    """Where a part of the record that the ladder climbs by was lost, it stands only by what came."""
    if not context.lost:
        return found
    lost = context.lost & reach_of(context.protocol).of_ladder(ladder)
    if not lost:
        return found
    missing = (lost_part(name, context) for name in sorted(lost))
    return msgspec.structs.replace(
        found, flags=unique((*found.flags, PARTIAL_RECORD)), settles=unique((*missing, *found.settles))
    )


def _read_as(ladder: Ladder, other: OtherLadder) -> Ladder:
    ways = dict(other.next)
    states = tuple(
        msgspec.structs.replace(state, next=ways.get(state.id, state.next)) for state in ladder.states
    )
    return msgspec.structs.replace(ladder, states=states)


def verdict(state: LadderState) -> Verdict:
    """The exit that the terminal state means: met there, unknown while something is missing or overdue."""
    if is_partial(state.flags):
        return Verdict.UNKNOWN
    if state.terminal:
        return Verdict.MET
    return Verdict.UNKNOWN if state.overdue or state.settles else Verdict.NOT_MET


def moves(state: LadderState) -> tuple[LadderStep, ...]:
    """The steps that changed the state; the others only show a result that was stored."""
    return tuple(step for step in state.steps if step.source != step.target)
