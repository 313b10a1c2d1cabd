"""Positive or negative: from words, from the laboratory's interpretation, from its own limits, in that order.

A number beside an answer must not contradict it, nor may two answers: then nobody knows (CONFLICT). A number
alone is judged by the limits printed with it, and only where they leave no doubt; where the table states a
general cut-off (signal to cut-off, hCG) that stands in. Source: pitfall E-10 and table A.16.
"""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import codings_of
from adapter.mappers.remembered import remembered_as_sent
from adapter.mappers.results.values import Question, Value
from adapter.model.facts import Answer, ReferenceRange
from adapter.model.kleene import Truth
from adapter.model.quantity import Interval

_JUDGED = frozenset({"quantity_or_ordinal", "ordinal", "titre"})
_VIRAL_LOADS = frozenset({"hbv_dna", "hcv_rna", "hiv_rna", "cmv_dna"})
_SAME_SIDE = {"weak_positive": "positive"}


class Verdict(msgspec.Struct, frozen=True, gc=False):
    answer: Answer = ""
    flags: tuple[str, ...] = ()
    excluded: str = ""


_NONE = Verdict()
BY_OWN_RANGE = ("BY_OWN_RANGE",)


def interpretation_of(reading: r4.Observation) -> tuple[r4.CodeableConcept, ...]:
    """R4 allows several; older servers send one object."""
    sent = reading.interpretation
    return (sent,) if isinstance(sent, r4.CodeableConcept) else sent


def judge(
    value: Value,
    number: Interval | None,
    limits: ReferenceRange | None,
    reading: r4.Observation,
    question: Question,
) -> Verdict:
    """The answer of a reading; ``number`` is the value in the unit that ``limits`` are in."""
    if question.concept.shape not in _JUDGED:
        return Verdict(value.answer) if value.answer else _NONE
    said = interpretation_of(reading)
    stated = [answer for answer in (value.answer, _interpreted(said, question) if said else "") if answer]
    measured = _measured(number, value, limits, question)
    sides = {_SAME_SIDE.get(answer, answer) for answer in stated}
    own_limits = measured.answer if measured.flags == BY_OWN_RANGE else ""
    if len(sides) > 1 or (sides and own_limits and own_limits not in sides and "equivocal" not in sides):
        return Verdict(stated[0], ("ANSWER_CONFLICT",), "CONFLICT")
    return Verdict(stated[0]) if stated else measured


@remembered_as_sent
def _interpreted(interpretation: tuple[r4.CodeableConcept, ...], question: Question) -> Answer:
    meanings = {
        entry.meaning
        for concept in interpretation
        if (
            entry := question.terminology.answer_for(
                codings_of(concept), "", ordinal=False, concept=question.concept.key
            )
        )
    }
    meaning = next(iter(meanings)) if len(meanings) == 1 else ""
    return cast(Answer, meaning) if meaning in ("positive", "weak_positive", "negative", "equivocal") else ""


def _measured(
    number: Interval | None, value: Value, limits: ReferenceRange | None, question: Question
) -> Verdict:
    if value.dilution is not None:
        return Verdict("negative") if value.comparator.startswith("<") else Verdict()
    if number is None:
        return _detected(value, question)
    own = limits is not None and (limits.low is not None or limits.high is not None)
    by_table = "" if question.entry.number_needs_own_cutoff else _by_table(number, value, question)
    if by_table and (not own or "borderline" in dict(question.concept.default_cutoff)):
        # A table with a band in between says more than one limit does (hCG 5..25 IU/L: repeat the test).
        return Verdict(by_table, ("BY_TABLE_CUTOFF",))
    if limits is not None and own:
        return Verdict(_by_limits(number, limits), BY_OWN_RANGE)
    return _detected(value, question)


def _by_limits(number: Interval, limits: ReferenceRange) -> Answer:
    """Inside the laboratory's limits is negative, outside positive; on the limit nobody says.

    A competitive assay prints a lower limit alone (``>1``), and is positive below it.
    """
    if limits.high is not None:
        if number.compare("above", limits.high) is Truth.TRUE:
            return "positive"
        if number.compare("below", limits.high) is Truth.TRUE and not limits.low:
            return "negative"
        return ""
    assert limits.low is not None  # noqa: S101 - one of the two is there
    if number.compare("below", limits.low) is Truth.TRUE:
        return "positive"
    return "negative" if number.compare("above", limits.low) is Truth.TRUE else ""


def _by_table(number: Interval, value: Value, question: Question) -> Answer:
    """The general cut-off of ``concepts.yaml``, for tests that have one independent of the kit."""
    cutoff = dict(question.concept.default_cutoff)
    if "assay" in cutoff or not cutoff:
        return ""  # one kit's cut-off: the protocol states what it wants
    as_ratio = bool(value.units) and all(question.terminology.never_converts(unit) for unit in value.units)
    if cutoff.get("method") == "signal/cutoff" and not as_ratio:
        return ""
    negative_below = _limit(cutoff.get("negative_below") or cutoff.get("positive_from"))
    if negative_below is not None and number.compare("below", negative_below) is Truth.TRUE:
        return "negative"
    positive_from, positive_above = _limit(cutoff.get("positive_from")), _limit(cutoff.get("positive_above"))
    if positive_from is not None and number.compare("at_least", positive_from) is Truth.TRUE:
        return "positive"
    if positive_above is not None:
        if number.compare("above", positive_above) is Truth.TRUE:
            return "positive"
        if negative_below is not None and number.point is not None:
            return "equivocal"
    return ""


def _detected(value: Value, question: Question) -> Verdict:
    """A viral load that was quantified at all was detected, in whatever unit; "<20" alone proves nothing."""
    lowest = value.interval.low if value.interval is not None else None
    if question.concept.key in _VIRAL_LOADS and lowest is not None and lowest > 0:
        return Verdict("positive")
    return Verdict()


def _limit(text: str | tuple[str, ...] | None) -> Fraction | None:
    return Fraction(text) if isinstance(text, str) else None
