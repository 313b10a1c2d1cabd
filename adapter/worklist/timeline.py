"""One person's readings, doses, visits and events on one axis of time, with the limits the protocol names.

Readings are those of the screening, in canonical units and exact; one reported as ``<0.15`` stays a range.
Doses are worked out by the rules' own reader (:mod:`adapter.protocol.doses`), so a chart and a verdict agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, tzinfo
from fractions import Fraction
from typing import Any, Literal

import msgspec

from adapter.model.course import DoseOf
from adapter.model.dates import add_months
from adapter.model.decision import Verdict
from adapter.model.facts import Event, Facts, Finding
from adapter.model.monitoring import Monitoring
from adapter.model.nodes import descend
from adapter.model.protocol import Protocol
from adapter.model.quantity import Comparison, Interval, brief, number_text
from adapter.model.rules import ReadingIs
from adapter.model.selection import Bounds
from adapter.protocol.context import Context
from adapter.protocol.days import Frame
from adapter.protocol.doses import doses_in

# What the course of a kidney disease under these drugs is followed by; a protocol that does not name one has
# no panel for it.
CHARTED = (
    "urine_protein_24h",
    "albumin",
    "pla2r_antibody",
    "egfr",
    "tacrolimus_trough",
    "ciclosporin_trough",
)
Span = Literal["all", "study", "year"]
_SIGNS: dict[Comparison, str] = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤", "equal": "="}
_SHOWN_EVENTS = ("kidney_biopsy", "adverse_event", "research_consent")


class Point(msgspec.Struct, frozen=True):
    """One reading. ``value`` is in the panel's unit; ``excluded`` says why it is not drawn (GLOSSARY.md)."""

    day: date
    when: str
    value: Interval | None
    shown: str
    original: str
    conversion: str
    method: str
    flags: tuple[str, ...]
    reference: str
    version: str
    excluded: str = ""


class Limit(msgspec.Struct, frozen=True):
    """A number the protocol compares with, and where: "INCL03A"."""

    value: Fraction
    sign: str
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.sign} {number_text(self.value)} ({', '.join(self.names)})"


class Band(msgspec.Struct, frozen=True):
    """What the protocol aims at: from ``low`` to ``high``, None for no end."""

    low: Fraction | None
    high: Fraction | None
    text: str


class Panel(msgspec.Struct, frozen=True):
    """One measure; a ``dose`` panel steps from one known daily dose to the next."""

    concept: str
    unit: str
    points: tuple[Point, ...]
    limits: tuple[Limit, ...] = ()
    band: Band | None = None
    dose: bool = False


class Happening(msgspec.Struct, frozen=True):
    """A day worth a line: a planned visit (``window`` is its first and last day), an event, entry or exit."""

    day: date
    name: str
    kind: Literal["visit", "entry", "event"]
    window: tuple[date, date] | None = None
    reference: str = ""


class Timeline(msgspec.Struct, frozen=True):
    first: date
    last: date
    panels: tuple[Panel, ...]
    happenings: tuple[Happening, ...]


def timeline(
    protocol: Protocol,
    facts: Facts,
    followed: Monitoring | None,
    *,
    as_of: date,
    zone: tzinfo,
    entered: date | None = None,
    span: Span = "all",
) -> Timeline:
    """Everything charted about one person up to ``as_of``."""
    named = {
        concept
        for node in descend(protocol)
        if isinstance(node, ReadingIs)
        for concept in node.selection.concepts
    }
    panels = [_panel(concept, protocol, facts.findings, as_of) for concept in CHARTED if concept in named]
    panels += _doses(protocol, facts, as_of, zone)
    panels = [panel for panel in panels if panel.points]
    happenings = tuple(
        sorted(_happenings(facts, followed, entered, as_of), key=lambda one: (one.day, one.kind, one.name))
    )
    known = [point.day for panel in panels for point in panel.points if not point.excluded]
    first = min(known, default=add_months(as_of, -12))
    if span == "year":
        first = max(first, add_months(as_of, -12))
    elif span == "study" and entered is not None:
        first = max(first, add_months(entered, -2))
    return Timeline(first, max([as_of, *known]), tuple(panels), happenings)


def _panel(concept: str, protocol: Protocol, findings: Iterable[Finding], as_of: date) -> Panel:
    rows = [
        row for row in findings if row.concept == concept and row.when is not None and row.when.first <= as_of
    ]
    unit = next((row.unit for row in rows if row.unit), "")
    points = tuple(sorted(map(_point, rows), key=lambda one: (one.when, one.method, one.reference)))
    return Panel(concept, unit, points, _limits(protocol, concept), _band(protocol, concept))


def _point(row: Finding) -> Point:
    when = row.when
    assert when is not None  # noqa: S101 - rows without a day were left out
    written = (
        f"{row.original} {row.original_unit}".strip()
        if row.original_unit not in row.original
        else row.original
    )
    return Point(
        when.first,
        when.iso,
        row.value,
        brief(row.value) if row.value is not None else row.answer or row.value_code,
        written,
        row.conversion,
        row.method,
        row.flags,
        row.source.reference,
        row.source.version,
        row.excluded or ("" if row.value is not None else "QUALITATIVE"),
    )


def _doses(protocol: Protocol, facts: Facts, as_of: date, zone: tzinfo) -> Iterator[Panel]:
    context = Context(protocol, facts, as_of=as_of, zone=zone, find_day=_nothing, decide=_nothing)
    drugs = dict.fromkeys(node.drugs for node in descend(protocol.plan.doses) if isinstance(node, DoseOf))
    for names in drugs:
        points = tuple(
            Point(
                dose.day,
                dose.day.isoformat(),
                Interval.exactly(dose.value),
                number_text(dose.value),
                "",
                "",
                "",
                dose.flags,
                ", ".join(row.source.reference for row in dose.rows),
                ", ".join(row.source.version for row in dose.rows if row.source.version),
            )
            for dose in doses_in(names, Frame(), context)
            if dose.value is not None
        )
        yield Panel(" ".join(names), "mg/d", _changes(points), dose=True)


def _changes(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Only the days on which the dose became another."""
    kept: list[Point] = []
    for point in points:
        if not kept or kept[-1].value != point.value:
            kept.append(point)
    return tuple(kept)


def _nothing(*_: object) -> Any:
    """Doses depend on no anchor and no verdict."""
    return None


def _limits(protocol: Protocol, concept: str) -> tuple[Limit, ...]:
    found: dict[tuple[Fraction, str], list[str]] = {}
    for top in protocol.every():
        for value, comparison in _bounds((top.lines, top.flags), concept):
            found.setdefault((value, _SIGNS[comparison]), []).append(top.id)
    for line in protocol.plan.responses:
        for value, comparison in _bounds((line.when,), concept):
            found.setdefault((value, _SIGNS[comparison]), []).append(line.state)
    return tuple(
        Limit(value, sign, tuple(dict.fromkeys(names)))
        for (value, sign), names in sorted(found.items())
        if value
    )


def _band(protocol: Protocol, concept: str) -> Band | None:
    """Complete response, an endpoint met at its visit, a dose rule kept: the narrowest of them."""
    aims: list[tuple[Fraction, Comparison, str]] = []
    for line in protocol.plan.responses:
        if line.state == "complete":
            aims += [(value, way, line.state) for value, way in _bounds((line.when,), concept)]
    for rule in (*protocol.plan.endpoints, *protocol.plan.doses):
        kept = tuple(line.when for line in rule.lines if line.verdict is Verdict.MET)
        at_visit = rule.kind == "endpoint"
        aims += [(value, way, rule.id) for value, way in _bounds(kept, concept, at_visit=at_visit)]
    highest = min((one for one in aims if one[1] in ("below", "at_most")), default=None)
    lowest = max((one for one in aims if one[1] in ("above", "at_least")), default=None)
    if highest is None and lowest is None:
        return None
    told = [
        f"{_SIGNS[way]} {number_text(value)} ({name})" for value, way, name in filter(None, (lowest, highest))
    ]
    return Band(lowest[0] if lowest else None, highest[0] if highest else None, ", ".join(told))


def _bounds(nodes: object, concept: str, *, at_visit: bool = False) -> Iterator[tuple[Fraction, Comparison]]:
    for node in descend(nodes):
        if not isinstance(node, ReadingIs) or concept not in node.selection.concepts:
            continue
        if isinstance(node.test, Bounds) and (node.selection.near is not None or not at_visit):
            for bound in node.test.bounds:
                if not bound.amount.of:
                    yield bound.amount.value, bound.comparison


def _happenings(
    facts: Facts, followed: Monitoring | None, entered: date | None, as_of: date
) -> Iterator[Happening]:
    if entered is not None:
        yield Happening(entered, "entry", "entry")
    for visit in followed.visits if followed is not None else ():
        yield Happening(visit.target, visit.visit, "visit", (visit.first, visit.last))
    seen: set[tuple[str, date]] = set()
    for event in facts.events:
        day = _day_of(event)
        if event.concept in _SHOWN_EVENTS and not event.excluded and day is not None and day <= as_of:
            if (event.concept, day) not in seen:
                yield Happening(day, event.concept, "event", reference=event.source.reference)
            seen.add((event.concept, day))


def _day_of(event: Event) -> date | None:
    return event.start.first if event.start is not None else None
