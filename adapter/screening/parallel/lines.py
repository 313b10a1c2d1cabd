"""The lines that the sieve keeps of a landing, dealt to people: what is to be judged, told but not read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.screening.deal import Node, deal
from adapter.screening.dropped import SPECIMEN, Sought
from adapter.screening.judge import lost_by_all
from adapter.screening.parallel import roll, work
from adapter.screening.parallel.batches import slots_for
from adapter.screening.parallel.beyond import beyond
from adapter.screening.parallel.parts import BUCKETS, PartWriter, account_of, lent_of
from adapter.screening.parallel.passes import Nomination
from adapter.screening.parallel.shelf import write_shelf
from adapter.screening.parallel.underway import Underway
from adapter.screening.parallel.work import PartOf
from adapter.screening.parallel.writing import Counts
from adapter.screening.ties import Met, homes, together

_WIRE = msgspec.msgpack
_KEYS_A_STEP = 16
_TIED = 1e6  # lines that a core looks at in a second for ties, roughly


class Lines(NamedTuple):
    """``parts`` hold the lines by slot, ``listed`` is their list, ``wanted`` that of the candidates. ``gaps``
    are coverage rows about everybody, as far as they are known before anybody is judged; ``issues`` those of
    nominating, by their place in the file."""

    parts: Sequence[PartOf]
    listed: Path
    wanted: Path
    slots: int
    shelf: Path
    tied: dict[Node, Node]
    counts: Counts
    gaps: tuple[Coverage, ...]
    issues: tuple[Issue, ...]


def kept(run: Underway, nomination: Nomination) -> Lines:
    """Sieve what no earlier run did, and find who must be judged together."""
    candidates = nomination.candidates.ids
    slots = run.cut.slots or slots_for(len(candidates))
    wanted = run.kept.write("wanted", _WIRE.encode(sorted(candidates)))
    dealt = [_parts(run, prefix) for prefix in _dealt(run, wanted, slots)]
    rolls = [roll.account_of(run.roll(piece)) for piece in run.ranges]
    before = _lines_before(run, [one.lines for one in rolls])
    parts = [
        PartOf(path, piece.file.name, start)
        for piece, paths, start in zip(run.ranges, dealt, before, strict=True)
        for path in paths
    ]
    given = run.task.answers(candidates)
    if given.asked:
        parts.append(PartOf(_answered(run, given.asked, candidates, slots), "own endpoint", 0))
    met = _met(run, parts)
    if others := beyond(run, Sought.of(met), before, wanted, slots):
        parts += others
        met = _met(run, parts)
    listed = _listed(run, parts)
    return Lines(
        parts,
        listed,
        wanted,
        slots,
        _shelf(run, parts, listed),
        homes(met.pairs),
        Counts(
            read=sum(file.lines for file in run.landing.manifest.files) + given.given,
            kept=sum(account_of(part.path).kept for part in parts),
            patients=_patients(run, [one.patients for one in rolls]),
        ),
        lost_by_all(row for part in parts for row in account_of(part.path).gaps),
        _numbered(run, nomination, before),
    )


def _dealt(run: Underway, wanted: Path, slots: int) -> list[Path]:
    """The parts of each range, by the start of their names."""
    prefixes = [
        run.kept.named_by("lines", run.kept.identity_of(piece), wanted.name, str(slots))
        for piece in run.ranges
    ]
    left = {
        number: (work.dealt, (piece, run.roll(piece), wanted, slots, prefix))
        for number, (piece, prefix) in enumerate(zip(run.ranges, prefixes, strict=True))
        if not _parts(run, prefix)
    }
    for _ in run.over("lines", run.ranges, left):
        pass
    return prefixes


def _parts(run: Underway, prefix: Path) -> list[Path]:
    """The parts of a range, or none if its last one is not there."""
    found: list[Path] = []
    while (path := work.part_path(prefix, len(found))).exists():
        found.append(path)
        if account_of(path).parts == len(found):
            run.kept.use(*found)
            return found
    return []


def _lines_before(run: Underway, lines: list[int]) -> list[int]:
    """How many lines of its file come before each range."""
    before: list[int] = []
    for _, group in groupby(zip(run.ranges, lines, strict=True), key=lambda one: one[0].file.name):
        counts = [count for _, count in group]
        before += [0, *accumulate(counts[:-1])]
    return before


def _numbered(run: Underway, nomination: Nomination, before: list[int]) -> tuple[Issue, ...]:
    """Lines that nominate nobody who can be told, by their number in the file."""
    start = dict(zip(((one.file.name, one.start) for one in run.ranges), before, strict=True))
    found = []
    for piece, issues in nomination.issues:
        for issue in issues:
            name, _, number = issue.reference.rpartition(":")
            line = int(number) + start[piece.file.name, piece.start]
            found.append(msgspec.structs.replace(issue, reference=f"{name}:{line}"))
    return tuple(found)


def _answered(run: Underway, answers: tuple[RawResource, ...], wanted: frozenset[str], slots: int) -> Path:
    """Answers given on our own pages, as another part."""
    writer = PartWriter(slots)
    for raw in answers:
        number = int(raw.where.rpartition(":")[2])
        writer.add(deal(raw.line, raw.where, wanted), number, raw.line)
    texts = (f"{raw.where} {raw.sha256}" for raw in answers)
    path = work.part_path(run.kept.named_by("answers", *texts, str(slots), run.kept.software), 0)
    run.kept.use(path)
    writer.write(path, parts=1)
    return path


def _patients(run: Underway, counted: list[int]) -> int:
    pure = sum(file.lines for file in run.landing.manifest.files if file.types == ("Patient",))
    return pure + sum(counted)


def _shelf(run: Underway, parts: list[PartOf], listed: Path) -> Path:
    path = run.kept.path(f"lent-{listed.name.partition('-')[2]}")
    if not path.exists():
        lent = ((part, one) for part in parts for one in lent_of(part.path))
        write_shelf(path, ((f"{part.name}:{part.before + one.number}", one) for part, one in lent))
    return path


def _listed(run: Underway, parts: list[PartOf]) -> Path:
    """The list of parts, for workers."""
    rows = [(str(part.path), part.name, part.before) for part in parts]
    return run.kept.write("parts", _WIRE.encode(rows))


def _met(run: Underway, parts: list[PartOf]) -> Met:
    """What the keys of all lines come to, with the ties that lines state themselves."""
    listed, specimens = _listed(run, parts), bool(run.of(SPECIMEN))
    firsts = range(0, BUCKETS, _KEYS_A_STEP)
    steps = [(listed, first, first + _KEYS_A_STEP - 1, specimens) for first in firsts]
    lines = sum(account_of(part.path).kept for part in parts)
    said = frozenset(pair for part in parts for pair in account_of(part.path).pairs)
    found = [one for _, one in run.pool.each(work.met, steps, lines / _TIED)]
    return together([Met(said, frozenset(), frozenset()), *found])
