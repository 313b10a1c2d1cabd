"""What a worker judges: the units of a batch, but for those of which an earlier run left the same."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.screening.judge import Basis, Former, Question, by_subject, judge
from adapter.screening.parallel import verdicts
from adapter.screening.parallel.shelf import DiskShelf
from adapter.screening.parallel.units import Batch, Sources, fingerprint, lent_to, lines_of, within
from adapter.screening.parallel.verdicts import JudgedUnit
from adapter.screening.parallel.work import brief, trial_of, wanted_in

_WIRE = msgspec.msgpack
_Known = Mapping[int, tuple[Path, JudgedUnit]]


class Done(NamedTuple):
    """A batch that was judged: how many units, how many of them were not taken from an earlier run, and how
    many people keep their decision."""

    target: Path
    units: int
    anew: int
    reused: int


@lru_cache(maxsize=1)
def _coverage_in(path: Path) -> Mapping[str, tuple[Coverage, ...]]:
    return by_subject(_WIRE.decode(path.read_bytes(), type=list[Coverage]))


class Standing(NamedTuple):
    """Of a batch: where its lines come from, what earlier runs left, and the units that come to the same,
    as nothing they come from changed."""

    sources: Sources
    named: Mapping[int, bytes]
    known: _Known
    same: frozenset[int]

    @property
    def reused(self) -> int:
        """People in the units that come to the same."""
        return sum(len(self.known[slot][1].subjects) for slot in self.same)


def standing(batch: Batch) -> Standing:
    coverage = _coverage_in(batch.coverage)
    known = {} if brief().full else _former(batch)
    sources = Sources(batch)
    named = sources.of_all()
    same = frozenset(
        slot
        for slot, source in named.items()
        if (former := known.get(slot)) is not None
        and former[1].source == source
        and former[1].covered == covered(coverage, former[1].subjects)
    )
    return Standing(sources, named, known, same)


def compared(batch: Batch) -> tuple[Done | None, frozenset[int]]:
    """What is there of a batch if it may stay as it is, and the units that have to be read otherwise."""
    found = standing(batch)
    left = found.named.keys() - found.same
    if not left and _is_whole(batch.target, found.known, found.same):
        return Done(batch.target, len(found.same), 0, found.reused), frozenset()
    return None, frozenset(left)


def judged(batch: Batch) -> Done:
    """Judge the units of a batch. Those whose lines come from the same parts are not read."""
    asked, coverage = brief(), _coverage_in(batch.coverage)
    found = standing(batch)
    sources, named, known, same = found
    reused = found.reused
    wanted = wanted_in(batch.wanted)
    question = Question(trial_of(asked), asked.as_of, wanted, coverage, batch.gaps, asked.rules)
    shelf = DiskShelf(batch.shelf)
    out = verdicts.VerdictWriter(batch.target)
    anew = 0
    for span in batch.spans:
        lines = lines_of(batch, sources, set(within(named.keys() - same, span)))
        for slot in sorted({*within(same, span), *lines}):
            former = known.get(slot)
            print_ = b""
            if slot not in same:
                lent = lent_to(lines[slot], shelf, slot, batch.slots)
                print_ = fingerprint(lines[slot], lent, batch.settings, wanted)
            if former is not None and (slot in same or _stands(former[1], print_, coverage)):
                path, unit = former
                out.add(slot, named[slot], unit.fingerprint, unit.covered, verdicts.judged_of(path, unit))
                reused += 0 if slot in same else len(unit.subjects)
                continue
            decided = _decisions(*former) if former is not None else None
            opinion = judge((raw for _, raw in lines[slot]), lent, question, decided)
            subjects = tuple(person.subject for person in opinion.people)
            out.add(slot, named[slot], print_, covered(coverage, subjects), opinion)
            reused += opinion.reused
            anew += 1
    shelf.close()
    return Done(batch.target, out.finish(), anew, reused)


def _stands(unit: JudgedUnit, print_: bytes, coverage: Mapping[str, tuple[Coverage, ...]]) -> bool:
    return unit.fingerprint == print_ and unit.covered == covered(coverage, unit.subjects)


def _is_whole(target: Path, known: _Known, slots: frozenset[int]) -> bool:
    """Whether a file holds these units and no others."""
    return (
        target.exists()
        and all(known[slot][0] == target for slot in slots)
        and len(verdicts.contents_of(target).units) == len(slots)
    )


def covered(coverage: Mapping[str, tuple[Coverage, ...]], subjects: Iterable[str]) -> bytes:
    """A digest of the rows that bear on some people."""
    rows = [row for name in ("", *subjects) for row in coverage.get(name, ())]
    return hashlib.sha256(_WIRE.encode(rows)).digest()


def _former(batch: Batch) -> _Known:
    """What earlier runs left of the units; nothing where an older program wrote it otherwise."""
    found: dict[int, tuple[Path, JudgedUnit]] = {}
    for path in batch.former:
        try:
            units = verdicts.contents_of(path).units
        except (msgspec.MsgspecError, struct.error):
            continue
        found.update((unit.slot, (path, unit)) for unit in units if batch.first <= unit.slot <= batch.last)
    return found


def _decisions(path: Path, unit: JudgedUnit) -> Former:
    """What was decided of a unit before something in it changed; it may still stand for most people."""
    return {
        person.subject: (
            msgspec.json.decode(person.basis, type=Basis),
            msgspec.json.decode(person.decision, type=Decision) if person.decision else None,
        )
        for person in verdicts.judged_of(path, unit).people
    }
