"""What a worker judges: the units of a batch, but for those of which an earlier run left the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.resource import RawResource
from adapter.screening.deal import Node, closed, lookups
from adapter.screening.judge import Basis, Former, Question, by_subject, judge
from adapter.screening.parallel import verdicts
from adapter.screening.parallel.parts import Record, records_of, slot_of
from adapter.screening.parallel.shelf import DiskShelf
from adapter.screening.parallel.work import brief, parts_in, trial_of, wanted_in
from adapter.source.changes import head_of
from adapter.source.ndjson import type_of

_WIRE = msgspec.msgpack


class Batch(NamedTuple):
    """Runs of slots to be judged one after the other. ``moved`` says of tied nodes to which slot they go,
    ``origins`` from which slots such nodes come. ``former`` are files with results of earlier runs."""

    spans: tuple[tuple[int, int], ...]
    slots: int
    moved: Mapping[Node, int]
    origins: Mapping[tuple[int, int], tuple[int, ...]]
    parts: Path
    shelf: Path
    wanted: Path
    coverage: Path
    gaps: tuple[Coverage, ...]
    settings: bytes
    former: tuple[Path, ...]
    target: Path

    @property
    def first(self) -> int:
        return self.spans[0][0]

    @property
    def last(self) -> int:
        return self.spans[-1][1]


class Done(NamedTuple):
    """A batch that was judged: how many units, and how many of them were not taken from an earlier run."""

    target: Path
    units: int
    anew: int


@lru_cache(maxsize=1)
def _coverage_in(path: Path) -> Mapping[str, tuple[Coverage, ...]]:
    return by_subject(_WIRE.decode(path.read_bytes(), type=list[Coverage]))


def judged(batch: Batch) -> Done:
    """Judge the units of a batch, but for those of which an earlier run left the same."""
    asked = brief()
    wanted, coverage = wanted_in(batch.wanted), _coverage_in(batch.coverage)
    question = Question(trial_of(asked), asked.as_of, wanted, coverage, batch.gaps, asked.rules)
    before = {} if asked.full else _former(batch)
    shelf = DiskShelf(batch.shelf)
    out = verdicts.VerdictWriter(batch.target)
    anew = 0
    for slot, own in (unit for span in batch.spans for unit in _gathered(batch, span)):
        lent = _lent(own, shelf, slot, batch)
        fingerprint = _fingerprint(own, lent, batch.settings, wanted)
        known = before.get(slot)
        if known is not None and known[1].fingerprint == fingerprint:
            unit = known[1]
            if unit.covered == covered(coverage, unit.subjects):
                found = verdicts.judged_of(*known)
                out.add(slot, fingerprint, unit.subjects, unit.covered, found)
                continue
        found = judge(
            (raw for _, raw in own), lent, question, _decisions(*known) if known is not None else None
        )
        subjects = tuple(person.subject for person in found.people)
        out.add(slot, fingerprint, subjects, covered(coverage, subjects), found)
        anew += 1
    shelf.close()
    return Done(batch.target, out.finish(), anew)


def _gathered(batch: Batch, span: tuple[int, int]) -> Iterator[tuple[int, list[tuple[Record, RawResource]]]]:
    """The lines of each unit of a run of slots, wherever they were dealt to first."""
    first, last = span
    found: dict[int, list[tuple[Record, RawResource]]] = {}
    others = [(one, one) for one in batch.origins.get(span, ())]
    for part in parts_in(batch.parts):
        for start, end in (span, *others):
            for record in records_of(part.path, start, end):
                slot = batch.moved.get(record.node, -1)
                slot = slot_of(record.node, batch.slots) if slot < 0 else slot
                if first <= slot <= last:
                    raw = RawResource(
                        record.line, f"{part.name}:{part.before + record.number}", type_of(record.line)
                    )
                    found.setdefault(slot, []).append((record, raw))
    yield from sorted(found.items())


def _lent(
    own: list[tuple[Record, RawResource]], shelf: DiskShelf, slot: int, batch: Batch
) -> list[RawResource]:
    """What the unit may look up and is judged elsewhere. Lent lines are never tied: their slot is known."""
    keys = {key for _, raw in own for key in lookups(raw.line)}
    found = (shelf.resource(number) for number in closed(keys, shelf))
    return [raw for node, raw in found if slot_of(node, batch.slots) != slot]


def _fingerprint(
    own: list[tuple[Record, RawResource]],
    lent: Iterable[RawResource],
    settings: bytes,
    wanted: frozenset[str],
) -> bytes:
    """Of all that a unit's result depends on but coverage: lines in any order, their place where it may show,
    and whether a patient's record was asked for."""
    lines = sorted(_digest(record, raw, wanted) for record, raw in own)
    used = sorted(hashlib.sha256(raw.line).digest() for raw in lent)
    return hashlib.sha256(b"".join([settings, *lines, b"lent", *used])).digest()


def _digest(record: Record, raw: RawResource, wanted: frozenset[str]) -> bytes:
    digest = hashlib.sha256(raw.line)
    if not record.named:
        digest.update(f"\n{raw.where}".encode())
    if raw.resource_type == "Patient":
        digest.update(f"\n{head_of(raw.line).id in wanted}".encode())
    return digest.digest()


def covered(coverage: Mapping[str, tuple[Coverage, ...]], subjects: Iterable[str]) -> bytes:
    """A digest of the rows that bear on some people."""
    rows = [row for name in ("", *subjects) for row in coverage.get(name, ())]
    return hashlib.sha256(_WIRE.encode(rows)).digest()


def _former(batch: Batch) -> dict[int, tuple[Path, verdicts.JudgedUnit]]:
    found: dict[int, tuple[Path, verdicts.JudgedUnit]] = {}
    for path in batch.former:
        for unit in verdicts.contents_of(path).units:
            if batch.first <= unit.slot <= batch.last:
                found[unit.slot] = path, unit
    return found


def _decisions(path: Path, unit: verdicts.JudgedUnit) -> Former:
    """What was decided of a unit before something in it changed; it may still stand for most people."""
    return {
        person.subject: (
            msgspec.json.decode(person.basis, type=Basis),
            msgspec.json.decode(person.decision, type=Decision) if person.decision else None,
        )
        for person in verdicts.judged_of(path, unit).people
    }
