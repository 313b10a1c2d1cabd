"""Why a criterion has its verdict: the chain from the sentence to what would change it.

Nothing is evaluated again and nothing is guessed: every part is read from the kept decision
(:class:`adapter.model.decision.CriterionResult`) or from the protocol it was made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from adapter.model.course import ResponseIs
from adapter.model.decision import Alternative, CriterionResult, Decision, Evidence, Kind, Verdict
from adapter.model.monitoring import Monitoring
from adapter.model.nodes import descend
from adapter.model.protocol import Criterion, Line, OtherReading, Protocol
from adapter.model.rules import CriterionIs
from adapter.model.selection import Selection
from adapter.protocol.render.readings import define_selection
from adapter.protocol.render.sentence import Row, outline, say_condition
from adapter.protocol.render.voice import Voice
from adapter.protocol.saying import spoken


class RuleLine(msgspec.Struct, frozen=True):
    """One line of the rule in words: the verdict it gives and its condition as (depth, text) rows."""

    verdict: Verdict
    when: tuple[tuple[int, str], ...]
    because: str = ""
    flags: tuple[str, ...] = ()
    review: bool = False


class Part(msgspec.Struct, frozen=True):
    """A criterion that the rule asks about, with its verdict."""

    id: str
    text: str
    verdict: Verdict


class Chain(msgspec.Struct, frozen=True):
    """One criterion from its printed sentence to its verdict and beyond.

    ``simple`` says that the rule is one condition: met if it holds, not met if it does not. ``readings``
    explains the named readings of the rule and the responses it asks for, ``other_lines`` are the lines
    that would give another verdict,
    ``settles`` is what is missing if the verdict is unknown.
    """

    id: str
    kind: Kind
    text: str
    source: str
    simple: bool
    rule: tuple[RuleLine, ...]
    readings: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    used: tuple[Evidence, ...]
    ignored: tuple[Evidence, ...]
    support: tuple[Evidence, ...]
    verdict: Verdict
    reason: str
    flags: tuple[str, ...]
    review: bool
    alternatives: tuple[Alternative, ...]
    distance: str
    settles: tuple[str, ...]
    other_lines: tuple[RuleLine, ...]


def results_of(decision: Decision, monitoring: Monitoring | None = None) -> dict[str, CriterionResult]:
    """Every kept result about one person by its id: eligibility and, once on the study, what is watched."""
    tops = decision.criteria
    if monitoring is not None:
        blocks = (monitoring.endpoints, monitoring.exits, monitoring.doses, monitoring.safety)
        tops = (*tops, *(top for block in (*blocks, monitoring.deviations) for top in block))
    return {found.id: found for top in tops for found in top.walk()}


def chain(
    protocol: Protocol, results: Mapping[str, CriterionResult], criterion_id: str, voice: Voice
) -> Chain:
    """The chain of one criterion; ``KeyError`` if protocol or results have none of that id."""
    criterion, result = protocol.criterion(criterion_id), results[criterion_id]
    rule = tuple(in_words(criterion, voice))
    by_role = {role: _by_role(result, role) for role in ("used", "ignored", "support")}
    return Chain(
        id=criterion.id,
        kind=criterion.kind,
        text=(criterion.text_zh if voice.language == "zh" else "") or criterion.text,
        source=criterion.source,
        simple=criterion.simple,
        rule=rule[:1] if criterion.simple else rule,
        readings=(*named_readings(criterion, voice), *_responses(protocol, criterion, voice)),
        parts=tuple(_parts(protocol, criterion, results)),
        used=by_role["used"],
        ignored=by_role["ignored"],
        support=by_role["support"],
        verdict=result.verdict,
        reason=result.reason,
        flags=result.flags,
        review=result.review,
        alternatives=result.alternatives,
        distance=result.distance,
        settles=result.settles,
        other_lines=tuple(line for line in rule if line.verdict is not result.verdict),
    )


def in_words(rule: Criterion | OtherReading, voice: Voice) -> Iterator[RuleLine]:
    """The decision lines in words."""
    return (_line(line, voice) for line in rule.lines)


def _line(line: Line, voice: Voice) -> RuleLine:
    rows: list[Row] = list(outline(line.when, voice))
    return RuleLine(line.verdict, tuple(rows), spoken(line.because), line.flags, line.review)


def named_readings(criterion: Criterion, voice: Voice) -> Iterator[tuple[str, str]]:
    """Each named reading of the rule and of its other readings, once, with its definition."""
    told: dict[str, str] = {}
    for node in descend((criterion.lines, criterion.alternatives, criterion.flags)):
        if isinstance(node, Selection) and node.name and node.name not in told:
            told[node.name] = define_selection(node, voice)
    yield from told.items()


def _responses(protocol: Protocol, criterion: Criterion, voice: Voice) -> Iterator[tuple[str, str]]:
    """Where a rule asks for the response at a visit: what each response means, in order."""
    rules = (criterion.lines, criterion.alternatives, criterion.flags)
    if any(isinstance(node, ResponseIs) for node in descend(rules)):
        for line in protocol.plan.responses:
            yield voice.phrase(f"response.{line.state}"), say_condition(line.when, voice)


def _parts(
    protocol: Protocol, criterion: Criterion, results: Mapping[str, CriterionResult]
) -> Iterator[Part]:
    asked = (node.id for node in descend(criterion.lines) if isinstance(node, CriterionIs))
    for name in dict.fromkeys(asked):
        if name in results:
            yield Part(name, protocol.criterion(name).text, results[name].verdict)


def _by_role(result: CriterionResult, role: str) -> tuple[Evidence, ...]:
    return tuple(item for item in result.evidence if item.role == role)
