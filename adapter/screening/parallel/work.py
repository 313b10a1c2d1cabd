"""What a worker reads: pure steps over ranges, each of which leaves its result whole or not at all.

A worker is told once what the screening is of (:class:`Brief`) and opens the trial itself. Steps take and
give small values; lines and rows go by way of files, so that no process holds more than a range or a batch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from enum import Enum, auto
from functools import lru_cache
from itertools import tee
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from adapter import config
from adapter.model.candidates import CandidateQuery
from adapter.screening.deal import deal, patients_about
from adapter.screening.parallel.parts import PartWriter, account_of, keys_of
from adapter.screening.parallel.roll import Line, RollWriter, lines_for, names_any
from adapter.screening.ties import Met, meet
from adapter.screening.unowned import Unowned
from adapter.source import nominate
from adapter.source.ndjson import Block, Limits
from adapter.source.patients import Candidates
from adapter.source.places import Hashes, hashes_of
from adapter.source.ranges import Range, blocks_of, lines_at
from adapter.trial import Trial, open_trial

FLUSH = 32 * 2**20
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # R4 2.24.0.1, id
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


class Left(Enum):
    """What became of a range: all of it was dealt, its parts stand, or stand with others beside them."""

    ANEW = auto()
    STANDING = auto()
    BESIDE = auto()


_told: list[Brief] = []
_given: list[Trial] = []


def begin(brief: Brief, trial: Trial | None = None) -> None:
    """The worker's first call; one in the process that leads is given the trial, others open it."""
    _told[:] = [brief]
    _given[:] = [trial] if trial is not None else []


def brief() -> Brief:
    """What this process was told."""
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
    return ((piece.file.name, block) for block in blocks_of(piece, brief().limits))


def studies(piece: Range, names: frozenset[str], target: Path) -> frozenset[str]:
    result = nominate.studies_in(_blocks(piece), names)
    _keep(target, result)
    return result


def nominated(
    piece: Range, roll: Path, query: CandidateQuery, found: frozenset[str], target: Path
) -> nominate.Nominated:
    """Whom a range nominates, lines counted from the first of the range. Unless it is there, its roll is made
    by the same reading."""
    with ExitStack() as writing:
        blocks = _blocks(piece)
        if not roll.exists():
            blocks = writing.enter_context(_writer(piece, roll)).passing(blocks)
        result = nominate.nominated_in(blocks, query, found)
    _keep(target, result)
    return result


def rolled(piece: Range, roll: Path) -> nominate.Nominated:
    """Leave the roll of a range in which nobody is looked for."""
    with _writer(piece, roll) as writer:
        deque(writer.passing(_blocks(piece)), maxlen=0)
    return nominate.Nominated()


def _writer(piece: Range, roll: Path) -> RollWriter:
    """Patients are counted line by line in a file that may hold others too (:meth:`Landing.files`)."""
    types = piece.file.types
    return RollWriter(roll, count_patients=types != ("Patient",) and ("Patient" in types or "" in types))


def linked(piece: Range, identifiers: frozenset[nominate.Identifier], target: Path) -> nominate.Linked:
    result = nominate.linked_in(_blocks(piece), identifiers)
    _keep(target, result)
    return result


def _keep(target: Path, result: object) -> None:
    draft = target.with_name(f"{target.name}.partial-{os.getpid()}")
    draft.write_bytes(_WIRE.encode(result))
    draft.replace(target)


def dealt(piece: Range, roll: Path, wanted: Path, slots: int, prefix: Path) -> Left:
    """Deal the lines of a range that by its roll may concern a candidate."""
    _deal(piece, lines_for(roll, _compared(wanted)), wanted, slots, prefix)
    return Left.ANEW


def dealt_again(
    piece: Range,
    roll: Path,
    lasts: tuple[Path, ...],
    before: Path,
    wanted: Path,
    slots: int,
    prefix: Path,
    beside: Path,
) -> Left:
    """Deal what other candidates change of a range; ``lasts`` are the last of its parts for those of
    ``before``. Where nobody whom a line kept so far is about became a candidate or ceased to be one, these
    parts stand, and the lines of those who are new are dealt beside them."""
    then, now = wanted_in(before), wanted_in(wanted)
    changed = _hashes(then ^ now)
    about = [np.frombuffer(account_of(last).about, np.uint64) for last in lasts]
    if any(np.isin(one, changed).any() for one in about) or names_any(roll, _hashes(then - now)):
        return dealt(piece, roll, wanted, slots, prefix)
    if not names_any(roll, changed):
        return Left.STANDING
    kept = {line.number for line in lines_for(roll, _compared(before))}
    added = [line for line in lines_for(roll, Candidates(now - then)) if line.number not in kept]
    _deal(piece, added, wanted, slots, beside)
    return Left.BESIDE


def _deal(piece: Range, lines: Iterable[Line], wanted: Path, slots: int, prefix: Path) -> None:
    """Leave ``prefix.0.part`` and further ones, the last of which says how many there are."""
    candidates = wanted_in(wanted)
    writer = PartWriter(slots)
    unowned = Unowned()
    about: set[bytes] = set()
    parts = 0
    place = hashlib.sha256(f"{piece.file.sha256} {piece.start}".encode()).hexdigest()
    for number, line in _texts(piece, lines):
        writer.add(deal(line, f"{place}:{number}", candidates), number, line)
        about |= patients_about(line)
        unowned.see(line)
        if writer.bytes > FLUSH:
            writer.write(part_path(prefix, parts))
            parts += 1
    path = part_path(prefix, parts)
    gaps = unowned.gaps(lambda: trial_of(brief()))
    writer.write(path, gaps=gaps, parts=parts + 1, about=hashes_of(sorted(about)).tobytes())


def _texts(piece: Range, lines: Iterable[Line]) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each of some lines; a file of which there are none is not opened."""
    found, again = tee(lines)
    texts = lines_at(piece, ((one.start, one.size) for one in again), brief().limits)
    for one, text in zip(found, texts, strict=False):
        yield one.number, text.strip()


def part_path(prefix: Path, number: int) -> Path:
    return prefix.with_name(f"{prefix.name}.{number}.part")


def met(parts: Path, first: int, last: int, specimens: bool) -> Met:
    """What the keys of these buckets come to."""
    return meet(keys_of((part.path for part in parts_in(parts)), first, last), specimens)


def differ_plainly(one: Path, other: Path) -> bool:
    """Whether two lists of candidates differ by nothing but ids as FHIR has them."""
    return all(_ID.fullmatch(name) for name in wanted_in(one) ^ wanted_in(other))


@lru_cache(maxsize=2)
def _hashes(names: frozenset[str]) -> Hashes:
    return hashes_of(name.encode() for name in sorted(names))


@lru_cache(maxsize=2)
def _compared(wanted: Path) -> Candidates:
    return Candidates(wanted_in(wanted))


@lru_cache(maxsize=2)
def wanted_in(path: Path) -> frozenset[str]:
    return _WIRE.decode(path.read_bytes(), type=frozenset[str])


@lru_cache(maxsize=1)
def parts_in(path: Path) -> tuple[PartOf, ...]:
    rows = _WIRE.decode(path.read_bytes(), type=list[tuple[str, str, int]])
    return tuple(PartOf(Path(name), file, before) for name, file, before in rows)
