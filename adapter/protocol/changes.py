"""A fall or rise between two readings of one series.

Readings of different equations, codes or laboratories are different series and are never compared: a
change of equation looks like a change of the kidney.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from adapter.model.dates import PartialDate
from adapter.model.facts import Finding
from adapter.model.kleene import Truth, all_of, any_of
from adapter.model.quantity import Interval, brief, number_text
from adapter.model.rules import Change
from adapter.protocol.context import Context
from adapter.protocol.judge import SYMBOLS, compare_intervals, worded
from adapter.protocol.outcome import Outcome, merge_evidence, unique
from adapter.protocol.readings import Pool, collect, deciding, evidence_of, surely_after, wanted
from adapter.protocol.saying import say


def change_outcome(test: Change, context: Context) -> Outcome:
    starts, ends = collect(test.start, context), collect(test.end, context)
    needs: Callable[[], tuple[str, ...]] = lambda: unique(  # noqa: E731
        need for part in (test.start, test.end) for need in wanted(part, part.period, context)
    )
    shown = (*starts.others, *ends.others)
    if starts.frame is None or ends.frame is None:
        return Outcome(Truth.UNKNOWN, shown, (), needs())
    first, last = _by_series(starts, test), _by_series(ends, test)
    shared = [name for name in _preference(first, test) if name in last]
    for name in shared:
        found = _within_series(test, first[name], last[name], context)
        if found is not None:
            truth = _doubted(found.truth, test, starts, ends)
            flags = found.flags if truth is found.truth else _troubles(starts, ends)
            evidence = merge_evidence((found.evidence, shown))
            return Outcome(truth, evidence, flags, needs() if truth is Truth.UNKNOWN else (), found.distance)
    mixed = first and last and not set(first) & set(last)
    flags = ("EQUATION_MIX",) if mixed else _troubles(starts, ends)
    unpaired = [row for group in (*first.values(), *last.values()) for row in group]
    rows = tuple(evidence_of(row, "ignored", why=say("no partner in the same series")) for row in unpaired)
    return Outcome(Truth.UNKNOWN, merge_evidence((rows, shown)), flags, needs())


def _doubted(truth: Truth, test: Change, starts: Pool, ends: Pool) -> Truth:
    """Where any reading would do, or every one must, a troubled one may be the one that matters."""
    troubled = ends.troubled + (starts.troubled if test.start.take == "any" else ())
    if "any" in (test.start.take, test.end.take):
        return any_of((truth, *(Truth.UNKNOWN for _ in troubled)))
    if test.end.take == "every":
        return all_of((truth, *(Truth.UNKNOWN for _ in troubled)))
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
        earlier = tuple(row for row in starts if _in_order(test, row, end))
        pairs += [(start, end) for start in deciding(earlier, test.start, context)]
    if not pairs:
        return None
    judged = [_judge_pair(test, start, end) for start, end in pairs]
    truths = [outcome.truth for outcome in judged]
    if "any" in (test.start.take, test.end.take):
        truth = any_of(truths)
        if truth is Truth.FALSE and all(_apart(test, *pair) is Truth.UNKNOWN for pair in pairs):
            truth = Truth.UNKNOWN
    elif test.end.take == "every":
        truth = all_of(truths)
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


def _in_order(test: Change, start: Finding, end: Finding) -> bool:
    """Whether the end was surely taken after the start and may lie as far from it as is asked for."""
    if not surely_after(end.when, start.when):
        return False
    by_time = test.apart is not None and test.apart.unit == "hours"
    return (by_time or _other_day(start, end)) and _apart(test, start, end) is not Truth.FALSE


def _apart(test: Change, start: Finding, end: Finding) -> Truth:
    """Whether two readings lie as far apart as is asked for; without times of day hours are a range."""
    if test.apart is None or start.when is None or end.when is None:
        return Truth.TRUE
    gap = Interval(
        Fraction((end.when.first - start.when.last).days), Fraction((end.when.last - start.when.first).days)
    )
    if test.apart.unit == "hours":
        gap = _hours(start.when, end.when, gap)
    least, most = test.apart.at_least, test.apart.at_most
    above = Truth.TRUE if least is None else gap.compare("at_least", Fraction(least))
    return above if most is None else above & gap.compare("at_most", Fraction(most))


def _hours(start: PartialDate, end: PartialDate, days: Interval) -> Interval:
    if start.at is not None and end.at is not None:
        return Interval.exactly(Fraction(round((end.at - start.at).total_seconds()), 3600))
    assert days.low is not None and days.high is not None  # noqa: S101, PT018 - both dates are known
    low, high = (days.low - 1) * 24, (days.high + 1) * 24
    return Interval(max(low, Fraction(0)), high, False, False)


def _other_day(start: Finding, end: Finding) -> bool:
    return start.when is not None and end.when is not None and start.when.last < end.when.first


def _judge_pair(test: Change, start: Finding, end: Finding) -> Outcome:
    assert start.value is not None  # noqa: S101 - grouped by having a value
    assert end.value is not None  # noqa: S101
    unit = test.bound.amount.unit
    if unit == "%":
        change = relative_change(start.value, end.value, test.direction).scaled(100)
    else:
        change = absolute_change(start.value, end.value, test.direction)
    limit = test.bound.amount.value
    truth = compare_intervals(change, test.bound.comparison, Interval.exactly(limit))
    left = f"{say(test.direction)} {brief(start.value)} -> {brief(end.value)} = {brief(change)} {unit}"
    compared = worded(left, SYMBOLS[test.bound.comparison], f"{number_text(limit)} {unit}", truth)
    flags = unique((*start.flags, *end.flags, *(("BOUNDARY",) if change.point == limit else ())))
    if test.reaching is not None:
        amount = test.reaching.amount
        reached = compare_intervals(end.value, test.reaching.comparison, Interval.exactly(amount.value))
        truth = truth & reached
        compared += say(" and ") + worded(
            str(end.value), SYMBOLS[test.reaching.comparison], amount.text, reached
        )
    if _apart(test, start, end) is Truth.UNKNOWN:
        truth = truth & Truth.UNKNOWN if "any" in (test.start.take, test.end.take) else Truth.UNKNOWN
        compared += say(", perhaps not as far apart as asked")
    evidence = (evidence_of(start, "used", compared=compared), evidence_of(end, "used", compared=compared))
    return Outcome(
        truth, evidence, flags, distance=say(f"{test.direction} of {{size}}", size=f"{brief(change)} {unit}")
    )


def absolute_change(start: Interval, end: Interval, direction: str) -> Interval:
    """How much more (``rise``) or less (``fall``) the end is, for all numbers both intervals allow.

    >>> str(absolute_change(Interval.reported(90, ">"), Interval.exactly(62), "fall"))
    '>28'
    """
    less, more = (start, end) if direction == "rise" else (end, start)
    low = None if more.low is None or less.high is None else more.low - less.high
    high = None if more.high is None or less.low is None else more.high - less.low
    return Interval(low, high, more.low_closed and less.high_closed, more.high_closed and less.low_closed)


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
    """Quotient of two positive quantities; a bound that is not known leaves that side open.

    A 0 that is reported as such is a quantity too: nothing is a share of it.
    """
    if bottom.high == 0:
        return Interval(None, None)
    if top.point == 0:
        return Interval.exactly(0)
    low, low_closed = Fraction(0), top.low == 0 and top.low_closed
    if top.low is not None and top.low > 0 and bottom.high is not None:
        low, low_closed = top.low / bottom.high, top.low_closed and bottom.high_closed
    high, high_closed = None, True
    if top.high is not None and bottom.low is not None and bottom.low > 0:
        high, high_closed = top.high / bottom.low, top.high_closed and bottom.low_closed
    return Interval(low, high, low_closed, high_closed)
