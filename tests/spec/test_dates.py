"""Partial dates: three-valued comparisons, calendar months, ages."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.model.dates import add_months, completed_years, parse_date
from adapter.model.kleene import Truth
from adapter.model.selection import DateRelation
from adapter.protocol.days import Frame, Span, compare_days
from tests.spec.protocol_words import ZONE, when

LETTERS = {Truth.TRUE: "T", Truth.FALSE: "F", Truth.UNKNOWN: "?"}

AGAINST_3_JUNE = """
text        | before on_or_before after on_or_after
2019-06-02  |   T        T          F       F
2019-06-03  |   F        T          F       T
2019-06-04  |   F        F          T       T
2019-05     |   T        T          F       F
2019-06     |   ?        ?          ?       ?
2019        |   ?        ?          ?       ?
2018        |   T        T          F       F
2020        |   F        F          T       T
"""
HEADER, *LINES = [line.replace("|", " ").split() for line in AGAINST_3_JUNE.strip().splitlines()]


def span(text: str) -> Span:
    return Span.of(when(text))


AGAINST_JUNE = """
text        | before on_or_before after on_or_after
2019-05-31  |   T        T          F       F
2019-06-01  |   ?        T          F       ?
2019-06-15  |   ?        ?          ?       ?
2019-06-30  |   F        ?          ?       T
2019-07-01  |   F        F          T       T
2019-06     |   ?        ?          ?       ?
2019        |   ?        ?          ?       ?
2019-07     |   F        F          T       T
"""
MONTHLY = [line.replace("|", " ").split() for line in AGAINST_JUNE.strip().splitlines()[1:]]


@pytest.mark.parametrize("line", MONTHLY, ids=lambda line: line[0])
def test_a_written_date_against_some_day_of_june_2019(line: list[str]) -> None:
    for relation, letter in zip(HEADER[1:], line[1:], strict=True):
        found = compare_days(span(line[0]), relation, span("2019-06"))  # type: ignore[arg-type]
        assert LETTERS[found] == letter, relation


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_a_written_date_against_3_june_2019(line: list[str]) -> None:
    for relation, letter in zip(HEADER[1:], line[1:], strict=True):
        found = compare_days(span(line[0]), relation, span("2019-06-03"))  # type: ignore[arg-type]
        assert LETTERS[found] == letter, relation


@pytest.mark.parametrize(
    ("start", "months", "expected"),
    [
        ("2018-12-03", 6, "2019-06-03"),
        ("2018-08-31", 6, "2019-02-28"),  # clipped to the month's length
        ("2019-06-03", -3, "2019-03-03"),
        ("2000-02-29", 12, "2001-02-28"),
    ],
)
def test_calendar_months(start: str, months: int, expected: str) -> None:
    assert add_months(date.fromisoformat(start), months) == date.fromisoformat(expected)


def test_ninety_days_before_screening() -> None:
    assert str(span("2019-06-03").shifted(-90, "days")) == "2019-03-05"
    assert str(span("2019-06-03").shifted(-28, "days")) == "2019-05-06"
    assert str(span("2019-06").shifted(-1, "months")) == "2019-05-01..2019-05-30"


@pytest.mark.parametrize(
    ("birth", "on", "years"),
    [
        ("2001-06-03", "2019-06-03", 18),
        ("2001-06-04", "2019-06-03", 17),
        ("1938-06-04", "2019-06-03", 80),
        ("1938-06-03", "2019-06-03", 81),
        ("2000-02-29", "2018-02-28", 17),
        ("2000-02-29", "2018-03-01", 18),
        ("2000-02-29", "2020-02-29", 20),
    ],
)
def test_completed_years(birth: str, on: str, years: int) -> None:
    assert completed_years(date.fromisoformat(birth), date.fromisoformat(on)) == years


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2019-05-05T16:30:00Z", "2019-05-06"),  # Shanghai is eight hours ahead
        ("2019-05-05T15:30:00Z", "2019-05-05"),
        ("2019-05-05T23:30:00+08:00", "2019-05-05"),
        ("2019-05-05T23:30:00", "2019-05-05"),
    ],
)
def test_the_local_day_of_an_instant(text: str, day: str) -> None:
    assert when(text).day == date.fromisoformat(day)


@pytest.mark.parametrize("text", ["2019-13", "2019-02-30", "soon", "2019-6-3", "0000"])
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text, ZONE) is None


def test_a_period_holds_both_its_ends() -> None:
    frame = Frame(span("2019-05-06"), span("2019-06-03"))
    told = [
        LETTERS[frame.holds(when(day))] for day in ("2019-05-05", "2019-05-06", "2019-06-03", "2019-06-04")
    ]
    assert told == ["F", "T", "T", "F"]
    assert frame.holds(when("2019-05")) is Truth.UNKNOWN


DAYS = st.dates(date(1990, 1, 1), date(2030, 12, 31))
RELATIONS: tuple[DateRelation, ...] = ("before", "on_or_before", "after", "on_or_after")
ON_DAYS = {
    "before": date.__lt__,
    "on_or_before": date.__le__,
    "after": date.__gt__,
    "on_or_after": date.__ge__,
}


@st.composite
def spans(draw: st.DrawFn) -> Span:
    first = draw(DAYS)
    return Span(first, first + timedelta(days=draw(st.integers(0, 400))))


@given(spans(), spans(), st.sampled_from(RELATIONS), st.data())
def test_a_known_comparison_holds_for_every_day_it_may_have_been(
    left: Span, right: Span, relation: DateRelation, data: st.DataObject
) -> None:
    found = compare_days(left, relation, right)
    one = data.draw(st.dates(left.first, left.last))
    other = data.draw(st.dates(right.first, right.last))
    if found is not Truth.UNKNOWN:
        assert Truth.of(ON_DAYS[relation](one, other)) is found


@given(spans(), spans(), st.sampled_from(RELATIONS))
def test_an_unknown_comparison_could_go_both_ways(left: Span, right: Span, relation: DateRelation) -> None:
    if compare_days(left, relation, right) is Truth.UNKNOWN:
        ends = {
            ON_DAYS[relation](one, other)
            for one in (left.first, left.last)
            for other in (right.first, right.last)
        }
        assert ends == {True, False}
