"""Which reading decides, against its definition: none other was surely taken later, or is surely higher."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from fractions import Fraction
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from adapter.model.dates import PartialDate, parse_date
from adapter.model.facts import Finding, Source
from adapter.model.quantity import Interval
from adapter.model.selection import Selection
from adapter.protocol.context import Context
from adapter.protocol.readings import deciding

_FIRST = date(2019, 1, 30)


def _moment(day: int, hour: int | None, precision: str) -> PartialDate | None:
    text = (_FIRST + timedelta(days=day)).isoformat()
    written = {"month": text[:7], "day": text, "time": f"{text}T{hour:02d}:00:00Z", "none": ""}[precision]
    return parse_date(written, UTC)


_WHEN = st.builds(
    _moment, st.integers(0, 3), st.integers(0, 23), st.sampled_from(["month", "day", "time", "time", "none"])
)
_BOUND = st.one_of(st.none(), st.integers(0, 5).map(Fraction))
_VALUE = st.one_of(
    st.none(),
    st.builds(
        lambda low, more: Interval(low, None if more is None else (low or Fraction(0)) + more), _BOUND, _BOUND
    ),
)
_ROWS = st.lists(st.tuples(_WHEN, _VALUE), max_size=6).map(
    lambda pairs: tuple(
        Finding("p", "albumin", Source(f"Observation/{number}"), "laboratory", value=value, start=when)
        for number, (when, value) in enumerate(pairs)
    )
)


def _chosen(rows: tuple[Finding, ...], take: Any) -> tuple[Finding, ...]:
    nothing = cast(Context, None)  # which of them decides asks for no day
    return deciding(rows, Selection(concepts=("albumin",), take=take), nothing)


def _after(one: Finding, other: Finding) -> bool:
    """By the hour where both have one, else by every day that each may be."""
    if one.start is None or other.start is None:
        return False
    if one.start.at is not None and other.start.at is not None:
        return one.start.at > other.start.at
    return one.start.first > other.start.last


def _above(one: Finding, other: Finding) -> bool:
    if one.value is None or other.value is None or one.value.low is None or other.value.high is None:
        return False
    return one.value.low > other.value.high


@given(rows=_ROWS)
def test_none_other_is_surely_later_or_earlier(rows: tuple[Finding, ...]) -> None:
    assert _chosen(rows, "latest") == tuple(
        row for row in rows if not any(_after(other, row) for other in rows)
    )
    assert _chosen(rows, "earliest") == tuple(
        row for row in rows if not any(_after(row, other) for other in rows)
    )


@given(rows=_ROWS)
def test_none_other_is_surely_higher_or_lower(rows: tuple[Finding, ...]) -> None:
    assert _chosen(rows, "highest") == tuple(
        row for row in rows if not any(_above(other, row) for other in rows)
    )
    assert _chosen(rows, "lowest") == tuple(
        row for row in rows if not any(_above(row, other) for other in rows)
    )
