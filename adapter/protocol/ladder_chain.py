"""Why a ladder stands where it does: its sentence, its steps with their readings, and what would move it.

As :mod:`adapter.protocol.chain`: nothing is evaluated again, every part is read from the kept
:class:`adapter.model.monitoring.LadderState` or from the ladder itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Literal

import msgspec

from adapter.model.decision import Evidence
from adapter.model.ladder import Ladder, State
from adapter.model.monitoring import LadderState, LadderStep
from adapter.protocol.outcome import merge_evidence
from adapter.protocol.render.ladders import say_measure, say_state, say_way
from adapter.protocol.render.voice import Voice


class LadderMove(msgspec.Struct, frozen=True):
    """One step, or (``source`` is ``target``) a result that was stored and moved nothing."""

    source: str
    target: str
    on: date
    trigger: str
    action: str
    dose: str
    flags: tuple[str, ...]
    used: tuple[Evidence, ...]
    ignored: tuple[Evidence, ...]
    support: tuple[Evidence, ...]


class LadderChain(msgspec.Struct, frozen=True):
    """One ladder from its printed sentence to what would change it.

    ``moves`` are the steps and the results that were stored; ``latest`` the readings of the newest day that
    was looked at. ``review_first``..``review_last`` is when the next result (or the next step by the
    calendar) is due, ``ways`` what would lead on from here, ``settles`` what is missing.
    """

    id: str
    text: str
    source: str
    criterion: str
    measured: str
    state: str
    state_name: str
    action: str
    entered: date | None
    moves: tuple[LadderMove, ...]
    latest: tuple[Evidence, ...]
    review_first: date | None
    review_last: date | None
    overdue: bool
    terminal: bool
    revisions: tuple[str, ...]
    flags: tuple[str, ...]
    alternatives: tuple[str, ...]
    ways: tuple[str, ...]
    settles: tuple[str, ...]
    kind: Literal["ladder"] = "ladder"


def ladder_chain(ladder: Ladder, found: LadderState, voice: Voice) -> LadderChain:
    """The chain of a ladder that stands as ``found``; raises KeyError if the state is not one of its own."""
    state = ladder.state(found.state)
    away = "NOT_APPLICABLE" in found.flags
    return LadderChain(
        id=ladder.id,
        text=_in(voice, ladder.text, ladder.text_zh),
        source=ladder.source,
        criterion=ladder.criterion,
        measured=say_measure(ladder.measure, voice),
        state=state.id,
        state_name=say_state(state, voice),
        action=_in(voice, state.action, state.action_zh),
        entered=found.entered,
        moves=tuple(_move(step, ladder, voice) for step in found.steps),
        latest=found.latest,
        review_first=found.review_first,
        review_last=found.review_last,
        overdue=found.overdue,
        terminal=found.terminal,
        revisions=found.revisions,
        flags=found.flags,
        alternatives=tuple(other.reading for other in ladder.alternatives if other.name in found.flags),
        ways=() if away else tuple(_ways(state, ladder, voice)),
        settles=found.settles,
    )


def _in(voice: Voice, english: str, chinese: str) -> str:
    return (chinese if voice.language == "zh" else "") or english


def _move(step: LadderStep, ladder: Ladder, voice: Voice) -> LadderMove:
    target = ladder.state(step.target)
    shown = merge_evidence((step.evidence,))
    by_role = {
        role: tuple(item for item in shown if item.role == role) for role in ("used", "ignored", "support")
    }
    return LadderMove(
        step.source,
        step.target,
        step.on,
        step.trigger,
        _in(voice, target.action, target.action_zh) if step.source != step.target else "",
        step.dose,
        step.flags,
        by_role["used"],
        by_role["ignored"],
        by_role["support"],
    )


def _ways(state: State, ladder: Ladder, voice: Voice) -> Iterable[str]:
    return (say_way(way, ladder, voice) for way in state.next)
