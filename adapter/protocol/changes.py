"""A fall or rise between two readings of one series.

Readings of different equations, codes or laboratories are different series and are never compared: a
change of equation looks like a change of the kidney.
"""

from __future__ import annotations

from fractions import Fraction

from adapter.model.facts import Finding
from adapter.model.kleene import Truth, all_of, any_of
from adapter.model.quantity import Interval, number_text
from adapter.model.rules import Change
from adapter.protocol.context import Context
from adapter.protocol.judge import SYMBOLS, compare_intervals, worded
from adapter.protocol.outcome import Outcome, merge_evidence, unique
from adapter.protocol.readings import Pool, collect, deciding, evidence_of, surely_after, wanted


def change_outcome(test: Change, context: Context) -> Outcome:
    starts, ends = collect(test.start, context), collect(test.end, context)
    needs = unique(need for part in (test.start, test.end) for need in wanted(part, part.period, context))
    shown = (*starts.others(), *ends.others())
    if starts.frame is None or ends.frame is None:
        return Outcome(Truth.UNKNOWN, shown, (), needs)
    first, last = _by_series(starts, test), _by_series(ends, test)
    shared = [name for name in _preference(first, test) if name in last]
    for name in shared:
        found = _within_series(test, first[name], last[name], context)
        if found is not None:
            truth = _doubted(found.truth, test, ends)
            flags = found.flags if truth is found.truth else _troubles(ends)
            evidence = merge_evidence((found.evidence, shown))
            return Outcome(truth, evidence, flags, needs if truth is Truth.UNKNOWN else (), found.distance)
    mixed = first and last and not set(first) & set(last)
    flags = ("EQUATION_MIX",) if mixed else _troubles(starts, ends)
    unpaired = [row for group in (*first.values(), *last.values()) for row in group]
    rows = tuple(evidence_of(row, "ignored", why="no partner in the same series") for row in unpaired)
    return Outcome(Truth.UNKNOWN, merge_evidence((rows, shown)), flags, needs)


def _doubted(truth: Truth, test: Change, ends: Pool) -> Truth:
    """Where any reading would do, or every one must, a troubled one may be the one that matters."""
    if test.end.take == "any":
        return any_of((truth, *(Truth.UNKNOWN for _ in ends.troubled)))
    if test.end.take == "every":
        return all_of((truth, *(Truth.UNKNOWN for _ in ends.troubled)))
    return truth


def _troubles(*pools: Pool) -> tuple[str, ...]:
    return unique(why for pool in pools for _, why in pool.troubled)


def _by_series(pool: Pool, test: Change) -> dict[str, tuple[Finding, ...]]:
    groups: dict[str, list[Finding]] = {}
    for row in pool.valid:
        if row.value is not None:
            groups.setdefault(series_of(row) if test.same_series else "", []).append(row)
    return {name: tuple(rows) for name, rows in groups.items()}


def series_of(row: Finding) -> str:
    """Derived values form one series per equation; reported ones one per code and laboratory."""
    if row.category == "derived":
        return row.method
    return f"reported {row.code.system}|{row.code.code} {row.laboratory}"


def _preference(groups: dict[str, tuple[Finding, ...]], test: Change) -> list[str]:
    """Listed series first and in that order; of those not listed only reported ones may follow."""
    if not test.series:
        return sorted(groups)
    listed = [name for name in test.series if name in groups]
    return listed + sorted(name for name in groups if name.startswith("reported "))


def _within_series(
    test: Change, starts: tuple[Finding, ...], ends: tuple[Finding, ...], context: Context
) -> Outcome | None:
    """The change in one series, or None if it has no pair of readings in order."""
    pairs = []
    for end in ends if test.end.take in ("any", "every") else deciding(ends, test.end, context):
        earlier = tuple(row for row in starts if surely_after(end.when, row.when) and _other_day(row, end))
        pairs += [(start, end) for start in deciding(earlier, test.start, context)]
    if not pairs:
        return None
    judged = [_judge_pair(test, start, end) for start, end in pairs]
    truths = [outcome.truth for outcome in judged]
    if test.end.take in ("any", "every"):
        truth = any_of(truths) if test.end.take == "any" else all_of(truths)
    else:
        truth = truths[0] if len(set(truths)) == 1 else Truth.UNKNOWN
    if len(ends) < test.end.minimum and truth is not Truth.TRUE:
        truth = Truth.UNKNOWN
    decisive = [outcome for outcome in judged if outcome.truth is truth]
    conflict = ("CONFLICT",) if truth is Truth.UNKNOWN and len(set(truths)) > 1 else ()
    return Outcome(
        truth,
        merge_evidence(outcome.evidence for outcome in judged),
        unique((*(flag for outcome in decisive for flag in outcome.flags), *conflict)),
        distance=next((outcome.distance for outcome in decisive), ""),
    )


def _other_day(start: Finding, end: Finding) -> bool:
    return start.when is not None and end.when is not None and start.when.last < end.when.first


def _judge_pair(test: Change, start: Finding, end: Finding) -> Outcome:
    assert start.value is not None  # noqa: S101 - grouped by having a value
    assert end.value is not None  # noqa: S101
    change = relative_change(start.value, end.value, test.direction).scaled(100)
    limit = test.bound.amount.value
    truth = compare_intervals(change, test.bound.comparison, Interval.exactly(limit))
    left = f"{test.direction} {start.value} -> {end.value} = {change} %"
    compared = worded(left, SYMBOLS[test.bound.comparison], f"{number_text(limit)} %", truth)
    flags = unique((*start.flags, *end.flags, *(("BOUNDARY",) if change.point == limit else ())))
    if test.reaching is not None:
        amount = test.reaching.amount
        reached = compare_intervals(end.value, test.reaching.comparison, Interval.exactly(amount.value))
        truth = truth & reached
        compared += " and " + worded(str(end.value), SYMBOLS[test.reaching.comparison], amount.text, reached)
    evidence = (evidence_of(start, "used", compared=compared), evidence_of(end, "used", compared=compared))
    return Outcome(truth, evidence, flags, distance=f"{test.direction} of {change} %")


def relative_change(start: Interval, end: Interval, direction: str) -> Interval:
    """The change as a share of the start, for all positive numbers both intervals allow.

    >>> from fractions import Fraction
    >>> fall = relative_change(Interval.reported(90, ">"), Interval.exactly(62), "fall")
    >>> fall.low == Fraction(28, 90), fall.high
    (True, Fraction(1, 1))
    """
    ratio = _ratio(end, start)
    return ratio.scaled(-1, 1) if direction == "fall" else ratio.scaled(1, -1)


def _ratio(top: Interval, bottom: Interval) -> Interval:
    """Quotient of two positive quantities; a bound that is not known leaves that side open."""
    low, low_closed = Fraction(0), False
    if top.low is not None and top.low > 0 and bottom.high is not None:
        low, low_closed = top.low / bottom.high, top.low_closed and bottom.high_closed
    high, high_closed = None, True
    if top.high is not None and bottom.low is not None and bottom.low > 0:
        high, high_closed = top.high / bottom.low, top.high_closed and bottom.low_closed
    return Interval(low, high, low_closed, high_closed)
