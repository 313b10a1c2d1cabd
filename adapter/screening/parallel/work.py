"""What a worker does: pure steps over files, each of which leaves its result whole or not at all.

A worker is told once what the screening is of (:class:`Brief`) and opens the trial itself. Steps take and
give small values; lines and rows go by way of files, so that no process holds more than a range or a batch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter import config, mappers
from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.resource import RawResource
from adapter.screening.deal import Node, closed, deal, lookups, mentions
from adapter.screening.judge import Basis, Former, Question, by_subject, judge, lost_by_all
from adapter.screening.parallel import verdicts
from adapter.screening.parallel.parts import PartWriter, Record, keys_of, records_of, slot_of
from adapter.screening.parallel.shelf import DiskShelf
from adapter.screening.ties import pairs_of
from adapter.source import nominate
from adapter.source.changes import head_of
from adapter.source.ndjson import Block, Limits, line_ends, numbered_lines, type_of
from adapter.source.ranges import Range, blocks_of
from adapter.source.sieve import sieve
from adapter.trial import Trial, open_trial

FLUSH = 32 * 2**20
_SUSPECTS = 2000  # lines of a range without an owner that are looked at beforehand
_WIRE = msgspec.msgpack


class Brief(NamedTuple):
    """What a screening is of, as it is told to another process."""

    folder: Path
    site: config.Site
    mappings: Path
    as_of: date
    rules: bytes
    full: bool
    limits: Limits | None


class PartOf(NamedTuple):
    """A part, the name by which evidence calls its file, and how many lines of that come before the range."""

    path: Path
    name: str
    before: int


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


_told: list[Brief] = []
_given: list[Trial] = []


def begin(brief: Brief, trial: Trial | None = None) -> None:
    """The worker's first call; one in the process that leads is given the trial, others open it."""
    _told[:] = [brief]
    _given[:] = [trial] if trial is not None else []


def _brief() -> Brief:
    return _told[0]


@lru_cache(maxsize=1)
def _trial(folder: Path, site: str, mappings_folder: Path) -> Trial:
    return open_trial(folder, site, mappings_folder)


def trial_of(brief: Brief) -> Trial:
    """The trial, opened here; the site as it was given, which may have been changed after it was read."""
    if _given:
        return _given[0]
    name = brief.site.site_id if brief.site.site_id != "none" else ""
    return _trial(brief.folder, name, brief.mappings)._replace(site=brief.site)


def _blocks(piece: Range) -> Iterator[tuple[str, Block]]:
    return ((piece.file.name, block) for block in blocks_of(piece, _brief().limits))


def studies(piece: Range, names: frozenset[str]) -> frozenset[str]:
    return nominate.studies_in(_blocks(piece), names)


def nominated(piece: Range, query: CandidateQuery, found: frozenset[str], target: Path) -> nominate.Nominated:
    """Whom a range nominates; lines are counted from the first of the range."""
    result = nominate.nominated_in(_blocks(piece), query, found)
    _keep(target, result)
    return result


def linked(piece: Range, identifiers: frozenset[nominate.Identifier], target: Path) -> nominate.Linked:
    result = nominate.linked_in(_blocks(piece), identifiers)
    _keep(target, result)
    return result


def _keep(target: Path, result: object) -> None:
    draft = target.with_name(f"{target.name}.partial-{os.getpid()}")
    draft.write_bytes(_WIRE.encode(result))
    draft.replace(target)


def dealt(piece: Range, wanted: Path, slots: int, prefix: Path, count_patients: bool) -> int:
    """Sieve a range and deal what stays; returns how many parts it left: ``prefix.0.part`` and further ones,
    the last of which ends the range."""
    candidates = wanted_in(wanted)
    writer = PartWriter(slots)
    suspects: list[RawResource] = []
    lines = patients = parts = 0
    place = hashlib.sha256(f"{piece.file.sha256} {piece.start}".encode()).hexdigest()
    for block in blocks_of(piece, _brief().limits):
        lines += line_ends(block.data)
        if count_patients:
            patients += sum(type_of(line) in ("Patient", "") for _, line in numbered_lines(block))
        for position, line in sieve(block.data, candidates):
            number = block.first_line + position
            writer.add(deal(line, f"{place}:{number}", candidates), number, line)
            if len(suspects) < _SUSPECTS and not mentions(line):
                suspects.append(RawResource(line, "", type_of(line)))
        if writer.bytes > FLUSH:
            writer.write(part_path(prefix, parts))
            parts += 1
    writer.write(
        part_path(prefix, parts), gaps=_gaps(suspects), lines=lines, patients=patients, parts=parts + 1
    )
    return parts + 1


def part_path(prefix: Path, number: int) -> Path:
    return prefix.with_name(f"{prefix.name}.{number}.part")


def _gaps(suspects: list[RawResource]) -> tuple[Coverage, ...]:
    """What lines that name nobody cost everybody, known before anybody is judged."""
    owned = frozenset(mappers.MAPPERS) - {"Patient"} | {""}
    lines = [raw for raw in suspects if raw.resource_type in owned]
    if not lines:
        return ()
    trial = trial_of(_brief())
    facts = mappers.map_resources(
        lines, terminology=trial.terminology, zone=trial.site.zone, options=trial.site.options
    )
    return lost_by_all(facts.coverage)


def tied(parts: Path, first: int, last: int) -> list[tuple[Node, Node]]:
    """Nodes tied by keys of these buckets."""
    records = (record for part in parts_in(parts) for record in keys_of(part.path, first, last))
    return list(pairs_of(records))


@lru_cache(maxsize=1)
def wanted_in(path: Path) -> frozenset[str]:
    return _WIRE.decode(path.read_bytes(), type=frozenset[str])


@lru_cache(maxsize=1)
def parts_in(path: Path) -> tuple[PartOf, ...]:
    rows = _WIRE.decode(path.read_bytes(), type=list[tuple[str, str, int]])
    return tuple(PartOf(Path(name), file, before) for name, file, before in rows)


@lru_cache(maxsize=1)
def _coverage_in(path: Path) -> Mapping[str, tuple[Coverage, ...]]:
    return by_subject(_WIRE.decode(path.read_bytes(), type=list[Coverage]))


def judged(batch: Batch) -> Done:
    """Judge the units of a batch, but for those of which an earlier run left the same."""
    brief = _brief()
    wanted, coverage = wanted_in(batch.wanted), _coverage_in(batch.coverage)
    question = Question(trial_of(brief), brief.as_of, wanted, coverage, batch.gaps, brief.rules)
    before = {} if brief.full else _former(batch)
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
