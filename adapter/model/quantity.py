"""Measured values as exact intervals.

A laboratory that prints ``<0.15`` has said something about a range of numbers, not about one. Every
value is therefore an :class:`Interval` with rational bounds; a plain number is the interval whose
two bounds coincide. A comparison is true or false only when it holds, or fails, for every number in
the interval. Nothing here is ever rounded and no binary float takes part: ``2.49 g/dL x 10`` is 24.9.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.kept import kept
from adapter.model.kleene import Truth

Comparator = Literal["", "<", "<=", ">", ">="]
Comparison = Literal["above", "at_least", "below", "at_most", "equal"]


class Interval(msgspec.Struct, frozen=True, order=False, dict=True):
    """All numbers between two bounds; ``None`` is unbounded. Unit-less: the owner states the unit.

    Its point and its texts are worked out once and kept with it.
    """

    low: Fraction | None
    high: Fraction | None
    low_closed: bool = True
    high_closed: bool = True

    @classmethod
    def exactly(cls, value: Fraction | Decimal | int) -> Interval:
        number = value if isinstance(value, Fraction) else Fraction(value)
        return cls(number, number)

    @classmethod
    def reported(cls, value: Fraction | Decimal | int, comparator: Comparator = "") -> Interval:
        """What FHIR ``Quantity.value`` with ``Quantity.comparator`` says about the true value."""
        number = value if isinstance(value, Fraction) else Fraction(value)
        match comparator:
            case "":
                return cls(number, number)
            case "<":
                return cls(None, number, high_closed=False)
            case "<=":
                return cls(None, number)
            case ">":
                return cls(number, None, low_closed=False)
            case ">=":
                return cls(number, None)
        raise ValueError(f"not a FHIR quantity comparator: {comparator!r}")

    @kept
    def point(self) -> Fraction | None:
        """The one number this interval holds, or None if it holds more than one."""
        low, high = self.low, self.high
        return low if low is not None and (low is high or low == high) else None

    def scaled(self, factor: Fraction | int, offset: Fraction | int = 0) -> Interval:
        """``x * factor + offset`` for every x; a negative factor turns the interval round."""
        if factor == 1 and offset == 0:
            return self
        low = None if self.low is None else self.low * factor + offset
        high = low if self.high is self.low else None if self.high is None else self.high * factor + offset
        if factor >= 0:
            return Interval(low, high, self.low_closed, self.high_closed)
        return Interval(high, low, self.high_closed, self.low_closed)

    def compare(self, comparison: Comparison, threshold: Fraction) -> Truth:
        """Whether the comparison holds for every number here (true), for none (false), or some (unknown)."""
        if comparison == "equal":
            if self.point is not None:
                return Truth.of(self.point == threshold)
            return Truth.UNKNOWN if self.contains(threshold) else Truth.FALSE
        low = None if self.low is None else order(self.low, threshold)
        high = low if self.low is self.high else None if self.high is None else order(self.high, threshold)
        every_above = low is not None and (low > 0 or (low == 0 and not self.low_closed))
        every_below = high is not None and (high < 0 or (high == 0 and not self.high_closed))
        none_below = low is not None and low >= 0
        none_above = high is not None and high <= 0
        holds, fails = {
            "above": (every_above, none_above),
            "at_least": (none_below, every_below),
            "below": (every_below, none_below),
            "at_most": (none_above, every_above),
        }[comparison]
        if holds:
            return Truth.TRUE
        return Truth.FALSE if fails else Truth.UNKNOWN

    def contains(self, number: Fraction) -> bool:
        above_low = self.low is None or number > self.low or (self.low_closed and number == self.low)
        below_high = self.high is None or number < self.high or (self.high_closed and number == self.high)
        return above_low and below_high

    def touches(self, threshold: Fraction) -> bool:
        """Whether the reported number itself equals the threshold (flag BOUNDARY)."""
        if self.point is not None:
            return self.point == threshold
        return threshold in (self.low, self.high)

    def __str__(self) -> str:
        return self._text

    @kept
    def _text(self) -> str:
        point = self.point
        if point is not None:
            return number_text(point)
        if self.low is None and self.high is not None:
            return f"{'<=' if self.high_closed else '<'}{number_text(self.high)}"
        if self.high is None and self.low is not None:
            return f"{'>=' if self.low_closed else '>'}{number_text(self.low)}"
        if self.low is None or self.high is None:
            return "any"
        left = "[" if self.low_closed else "("
        right = "]" if self.high_closed else ")"
        return f"{left}{number_text(self.low)}, {number_text(self.high)}{right}"

    @kept
    def brief(self) -> str:
        """The value for a reader: a number with many decimals is shown to three and marked ``~``.

        >>> Interval.exactly(Fraction("97.20412")).brief
        '97.20412'
        >>> Interval.exactly(Fraction("97.2041234567")).brief
        '~97.204'
        """
        point, text = self.point, self._text
        if point is None or len(text) <= _LONG:
            return text
        return f"~{number_text(Fraction(round(point * 1000), 1000))}"


def order(left: Fraction, right: Fraction) -> int:
    """Negative, zero or positive as ``left`` is below, equal to or above ``right``."""
    numerator, denominator = left.as_integer_ratio()
    other, others = right.as_integer_ratio()
    return numerator * others - other * denominator


def number_text(number: Fraction, places: int = 6) -> str:
    """Shortest exact decimal text; a number without one is shown to ``places`` and marked ``~``."""
    numerator, denominator = number.as_integer_ratio()
    if denominator == 1:
        return str(numerator)
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    if rest == 1:
        digits = max(twos, fives)
        text = f"{abs(numerator) * 10**digits // denominator:0{digits + 1}d}"
        return f"{'-' if numerator < 0 else ''}{text[:-digits]}.{text[-digits:]}"
    scaled = abs(number) * 10**places
    text = f"{round(scaled):0{places + 1}d}"
    return f"~{'-' if number < 0 else ''}{text[:-places]}.{text[-places:]}"


_LONG = 8


def brief(value: Interval) -> str:
    """:attr:`Interval.brief`."""
    return value.brief


_NUMBER = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)


def parse_number(text: str) -> Fraction | None:
    """An ASCII decimal number, exact, or None. Longer than any laboratory prints is not a number."""
    return Fraction(text) if _NUMBER.fullmatch(text) else None
