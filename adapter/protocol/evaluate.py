"""From one subject's facts to a decision. Pure: no clock, no files, no order of input shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import date, tzinfo
from typing import NamedTuple

import msgspec

from adapter.model.decision import Alternative, CriterionResult, Decision, Evidence, Verdict
from adapter.model.facts import Facts
from adapter.model.kleene import Truth
from adapter.model.protocol import Criterion, FlagRule, Line, OtherReading, Protocol
from adapter.protocol.anchors import find_day
from adapter.protocol.conditions import outcome_of
from adapter.protocol.context import Context
from adapter.protocol.outcome import Outcome, merge_evidence, overall_of, union
from adapter.protocol.partial import AS_IF_WHOLE, PARTIAL_RECORD, is_partial
from adapter.protocol.saying import say, spoken


def evaluate(protocol: Protocol, facts: Facts, *, as_of: date, zone: tzinfo) -> Decision:
    """What the protocol says about the one subject in ``facts`` as of a local day.

    Raises ``ValueError`` unless ``facts`` holds exactly one subject (use ``Facts.of``).
    """
    return _decision(_context(protocol, facts, as_of, zone), as_of)


def is_candidate(protocol: Protocol, facts: Facts, *, as_of: date, zone: tzinfo) -> bool:
    """Whether the one subject in ``facts`` is worth a verdict: all but those known not to be."""
    return _worth_a_verdict(_context(protocol, facts, as_of, zone))


def evaluate_candidate(
    protocol: Protocol, facts: Facts, *, as_of: date, assessed: date, zone: tzinfo
) -> Decision | None:
    """:func:`evaluate` as of the day ``assessed``, or None for who is no candidate as of ``as_of``.

    The two days differ for people on the study; for all others the facts are indexed once.
    """
    context = _context(protocol, facts, as_of, zone)
    if not _worth_a_verdict(context):
        return None
    return _decision(context if assessed == as_of else context.on(assessed), assessed)


def _context(protocol: Protocol, facts: Facts, as_of: date, zone: tzinfo) -> Context:
    if len(facts.subjects) != 1:
        raise ValueError(f"facts of exactly one subject are needed, not {len(facts.subjects)}")
    return Context(protocol, facts, as_of=as_of, zone=zone, find_day=find_day, decide=decide)


def _worth_a_verdict(context: Context) -> bool:
    unless = context.protocol.candidates.unless
    return unless is None or outcome_of(unless, context).truth is not Truth.TRUE


def _decision(context: Context, as_of: date) -> Decision:
    protocol = context.protocol
    criteria = tuple(context.result(criterion.id) for criterion in protocol.criteria)
    decision = Decision(
        subject=context.subject.id,
        protocol=protocol.id,
        protocol_version=protocol.version,
        as_of=as_of,
        overall=overall_of(context.result(name) for name in protocol.counts),
        criteria=criteria,
        review=any(context.result(name).review for name in protocol.counts),
        pending=tuple(
            criterion.id
            for criterion in protocol.walk()
            if criterion.pending and context.result(criterion.id).verdict is Verdict.UNKNOWN
        ),
    )
    return _fingerprinted(decision)


def decide(criterion: Criterion, context: Context) -> CriterionResult:
    """The verdict of the first line known to be true, else unknown; with flags and other readings."""
    children = tuple(context.result(child.id) for child in criterion.criteria)
    if context.subject.excluded:
        return _undecidable(criterion, context.subject.excluded, children)
    verdict, outcome, reason = _read_lines(criterion.lines, context)
    shown = [rule for rule in criterion.flags if outcome_of(rule.when, context).truth is Truth.TRUE]
    others = [(other, _row(other.lines, context).verdict) for other in criterion.alternatives]
    partial = bool(context.lost) and verdict is Verdict.UNKNOWN and is_partial(outcome.flags)
    differing = [other for other, found in others if _differs(found, verdict)]
    review = outcome.review or "REVIEW" in outcome.flags or _asks_review((*shown, *differing))
    flags = {*outcome.flags, *(rule.name for rule in shown)}
    flags |= {name for name, holds in (("READING_DIFFERS", bool(differing)), ("REVIEW", review)) if holds}
    settles = outcome.needs if verdict is Verdict.UNKNOWN else ()
    if settles and criterion.settles:
        settles = (spoken(criterion.settles), *settles)
    return CriterionResult(
        id=criterion.id,
        kind=criterion.kind,
        verdict=verdict,
        reason=reason,
        flags=tuple(sorted(flags)),
        evidence=outcome.evidence,
        alternatives=(
            *(Alternative(other.name, spoken(other.reading), found) for other, found in others),
            *(_as_if_whole(criterion, context) if partial else ()),
        ),
        distance=outcome.distance,
        settles=settles,
        review=review,
        children=children,
    )


def _as_if_whole(criterion: Criterion, context: Context) -> Iterator[Alternative]:
    """The verdict by the records that came, if it is one: shown beside the unknown, never instead."""
    found = context.as_if_whole().result(criterion.id).verdict
    if found is not Verdict.UNKNOWN:
        yield Alternative(PARTIAL_RECORD, spoken(AS_IF_WHOLE), found)


def _undecidable(criterion: Criterion, why: str, children: tuple[CriterionResult, ...]) -> CriterionResult:
    """Records that cannot be told apart or put together say nothing about anyone (pitfall E-28)."""
    return CriterionResult(
        id=criterion.id,
        kind=criterion.kind,
        verdict=Verdict.UNKNOWN,
        reason=say("whose records these are is not certain ({why})", why=why),
        flags=tuple(sorted(("REVIEW", why))),
        settles=(say("one surviving patient record"),),
        review=True,
        children=children,
    )


def _asks_review(rules: Iterable[FlagRule | OtherReading]) -> bool:
    return any(rule.review for rule in rules)


def _differs(found: Verdict, default: Verdict) -> bool:
    """Two known verdicts that are not the same; a reading that cannot be evaluated differs from nothing."""
    return Verdict.UNKNOWN not in (found, default) and found is not default


class _Row(NamedTuple):
    """Where a decision table was left: by the line that fired, or at its end; ``passed`` came to nothing."""

    verdict: Verdict
    line: Line | None
    outcome: Outcome | None
    passed: list[Outcome]


def _row(lines: tuple[Line, ...], context: Context) -> _Row:
    """The decision table, from the top. A line that is not known to be true does not fire.

    A line that only a lost part of the record keeps open may be the one: then no line below gives another
    verdict.
    """
    passed: list[Outcome] = []
    above: set[Verdict] = set()
    for line in lines:
        outcome = outcome_of(line.when, context)
        if outcome.truth is Truth.TRUE and above <= {line.verdict}:
            return _Row(line.verdict, line, outcome, passed)
        if outcome.truth is Truth.TRUE or is_partial(outcome.flags):
            above.add(line.verdict)
        passed.append(outcome)
    return _Row(Verdict.UNKNOWN, None, None, passed)


def _read_lines(lines: tuple[Line, ...], context: Context) -> tuple[Verdict, Outcome, str]:
    """The verdict of a decision table, with everything it was read from, and the reason."""
    verdict, line, fired, passed = _row(lines, context)
    if line is not None and fired is not None:
        return verdict, _fired(line, fired, passed), _reason(line, fired)
    open_ = [outcome for outcome in passed if outcome.truth is Truth.UNKNOWN]
    outcome = Outcome(
        Truth.UNKNOWN,
        merge_evidence([outcome.evidence for outcome in passed]),
        union([outcome.flags for outcome in open_]),
        union([outcome.needs for outcome in open_]),
        review=any(outcome.review for outcome in open_),
    )
    reason = (
        say("not known: {needs}", needs="; ".join(outcome.needs))
        if outcome.needs
        else say("no line of the rule applies")
    )
    return Verdict.UNKNOWN, outcome, reason


def _fired(line: Line, outcome: Outcome, passed: list[Outcome]) -> Outcome:
    needs = outcome.needs
    if line.verdict is Verdict.UNKNOWN:
        because = (spoken(line.because),) if line.because else ()
        needs = union((because, *(earlier.needs for earlier in passed)))
    return Outcome(
        outcome.truth,
        merge_evidence((outcome.evidence, *(earlier.evidence for earlier in passed))),
        union((line.flags, outcome.flags)),
        needs,
        outcome.distance,
        line.review or outcome.review,
    )


def _reason(line: Line, outcome: Outcome) -> str:
    compared = next((item.compared for item in outcome.evidence if item.role == "used" and item.compared), "")
    if line.because:
        because = spoken(line.because)
        return f"{because} ({compared})" if compared else because
    return compared or say(line.verdict.value.replace("_", " "))


def _fingerprinted(decision: Decision) -> Decision:
    """SHA-256 over who, which rules, which day, the verdicts, the flags and the evidence with versions."""
    lines = [decision.subject, decision.protocol, decision.protocol_version, decision.as_of.isoformat()]
    return msgspec.structs.replace(decision, fingerprint=fingerprint((*lines, *said(decision.criteria))))


def said(results: Iterable[CriterionResult]) -> Iterator[str]:
    """Verdicts, flags and the evidence that was used, as lines for a fingerprint."""
    for top in results:
        for result in top.walk():
            yield f"{result.id} {result.verdict.value} {','.join(result.flags)}"
            yield from sorted({pointer(item) for item in result.evidence if item.role == "used"})


def fingerprint(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def pointer(evidence: Evidence) -> str:
    source = evidence.source
    return f"{source.reference} {source.version} {source.path} {source.sha256}"
