"""Putting one reading, or one answer of a person, to a test."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

import msgspec

from adapter.model.facts import Finding
from adapter.model.kleene import Truth, all_of
from adapter.model.quantity import Comparison, Interval, brief, parse_number
from adapter.model.selection import (
    Amount,
    Answers,
    Bound,
    Bounds,
    Codes,
    DayTest,
    Exists,
    MeasuredBy,
    ReadingTest,
)
from adapter.protocol.context import Context
from adapter.protocol.days import Span, compare_days
from adapter.protocol.readings import collect, deciding
from adapter.protocol.saying import say, spoken

SYMBOLS: dict[Comparison, str] = {"above": ">", "at_least": ">=", "below": "<", "at_most": "<=", "equal": "="}
_RANGE = re.compile(r"(?P<low>[\d.]+)\s*(?:-|–|~|to)\s*(?P<high>[\d.]+)")
_COMPARED = re.compile(r"(?P<comparator><=|>=|≤|≥|<|>)?\s*(?P<number>[\d.]+)")


class Judged(msgspec.Struct, frozen=True, gc=False):
    """What a test said about one reading."""

    truth: Truth
    compared: str = ""
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    measured: tuple[Interval, Interval, str] | None = None

    @property
    def distance(self) -> str:
        """How far the value is from the threshold, worked out when asked: most readings do not decide."""
        return distance(*self.measured) if self.measured is not None else ""


def judge(row: Finding, test: ReadingTest, context: Context) -> Judged:
    match test:
        case Bounds():
            return _bounds(row, test, context)
        case Answers(answers=answers):
            return _answer(row, answers)
        case Codes(codes=codes):
            given = row.value_code or row.answer or row.original
            return Judged(Truth.of(given in codes), _answered(given, codes))
        case MeasuredBy(methods=methods):
            return Judged(
                Truth.of(row.method in methods),
                say("method {name}", name=row.method) if row.method else say("method not stated"),
            )
        case DayTest(relation=relation, moment=moment):
            other = context.resolve(moment)
            if row.value_date is None or other is None:
                return Judged(Truth.UNKNOWN, needs=context.missing(moment))
            truth = compare_days(Span.of(row.value_date), relation, other)
            compared = worded(row.value_date.iso, relation.replace("_", " "), str(other), truth)
            return Judged(truth, compared)
        case Exists():
            return Judged(Truth.TRUE, say("exists"))


def worded(left: str, relation: str, right: str, truth: Truth) -> str:
    """``9 g/d > 8 g/d``, ``26 g/L not < 25 g/L``, ``>5 g/d > 8 g/d undecided``."""
    relation = spoken(relation)
    word = f"{say('not ')}{relation}" if truth is Truth.FALSE else relation
    said = f"{left} {word} {right}".rstrip()
    return f"{said}{say(' undecided')}" if truth is Truth.UNKNOWN else said


def _limit(amount: Amount) -> str:
    name = amount.of.replace("_", " ")
    return amount.text.replace(amount.of, say(name)) if say(name) != name else amount.text


def _answered(given: str, wanted: tuple[str, ...]) -> str:
    if given in wanted:
        return f"{say('answer ')}{spoken(given)}"
    others = say(" or ").join(map(spoken, wanted))
    return f"{say('answer ')}{spoken(given)}{say(', not ')}{others}"


def _answer(row: Finding, answers: tuple[str, ...]) -> Judged:
    """Equivocal and invalid answers say neither yes nor no, unless they are what is asked for."""
    compared = _answered(row.answer, answers)
    if row.answer in answers:
        return Judged(Truth.TRUE, compared)
    if row.answer in ("equivocal", "invalid"):
        return Judged(Truth.UNKNOWN, compared, needs=(say("a clear positive or negative result"),))
    return Judged(Truth.FALSE, compared)


def _bounds(row: Finding, test: Bounds, context: Context) -> Judged:
    value = row.value if row.value is not None else _from_words(row, test)
    if value is None:
        return Judged(Truth.UNKNOWN, needs=(say("a number"),))
    parts = [_bound(value, row, bound, context) for bound in test.bounds]
    if len(parts) == 1:
        return parts[0]
    truth = all_of(part.truth for part in parts)
    decisive = [part for part in parts if part.truth is truth]
    return Judged(
        truth,
        say(" and ").join(part.compared for part in parts),
        tuple(dict.fromkeys(flag for part in decisive for flag in part.flags)),
        tuple(dict.fromkeys(need for part in decisive for need in part.needs))
        if truth is Truth.UNKNOWN
        else (),
        next((part.measured for part in decisive if part.distance), None),
    )


def _bound(value: Interval, row: Finding, bound: Bound, context: Context) -> Judged:
    threshold, missing = _threshold(bound.amount, row, context)
    unit = row.unit or bound.amount.unit
    symbol = SYMBOLS[bound.comparison]
    if threshold is None:
        return Judged(Truth.UNKNOWN, f"{value} {unit} {symbol} {bound.amount.text}", missing[:1], missing[1:])
    truth = compare_intervals(value, bound.comparison, threshold)
    compared = worded(f"{brief(value)} {unit}", symbol, f"{brief(threshold)} {unit}", truth)
    if bound.amount.of:
        compared += f" ({_limit(bound.amount)})"
    flags: tuple[str, ...] = ()
    if threshold.point is not None and value.touches(threshold.point) and value.contains(threshold.point):
        flags = ("BOUNDARY",)
    needs: tuple[str, ...] = ()
    if truth is Truth.UNKNOWN:
        needs = (
            say(
                "an exact value: {value} does not settle {limit}",
                value=f"{value} {unit}",
                limit=f"{symbol} {threshold} {unit}",
            ),
        )
    return Judged(truth, compared, flags, needs, (value, threshold, unit))


def compare_intervals(value: Interval, comparison: Comparison, threshold: Interval) -> Truth:
    """Whether the comparison holds for every pair of numbers, for none, or for some."""
    if threshold.point is not None:
        return value.compare(comparison, threshold.point)
    if comparison == "equal":
        return Truth.UNKNOWN
    hard, easy = (
        (threshold.high, threshold.low)
        if comparison in ("above", "at_least")
        else (threshold.low, threshold.high)
    )
    if hard is not None and value.compare(comparison, hard) is Truth.TRUE:
        return Truth.TRUE
    if easy is not None and value.compare(comparison, easy) is Truth.FALSE:
        return Truth.FALSE
    return Truth.UNKNOWN


def distance(value: Interval, threshold: Interval, unit: str) -> str:
    """How far a plain value is from a plain threshold, in words."""
    if value.point is None or threshold.point is None:
        return ""
    gap = value.point - threshold.point
    if not gap:
        return say("exactly at the threshold")
    said = say("day" if abs(gap) == 1 else unit) if unit == "days" else unit
    size = f"{brief(Interval.exactly(abs(gap)))} {said}".rstrip()
    return f"{size}{say(' above' if gap > 0 else ' below')}"


def first_distance(judged: Iterable[tuple[Finding, Judged]]) -> str:
    """Of the first reading that has one."""
    for _, found in judged:
        if said := found.distance:
            return said
    return ""


def _threshold(amount: Amount, row: Finding, context: Context) -> tuple[Interval | None, tuple[str, ...]]:
    """The threshold for this reading; or None with a flag and what is missing."""
    match amount.of:
        case "":
            return fixed(amount), ()
        case "upper_limit" | "lower_limit":
            limits = row.range
            limit = None if limits is None else limits.high if amount.of == "upper_limit" else limits.low
            if limit is None:
                name = amount.of.replace("_", " ")
                return None, (
                    "NO_REFERENCE_RANGE",
                    say("the laboratory's {limit} for {what}", limit=say(name), what=row.concept),
                )
            return Interval.exactly(limit * amount.value), ()
    selection = context.readings[amount.reading]
    pool = collect(selection, context)
    rows = deciding(tuple(found for found in pool.valid if found.value is not None), selection, context)
    values = {found.value for found in rows}
    if len(values) != 1:
        flag = "CONFLICT" if values else "NO_REFERENCE_READING"
        return None, (flag, say("the reading {name}", name=amount.reading.replace("_", " ")))
    [found] = values
    assert found is not None  # noqa: S101 - readings without a value were left out above
    return found.scaled(amount.value), ()


@lru_cache(maxsize=1024)
def fixed(amount: Amount) -> Interval:
    """A threshold that is a number, with its text."""
    return Interval.exactly(amount.value)


def _from_words(row: Finding, test: Bounds) -> Interval | None:
    """A range in the answer's own text ("25-50%", "<25%") or by a word the protocol defines ("mild")."""
    text = row.original or row.value_code
    meanings = {word.casefold(): meaning for word, meaning in test.words}
    return read_range(meanings.get(text.strip().casefold(), text))


def read_range(text: str) -> Interval | None:
    """``25-50%``, ``<25 %``, ``>= 30``, ``10``: the numbers a text allows, or None.

    >>> str(read_range("25-50%"))
    '[25, 50]'
    """
    text = text.replace("%", "").strip()
    if found := _RANGE.fullmatch(text):
        low, high = parse_number(found["low"]), parse_number(found["high"])
        return Interval(low, high) if low is not None and high is not None and low <= high else None
    found = _COMPARED.fullmatch(text)
    number: Fraction | None = parse_number(found["number"]) if found else None
    if found is None or number is None:
        return None
    match found["comparator"]:
        case "<":
            return Interval.reported(number, "<")
        case "<=" | "≤":
            return Interval.reported(number, "<=")
        case ">":
            return Interval.reported(number, ">")
        case ">=" | "≥":
            return Interval.reported(number, ">=")
    return Interval.exactly(number)
