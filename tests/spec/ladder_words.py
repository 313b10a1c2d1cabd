"""Short ways to climb the ladders of NCT03864250 in tests: days are counted from randomisation."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

import msgspec

from adapter.model.dates import on_day
from adapter.model.facts import Finding, Intervention, Source
from adapter.model.ladder import Ladder
from adapter.model.monitoring import LadderState
from adapter.model.nodes import Moment
from adapter.model.protocol import Named, Protocol
from adapter.model.rules import AnchorDay
from adapter.protocol.anchors import find_day
from adapter.protocol.context import Context
from adapter.protocol.evaluate import decide
from adapter.protocol.ladder import climb, moves
from adapter.protocol.ladder_load import load_ladders
from tests.spec.protocol_words import MAPPINGS, ZONE, Row, egfr, facts, lab, protocol, said, vocabulary

R = date(2019, 6, 3)
FOLDER = MAPPINGS / "protocols" / "NCT03864250"
ARRIVAL = 0


def day(number: int) -> str:
    return (R + timedelta(days=number)).isoformat()


@cache
def ladders() -> dict[str, Ladder]:
    return {ladder.id: ladder for ladder in load_ladders(FOLDER, vocabulary(), protocol())}


@cache
def enrolled() -> Protocol:
    """The protocol with its day of entry known."""
    known = Named(name="entry", rule=AnchorDay(moment=Moment(day=R)))
    others = tuple(named for named in protocol().anchors if named.name != known.name)
    return msgspec.structs.replace(protocol(), anchors=(*others, known))


def context(*rows: Row, on: int) -> Context:
    """Everything on record, seen on a day after randomisation."""
    as_of = R + timedelta(days=on)
    return Context(enrolled(), facts(*rows), as_of=as_of, zone=ZONE, find_day=find_day, decide=decide)


def climbed(name: str, *rows: Row, on: int) -> LadderState:
    return climb(ladders()[name], context(*rows, on=on))


def gfr(value: str, on: int, **more: Any) -> Finding:
    return msgspec.structs.replace(egfr(value, day(on)), **more)


def trough(value: str, on: int) -> Finding:
    return lab("tacrolimus_trough", value, day(on), unit="ng/mL")


def enzyme(concept: str, value: str, on: int, limit: int | None = None, **more: Any) -> Finding:
    usual = {"alt": 40, "ast": 40, "bilirubin_total": 21}[concept] if limit is None else limit
    return lab(concept, value, day(on), limit=usual or None, **more)


def tablets(per_day: str, on: int) -> Intervention:
    """An order for tacrolimus with its daily dose in mg."""
    return Intervention(
        "p",
        "tacrolimus",
        Source(f"MedicationRequest/tacrolimus-{on}-{per_day}", "1"),
        "order",
        dose_unit="mg",
        daily_dose=Fraction(per_day),
        start=on_day(R + timedelta(days=on)),
        ongoing=True,
    )


def answered(link: str, on: int) -> Finding:
    return said(link, day(on), day(on))


def told(state: LadderState) -> str:
    """``S0 -> S1 @70 2 mg/d [UNCONFIRMED]; ...``: the moves, as the tables write them."""
    texts = []
    for step in moves(state):
        flags = f" [{', '.join(step.flags)}]" if step.flags else ""
        dose = f" {step.dose}" if step.dose else ""
        texts.append(f"{step.source} -> {step.target} @{(step.on - R).days}{dose}{flags}")
    return "; ".join(texts)
