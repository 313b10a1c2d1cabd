"""What a person attested in the study's questionnaire."""

from __future__ import annotations

from adapter.model.facts import Finding
from adapter.model.kleene import Truth
from adapter.model.rules import Attested
from adapter.protocol.context import Context
from adapter.protocol.judge import first_distance, judge
from adapter.protocol.outcome import Outcome, union, unique
from adapter.protocol.readings import evidence_of
from adapter.protocol.saying import say


def latest_answers(link: str, context: Context) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """The answers of the most recent day on which the question was answered, and the older ones.

    Responses not completed and those after the as-of day never decide. Two different answers of one day
    contradict each other whatever their hours: nobody can tell a correction from a mistake.
    """
    return context.once(("answers", link), lambda: _latest_answers(link, context))


def _latest_answers(link: str, context: Context) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    usable = [
        row
        for row in context.record.answers.get(link, ())
        if not row.excluded and row.when is not None and row.when.first <= context.as_of.last
    ]
    if not usable:
        return (), ()
    last = max(row.when.first for row in usable if row.when is not None)
    newest = tuple(row for row in usable if row.when is not None and row.when.last >= last)
    return newest, tuple(row for row in usable if row not in newest)


def answer_to(link: str) -> str:
    """The need of a person's answer to a question of the Questionnaire."""
    return say("an answer to the question {link!r}", link=link)


def attested_outcome(test: Attested, context: Context) -> Outcome:
    newest, older = latest_answers(test.link, context)
    history = [evidence_of(row, "ignored", why=say("answered again later")) for row in older]
    if not newest:
        return Outcome(Truth.UNKNOWN, needs=(answer_to(test.link),))
    judged = [(row, judge(row, test.test, context)) for row in newest]
    evidence = [evidence_of(row, "used", compared=found.compared) for row, found in judged]
    flags = unique([flag for row, found in judged for flag in (*row.flags, *found.flags)])
    truth = judged[0][1].truth
    if any(found.truth is not truth for _, found in judged):
        return Outcome(Truth.UNKNOWN, (*evidence, *history), (*flags, "CONFLICT"), (answer_to(test.link),))
    needs: tuple[str, ...] = ()
    if truth is Truth.UNKNOWN:
        needs = union([found.needs for _, found in judged]) or (answer_to(test.link),)
    return Outcome(
        truth,
        (*evidence, *history),
        flags,
        needs,
        first_distance(judged),
    )
