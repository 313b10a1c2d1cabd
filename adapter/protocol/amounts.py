"""The small languages inside a protocol file: moments, durations and amounts, one text each.

``biopsy - 30 days`` - ``6 months`` - ``8 g/d`` - ``1.5 x upper_limit`` - ``50 % of reading:baseline``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.nodes import Duration, Moment, Offset, Period
from adapter.model.protocol import Vocabulary
from adapter.model.quantity import parse_number
from adapter.model.selection import Amount, Selection
from adapter.protocol import words
from adapter.protocol.tree import Mistakes, Tree

_MOMENT = re.compile(
    r"(?P<base>[A-Za-z_]\w*|\d{4}-\d{2}-\d{2})(?:\s*(?P<sign>[+-])\s+(?P<count>\d+)\s+(?P<unit>[a-z]+))?"
)
_DURATION = re.compile(r"(?P<count>\d+)\s+(?P<unit>[a-z]+)")
_OFFSET = re.compile(
    r"(?P<count>-?\d{1,5})(?:\s+(?P<unit>[a-z]+)(?:\s+(?P<sign>[+-])\s+(?P<more>\d{1,5})\s+(?P<fine>[a-z]+))?)?",
    re.ASCII,
)
_RELATIVE = re.compile(
    r"(?P<number>[\d.]+)\s*(?P<sign>x|% of)\s+(?:reading:(?P<reading>\w+)|(?P<limit>[a-z_]+))"
)
_AMOUNT = re.compile(r"(?P<number>[+-]?[\d.]+)(?:\s+(?P<unit>\S.*))?")
_STEPS: dict[str, tuple[Literal["days", "months"], int]] = {
    "day": ("days", 1),
    "week": ("days", 7),
    "month": ("months", 1),
    "year": ("months", 12),
}


@dataclass
class Scope:
    """What the file has named so far, and where its mistakes are collected."""

    vocabulary: Vocabulary
    mistakes: Mistakes = field(default_factory=Mistakes)
    anchor_names: tuple[str, ...] = ()
    reading_names: tuple[str, ...] = ()
    window_names: tuple[str, ...] = ()
    criterion_ids: tuple[str, ...] = ()
    visit_ids: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    windows: dict[str, Period] = field(default_factory=dict)
    readings: dict[str, Selection] = field(default_factory=dict)


def read_moment(tree: Tree, scope: Scope) -> Moment:
    """``anchor``, ``anchor - 28 days``, ``anchor + 6 months`` or ``2019-06-03``."""
    text = tree.text()
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise tree.mistake(f"not a moment: {text!r}", "write it like 'biopsy - 30 days' or '2019-06-03'")
    shift = 0
    unit: Literal["days", "months"] = "days"
    if found["count"]:
        unit, step = _unit(tree, found["unit"])
        shift = int(found["count"]) * step * (1 if found["sign"] == "+" else -1)
    base = found["base"]
    if base[0].isdigit():
        try:
            day = date.fromisoformat(base)
        except ValueError as fault:
            raise tree.mistake(f"no such day: {base}") from fault
        return Moment(day=day, shift=shift, unit=unit, where=tree.where)
    if base not in scope.anchor_names:
        raise tree.unknown(base, scope.anchor_names, "anchor")
    return Moment(anchor=base, shift=shift, unit=unit, where=tree.where)


def read_period(fields: dict[str, Tree], scope: Scope) -> Period:
    """``within: <window>`` or ``from:``/``to:``."""
    if "within" in fields:
        if "from" in fields or "to" in fields:
            raise fields["within"].mistake("within: and from:/to: exclude each other")
        name = fields["within"].one_of(scope.window_names, "window")
        return msgspec.structs.replace(scope.windows.get(name, Period()), window=name)
    return Period(
        start=read_moment(fields["from"], scope) if "from" in fields else None,
        end=read_moment(fields["to"], scope) if "to" in fields else None,
    )


def read_duration(tree: Tree) -> Duration:
    """``28 days``, ``2 weeks``, ``6 months`` or ``5 years``."""
    found = _DURATION.fullmatch(tree.text())
    if found is None:
        raise tree.mistake(f"not a duration: {tree.text()!r}", "write it like '28 days' or '6 months'")
    unit, step = _unit(tree, found["unit"])
    return Duration(count=int(found["count"]) * step, unit=unit, where=tree.where)


def read_offset(tree: Tree) -> Offset:
    """``336`` (days), ``-14``, ``24 months`` or ``24 months - 28 days``."""
    text = tree.text()
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise tree.mistake(
            f"not a number of days or months: {text!r}",
            "write it like 336, '24 months' or '24 months - 28 days'",
        )
    count = int(found["count"])
    if found["unit"] is None:
        return Offset(days=count, where=tree.where)
    unit, step = _unit(tree, found["unit"])
    first = {unit: count * step}
    if found["more"]:
        unit, step = _unit(tree, found["fine"])
        if unit != "days" or "days" in first:
            raise tree.mistake(f"one step in days too many: {text!r}", "months first, then days")
        first[unit] = int(found["more"]) * step * (1 if found["sign"] == "+" else -1)
    return Offset(months=first.get("months", 0), days=first.get("days", 0), where=tree.where)


def read_hours(tree: Tree) -> Fraction:
    """``11 hours``, ``2 days``."""
    found = _DURATION.fullmatch(tree.text())
    if found is None or found["unit"] not in ("hour", "hours", "day", "days"):
        raise tree.mistake(f"not a number of hours: {tree.text()!r}", "write it like '11 hours'")
    return Fraction(int(found["count"]) * (24 if found["unit"].startswith("day") else 1))


def read_days(tree: Tree) -> int:
    """A duration that has to be in days."""
    duration = read_duration(tree)
    if duration.unit != "days":
        raise tree.mistake("a number of days is needed here", "write days or weeks")
    return duration.count


def read_amount(tree: Tree, concepts: tuple[str, ...], scope: Scope) -> Amount:
    """A threshold for readings of the concepts, its number already in their canonical unit."""
    text = tree.text()
    if relative := _RELATIVE.fullmatch(text):
        return _relative(tree, relative, scope)
    number, unit = _number_and_unit(tree, text)
    scales = set()
    for concept in concepts:
        scale = scope.vocabulary.scale(concept, unit)
        if scale is None:
            canonical = scope.vocabulary.concepts[concept].unit
            raise tree.mistake(
                f"unit {unit!r} does not convert for {concept}", f"write the amount in {canonical!r}"
            )
        scales.add((scope.vocabulary.concepts[concept].unit, number * scale.factor + scale.offset))
    if len(scales) != 1:
        raise tree.mistake(f"{', '.join(concepts)} have different canonical units", "test them one by one")
    [(canonical, value)] = scales
    return Amount(value=value, unit=canonical, text=text, where=tree.where)


def read_difference(tree: Tree, concept: str, scope: Scope) -> Amount:
    """How much a value changes: ``30 %`` of where it began, or ``0.3 mg/dL`` in a unit of the concept."""
    number, unit = _number_and_unit(tree, tree.text())
    if unit in ("", "%"):
        return read_percent(tree)
    scale = scope.vocabulary.scale(concept, unit)
    if scale is None:
        canonical = scope.vocabulary.concepts[concept].unit
        raise tree.mistake(
            f"unit {unit!r} does not convert for {concept}", f"write '30 %' or an amount in {canonical!r}"
        )
    if scale.offset:
        raise tree.mistake(f"a difference in {unit!r} has no fixed size", "write it in the canonical unit")
    canonical = scope.vocabulary.concepts[concept].unit
    return Amount(value=number * scale.factor, unit=canonical, text=tree.text(), where=tree.where)


def read_plain_amount(tree: Tree) -> Amount:
    """A threshold without a concept: answers of a person, shares (``30 %``). The unit stays as written."""
    number, unit = _number_and_unit(tree, tree.text())
    return Amount(value=number, unit=unit, text=tree.text(), where=tree.where)


def read_percent(tree: Tree) -> Amount:
    """A share: ``30 %`` is the number 30 with unit %."""
    amount = read_plain_amount(tree)
    if amount.unit != "%":
        raise tree.mistake(f"expected a percentage, found {tree.text()!r}", "write it like '30 %'")
    return amount


def _relative(tree: Tree, found: re.Match[str], scope: Scope) -> Amount:
    number = _number(tree, found["number"]) / (100 if found["sign"] == "% of" else 1)
    if found["reading"]:
        if found["reading"] not in scope.reading_names:
            raise tree.unknown(found["reading"], scope.reading_names, "reading")
        return Amount(
            value=number, of="reading", reading=found["reading"], text=tree.text(), where=tree.where
        )
    for limit in words.LIMITS:
        if limit == found["limit"]:
            return Amount(value=number, of=limit, text=tree.text(), where=tree.where)
    raise tree.unknown(found["limit"], words.LIMITS, "reference value")


def _number_and_unit(tree: Tree, text: str) -> tuple[Fraction, str]:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise tree.mistake(f"not an amount: {text!r}", "write it like '8 g/d' or '1.5 x upper_limit'")
    return _number(tree, found["number"]), found["unit"] or ""


def _number(tree: Tree, text: str) -> Fraction:
    number = parse_number(text)
    if number is None:
        raise tree.mistake(f"not a number: {text!r}")
    return number


def _unit(tree: Tree, word: str) -> tuple[Literal["days", "months"], int]:
    if word in ("hour", "hours"):
        raise tree.mistake("days are the finest step here, not hours", "write whole days, like '1 day'")
    if word not in words.PLACES["time unit"]:
        known = [unit for unit in words.PLACES["time unit"] if not unit.startswith("hour")]
        raise tree.unknown(word, known, "time unit")
    return _STEPS[word.removesuffix("s")]
