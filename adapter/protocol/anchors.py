"""Working out the days that a protocol's anchors stand for, for one subject."""

from __future__ import annotations

from adapter.model.dates import PartialDate
from adapter.model.decision import Evidence
from adapter.model.facts import Event
from adapter.model.kleene import Truth
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
from adapter.protocol.answers import latest_answers
from adapter.protocol.context import Context
from adapter.protocol.days import Span
from adapter.protocol.judge import judge
from adapter.protocol.readings import collect, deciding, evidence_of


def find_day(rule: AnchorRule, context: Context) -> Span | None:
    """The days the anchor may be, with the record that says so; None if nothing says so."""
    match rule:
        case AsOf():
            return context.as_of
        case BirthDay():
            birth = context.subject.birth
            if birth is None:
                return None
            return Span.of(birth, (context.subject_evidence("birthDate", birth.iso),))
        case AttestedDay(link=link):
            return _attested(link, context)
        case EventDay():
            return _event(rule, context)
        case ExposureDay():
            return _exposure(rule, context)
        case ReadingDay():
            return _reading(rule, context)
        case AnchorDay(moment=moment):
            return context.resolve(moment)
        case FirstKnown(options=options):
            found = (find_day(option, context) for option in options)
            return next((span for span in found if span is not None), None)
        case EarliestOf(options=options):
            spans = [span for option in options if (span := find_day(option, context)) is not None]
            return min(spans, key=lambda span: (span.first, span.last), default=None)


def _attested(link: str, context: Context) -> Span | None:
    newest, _ = latest_answers(link, context)
    dates = {row.value_date for row in newest if row.value_date is not None}
    if len({(when.first, when.last) for when in dates}) != 1:
        return None
    row = next(row for row in newest if row.value_date is not None)
    assert row.value_date is not None  # noqa: S101 - chosen for having one
    return Span.of(row.value_date, (evidence_of(row, "used"),))


def _event(rule: EventDay, context: Context) -> Span | None:
    def day(row: Event) -> PartialDate | None:
        return row.start if rule.edge == "start" else row.end

    rows = [
        row
        for name in rule.concepts
        for row in context.record.events.get(name, ())
        if not row.excluded
        and row.use not in ("SUPP", "NEVER")
        and row.presence in ("present", "past")
        and all(value in row.attribute(key).split() for key, value in rule.having)
        and (when := day(row)) is not None
        and when.first <= context.as_of.last
    ]
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: (*_order(day(row)), row.source))
    chosen = ordered[0] if rule.take == "earliest" else ordered[-1]
    when = day(chosen)
    assert when is not None  # noqa: S101 - rows without that date were left out above
    said = Evidence(
        chosen.source,
        "used",
        chosen.concept,
        when.iso,
        chosen.code.display or chosen.code.code,
        chosen.presence,
    )
    return Span.of(when, (said,))


def _exposure(rule: ExposureDay, context: Context) -> Span | None:
    """An edge that is not on record gives no day; an exposure beyond the as-of day has not come."""
    frame = context.frame(rule.period)
    if frame is None:
        return None
    found = []
    for row in context.record.interventions:
        when = row.start if rule.edge == "start" else row.exposure_end or row.end
        if row.concept not in rule.drugs or row.excluded or row.use in ("SUPP", "NEVER") or when is None:
            continue
        if when.first <= context.as_of.last and frame.holds(when) is Truth.TRUE:
            found.append((when, row))
    if not found:
        return None
    ordered = sorted(found, key=lambda pair: (*pair[0].order, pair[1].source))
    when, chosen = ordered[0] if rule.take == "earliest" else ordered[-1]
    said = Evidence(
        chosen.source,
        "used",
        chosen.concept,
        when.iso,
        chosen.code.display or chosen.code.code,
        chosen.kind,
    )
    return Span.of(when, (said,))


def _order(when: PartialDate | None) -> tuple[object, ...]:
    return when.order if when else ()


def _reading(rule: ReadingDay, context: Context) -> Span | None:
    rows = collect(rule.selection, context).valid
    if rule.test is not None:
        test = rule.test
        rows = tuple(row for row in rows if judge(row, test, context).truth is Truth.TRUE)
    chosen = deciding(rows, rule.selection, context)
    if not chosen or chosen[0].when is None:
        return None
    return Span.of(chosen[0].when, (evidence_of(chosen[0], "used"),))
