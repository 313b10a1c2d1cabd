"""The mean and the median of readings as one value that says which readings it was made from.

A reading with a comparator is an interval, and so is what is made from it: the mean of ``>5`` and 7 is above
6. The row carries every source in ``derived_from``; its own source is that of the newest reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from adapter.model.facts import Finding, ReferenceRange
from adapter.model.quantity import Interval

AVERAGES = ("mean", "median")
_Edge = tuple[Fraction, bool]


def averaged(rows: Sequence[Finding], take: str) -> Finding:
    """One row for readings in time order, all with numbers; a single reading stays as it is."""
    newest = rows[-1]
    values = [row.value for row in rows if row.value is not None]
    if len(values) == 1:
        return newest
    return msgspec.structs.replace(
        newest,
        value=mean_of(values) if take == "mean" else median_of(values),
        original="; ".join(f"{row.original} {row.original_unit}".strip() for row in rows),
        original_unit="",
        conversion=f"{take} of {len(values)} readings",
        range=_shared_range(rows),
        flags=tuple(dict.fromkeys(flag for row in rows for flag in row.flags)),
        derived_from=tuple(dict.fromkeys(row.source for row in rows)),
    )


def mean_of(values: Sequence[Interval]) -> Interval:
    """
    >>> str(mean_of([Interval.reported(5, ">"), Interval.exactly(7)]))
    '>6'
    """
    lows, highs = [value.low for value in values], [value.high for value in values]
    return Interval(
        _mean(lows),
        _mean(highs),
        all(value.low_closed for value in values),
        all(value.high_closed for value in values),
    )


def _mean(numbers: Sequence[Fraction | None]) -> Fraction | None:
    known = [number for number in numbers if number is not None]
    return sum(known, Fraction(0)) / len(known) if len(known) == len(numbers) else None


def median_of(values: Sequence[Interval]) -> Interval:
    """The least and the greatest median that the readings allow.

    >>> str(median_of([Interval.reported(9, ">"), Interval.exactly(7), Interval.exactly(2)]))
    '7'
    """
    low = _middle([None if one.low is None else (one.low, not one.low_closed) for one in values], low=True)
    high = _middle([None if one.high is None else (one.high, one.high_closed) for one in values], low=False)
    return Interval(
        None if low is None else low[0],
        None if high is None else high[0],
        low is None or not low[1],
        high is None or high[1],
    )


def _middle(edges: Sequence[_Edge | None], *, low: bool) -> _Edge | None:
    """The middle edge, or between the two middle ones; an open edge lies just inside its number."""
    known = sorted(edge for edge in edges if edge is not None)
    without: list[_Edge | None] = [None] * (len(edges) - len(known))
    order = [*without, *known] if low else [*known, *without]
    left, right = order[(len(order) - 1) // 2], order[len(order) // 2]
    if left is None or right is None:
        return None
    # open is what a mean of two edges is if one of them is: True on the low side, False on the high side
    flag = left[1] or right[1] if low else left[1] and right[1]
    return (left[0] + right[0]) / 2, flag


def _shared_range(rows: Sequence[Finding]) -> ReferenceRange | None:
    """The laboratory's limits, if all readings have the same."""
    first = rows[0].range
    return first if all(row.range == first for row in rows) else None
