"""What keeps a decision open, and what would settle it: the coordinator's list of things to do."""

from __future__ import annotations

import msgspec

from adapter.model.decision import CriterionResult, Decision, Overall, Verdict
from adapter.model.nodes import descend
from adapter.model.protocol import Criterion, Protocol
from adapter.model.rules import CriterionIs


class OpenQuestion(msgspec.Struct, frozen=True):
    """One unknown that the overall verdict waits for; ``settles`` is what to look for, ask or order."""

    id: str
    text: str
    settles: tuple[str, ...]
    pending: bool = False


def settle(protocol: Protocol, decision: Decision) -> tuple[OpenQuestion, ...]:
    """What would settle an undetermined decision, in protocol order; empty if it is settled.

    A criterion that only combines others is not asked about itself: its open parts are.
    """
    if decision.overall is not Overall.UNDETERMINED:
        return ()
    found: dict[str, OpenQuestion] = {}
    for name in protocol.counts:
        _collect(protocol.criterion(name), protocol, decision, found)
    return tuple(found[criterion.id] for criterion in protocol.walk() if criterion.id in found)


def _collect(
    criterion: Criterion, protocol: Protocol, decision: Decision, found: dict[str, OpenQuestion]
) -> None:
    result = decision.criterion(criterion.id)
    if result.verdict is not Verdict.UNKNOWN or criterion.id in found:
        return
    parts = [part for part in _parts(criterion) if _is_open(part, decision)]
    for part in parts:
        _collect(protocol.criterion(part), protocol, decision, found)
    if not parts:
        found[criterion.id] = _question(criterion, result)


def _parts(criterion: Criterion) -> list[str]:
    """The criteria whose verdicts this one combines, each once."""
    asked = (node for node in descend(criterion.lines) if isinstance(node, CriterionIs))
    return list(dict.fromkeys(node.id for node in asked))


def _is_open(criterion_id: str, decision: Decision) -> bool:
    return decision.criterion(criterion_id).verdict is Verdict.UNKNOWN


def _question(criterion: Criterion, result: CriterionResult) -> OpenQuestion:
    return OpenQuestion(criterion.id, criterion.text, result.settles or (result.reason,), criterion.pending)
