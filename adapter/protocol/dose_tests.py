"""Putting daily doses to a test: bounds, per kilogram, a target by weight, a change."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import isqrt

from adapter.model.course import DoseChanged, DoseIs, DoseTarget
from adapter.model.decision import Evidence
from adapter.model.facts import Source
from adapter.model.kleene import Truth, all_of
from adapter.model.quantity import Interval, brief, number_text
from adapter.model.selection import Selection
from adapter.protocol.context import Context
from adapter.protocol.days import Frame
from adapter.protocol.dose_totals import total_in
from adapter.protocol.doses import Dose, doses_in
from adapter.protocol.judge import SYMBOLS, compare_intervals, distance, worded
from adapter.protocol.occurrences import MEDICATION_TYPES
from adapter.protocol.outcome import Outcome, merge_evidence, unique
from adapter.protocol.readings import collect, deciding, evidence_of, wanted
from adapter.protocol.saying import say


def dose_outcome(test: DoseIs, context: Context) -> Outcome:
    """The dose that the test takes; one that cannot be read in the period leaves a yes open."""
    frame = context.frame(test.dose.period)
    if frame is None:
        return Outcome(Truth.UNKNOWN, needs=context.missing(test.dose.period.start, test.dose.period.end))
    if test.dose.take == "total":
        return _total(test, frame, context)
    found = doses_in(test.dose.drugs, frame, context)
    if not found:
        return Outcome(
            Truth.UNKNOWN, needs=(say("the daily dose of {what}, {when}", what=test.dose.label, when=frame),)
        )
    chosen = _take(found, test.dose.take)
    weight, weighed, needs = _size(test, context)
    if test.dose.weight is not None and weight is None:
        return Outcome(Truth.UNKNOWN, (*_evidence(chosen, ""), *weighed.evidence), weighed.flags, needs)
    assert chosen.value is not None  # noqa: S101 - days without a known dose were left out
    if test.target is not None and weight is not None:
        truth, compared, flags, gap = _compare_target(test.target, chosen.value, weight)
    else:
        truth, compared, flags, gap = _compare(test, Interval.exactly(chosen.value), weight)
    evidence = merge_evidence((_evidence(chosen, compared), weighed.evidence))
    return Outcome(truth, evidence, unique((*chosen.flags, *weighed.flags, *flags)), needs, gap)


def _take(found: tuple[Dose, ...], take: str) -> Dose:
    order: Callable[[Dose], Fraction] = lambda dose: dose.value or Fraction(0)  # noqa: E731
    match take:
        case "first":
            return found[0]
        case "highest":
            return max(found, key=order)
        case "lowest":
            return min(found, key=order)
    return found[-1]


def _total(test: DoseIs, frame: Frame, context: Context) -> Outcome:
    """All of the drug in the period; what is not known may be any amount."""
    size, measured, needs = _size(test, context)
    if test.dose.weight is not None and size is None:
        return Outcome(Truth.UNKNOWN, measured.evidence, measured.flags, needs)
    total = total_in(test.dose.drugs, frame, context)
    truth, compared, flags, gap = _compare(test, total.value, size)
    shown = [
        Evidence(
            source=row.source,
            role="used",
            concept=row.concept,
            when=row.start.iso if row.start else "",
            original=row.code.display or row.code.code,
            compared=compared,
        )
        for row in total.rows
    ]
    if total.covered:
        shown += [
            Evidence(Source(f"coverage/{name}"), "used", compared=compared) for name in MEDICATION_TYPES
        ]
    needs = (say("complete records of {what} with their doses, {when}", what=test.dose.label, when=frame),)
    every = unique((*total.flags, *measured.flags, *flags))
    wanted_ = needs if truth is Truth.UNKNOWN else ()
    return Outcome(truth, merge_evidence((tuple(shown), measured.evidence)), every, wanted_, gap)


def _size(test: DoseIs, context: Context) -> tuple[Interval | None, Outcome, tuple[str, ...]]:
    """The weight in kg, or the body surface area in m2 by Mosteller (N Engl J Med 1987;317:1098)."""
    weight, weighed, needs = _measured(test.dose.weight, context)
    if test.dose.height is None or weight is None:
        return weight, weighed, needs
    height, seen, needs = _measured(test.dose.height, context)
    outcome = Outcome(Truth.TRUE, (*weighed.evidence, *seen.evidence), unique((*weighed.flags, *seen.flags)))
    return (None if height is None else surface(height, weight)), outcome, needs


def surface(height: Interval, weight: Interval) -> Interval:
    """The square root of cm times kg over 3600, to within a millionth.

    >>> str(surface(Interval.exactly(180), Interval.exactly(80)))
    '2'
    """
    low = None if not height.low or not weight.low else _root(height.low * weight.low / 3600, up=False)
    high = None if not height.high or not weight.high else _root(height.high * weight.high / 3600, up=True)
    return Interval(low, high)


def _root(number: Fraction, *, up: bool) -> Fraction:
    root = isqrt(int(number * 10**12))
    exact = Fraction(root, 10**6) ** 2 == number
    return Fraction(root if exact or not up else root + 1, 10**6)


def _measured(
    selection: Selection | None, context: Context
) -> tuple[Interval | None, Outcome, tuple[str, ...]]:
    if selection is None:
        return None, Outcome(Truth.TRUE), ()
    pool = collect(selection, context)
    rows = deciding(tuple(row for row in pool.valid if row.value is not None), selection, context)
    values = {row.value for row in rows}
    if len(values) != 1:
        flags = unique((*(why for _, why in pool.troubled), *(("CONFLICT",) if values else ())))
        needs = wanted(selection, selection.period, context)
        return None, Outcome(Truth.UNKNOWN, pool.others, flags), needs
    [value] = values
    flags = unique(flag for row in rows for flag in row.flags)
    evidence = tuple(evidence_of(row, "used", compared=say("size that the dose goes by")) for row in rows)
    return value, Outcome(Truth.TRUE, (*evidence, *pool.others), flags), ()


def _compare(test: DoseIs, dose: Interval, size: Interval | None) -> tuple[Truth, str, tuple[str, ...], str]:
    value = dose if size is None else _per(dose, size)
    plain = "mg" if test.dose.take == "total" else "mg/d"
    of_size = "" if size is None else f" / {brief(size)} {'m2' if test.dose.height else 'kg'}"
    truths, said, flags, gaps = [], [], [], []
    for bound in test.bounds:
        limit = Interval.exactly(bound.amount.value)
        truth = compare_intervals(value, bound.comparison, limit)
        truths.append(truth)
        shown = f"{dose} {plain}{of_size}" + (f" = {brief(value)} {test.unit}" if of_size else "")
        said.append(worded(shown, SYMBOLS[bound.comparison], f"{limit} {test.unit}", truth))
        edge = bound.amount.value
        flags += ["BOUNDARY"] if value.touches(edge) and value.contains(edge) else []
        gaps.append((truth, distance(value, limit, test.unit)))
    truth = all_of(truths)
    gap = next((text for found, text in gaps if found is truth and text), "")
    return truth, say(" and ").join(said), tuple(flags), gap


def _per(dose: Interval, size: Interval) -> Interval:
    low = dose.low / size.high if size.high and dose.low is not None else None
    high = dose.high / size.low if size.low and dose.high is not None else None
    return Interval(low, high, size.high_closed, size.low_closed)


def _compare_target(
    target: DoseTarget, dose: Fraction, weight: Interval
) -> tuple[Truth, str, tuple[str, ...], str]:
    """Within the tolerance of the dose by weight, which may be capped; the ends count."""
    if weight.point is None:
        return (
            Truth.UNKNOWN,
            say("{dose} mg/d, weight {weight} kg", dose=number_text(dose), weight=weight),
            (),
            "",
        )
    wanted_dose = target.per_kg * weight.point
    if target.at_most is not None:
        wanted_dose = min(wanted_dose, target.at_most)
    off = abs(dose - wanted_dose)
    truth = Truth.of(off <= target.tolerance)
    shown = f"{number_text(wanted_dose)} +- {number_text(target.tolerance)} mg/d"
    compared = worded(f"{number_text(dose)} mg/d", "within", shown, truth)
    flags = ("BOUNDARY",) if off == target.tolerance and off else ()
    return truth, compared, flags, distance(Interval.exactly(dose), Interval.exactly(wanted_dose), "mg/d")


def _evidence(dose: Dose, compared: str) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            source=row.source,
            role="used",
            concept=row.concept,
            when=row.start.iso if row.start else "",
            original=row.code.display or row.code.code,
            value=say("{dose} mg/d on {day}", dose=number_text(dose.value), day=dose.day)
            if dose.value is not None
            else "",
            compared=compared,
        )
        for row in dose.rows
    )


def change_of_dose(test: DoseChanged, context: Context) -> Outcome:
    """True if a later known dose differs; false needs a known dose when the period begins."""
    frame = context.frame(test.period)
    if frame is None:
        return Outcome(Truth.UNKNOWN, needs=context.missing(test.period.start, test.period.end))
    known = doses_in(test.drugs, Frame(None, frame.end), context)
    evidence: tuple[Evidence, ...] = ()
    for before, after in pairwise(known):
        inside = frame.start is None or after.day >= frame.start.first
        if inside and _moved(test, before, after):
            assert before.value is not None and after.value is not None  # noqa: S101, PT018
            said = say(
                "{before} -> {after} mg/d on {day}",
                before=number_text(before.value),
                after=number_text(after.value),
                day=after.day,
            )
            evidence = (*evidence, *_evidence(after, said))
    if evidence:
        return Outcome(Truth.TRUE, evidence)
    shown = tuple(item for dose in known for item in _evidence(dose, say("no such change of dose")))
    begun = [dose for dose in known if frame.start is None or dose.day <= frame.start.last]
    if not begun:
        return Outcome(
            Truth.UNKNOWN, shown, (), (say("the daily dose of {what}, {when}", what=test.label, when=frame),)
        )
    return Outcome(Truth.FALSE, merge_evidence((shown,)))


def _moved(test: DoseChanged, before: Dose, after: Dose) -> bool:
    if before.value is None or after.value is None or before.value == after.value:
        return False
    if test.direction == "any":
        return True
    return (after.value < before.value) is (test.direction == "reduction")
