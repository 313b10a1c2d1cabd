"""Conditions that count readings one by one: how many pass, how far apart, what share of them."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from adapter.model.decision import Evidence
from adapter.model.facts import Finding
from adapter.model.kleene import Truth, all_of
from adapter.model.quantity import Interval, brief
from adapter.model.rules import Repeated, Share
from adapter.model.selection import Beside
from adapter.protocol.context import Context
from adapter.protocol.judge import SYMBOLS, Judged, judge, worded
from adapter.protocol.outcome import Outcome, merge_evidence, unique
from adapter.protocol.readings import Pool, answering, collect, evidence_of, wanted
from adapter.protocol.saying import say


class _Counted(msgspec.Struct, frozen=True, gc=False):
    """One reading with what its test, and those of the readings that belong to it, came to."""

    row: Finding
    truth: Truth
    evidence: tuple[Evidence, ...]


def repeated_outcome(test: Repeated, context: Context) -> Outcome:
    """A chain of passing readings, each so many days after the one before."""
    pool, counted = _counted(test, context)
    if pool.frame is None:
        return Outcome(Truth.UNKNOWN, needs=wanted(test.selection, test.selection.period, context))
    passing = [one.row for one in counted if one.truth is Truth.TRUE]
    possible = [one.row for one in counted if one.truth is not Truth.FALSE]
    possible += [row for row, _ in pool.troubled if row.when is not None]
    if _longest_chain(passing, test) >= test.readings:
        truth = Truth.TRUE
    elif _longest_chain(possible, test) >= test.readings or not _could_have(counted, pool, test):
        truth = Truth.UNKNOWN
    else:
        truth = Truth.FALSE
    flags = unique(flag for one in counted if one.truth is truth for flag in one.row.flags)
    needs = wanted(test.selection, test.selection.period, context) if truth is Truth.UNKNOWN else ()
    return Outcome(truth, _shown(counted, pool, truth), flags, needs)


def share_outcome(test: Share, context: Context) -> Outcome:
    """The share of readings that pass, as an interval: unknown ones may fall on either side."""
    pool, counted = _counted(test, context)
    needs = wanted(test.selection, test.selection.period, context)
    total = len(counted)
    if pool.frame is None or total < max(test.selection.minimum, 1):
        return Outcome(Truth.UNKNOWN, _shown(counted, pool, Truth.UNKNOWN), (), needs)
    passing = sum(one.truth is Truth.TRUE for one in counted)
    open_ = sum(one.truth is Truth.UNKNOWN for one in counted)
    doubtful = len(pool.troubled)
    low = Fraction(100 * passing, total + doubtful)
    high = Fraction(100 * (passing + open_ + doubtful), total + doubtful)
    share = Interval(low, high)
    truth = share.compare(test.bound.comparison, test.bound.amount.value)
    limit = f"{brief(Interval.exactly(test.bound.amount.value))} %"
    whole = worded(
        say("{share} % of {total} readings", share=brief(share), total=total),
        SYMBOLS[test.bound.comparison],
        limit,
        truth,
    )
    flags = ("BOUNDARY",) if share.point == test.bound.amount.value else ()
    return Outcome(
        truth,
        tuple(_beginning(whole, item) for item in _shown(counted, pool, truth)),
        flags,
        needs if truth is Truth.UNKNOWN else (),
        say("{share} % of {total} readings", share=share, total=total),
    )


def _beginning(whole: str, item: Evidence) -> Evidence:
    """What all readings came to before what this one says: no single one of them is the reason."""
    if item.role != "used":
        return item
    return msgspec.structs.replace(item, compared=f"{whole}; {item.compared}")


def _shown(counted: list[_Counted], pool: Pool, truth: Truth) -> tuple[Evidence, ...]:
    """The readings that speak for the outcome before those that speak against it."""
    first = sorted(counted, key=lambda one: one.truth is not truth)
    return merge_evidence((*(one.evidence for one in first), pool.others))


def _counted(test: Repeated | Share, context: Context) -> tuple[Pool, list[_Counted]]:
    pool = collect(test.selection, context)
    partners = [(beside, collect(beside.selection, context)) for beside in test.beside]
    found = []
    for row in answering(pool, test.test):
        own = judge(row, test.test, context)
        pairs = [_partner(row, beside, others, context) for beside, others in partners]
        parts = [(own.truth, [(row, own)]), *pairs]
        truth = all_of(part for part, _ in parts)
        parts.sort(key=lambda part: part[0] is not truth)
        shown = (evidence_of(one, "used", compared=said.compared) for _, rows in parts for one, said in rows)
        found.append(_Counted(row, truth, tuple(shown)))
    return pool, found


def _partner(
    row: Finding, beside: Beside, pool: Pool, context: Context
) -> tuple[Truth, list[tuple[Finding, Judged]]]:
    """What the reading that belongs to this one says; one that is missing or troubled is not known.

    Parts of one resource belong together; where there are none, readings of the very same time.
    """
    rows, troubled = answering(pool, beside.test), [other for other, _ in pool.troubled]
    candidates = (*rows, *troubled)
    belongs = _one_resource if any(_one_resource(one, row) for one in candidates) else _one_time
    judged = [(other, judge(other, beside.test, context)) for other in rows if belongs(other, row)]
    truths = {said.truth for _, said in judged}
    if len(truths) != 1 or any(belongs(other, row) for other in troubled):
        return Truth.UNKNOWN, judged
    return truths.pop(), judged


def _one_resource(other: Finding, row: Finding) -> bool:
    return other.source.reference == row.source.reference


def _one_time(other: Finding, row: Finding) -> bool:
    """Whether both were taken at the very same time of day; days alone do not say so."""
    if other.when is None or row.when is None or other.when.at is None:
        return False
    return other.when.at == row.when.at


def _could_have(counted: list[_Counted], pool: Pool, test: Repeated) -> bool:
    """Whether there were readings that lie so far apart at all: without them nobody looked."""
    rows = [one.row for one in counted] + [row for row, _ in pool.troubled if row.when is not None]
    return _longest_chain(rows, test) >= test.readings


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
