"""States of an outbox row and who may move it from which to which; ``docs/write-back.md`` shows this table.

A row is one plan for one person on one rung. Nothing is ever sent that is not in ``sending`` first, so a
process that dies leaves a row that says so, and the next run looks before it repeats anything.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

State = Literal[
    "planned",
    "approved",
    "rejected",
    "sending",
    "unknown",
    "done",
    "superseded",
    "refused",
    "conflict",
]
Mover = Literal["system", "person"]
STATES: tuple[State, ...] = get_args(State)
NEW = ""
MEANINGS: dict[State, str] = {
    "planned": "what would be written is known; where the site wants approval it waits for a person",
    "approved": "a person allowed exactly this content",
    "rejected": "a person said no to exactly this content",
    "sending": "a request may be on its way; after a crash: nobody knows yet what arrived",
    "unknown": "the answer was lost; the server is looked at before anything is repeated",
    "done": "the server holds it, and the receipts say in which version",
    "superseded": "the records say something else by now; whatever part of it arrived has its receipts",
    "refused": "the server will not take it on this rung",
    "conflict": "someone changed the resource in between; read and planned again, never forced",
}
# Neither moves any more; what changes later is a new row.
FINAL: frozenset[State] = frozenset({"done", "superseded"})


class Move(NamedTuple):
    """``source`` is "" for a row that was not there."""

    source: str
    target: State
    who: Mover


def _by(who: Mover, source: str, *targets: State) -> tuple[Move, ...]:
    return tuple(Move(source, target, who) for target in targets)


MOVES: tuple[Move, ...] = (
    *_by("system", NEW, "planned"),
    *_by("person", "planned", "approved", "rejected"),
    *_by("system", "planned", "sending", "superseded", "refused"),
    *_by("person", "approved", "rejected"),
    *_by("system", "approved", "sending", "superseded", "refused"),
    *_by("person", "rejected", "approved"),
    *_by("system", "rejected", "superseded"),
    *_by("system", "sending", "done", "unknown", "refused", "conflict"),
    *_by("system", "unknown", "done", "sending", "superseded"),
    *_by("person", "unknown", "done", "superseded"),
    *_by("system", "conflict", "sending", "superseded"),
    *_by("system", "refused", "sending", "superseded"),
)
_ALLOWED = frozenset(MOVES)


def may(who: Mover, source: str, target: str) -> bool:
    return (source, target, who) in _ALLOWED


def diagram() -> str:
    """The table as a Mermaid state diagram; each arrow is labelled with who causes it."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {move.source or '[*]'} --> {move.target} : {move.who}" for move in MOVES]
    lines += [f"    {state} --> [*]" for state in STATES if state in FINAL]
    return "\n".join(lines)


def table() -> str:
    """The table in Markdown: what each state means, and where it leads by whom."""
    rows = ["| state | meaning | the system moves it to | a person moves it to |", "|---|---|---|---|"]
    for state in STATES:
        moves = [
            ", ".join(move.target for move in MOVES if (move.source, move.who) == (state, who)) or "-"
            for who in get_args(Mover)
        ]
        rows.append(f"| `{state}` | {MEANINGS[state]} | {moves[0]} | {moves[1]} |")
    return "\n".join(rows)
