"""Conditions about readings: one that decides, several, a share of them, a change between two."""

from __future__ import annotations

from fractions import Fraction

from adapter.model.facts import Finding
from adapter.model.kleene import Truth, all_of, any_of
from adapter.model.quantity import Interval
from adapter.model.rules import ReadingIs, Repeated, Share
from adapter.model.selection import ReadingTest, Selection
from adapter.protocol.context import Context
from adapter.protocol.judge import Judged, judge
from adapter.protocol.outcome import Outcome, merge_evidence, unique
from adapter.protocol.readings import Pool, answering, collect, deciding, evidence_of, surely_after, wanted


def reading_outcome(test: ReadingIs, context: Context) -> Outcome:
    """The condition for the reading that decides, with what the others say."""
    pool = collect(test.selection, context)
    if pool.frame is None:
        return Outcome(Truth.UNKNOWN, needs=wanted(test.selection, test.selection.period, context))
    rows = answering(pool, test.test)
    if test.selection.take in ("any", "every"):
        return _all_together(test, rows, pool, context)
    chosen = deciding(rows, test.selection, context)
    if not chosen:
        return _nothing_decides(test.selection, pool, context)
    return _chosen_decide(test, chosen, rows, pool, context)


def _nothing_decides(selection: Selection, pool: Pool, context: Context) -> Outcome:
    flags = unique(why for _, why in pool.troubled)
    if not pool.troubled and pool.support:
        flags = ("SUPPORT_ONLY",)
    shown = tuple(evidence_of(row, "ignored", why="not of the kind asked for") for row in pool.valid)
    needs = wanted(selection, selection.period, context)
    return Outcome(Truth.UNKNOWN, (*shown, *pool.others()), flags, needs)


def _chosen_decide(
    test: ReadingIs, chosen: tuple[Finding, ...], rows: tuple[Finding, ...], pool: Pool, context: Context
) -> Outcome:
    judged = [(row, judge(row, test.test, context)) for row in chosen]
    evidence = [evidence_of(row, "used", compared=found.compared) for row, found in judged]
    others = [(row, judge(row, test.test, context)) for row in rows if row not in chosen]
    evidence += [
        evidence_of(row, "ignored", compared=found.compared, why=_why(test)) for row, found in others
    ]
    newer = unique(why for row, why in pool.troubled if not _surely_older(row, chosen))
    flags = unique((*(flag for row, found in judged for flag in (*row.flags, *found.flags)), *newer))
    truths = {found.truth for _, found in judged}
    truth = truths.pop() if len(truths) == 1 else Truth.UNKNOWN
    needs = unique(text for _, found in judged for text in found.needs)
    if len(judged) > 1 and truth is Truth.UNKNOWN and not needs:
        flags = unique((*flags, "CONFLICT"))
        needs = ("which of the readings of the same time is right",)
    if "CONFLICT" in newer and test.selection.take == "latest":
        truth, needs = Truth.UNKNOWN, ("which of the contradicting newer readings is right",)
    opposite = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE}.get(truth)
    if test.selection.take in ("latest", "nearest") and any(found.truth is opposite for _, found in others):
        flags = (*flags, "READINGS_DISAGREE")
    distance = next((found.distance for _, found in judged if found.distance), "")
    return Outcome(truth, (*evidence, *pool.others()), flags, needs, distance)


def _why(test: ReadingIs) -> str:
    return f"not the {test.selection.take}"


def _surely_older(row: Finding, chosen: tuple[Finding, ...]) -> bool:
    return row.when is None or all(surely_after(found.when, row.when) for found in chosen)


def _all_together(test: ReadingIs, rows: tuple[Finding, ...], pool: Pool, context: Context) -> Outcome:
    """``any``: one reading is enough; ``every``: all must pass. Troubled readings may be either."""
    judged = [(row, judge(row, test.test, context)) for row in rows]
    combine = any_of if test.selection.take == "any" else all_of
    truth = combine([found.truth for _, found in judged] + [Truth.UNKNOWN for _ in pool.troubled])
    if len(rows) < test.selection.minimum:
        settled = Truth.TRUE if test.selection.take == "any" else Truth.FALSE
        truth = truth if truth is settled else Truth.UNKNOWN
    decisive = [(row, found) for row, found in judged if found.truth is truth]
    flags = [flag for row, found in decisive for flag in (*row.flags, *found.flags)]
    needs: tuple[str, ...] = ()
    if truth is Truth.UNKNOWN:
        flags += [why for _, why in pool.troubled]
        needs = unique(text for _, found in judged for text in found.needs) or wanted(
            test.selection, test.selection.period, context
        )
    evidence = tuple(evidence_of(row, "used", compared=found.compared) for row, found in judged)
    return Outcome(truth, (*evidence, *pool.others()), unique(flags), needs)


def repeated_outcome(test: Repeated, context: Context) -> Outcome:
    """A chain of passing readings, each so many days after the one before."""
    pool, judged = _judged(test.selection, test.test, context)
    if pool.frame is None:
        return Outcome(Truth.UNKNOWN, needs=wanted(test.selection, test.selection.period, context))
    passing = [row for row, found in judged if found.truth is Truth.TRUE]
    possible = [row for row, found in judged if found.truth is not Truth.FALSE]
    possible += [row for row, _ in pool.troubled if row.when is not None]
    evidence = tuple(evidence_of(row, "used", compared=found.compared) for row, found in judged)
    if _longest_chain(passing, test) >= test.readings:
        truth = Truth.TRUE
    elif _longest_chain(possible, test) >= test.readings or not _could_have(judged, pool, test):
        truth = Truth.UNKNOWN
    else:
        truth = Truth.FALSE
    flags = unique(flag for row, found in judged if found.truth is truth for flag in row.flags)
    needs = wanted(test.selection, test.selection.period, context) if truth is Truth.UNKNOWN else ()
    return Outcome(truth, merge_evidence((evidence, pool.others())), flags, needs)


def _could_have(judged: list[tuple[Finding, Judged]], pool: Pool, test: Repeated) -> bool:
    """Whether there were readings that lie so far apart at all: without them nobody looked."""
    rows = [row for row, _ in judged] + [row for row, _ in pool.troubled if row.when is not None]
    return _longest_chain(rows, test) >= test.readings


def _judged(
    selection: Selection, test: ReadingTest, context: Context
) -> tuple[Pool, list[tuple[Finding, Judged]]]:
    pool = collect(selection, context)
    return pool, [(row, judge(row, test, context)) for row in answering(pool, test)]


def _longest_chain(rows: list[Finding], test: Repeated) -> int:
    """Most readings in a row, in time order, whose gaps all fit."""
    days = sorted({row.when.first for row in rows if row.when is not None})
    longest: dict[int, int] = {}
    for here, day in enumerate(days):
        before = [
            longest[there]
            for there in range(here)
            if (gap := (day - days[there]).days) >= test.apart_at_least
            and (test.apart_at_most is None or gap <= test.apart_at_most)
        ]
        longest[here] = 1 + max(before, default=0)
    if test.apart_at_least == 0 and test.apart_at_most is None:
        return len(rows)
    return max(longest.values(), default=0)


def share_outcome(test: Share, context: Context) -> Outcome:
    """The share of readings that pass, as an interval: unknown ones may fall on either side."""
    pool, judged = _judged(test.selection, test.test, context)
    evidence = tuple(evidence_of(row, "used", compared=found.compared) for row, found in judged)
    needs = wanted(test.selection, test.selection.period, context)
    total = len(judged)
    if pool.frame is None or total < max(test.selection.minimum, 1):
        return Outcome(Truth.UNKNOWN, merge_evidence((evidence, pool.others())), (), needs)
    passing = sum(found.truth is Truth.TRUE for _, found in judged)
    open_ = sum(found.truth is Truth.UNKNOWN for _, found in judged)
    doubtful = len(pool.troubled)
    low = Fraction(100 * passing, total + doubtful)
    high = Fraction(100 * (passing + open_ + doubtful), total + doubtful)
    share = Interval(low, high)
    truth = share.compare(test.bound.comparison, test.bound.amount.value)
    flags = ("BOUNDARY",) if share.point == test.bound.amount.value else ()
    return Outcome(
        truth,
        merge_evidence((evidence, pool.others())),
        flags,
        needs if truth is Truth.UNKNOWN else (),
        f"{share} % of {total} readings",
    )
