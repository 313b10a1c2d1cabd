"""Comparing days that are known to a day, a month or a year.

A comparison is true or false only if it is so for every day each side may be; else it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import msgspec

from adapter.model.dates import PartialDate, add_days, add_months
from adapter.model.decision import Evidence
from adapter.model.kleene import Truth
from adapter.model.selection import DateRelation
from adapter.protocol.saying import say


class Span(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """The calendar days a moment may be, with the records that say so."""

    first: date
    last: date
    evidence: tuple[Evidence, ...] = ()
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, when: PartialDate, evidence: tuple[Evidence, ...] = ()) -> Span:
        return cls(when.first, when.last, evidence)

    def shifted(self, count: int, unit: str) -> Span:
        """So many days or calendar months later; the evidence stays."""
        step: Callable[[date, int], date] = add_months if unit == "months" else add_days
        return msgspec.structs.replace(self, first=step(self.first, count), last=step(self.last, count))

    @property
    def day(self) -> date | None:
        return self.first if self.first == self.last else None

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"


def compare_days(left: Span | PartialDate, relation: DateRelation, right: Span | PartialDate) -> Truth:
    """Whether ``left`` is before (on or before, after, on or after) ``right``."""
    if relation in ("after", "on_or_after"):
        left, right = right, left
        relation = "before" if relation == "after" else "on_or_before"
    if relation == "before":
        return _known(left.last < right.first, left.first >= right.last)
    return _known(left.last <= right.first, left.first > right.last)


def _known(surely: bool, surely_not: bool) -> Truth:
    if surely:
        return Truth.TRUE
    return Truth.FALSE if surely_not else Truth.UNKNOWN


class Frame(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """A period with its ends worked out; an absent end is unbounded."""

    start: Span | None = None
    end: Span | None = None

    def holds(self, when: PartialDate) -> Truth:
        """Whether a day lies in the period, both ends included."""
        start, end = self.start, self.end
        if (start is not None and when.last < start.first) or (end is not None and when.first > end.last):
            return Truth.FALSE
        surely_after = start is None or start.last <= when.first
        surely_before = end is None or when.last <= end.first
        return Truth.TRUE if surely_after and surely_before else Truth.UNKNOWN

    def __str__(self) -> str:
        if self.start is None:
            return f"{say('up to ')}{self.end}" if self.end else say("at any time")
        if self.end is None:
            return f"{say('from ')}{self.start}"
        return f"{self.start}{say(' to ')}{self.end}"
