"""Which way out of a state a day's measure takes, if any is known to hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from adapter.model.dates import counted
from adapter.model.decision import Evidence
from adapter.model.kleene import Truth, all_of, any_of
from adapter.model.ladder import ENTRY, Measure, Transition, Trigger
from adapter.model.quantity import Interval
from adapter.model.selection import Bound
from adapter.protocol.judge import compare_intervals
from adapter.protocol.ladder_days import Named
from adapter.protocol.ladder_rounds import Compared, Round, compare, highest
from adapter.protocol.outcome import unique


class Entry(msgspec.Struct, frozen=True):
    """How a state was entered: the day, its round, and the bounds that held."""

    day: date
    round: Round
    bounds: tuple[Bound, ...]

    def concepts(self, measure: Measure) -> tuple[str, ...]:
        """The concepts whose readings held the bounds on entry, or may have."""
        return tuple(
            sorted(name for name in self.round.concepts if _held(self.round, name, self.bounds, measure))
        )


class _Tried(msgspec.Struct, frozen=True):
    way: Transition
    truth: Truth
    compared: Compared
    more: tuple[str, ...]
    flags: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @property
    def said(self) -> str:
        return ", ".join((self.compared.said, *self.more))


class Fired(msgspec.Struct, frozen=True):
    """The way that is taken, or none; ``unknown`` if one might be."""

    way: Transition | None
    words: str | _Tried
    unknown: bool = False
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def said(self) -> str:
        return self.words if isinstance(self.words, str) else self.words.said


def pull(
    ways: Sequence[Transition],
    found: Round,
    measure: Measure,
    entry: Entry | None,
    seen: tuple[Round, ...],
    days: Mapping[str, Named],
) -> Fired:
    """The first way known to hold; none if an earlier one that leads elsewhere may hold as well."""
    missing = _missing(found, entry, seen, measure)
    tried = [_try(way, found, measure, entry, seen, days, bool(missing)) for way in ways]
    own = unique(flag for value in found.values for flag in value.flags)
    boundary = ("BOUNDARY",) if any(one.compared.boundary for one in tried) else ()
    doubted: list[_Tried] = []
    for one in tried:
        if one.truth is Truth.TRUE:
            if any(other.way.target != one.way.target for other in doubted):
                break
            return Fired(one.way, one, flags=unique((*own, *boundary, *one.flags)), evidence=one.evidence)
        if one.truth is Truth.UNKNOWN:
            doubted.append(one)
    said = (doubted or tried)[0] if tried else ""
    if not doubted:
        return Fired(None, said, flags=unique((*own, *boundary)))
    needs = unique(
        (
            *(need for value in found.values for need in value.needs),
            *(f"a reading of {name} beside the others of {found.day}" for name in missing),
        )
    )
    settle = needs or (f"an exact value for {measure.selection.label} of {found.day}",)
    return Fired(None, said, unknown=True, flags=unique((*own, *boundary)), needs=settle)


def _try(
    way: Transition,
    found: Round,
    measure: Measure,
    entry: Entry | None,
    seen: tuple[Round, ...],
    days: Mapping[str, Named],
    missing: bool,
) -> _Tried:
    trigger = way.trigger
    compared = compare(found.values, missing, trigger.bounds, measure)
    truths, parts = [compared.truth], list[str]()
    flags: list[str] = []
    evidence: list[Evidence] = []
    if trigger.risen and entry is not None:
        truth = _risen(found, entry, trigger.bounds, measure)
        truths.append(truth)
        parts.append(f"{_word(truth)}higher than on {entry.day}")
    if trigger.since is not None and entry is not None:
        begin = Named(entry.day) if trigger.since.day == ENTRY else days[trigger.since.day]
        passed = (found.day - begin.day).days
        truths.append(Truth.of(passed >= trigger.since.days))
        parts.append(f"{counted(passed, 'days')} after {trigger.since.day} ({begin.day})")
        flags += [begin.flag] if begin.flag else []
        evidence += begin.evidence
    if trigger.again_within is not None:
        truth = _again(found.day, seen, trigger, measure)
        truths.append(truth)
        parts.append(f"{_word(truth)}seen before within {counted(trigger.again_within, 'days')}")
    return _Tried(way, all_of(truths), compared, tuple(parts), tuple(flags), tuple(evidence))


def _word(truth: Truth) -> str:
    return {Truth.TRUE: "", Truth.FALSE: "not ", Truth.UNKNOWN: "perhaps "}[truth]


def _risen(found: Round, entry: Entry, bounds: tuple[Bound, ...], measure: Measure) -> Truth:
    """Whether a concept that entered the state still holds the bounds and is higher than it was then."""
    return any_of(
        all_of(
            (
                compare(found.of(name), not found.of(name), bounds, measure).truth,
                compare_intervals(_top(found, name), "above", _top(entry.round, name)),
            )
        )
        for name in entry.concepts(measure)
    )


def _top(found: Round, concept: str) -> Interval:
    return highest(tuple(value.value for value in found.of(concept)))


def _again(day: date, seen: tuple[Round, ...], trigger: Trigger, measure: Measure) -> Truth:
    return any_of(
        compare(earlier.values, False, trigger.bounds, measure).truth
        for earlier in seen
        if earlier.values and trigger.again_after <= (day - earlier.day).days <= (trigger.again_within or 0)
    )


def _held(found: Round, concept: str, bounds: tuple[Bound, ...], measure: Measure) -> bool:
    return compare(found.of(concept), False, bounds, measure).truth is not Truth.FALSE


def _missing(found: Round, entry: Entry | None, seen: tuple[Round, ...], measure: Measure) -> tuple[str, ...]:
    """Concepts that held the entry's bounds when last measured and were not measured on this day.

    A panel that leaves out the very enzyme that was high does not say that all are low.
    """
    if entry is None:
        return ()
    last: dict[str, bool] = {}
    for earlier in (entry.round, *seen):
        for name in earlier.concepts:
            last[name] = _held(earlier, name, entry.bounds, measure)
    return tuple(sorted(name for name, held in last.items() if held and name not in found.concepts))
