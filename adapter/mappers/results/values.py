"""``value[x]`` of an Observation, in all eleven types, as a number, an answer, a code or a date.

Nothing is converted here; units and limits come later (``units.py``, ``ranges.py``). What cannot be read is
kept as text and says why in ``excluded``. Source: https://hl7.org/fhir/R4/observation.html, value[x].
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, cast, get_args

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context, codings_of
from adapter.mappers.remembered import remembered, remembered_as_sent
from adapter.mappers.results.text import comparator_of, read_text
from adapter.model.dates import PartialDate
from adapter.model.facts import Answer
from adapter.model.quantity import Comparator, Interval
from adapter.model.terminology import AS_REPORTED, CodeEntry, Concept

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

_ANSWERS = frozenset(get_args(Answer)) - {""}
_ORDINAL_SHAPES = frozenset({"ordinal", "titre"})
_LONGEST_SHOWN = 80


class Value(msgspec.Struct, frozen=True, gc=False):
    """What was sent. ``units`` are the spellings to try, best first; ``dilution`` is 32 for ``1:32``.

    ``excluded`` is NO_VALUE, UNPARSED_TEXT, CODE_CONFLICT or CONFLICT; ``original`` holds the source's
    characters, shortened where they are a longer text than a result.
    """

    interval: Interval | None = None
    comparator: Comparator = ""
    units: tuple[str, ...] = ()
    answer: Answer = ""
    value_code: str = ""
    value_date: PartialDate | None = None
    dilution: int | None = None
    original: str = ""
    original_unit: str = ""
    flags: tuple[str, ...] = ()
    excluded: str = ""


class Question(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """The test whose value is read: its concept, the code that named it, and the tables."""

    concept: Concept
    entry: CodeEntry
    terminology: Terminology

    @property
    def ordinal(self) -> bool:
        return (self.entry.shape or self.concept.shape) in _ORDINAL_SHAPES

    @property
    def coded(self) -> bool:
        return (self.entry.shape or self.concept.shape) == "coded"

    def meaning(self, text: str) -> str:
        entry = self.terminology.answer_for((), text, ordinal=self.ordinal, concept=self.concept.key)
        return entry.meaning if entry else ""

    def is_unit(self, text: str) -> bool:
        if not text or self.terminology.never_converts(text):
            return bool(text)
        concepts = [self.concept.key, *([self.concept.by_unit] if self.concept.by_unit else [])]
        if self.concept.unit == AS_REPORTED:
            return False  # every word would be a unit; the text decides
        return any(self.terminology.unit_for(key, text) is not None for key in concepts)


def value_of(reading: r4.Observation, question: Question, context: Context) -> Value:
    """Read whichever value[x] is there; NO_VALUE if none is."""
    found = _value(reading, question, context)
    if reading.valueQuantity is not None and reading.valueString:
        # Not allowed by FHIR, but sent: the number with its verdict in words.
        words = _text(reading.valueString, question)
        if words.answer and words.interval is None and not found.answer:
            return msgspec.structs.replace(found, answer=words.answer, flags=(*found.flags, *words.flags))
    return found


def _value(reading: r4.Observation, question: Question, context: Context) -> Value:
    if reading.valueQuantity is not None:
        return quantity(reading.valueQuantity)
    if reading.valueCodeableConcept is not None:
        return _concept(reading.valueCodeableConcept, question)
    if reading.valueString is not None:
        return _text(reading.valueString, question)
    if reading.valueInteger is not None:
        return Value(Interval.exactly(reading.valueInteger), original=str(reading.valueInteger))
    if reading.valueBoolean is not None:
        return _boolean(reading.valueBoolean, question)
    if reading.valueRange is not None:
        return _range(reading.valueRange)
    if reading.valueRatio is not None:
        return _ratio(reading.valueRatio)
    return _date_or_nothing(reading, context)


def quantity(sent: r4.Quantity) -> Value:
    """A Quantity as it was written; the unit's code is tried before its words."""
    shown = f"{sent.comparator or ''}{_digits(sent.value)}"
    units = _spellings(sent.code, sent.unit)
    shown_unit = sent.unit or sent.code or ""
    if sent.value is None:
        return Value(original_unit=shown_unit, excluded="NO_VALUE")
    number = r4.usable(sent.value)
    if number is None:
        return Value(
            original=shown[:_LONGEST_SHOWN],
            original_unit=shown_unit,
            flags=("NUMBER_UNUSABLE",),
            excluded="UNPARSED_TEXT",
        )
    comparator = comparator_of(sent.comparator)
    if comparator is None:
        flags = ("COMPARATOR_UNKNOWN",)
        return Value(
            original=shown, original_unit=shown_unit, units=units, flags=flags, excluded="UNPARSED_TEXT"
        )
    return Value(
        Interval.reported(number, comparator),
        comparator,
        units,
        original=shown,
        original_unit=shown_unit,
    )


@remembered
def _spellings(code: str | None, words: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in (code, words) if text and text.strip()))


def answer_value(meaning: str, original: str) -> Value:
    """A known answer: one of the five, or a word of the concept's own (``II-III``, ``not_pregnant``)."""
    if meaning not in _ANSWERS:
        return Value(value_code=meaning, original=original)
    answer = cast(Answer, meaning)
    flags = ("WEAK_POSITIVE",) if answer == "weak_positive" else ()
    if answer == "invalid":
        return Value(answer=answer, original=original, flags=("INVALID_RESULT",), excluded="NO_VALUE")
    return Value(answer=answer, original=original, flags=flags)


def _text(text: str, question: Question) -> Value:
    read = read_text(text, answer=question.meaning, is_unit=question.is_unit, coded=question.coded)
    shown = text.strip() if len(text.strip()) <= _LONGEST_SHOWN else ""
    if not text.strip():
        return Value(excluded="NO_VALUE")
    if read.empty:
        return Value(original=shown, flags=("UNPARSED_TEXT",), excluded="UNPARSED_TEXT")
    said = answer_value(read.answer, shown) if read.answer else Value(original=shown)
    flags = (*said.flags, *read.flags, *(("TITRE",) if read.dilution is not None else ()))
    return msgspec.structs.replace(
        said,
        interval=read.interval,
        comparator=read.comparator,
        units=(read.unit,) if read.unit else (),
        original_unit=read.unit,
        dilution=read.dilution,
        flags=flags,
    )


@remembered_as_sent
def _concept(sent: r4.CodeableConcept, question: Question) -> Value:
    codings = codings_of(sent)
    meanings = {
        entry.meaning
        for coding in codings
        if coding.code
        and (
            entry := question.terminology.answer_for(
                (coding,), "", ordinal=question.ordinal, concept=question.concept.key
            )
        )
    }
    words = sent.text or next((coding.display for coding in codings if coding.display), "")
    spoken = _text(words, question) if words else Value()
    first = next((coding.code for coding in codings if coding.code), "")
    if len(meanings) > 1 or (meanings and _disagrees(next(iter(meanings)), spoken)):
        return Value(
            value_code=first,
            original=words[:_LONGEST_SHOWN],
            flags=("CODE_CONFLICT",),
            excluded="CODE_CONFLICT",
        )
    if meanings:
        return answer_value(next(iter(meanings)), words[:_LONGEST_SHOWN] or first)
    if words and not spoken.excluded:
        return msgspec.structs.replace(spoken, value_code=spoken.value_code or first)
    if first and question.coded:
        return Value(value_code=first, original=words[:_LONGEST_SHOWN])
    reason = "UNPARSED_TEXT" if first or words else "NO_VALUE"
    flags = ("UNPARSED_TEXT",) if reason == "UNPARSED_TEXT" else ()
    return Value(value_code=first, original=words[:_LONGEST_SHOWN], flags=flags, excluded=reason)


def _disagrees(meaning: str, spoken: Value) -> bool:
    said = spoken.answer or spoken.value_code
    if not said or spoken.excluded:
        return False
    return said.removeprefix("weak_") != meaning.removeprefix("weak_")


def _boolean(sent: bool, question: Question) -> Value:
    code = "true" if sent else "false"
    if question.ordinal or question.concept.shape == "quantity_or_ordinal":
        said = answer_value("positive" if sent else "negative", code)
        return msgspec.structs.replace(said, value_code=code)
    return Value(value_code=code, original=code)


def _range(sent: r4.Range) -> Value:
    low, high = (quantity(end) if end is not None else Value() for end in (sent.low, sent.high))
    bounds = [one.interval.point if one.interval else None for one in (low, high)]
    shown = f"{low.original}-{high.original}"
    units = low.units or high.units
    if bounds == [None, None] or (
        None not in bounds and cast(Fraction, bounds[0]) > cast(Fraction, bounds[1])
    ):
        return Value(original=shown, units=units, flags=("UNPARSED_TEXT",), excluded="UNPARSED_TEXT")
    return Value(
        Interval(bounds[0], bounds[1]),
        units=units,
        original=shown,
        original_unit=low.original_unit or high.original_unit,
    )


def _ratio(sent: r4.Ratio) -> Value:
    above, below = (
        quantity(one) if one is not None else Value() for one in (sent.numerator, sent.denominator)
    )
    top, bottom = above.interval, below.interval.point if below.interval else None
    shown = f"{above.original}:{below.original}"
    if top is None or bottom is None or bottom <= 0:
        return Value(original=shown, flags=("UNPARSED_TEXT",), excluded="UNPARSED_TEXT")
    units = [one.units[0] if one.units else "" for one in (above, below)]
    titre_units = {"", "{titer}", "1", "{titre}"}
    at_one = Fraction(1) in (top.low, top.high)
    if at_one and bottom.denominator == 1 and set(units) <= titre_units:
        return Value(
            dilution=bottom.numerator,
            comparator=above.comparator,
            original=shown,
            flags=("TITRE",),
        )
    unit = f"{units[0]}/{units[1]}" if all(units) else units[0]
    return Value(
        top.scaled(1 / bottom),
        above.comparator,
        (unit,) if unit else (),
        original=shown,
        original_unit=unit,
    )


def _date_or_nothing(reading: r4.Observation, context: Context) -> Value:
    period = reading.valuePeriod
    written = reading.valueDateTime or (period.start if period else None)
    if written:
        day = context.date(written)
        return Value(value_date=day, original=written[:40], excluded="" if day else "UNPARSED_TEXT")
    if reading.valueTime or bytes(reading.valueSampledData):
        return Value(flags=("VALUE_TYPE",), excluded="UNPARSED_TEXT")
    return Value(excluded="NO_VALUE")


def _digits(value: Decimal | None) -> str:
    """The source's digits, trailing zeros and exponent included."""
    return "" if value is None else str(value)
