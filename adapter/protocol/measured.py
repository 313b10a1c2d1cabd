"""Conditions about the reading that decides, or about any or every one."""

from __future__ import annotations

from adapter.model.facts import Finding
from adapter.model.kleene import Truth, all_of, any_of
from adapter.model.rules import ReadingIs
from adapter.model.selection import Selection
from adapter.protocol.averages import AVERAGES
from adapter.protocol.context import Context
from adapter.protocol.judge import first_distance, judge
from adapter.protocol.outcome import Outcome, union, unique
from adapter.protocol.readings import Pool, answering, collect, deciding, evidence_of, surely_after, wanted
from adapter.protocol.saying import say


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
    few = selection.take in AVERAGES and len(pool.valid) < selection.minimum
    why = (
        say("fewer than {count} readings", count=selection.minimum)
        if few
        else say("not of the kind asked for")
    )
    shown = tuple(evidence_of(row, "ignored", why=why) for row in pool.valid)
    needs = wanted(selection, selection.period, context)
    return Outcome(Truth.UNKNOWN, (*shown, *pool.others), flags, needs)


def _chosen_decide(
    test: ReadingIs, chosen: tuple[Finding, ...], rows: tuple[Finding, ...], pool: Pool, context: Context
) -> Outcome:
    judged = [(row, judge(row, test.test, context)) for row in chosen]
    evidence = [evidence_of(row, "used", compared=found.compared) for row, found in judged]
    average = test.selection.take in AVERAGES
    rest = () if average else [row for row in rows if row not in chosen]
    others = [(row, judge(row, test.test, context)) for row in rest]
    evidence += [
        evidence_of(row, "ignored", compared=found.compared, why=_why(test)) for row, found in others
    ]
    newer = [why for row, why in pool.troubled if average or not _surely_older(row, chosen)]
    flags = unique([flag for row, found in judged for flag in (*row.flags, *found.flags)] + newer)
    truth = (
        judged[0][1].truth if all(found.truth is judged[0][1].truth for _, found in judged) else Truth.UNKNOWN
    )
    needs = union([found.needs for _, found in judged])
    if len(judged) > 1 and truth is Truth.UNKNOWN and not needs:
        flags = unique((*flags, "CONFLICT"))
        needs = (say("which of the readings of the same time is right"),)
    if "CONFLICT" in newer and (average or test.selection.take == "latest"):
        truth, needs = Truth.UNKNOWN, (say("which of the contradicting newer readings is right"),)
    against = truth is not Truth.UNKNOWN and any(found.truth is ~truth for _, found in others)
    if test.selection.take in ("latest", "nearest") and against:
        flags = (*flags, "READINGS_DISAGREE")
    return Outcome(truth, (*evidence, *pool.others), flags, needs, first_distance(judged))


def _why(test: ReadingIs) -> str:
    return say(f"not the {test.selection.take}")


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
        needs = union([found.needs for _, found in judged]) or wanted(
            test.selection, test.selection.period, context
        )
    evidence = tuple(evidence_of(row, "used", compared=found.compared) for row, found in judged)
    return Outcome(truth, (*evidence, *pool.others), unique(flags), needs)
