"""The lines that the sieve keeps of a landing, dealt to people: what is to be judged, told but not read."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

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
from adapter.screening.parallel.parts import BUCKETS, PartWriter, account_of, lends, lent_of
from adapter.screening.parallel.passes import Nomination
from adapter.screening.parallel.shelf import write_shelf
from adapter.screening.parallel.underway import Underway
from adapter.screening.parallel.work import PartOf
from adapter.screening.parallel.writing import Counts
from adapter.screening.ties import Met, homes, together

_WIRE = msgspec.msgpack
# What a core does in a second, roughly: lines looked at for ties, bytes of ranges whose rolls are looked
# through; and the seconds in which it deals and judges the lines of a candidate.
_MET = 5e6
_LOOKED = 4e9
_A_CANDIDATE = 9e-3
_AT_ONCE = 2**20  # lines of which the keys are in memory
_MOST_BESIDE = 8  # times that a range is dealt beside before all of it is dealt anew


class Lines(NamedTuple):
    """``parts`` hold the lines by slot, ``listed`` is their list, ``wanted`` that of whom to judge. ``gaps``
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
    candidates, judged = nomination.candidates.read, nomination.candidates.ids
    former = _remembered(run)
    slots = run.cut.slots or slots_for(len(candidates), [one.slots for one in former])
    wanted = run.kept.write("wanted", _WIRE.encode(sorted(candidates)))
    dealt = _dealt(run, former, wanted, slots)
    rolls = [roll.account_of(run.roll(piece)) for piece in run.ranges]
    before = _lines_before(run, [one.lines for one in rolls])
    parts = [
        PartOf(path, piece.file.name, start)
        for piece, paths, start in zip(run.ranges, dealt, before, strict=True)
        for path in paths
    ]
    given = run.task.answers(judged)
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
        run.kept.write("people", _WIRE.encode(sorted(judged))),
        slots,
        _shelf(run, parts),
        homes(met.pairs),
        Counts(
            read=sum(file.lines for file in run.landing.manifest.files) + given.given,
            kept=sum(account_of(part.path).kept for part in parts),
            patients=_patients(run, [one.patients for one in rolls]),
        ),
        lost_by_all(row for part in parts for row in account_of(part.path).gaps),
        _numbered(run, nomination, before),
    )


class Dealt(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a screening: for which candidates and slots its ranges were dealt, and how the
    names of the parts of each begin. Those dealt for former candidates stand where the new ones change
    nothing of them, with others beside them for who is new."""

    wanted: str
    slots: int
    prefixes: dict[str, tuple[str, ...]]


def _remembered(run: Underway) -> list[Dealt]:
    """Of earlier runs, where the candidates are known still; nothing that another program wrote otherwise."""
    found: list[Dealt] = []
    for path in sorted(run.kept.folder.glob("dealt-*")):
        with suppress(msgspec.MsgspecError):
            found.append(_WIRE.decode(path.read_bytes(), type=Dealt))
    return [one for one in found if (run.kept.folder / one.wanted).exists()]


def _dealt(run: Underway, former: Sequence[Dealt], wanted: Path, slots: int) -> list[tuple[Path, ...]]:
    """The parts of each range: those an earlier run dealt for the same candidates or, where it comes to the
    same, for others; the rest is dealt now."""
    former = [
        one
        for one in former
        if one.slots == slots and work.differ_plainly(run.kept.folder / one.wanted, wanted)
    ]
    prefixes: dict[str, tuple[str, ...]] = {}
    standing: dict[int, tuple[tuple[str, ...], str]] = {}
    left: dict[int, tuple[Callable[..., work.Left], tuple[Any, ...]]] = {}
    for number, piece in enumerate(run.ranges):
        identity, roll = run.kept.identity_of(piece), run.roll(piece)
        target = run.kept.named_by("lines", identity, wanted.name, str(slots))
        prefixes[identity] = (target.name,)
        if _parts(target):
            continue
        left[number] = work.dealt, (piece, roll, wanted, slots, target)
        for one in former:
            names = one.prefixes.get(identity, ())
            every = [_parts(run.kept.folder / name) for name in names]
            if not every or not all(every):
                continue
            beside = run.kept.named_by("lines", identity, wanted.name, str(slots), *names)
            if one.wanted == wanted.name or _parts(beside):
                prefixes[identity] = names if one.wanted == wanted.name else (*names, beside.name)
                del left[number]
            elif len(names) < _MOST_BESIDE:
                before, lasts = run.kept.folder / one.wanted, tuple(parts[-1] for parts in every)
                arguments = (piece, roll, lasts, before, wanted, slots, target, beside)
                left[number] = work.dealt_again, arguments
                standing[number] = names, beside.name
            break
    seconds = _seconds(run, left, standing, former, wanted)
    for number, became in run.over("lines", run.ranges, left, seconds):
        if became is not work.Left.ANEW:
            names, beside_name = standing[number]
            more = (beside_name,) if became is work.Left.BESIDE else ()
            prefixes[run.kept.identity_of(run.ranges[number])] = (*names, *more)
    run.kept.write("dealt", _WIRE.encode(Dealt(wanted.name, slots, prefixes)))
    found = [
        tuple(
            path for name in prefixes[run.kept.identity_of(piece)] for path in _parts(run.kept.folder / name)
        )
        for piece in run.ranges
    ]
    run.kept.use(*chain.from_iterable(found))
    return found


def _seconds(
    run: Underway, left: Iterable[int], standing: Container[int], former: Iterable[Dealt], wanted: Path
) -> float:
    """What a core takes for the ranges that are left, and to judge whose lines they hold: everybody's in what
    is new, elsewhere those of the people by whom the candidates differ."""
    candidates = work.wanted_in(wanted)
    differ = [len(work.wanted_in(run.kept.folder / one.wanted) ^ candidates) for one in former]
    total = sum(piece.bytes for piece in run.ranges)
    looked = sum(run.ranges[number].bytes for number in left)
    new = sum(run.ranges[number].bytes for number in left if number not in standing)
    people = len(candidates) * new / max(1, total) + max(differ, default=0)
    return looked / _LOOKED + people * _A_CANDIDATE


def _parts(prefix: Path) -> tuple[Path, ...]:
    """The parts of a range, or none if its last one is not there."""
    found: list[Path] = []
    while (path := work.part_path(prefix, len(found))).exists():
        found.append(path)
        if account_of(path).parts == len(found):
            return tuple(found)
    return ()


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


def _shelf(run: Underway, parts: list[PartOf]) -> Path:
    """The lent lines; the same file as long as the same parts hold some."""
    lending = [part for part in parts if lends(part.path)]
    path = run.kept.named_by("lent", *(part.path.name for part in lending))
    if not path.exists():
        lent = ((part, one) for part in lending for one in lent_of(part.path))
        write_shelf(path, ((f"{part.name}:{part.before + one.number}", one) for part, one in lent))
    return path


def _listed(run: Underway, parts: list[PartOf]) -> Path:
    """The list of parts, for workers."""
    rows = [(str(part.path), part.name, part.before) for part in parts]
    return run.kept.write("parts", _WIRE.encode(rows))


def _met(run: Underway, parts: list[PartOf]) -> Met:
    """What the keys of all lines come to, with the ties that lines state themselves."""
    listed, specimens = _listed(run, parts), bool(run.of(SPECIMEN))
    lines = sum(account_of(part.path).kept for part in parts)
    size = max(1, min(BUCKETS, BUCKETS * _AT_ONCE // max(1, lines)))
    steps = [(listed, first, first + size - 1, specimens) for first in range(0, BUCKETS, size)]
    said = frozenset(pair for part in parts for pair in account_of(part.path).pairs)
    found = [one for _, one in run.pool.each(work.met, steps, lines / _MET)]
    return together([Met(said, frozenset(), frozenset()), *found])
