"""What a condition came to: its truth with the evidence, and how outcomes combine."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import msgspec

from adapter.model.decision import CriterionResult, Evidence, Overall, Verdict
from adapter.model.facts import Source
from adapter.model.kleene import Truth, all_of, any_of

_RANK = {"used": 0, "support": 1, "ignored": 2}


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The truth of one condition for one subject.

    ``evidence`` lists every record looked at; ``flags`` what the reader must know about the ones that
    decided; ``needs`` what would settle an unknown; ``distance`` how far the deciding value is from
    its threshold; ``review`` whether a person has to look.
    """

    truth: Truth
    evidence: tuple[Evidence, ...] = ()
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    distance: str = ""
    review: bool = False

    def negated(self) -> Outcome:
        return msgspec.structs.replace(self, truth=~self.truth)


def conjunction(outcomes: Iterable[Outcome]) -> Outcome:
    """AND: what decided are the false parts, else the unknown ones, else all of them.

    Their evidence comes first, so that a reason quotes a comparison that decided.
    """
    parts = list(outcomes)
    return _combined(all_of([part.truth for part in parts]), parts)


def disjunction(outcomes: Iterable[Outcome]) -> Outcome:
    """OR: what decided are the true parts, else the unknown ones, else all of them."""
    parts = list(outcomes)
    return _combined(any_of([part.truth for part in parts]), parts)


def at_least(count: int, outcomes: Iterable[Outcome]) -> Outcome:
    """So many of them or more: true once enough are, false once too few still may be."""
    parts = list(outcomes)
    surely = sum(part.truth is Truth.TRUE for part in parts)
    possibly = surely + sum(part.truth is Truth.UNKNOWN for part in parts)
    if surely >= count:
        return _combined(Truth.TRUE, parts)
    return _combined(Truth.FALSE if possibly < count else Truth.UNKNOWN, parts)


def _combined(truth: Truth, parts: list[Outcome]) -> Outcome:
    decisive = [part for part in parts if part.truth is truth]
    rest = [part for part in parts if part.truth is not truth]
    distance, review = "", False
    for part in decisive:
        distance = distance or part.distance
        review = review or part.review
    return Outcome(
        truth,
        merge_evidence([part.evidence for part in (*decisive, *rest)]),
        union([part.flags for part in decisive]),
        union([part.needs for part in decisive]) if truth is Truth.UNKNOWN else (),
        distance,
        review,
    )


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in order of first appearance."""
    return tuple(dict.fromkeys(texts))


def union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Each text of any group once, in order of first appearance."""
    said = [group for group in groups if group]
    return unique(chain.from_iterable(said)) if said else ()


def merge_evidence(groups: Iterable[tuple[Evidence, ...]]) -> tuple[Evidence, ...]:
    """Each record once per concept: the strongest role it had, and every comparison made with it."""
    said = [group for group in groups if group]
    if len(said) == 1 and len(said[0]) == 1:
        return said[0]
    merged: dict[tuple[Source, str, str], Evidence] = {}
    for group in said:
        for item in group:
            key = (item.source, item.concept, item.when)
            known = merged.setdefault(key, item)
            if known is not item:
                merged[key] = _stronger(known, item)
    return tuple(merged.values())


def _stronger(known: Evidence, new: Evidence) -> Evidence:
    strong, weak = (known, new) if _RANK[known.role] <= _RANK[new.role] else (new, known)
    if strong.role != weak.role:
        return strong
    seen = strong.compared.split("; ") if strong.compared else []
    added = [part for part in weak.compared.split("; ") if part and part not in seen]
    return msgspec.structs.replace(strong, compared="; ".join(seen + added)) if added else strong


def overall_of(results: Iterable[CriterionResult]) -> Overall:
    """A definite failure wins over unknowns; an inclusion fails when not met, an exclusion when met."""
    verdicts = [(result.kind, result.verdict) for result in results]
    if ("inclusion", Verdict.NOT_MET) in verdicts or ("exclusion", Verdict.MET) in verdicts:
        return Overall.INELIGIBLE
    if any(verdict is Verdict.UNKNOWN for _, verdict in verdicts):
        return Overall.UNDETERMINED
    return Overall.ELIGIBLE
