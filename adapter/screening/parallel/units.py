"""The units of a batch: which parts their lines come from, told without reading them, and the lines."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.screening.deal import Node, closed, hashed, lookups
from adapter.screening.parallel.parts import Record, account_of, records_in, slot_of
from adapter.screening.parallel.shelf import DiskShelf
from adapter.screening.parallel.work import parts_in, wanted_in
from adapter.source.changes import head_of
from adapter.source.ndjson import type_of

Line = tuple[Record, RawResource]


class Batch(NamedTuple):
    """Runs of slots to be judged one after the other. ``moved`` says of tied nodes to which slot they go.
    ``former`` are files with results of earlier runs."""

    spans: tuple[tuple[int, int], ...]
    slots: int
    moved: Mapping[Node, int]
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


class Sources:
    """Where the lines of each unit of a batch come from."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._moves: defaultdict[int, list[tuple[Node, int]]] = defaultdict(list)
        self._slots: defaultdict[int, set[int]] = defaultdict(set)
        for node, slot in sorted(batch.moved.items()):
            left = slot_of(node, batch.slots)
            self._moves[left].append((node, slot))
            self._moves[slot].append((node, slot))
            self._slots[slot].add(left)
        self._parts = self._parts_of_slots()

    def _parts_of_slots(self) -> Mapping[int, list[bytes]]:
        """The names of the parts that hold lines dealt to each slot, as far as they bear on the batch."""
        first, last = self._batch.first, self._batch.last
        beyond = {slot for slots in self._slots.values() for slot in slots if not first <= slot <= last}
        found: defaultdict[int, list[bytes]] = defaultdict(list)
        for part in parts_in(self._batch.parts):
            name = part.path.name.encode()
            sections = account_of(part.path).slots
            at = bisect_left(sections, (first,))
            while at < len(sections) and sections[at][0] <= last:
                found[sections[at][0]].append(name)
                at += 1
            for slot in beyond:
                at = bisect_left(sections, (slot,))
                if at < len(sections) and sections[at][0] == slot:
                    found[slot].append(name)
        return found

    def slots_of(self, slot: int) -> set[int]:
        """The slots to which lines of a unit were dealt at first."""
        return {slot, *self._slots.get(slot, ())}

    def of_all(self) -> dict[int, bytes]:
        """A hash for each unit of what its result depends on, coverage apart: the same parts hold the same
        lines. Units that differ in it may still have the same lines."""
        first, last = self._batch.first, self._batch.last
        slots = {*self._parts, *self._slots}
        return {slot: self._of(slot) for slot in sorted(slots) if first <= slot <= last}

    def _of(self, slot: int) -> bytes:
        batch = self._batch
        digest = hashlib.sha256(batch.settings)
        digest.update(batch.shelf.name.encode())
        wanted = _wanted_by_slot(batch.wanted, batch.slots)
        for own in sorted(self.slots_of(slot)):
            names = [*self._parts.get(own, ()), *(name.encode() for name in wanted.get(own, ()))]
            digest.update(b"\n".join([b"", b"%d" % own, *names]))
        for node, to in self._moves.get(slot, ()):
            digest.update(node + b"%d" % to)
        return digest.digest()


@lru_cache(maxsize=1)
def _wanted_by_slot(wanted: Path, slots: int) -> Mapping[int, list[str]]:
    found: defaultdict[int, list[str]] = defaultdict(list)
    for name in sorted(wanted_in(wanted)):
        found[slot_of(hashed(f"Patient/{name}"), slots)].append(name)
    return found


def lines_of(batch: Batch, sources: Sources, units: Collection[int]) -> dict[int, list[Line]]:
    """The lines of some units, wherever they were dealt to first."""
    slots = sorted({own for slot in units for own in sources.slots_of(slot)})
    found: dict[int, list[Line]] = {}
    for part in parts_in(batch.parts) if slots else ():
        for record in records_in(part.path, slots):
            slot = batch.moved.get(record.node, -1)
            slot = slot_of(record.node, batch.slots) if slot < 0 else slot
            if slot in units:
                place = f"{part.name}:{part.before + record.number}"
                raw = RawResource(record.line, place, type_of(record.line))
                found.setdefault(slot, []).append((record, raw))
    return found


def lent_to(own: Iterable[Line], shelf: DiskShelf, slot: int, slots: int) -> list[RawResource]:
    """What a unit may look up and is judged elsewhere. Lent lines are never tied: their slot is known."""
    keys = {key for _, raw in own for key in lookups(raw.line)}
    found = (shelf.resource(number) for number in closed(keys, shelf))
    return [raw for node, raw in found if slot_of(node, slots) != slot]


def fingerprint(
    own: Iterable[Line], lent: Iterable[RawResource], settings: bytes, wanted: frozenset[str]
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


def within(slots: Iterable[int], span: tuple[int, int]) -> Iterator[int]:
    return (slot for slot in slots if span[0] <= slot <= span[1])
