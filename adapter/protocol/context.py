"""The facts of one subject, indexed, with what has been worked out about them so far."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import date, tzinfo
from types import MappingProxyType
from typing import Any

import msgspec

from adapter.model.dates import on_day
from adapter.model.decision import CriterionResult, Evidence
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject
from adapter.model.monitoring import LadderState
from adapter.model.nodes import Moment, Period
from adapter.model.protocol import Criterion, Protocol, Visit
from adapter.model.rules import AnchorRule
from adapter.model.selection import Selection
from adapter.protocol.days import Frame, Span


class Context:
    """Everything a rule may look at. Rows are in canonical order whatever order they came in."""

    def __init__(
        self,
        protocol: Protocol,
        facts: Facts,
        *,
        as_of: date,
        zone: tzinfo,
        find_day: Callable[[AnchorRule, Context], Span | None],
        decide: Callable[[Criterion, Context], CriterionResult],
        ladders: Mapping[str, LadderState] = MappingProxyType({}),
        as_if_whole: bool = False,
    ) -> None:
        self.protocol = protocol
        self.facts = facts
        self.zone = zone
        self.as_of = Span.of(on_day(as_of))
        self.subject: Subject = facts.subjects[0]
        rows = () if as_if_whole else [row for row in facts.coverage if row.subject in ("", self.subject.id)]
        self.lost = frozenset(row.resource_type for row in rows if row.lost)
        self.limited = frozenset(row.resource_type for row in rows if row.limited) - self.lost
        self._as_if_whole = as_if_whole
        self._whole: Context | None = self if as_if_whole else None
        self._find_day = find_day
        self._decide = decide
        self._anchors: dict[str, Span | None] = {}
        self._rules = {named.name: named.rule for named in protocol.anchors}
        self._criteria = {criterion.id: criterion for criterion in protocol.every()}
        self._visits = {visit.id: visit for visit in protocol.visits}
        self.visit: Visit | None = None
        self._at_visits: dict[str, Context] = {"": self}
        self.ladders = ladders
        self.kept: dict[str, Any] = {}
        self._results: dict[str, CriterionResult] = {}
        self.readings: dict[str, Selection] = {
            named.name: named.rule for named in protocol.readings if isinstance(named.rule, Selection)
        }
        self.findings: dict[str, list[Finding]] = {}
        self.answers: dict[str, list[Finding]] = {}
        for finding in sorted(facts.findings, key=finding_order):
            if finding.category == "questionnaire":
                if finding.code.system.partition("|")[0] == protocol.questionnaire.partition("|")[0]:
                    self.answers.setdefault(finding.code.code, []).append(finding)
            else:
                self.findings.setdefault(finding.concept, []).append(finding)
        self.events: dict[str, list[Event]] = {}
        for event in sorted(facts.events, key=_event_order):
            self.events.setdefault(event.concept, []).append(event)
        self.interventions: tuple[Intervention, ...] = tuple(
            sorted(facts.interventions, key=_intervention_order)
        )

    def resolve(self, moment: Moment) -> Span | None:
        """The days a moment may be; None if its anchor is not known for this subject."""
        if moment.day is not None:
            span: Span | None = Span.of(on_day(moment.day))
        else:
            span = self._anchor(moment.anchor)
        if span is None or not moment.shift:
            return span
        return span.shifted(moment.shift, moment.unit)

    def at(self, visit_id: str) -> Context:
        """The same facts with the anchors ``visit``, ``visit_first``, ``visit_last`` of a planned visit."""
        if visit_id not in self._at_visits:
            bound = copy.copy(self)
            bound.visit = self._visits[visit_id]
            bound._anchors, bound._results, bound.kept = {}, {}, {}
            self._at_visits[visit_id] = bound
        return self._at_visits[visit_id]

    def on(self, day: date) -> Context:
        """What is known now, asked about another day."""
        return self._asked(day, self._as_if_whole)

    def as_if_whole(self) -> Context:
        """The same as if nothing of the record had been lost, for what the records that came would say."""
        root = self._at_visits[""]
        if root._whole is None:
            root._whole = root._asked(root.as_of.last, True)
        return root._whole.at(self.visit.id if self.visit is not None else "")

    def _asked(self, day: date, as_if_whole: bool) -> Context:
        return Context(
            self.protocol,
            self.facts,
            as_of=day,
            zone=self.zone,
            find_day=self._find_day,
            decide=self._decide,
            ladders=self.ladders,
            as_if_whole=as_if_whole,
        )

    def _visit_day(self, name: str) -> Span | None:
        if self.visit is None:
            return None
        zero = self._anchor(self.protocol.plan.day_zero)
        places = {"visit": self.visit.day, "visit_first": self.visit.first, "visit_last": self.visit.last}
        place = places[name]
        return zero.shifted(place.months, "months").shifted(place.days, "days") if zero else None

    def _anchor(self, name: str) -> Span | None:
        if name not in self._rules:
            return self._visit_day(name)
        if name not in self._anchors:
            rule = self._rules[name]
            assert not isinstance(rule, Period | Selection)  # noqa: S101 - the loader only puts anchors there
            self._anchors[name] = self._find_day(rule, self)
        return self._anchors[name]

    def frame(self, period: Period) -> Frame | None:
        """The period with its ends; None if an anchor it needs is unknown.

        An assessment sees nothing from after its day: an open or later end is the as-of day.
        """
        start = self.resolve(period.start) if period.start else None
        end = self.resolve(period.end) if period.end else self.as_of
        if (period.start and start is None) or end is None:
            return None
        today = self.as_of.last
        if end.first >= today:
            return Frame(start, self.as_of)
        return Frame(start, msgspec.structs.replace(end, last=min(end.last, today)))

    def missing(self, *moments: Moment | None) -> tuple[str, ...]:
        """What to ask for when one of these moments is not known."""
        return tuple(
            f"the date of {moment.anchor.replace('_', ' ')}"
            for moment in moments
            if moment is not None and self.resolve(moment) is None
        )

    def result(self, criterion_id: str) -> CriterionResult:
        """The verdict on another criterion, worked out once."""
        criterion = self._criteria[criterion_id]
        home = self.at(criterion.visit)
        if criterion_id not in home._results:
            home._results[criterion_id] = self._decide(criterion, home)
        return home._results[criterion_id]

    def subject_evidence(self, element: str, value: str) -> Evidence:
        return Evidence(source=self.subject.source, role="used", concept=element, original=value, value=value)


def finding_order(row: Finding) -> tuple[object, ...]:
    when = row.when
    return (when is None, when.order if when else (), row.concept, row.source, row.method, repr(row))


def _event_order(row: Event) -> tuple[object, ...]:
    return (row.start is None, row.start.order if row.start else (), row.source, repr(row))


def _intervention_order(row: Intervention) -> tuple[object, ...]:
    return (row.start is None, row.start.order if row.start else (), row.source, repr(row))
