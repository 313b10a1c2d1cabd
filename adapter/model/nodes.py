"""The common ground of everything a protocol says: a place, a walk, a comparison of meaning, and time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, ClassVar, Literal

import msgspec

from adapter.model.dates import add_days, add_months, counted

_MONTH = 487


class Node(msgspec.Struct, frozen=True, gc=False, kw_only=True, cache_hash=True):
    """Anything a protocol file says; ``where`` is its place in that file.

    A node never changes and is hashed once, so that what a rule came to for a person can be kept by it.

    ``unsaid`` names the fields that do not take part in meaning.
    """

    unsaid: ClassVar[tuple[str, ...]] = ("where",)
    where: str = ""


class Moment(Node, frozen=True, kw_only=True):
    """A day: an anchor or a fixed date, moved by whole days or calendar months (``biopsy - 30 days``)."""

    anchor: str = ""
    day: date | None = None
    shift: int = 0
    unit: Literal["days", "months"] = "days"

    def __str__(self) -> str:
        base = self.anchor or str(self.day)
        if not self.shift:
            return base
        return f"{base} {'+' if self.shift > 0 else '-'} {abs(self.shift)} {self.unit}"


class Period(Node, frozen=True, kw_only=True):
    """Days from ``start`` to ``end``, both included; an absent start is unbounded, an absent end is as-of.

    ``window`` is the name under ``windows:`` it was taken from, if any.
    """

    start: Moment | None = None
    end: Moment | None = None
    window: str = ""


class Offset(Node, frozen=True, kw_only=True):
    """A place in time counted from a day: calendar months first, then days; both may be negative."""

    months: int = 0
    days: int = 0

    def after(self, day: date) -> date:
        return add_days(add_months(day, self.months), self.days)

    @property
    def order(self) -> int:
        """Sixteenths of nominal days, to put offsets in order: a month is 30.4375 days."""
        return self.months * _MONTH + self.days * 16

    def __str__(self) -> str:
        if not self.months:
            return str(self.days)
        months = counted(self.months, "months")
        if not self.days:
            return months
        return f"{months} {'+' if self.days > 0 else '-'} {counted(abs(self.days), 'days')}"


class Duration(Node, frozen=True, kw_only=True):
    """A number of days or calendar months (a year is 12 months)."""

    count: int
    unit: Literal["days", "months"] = "days"

    def __str__(self) -> str:
        return counted(self.count, self.unit)


def descend(node: Any) -> Iterator[Node]:
    """The node and every node below it, top down."""
    if isinstance(node, tuple):
        for part in node:
            yield from descend(part)
    elif isinstance(node, Node):
        yield node
        for name in node.__struct_fields__:
            yield from descend(getattr(node, name))


def meaning(node: Any) -> Any:
    """The node as plain data without places and source texts, for comparing two of them."""
    if isinstance(node, Node):
        names = sorted(name for name in node.__struct_fields__ if name not in node.unsaid)
        return (type(node).__name__, tuple((name, meaning(getattr(node, name))) for name in names))
    if isinstance(node, tuple):
        return tuple(meaning(part) for part in node)
    return node


def same_meaning(left: Any, right: Any) -> bool:
    """Whether two nodes say the same, wherever they are written."""
    return bool(meaning(left) == meaning(right))
