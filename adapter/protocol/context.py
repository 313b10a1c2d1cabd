"""One subject's record as of a day, seen by one protocol, with what has been worked out about it so far."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import date, tzinfo
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from adapter.model.dates import on_day
from adapter.model.decision import CriterionResult, Evidence
from adapter.model.facts import Facts, Finding, Subject
from adapter.model.monitoring import LadderState
from adapter.model.nodes import Moment, Period
from adapter.model.protocol import Criterion, Protocol, Visit
from adapter.model.rules import AnchorRule, Condition
from adapter.model.selection import Selection
from adapter.protocol.days import Frame, Span
from adapter.protocol.outcome import Outcome
from adapter.protocol.record import Record
from adapter.protocol.saying import say

Found = TypeVar("Found")


class _Names:
    """What a protocol names, by name."""

    def __init__(self, protocol: Protocol) -> None:
        self.anchors = {named.name: named.rule for named in protocol.anchors}
        self.criteria = {criterion.id: criterion for criterion in protocol.every()}
        self.visits = {visit.id: visit for visit in protocol.visits}
        self.readings: dict[str, Selection] = {
            named.name: named.rule for named in protocol.readings if isinstance(named.rule, Selection)
        }


@lru_cache(maxsize=4)
def _names_of(protocol: Protocol) -> _Names:
    return _Names(protocol)


class Context:
    """Everything a rule may look at.

    What is worked out is kept as long as the context: days, outcomes and verdicts for each visit that is
    asked about, readings and doses (:meth:`once`) for all of them.
    """

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
    ) -> None:
        self.protocol = protocol
        self.facts = facts
        self.zone = zone
        self.as_of = Span.of(on_day(as_of))
        self.subject: Subject = facts.subjects[0]
        self.record = Record(facts, protocol.questionnaire)
        rows = [row for row in facts.coverage if row.subject in ("", self.subject.id)]
        self.lost = frozenset(row.resource_type for row in rows if row.lost)
        self.limited = frozenset(row.resource_type for row in rows if row.limited) - self.lost
        self._find_day = find_day
        self._decide = decide
        self._names = _names_of(protocol)
        self.readings = self._names.readings
        self.ladders = ladders
        self._once: dict[Hashable, Any] = {}
        self._start_over()

    def _start_over(self) -> None:
        """Forget what was concluded; what was worked out once stays."""
        self.visit: Visit | None = None
        self._home: Context | None = None  # where no visit is asked about; None: here
        self._at_visits: dict[str, Context] = {}
        self._on_days: dict[date, Context] = {}
        self._whole: Context | None = None
        self._forget_visit()

    def _forget_visit(self) -> None:
        self._anchors: dict[str, Span | None] = {}
        self._moments: dict[Moment, Span | None] = {}
        self._frames: dict[Period, Frame | None] = {}
        self._results: dict[str, CriterionResult] = {}
        self.outcomes: dict[Condition, Outcome] = {}
        self.kept: dict[str, Any] = {}

    def once(self, key: Hashable, work: Callable[[], Found]) -> Found:
        """What ``work`` finds, worked out once for the record as of the day, at whichever visit it is asked.

        The key says all that it depends on besides the two.
        """
        if key not in self._once:
            self._once[key] = work()
        found: Found = self._once[key]
        return found

    def resolve(self, moment: Moment) -> Span | None:
        """The days a moment may be; None if its anchor is not known for this subject."""
        if moment not in self._moments:
            self._moments[moment] = self._resolved(moment)
        return self._moments[moment]

    def _resolved(self, moment: Moment) -> Span | None:
        if moment.day is not None:
            span: Span | None = Span.of(on_day(moment.day))
        else:
            span = self._anchor(moment.anchor)
        if span is None or not moment.shift:
            return span
        return span.shifted(moment.shift, moment.unit)

    def at(self, visit_id: str) -> Context:
        """The same facts with the anchors ``visit``, ``visit_first``, ``visit_last`` of a planned visit."""
        if not visit_id:
            return self._root
        if visit_id not in self._at_visits:
            bound = copy.copy(self)
            bound._home = self._root
            bound._forget_visit()
            bound.visit = self._names.visits[visit_id]
            self._at_visits[visit_id] = bound
        return self._at_visits[visit_id]

    @property
    def _root(self) -> Context:
        return self if self._home is None else self._home

    def on(self, day: date) -> Context:
        """What is known now, asked about another day."""
        root = self._root
        if day not in root._on_days:
            other = root._anew()
            other.as_of, other._once = Span.of(on_day(day)), {}
            root._on_days[day] = other
        return root._on_days[day]

    def with_ladders(self, ladders: Iterable[LadderState]) -> Context:
        """The same, where rules may ask where these ladders stand."""
        other = self._anew()
        other.ladders = {state.ladder: state for state in ladders}
        return other

    def as_if_whole(self) -> Context:
        """The same as if nothing of the record had been lost, for what the records that came would say."""
        if not (self.lost or self.limited):
            return self
        root = self._root
        if root._whole is None:
            root._whole = root._anew()
            root._whole.lost = root._whole.limited = frozenset()
        return root._whole.at(self.visit.id if self.visit is not None else "")

    def as_known(self, day: date, findings: Mapping[str, Iterable[Finding]]) -> Context:
        """The same on an earlier day with the readings known then; anchors that were worked out stay."""
        other = copy.copy(self)
        other._home = self._root
        other.as_of = Span.of(on_day(day))
        other.record = self.record.with_findings(findings)
        other._once, other._moments, other._frames, other.outcomes = {}, {}, {}, {}
        return other

    def _anew(self) -> Context:
        other = copy.copy(self)
        other._start_over()
        return other

    def _visit_day(self, name: str) -> Span | None:
        if self.visit is None:
            return None
        zero = self._anchor(self.protocol.plan.day_zero)
        places = {"visit": self.visit.day, "visit_first": self.visit.first, "visit_last": self.visit.last}
        place = places[name]
        return zero.shifted(place.months, "months").shifted(place.days, "days") if zero else None

    def _anchor(self, name: str) -> Span | None:
        if name not in self._names.anchors:
            return self._visit_day(name)
        if name not in self._anchors:
            rule = self._names.anchors[name]
            assert not isinstance(rule, Period | Selection)  # noqa: S101 - the loader only puts anchors there
            self._anchors[name] = self._find_day(rule, self)
        return self._anchors[name]

    def frame(self, period: Period) -> Frame | None:
        """The period with its ends; None if an anchor it needs is unknown.

        An assessment sees nothing from after its day: an open or later end is the as-of day.
        """
        if period not in self._frames:
            self._frames[period] = self._framed(period)
        return self._frames[period]

    def _framed(self, period: Period) -> Frame | None:
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
            say("the date of {what}", what=say(moment.anchor.replace("_", " ")))
            for moment in moments
            if moment is not None and self.resolve(moment) is None
        )

    def result(self, criterion_id: str) -> CriterionResult:
        """The verdict on another criterion, worked out once."""
        criterion = self._names.criteria[criterion_id]
        home = self.at(criterion.visit)
        if criterion_id not in home._results:
            home._results[criterion_id] = self._decide(criterion, home)
        return home._results[criterion_id]

    def subject_evidence(self, element: str, value: str) -> Evidence:
        return Evidence(source=self.subject.source, role="used", concept=element, original=value, value=value)
