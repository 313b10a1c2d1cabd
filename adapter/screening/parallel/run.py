"""A landing of any size, screened by several processes over byte ranges and then over units of people.

What a step leaves is named by a hash of everything it depends on and lies beside the workspace's results: a
run that was killed goes on where it stopped, and one after a change does only what the change touches. Memory
holds a range or a batch for each process, and the ids of the candidates; everything else stays on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.candidates import Candidates
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.screening.deal import Node, deal
from adapter.screening.judge import lost_by_all, rules_of
from adapter.screening.parallel import verdicts, work
from adapter.screening.parallel.batches import (
    moves,
    origins,
    overlaps,
    sizes_of,
    slots_for,
    spans_of,
    touching,
)
from adapter.screening.parallel.parts import BUCKETS, PartWriter, account_of, lent_of
from adapter.screening.parallel.pool import Pool, cores
from adapter.screening.parallel.shelf import write_shelf
from adapter.screening.parallel.work import Batch, Brief, Done, PartOf
from adapter.screening.parallel.workfolder import FORMAT, WorkFolder, sha256
from adapter.screening.parallel.writing import Counts, write
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.screening.ties import homes
from adapter.source import nominate
from adapter.source.landing import Landing
from adapter.source.ranges import Range, ranges_of

T = TypeVar("T")
_WIRE = msgspec.msgpack
_KEYS_A_STEP = 16
# What a core does in a second, roughly: to judge whether to start processes, which takes seconds itself.
_WORTH = 4.0
_READ = 400e6
_JUDGED = 4e6
_TIED = 1e6


class Cut(NamedTuple):
    """How the work is cut: bytes of a range and of a batch's lines. No result depends on it."""

    range: int = 32 * 2**20
    batch: int = 8 * 2**20
    slots: int = 0  # a power of two; as many as suit the number of candidates unless given


class Step(NamedTuple):
    """How far a screening is, for a progress bar: bytes read or to be judged."""

    name: str
    done: int
    of: int


Told = Callable[[Step], None]


def screen_in_parts(
    task: Task,
    landing: Landing,
    progress: Callable[[str], None],
    *,
    workers: int,
    told: Told = lambda _: None,
    cut: Cut | None = None,
) -> Screening:
    """The same as :func:`adapter.screening.whole.screen_whole`, byte for byte.

    ``workers`` are as many as are asked for; 0 is one a core, if they are worth their start.
    Raises :class:`adapter.errors.WorkerLost` if a process dies.
    """
    trial = task.trial
    certificate, versions = task.versions(landing)
    brief = Brief(
        trial.folder,
        trial.site,
        trial.mappings,
        task.as_of,
        rules_of(trial, versions),
        task.full,
        landing.limits,
    )
    with Pool(workers or cores(), brief, trial, 0 if workers else _WORTH) as pool:
        run = _Run(task, landing, versions, pool, told, cut or Cut())
        progress("looking for candidates")
        candidates = run.nominate()
        progress(f"reading the records of {len(candidates.ids)} candidates")
        sieved = run.sieve(candidates)
        progress(f"judging them in {len(sieved.batches)} batches")
        done = run.judge(sieved)
        judged = [one.target for one in done]
        written = write(task, landing, run.nominated_issues, certificate, versions, judged, sieved.counts)
    anew = sum(one.anew for one in done)
    progress(
        f"{written.people - written.screening.reused} people evaluated, "
        f"{written.screening.reused} unchanged since the last screening; {anew} units judged anew"
    )
    run.kept.sweep()
    return written.screening


class Sieved(NamedTuple):
    """What is to be judged: batches, and of the whole how many lines there were, were kept, are Patients."""

    batches: tuple[Batch, ...]
    sizes: tuple[int, ...]
    counts: Counts
    gaps: tuple[Coverage, ...]


class _Run:
    def __init__(
        self, task: Task, landing: Landing, versions: Mapping[str, str], pool: Pool, told: Told, cut: Cut
    ) -> None:
        self.task = task
        self.versions = versions
        self.landing = landing
        self.pool = pool
        self.told = told
        self.cut = cut
        self.kept = WorkFolder(task)
        self.ranges = ranges_of(landing, cut.range)

    # ---- who may be a candidate ----------------------------------------------------------------------

    def nominate(self) -> Candidates:
        trial = self.task.trial
        query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
        studies: set[str] = set()
        if query.studies:
            for _, found in self.pool.each(
                work.studies, [(one, query.studies) for one in self._of(nominate.STUDY)], 0
            ):
                studies |= found
        asked = sha256(
            *(",".join(sorted(part)) for part in (query.codes, query.texts, query.studies, studies)),
            ",".join(sorted(query.resource_types)),
        )
        pieces = self._of(query.resource_types)
        nominated = self._passed(
            "candidates", pieces, asked, nominate.Nominated, work.nominated, query, frozenset(studies)
        )
        ids = frozenset(name for one in nominated for name in one.ids)
        identifiers = frozenset(name for one in nominated for name in one.identifiers)
        links = []
        if ids or identifiers:
            patients = self._of(nominate.PATIENT)
            named = sha256(*(f"{system} {value}" for system, value in sorted(identifiers)))
            links = self._passed("records", patients, named, nominate.Linked, work.linked, identifiers)
        self.issues = list(zip(pieces, (one.issues for one in nominated), strict=True))
        return nominate.candidates_of(
            nominate.Nominated(ids, identifiers, ()),
            nominate.Linked(
                frozenset(name for one in links for name in one.known),
                frozenset(pair for one in links for pair in one.pairs),
            ),
            self.landing.moved,
        )

    def _passed(
        self,
        name: str,
        pieces: list[Range],
        asked: str,
        kind: type[T],
        step: Callable[..., T],
        *arguments: object,
    ) -> list[T]:
        """One pass over some ranges: what earlier runs left, and the rest now."""
        found: dict[int, T] = {}
        missing: list[tuple[int, tuple[object, ...]]] = []
        total = sum(piece.bytes for piece in pieces)
        read = 0
        for number, piece in enumerate(pieces):
            target = self.kept.named_by(name, self.kept.identity_of(piece), asked)
            if target.exists():
                found[number] = _WIRE.decode(target.read_bytes(), type=kind)
                read += piece.bytes
            else:
                missing.append((number, (piece, *arguments, target)))
        self.told(Step(name, read, total))
        for at, result in self.pool.each(step, [one for _, one in missing], (total - read) / _READ):
            number = missing[at][0]
            found[number] = result
            read += pieces[number].bytes
            self.told(Step(name, read, total))
        return [found[number] for number in range(len(pieces))]

    # ---- their lines ---------------------------------------------------------------------------------

    def sieve(self, candidates: Candidates) -> Sieved:
        slots = self.cut.slots or slots_for(len(candidates.ids))
        wanted = self.kept.write("wanted", _WIRE.encode(sorted(candidates.ids)))
        prefixes = self._dealt(wanted, slots)
        accounts = [self._parts(prefix) for prefix in prefixes]
        lines = [account_of(paths[-1]).lines for paths in accounts]
        before = self._lines_before(lines)
        parts = [
            PartOf(path, piece.file.name, start)
            for piece, paths, start in zip(self.ranges, accounts, before, strict=True)
            for path in paths
        ]
        given = self.task.answers(candidates.ids)
        if given.asked:
            parts.append(PartOf(self._answered(given.asked, candidates.ids, slots), "own endpoint", 0))
        self._number_issues(before)
        read = sum(file.lines for file in self.landing.manifest.files) + given.given
        kept = sum(account_of(part.path).kept for part in parts)
        patients = self._patients([account_of(paths[-1]).patients for paths in accounts])
        listed = self.kept.write(
            "parts", _WIRE.encode([(str(part.path), part.name, part.before) for part in parts])
        )
        shelf = self._shelf(parts, listed)
        gaps = lost_by_all(row for part in parts for row in account_of(part.path).gaps)
        batches, sizes = self._batches(parts, listed, shelf, wanted, slots, self._ties(parts, listed))
        return Sieved(batches, sizes, Counts(read, kept, patients), gaps)

    def _dealt(self, wanted: Path, slots: int) -> list[Path]:
        """Sieve what no earlier run did; the parts of each range, by the start of their names."""
        prefixes = [
            self.kept.named_by("lines", self.kept.identity_of(piece), wanted.name, str(slots))
            for piece in self.ranges
        ]
        total = sum(piece.bytes for piece in self.ranges)
        missing = [
            (piece, wanted, slots, prefix, self._may_hold_patients(piece))
            for piece, prefix in zip(self.ranges, prefixes, strict=True)
            if not self._parts(prefix)
        ]
        read = total - sum(one[0].bytes for one in missing)
        self.told(Step("lines", read, total))
        for at, _ in self.pool.each(work.dealt, missing, (total - read) / _READ):
            read += missing[at][0].bytes
            self.told(Step("lines", read, total))
        return prefixes

    def _parts(self, prefix: Path) -> list[Path]:
        """The parts of a range, or none if its last one is not there."""
        found: list[Path] = []
        while (path := work.part_path(prefix, len(found))).exists():
            found.append(path)
            if account_of(path).parts == len(found):
                self.kept.use(*found)
                return found
        return []

    def _lines_before(self, lines: list[int]) -> list[int]:
        """How many lines of its file come before each range."""
        before: list[int] = []
        for _, group in groupby(zip(self.ranges, lines, strict=True), key=lambda one: one[0].file.name):
            counts = [count for _, count in group]
            before += [0, *accumulate(counts[:-1])]
        return before

    def _number_issues(self, before: list[int]) -> None:
        """Lines that nominate nobody who can be told, by their number in the file."""
        start = dict(zip(((one.file.name, one.start) for one in self.ranges), before, strict=True))
        found = []
        for piece, issues in self.issues:
            for issue in issues:
                name, _, number = issue.reference.rpartition(":")
                line = int(number) + start[piece.file.name, piece.start]
                found.append(msgspec.structs.replace(issue, reference=f"{name}:{line}"))
        self.nominated_issues = tuple(found)

    def _answered(self, answers: tuple[RawResource, ...], wanted: frozenset[str], slots: int) -> Path:
        """Answers given on our own pages, as another part."""
        writer = PartWriter(slots)
        for raw in answers:
            number = int(raw.where.rpartition(":")[2])
            writer.add(deal(raw.line, raw.where, wanted), number, raw.line)
        named = self.kept.named_by(
            "answers", *(f"{raw.where} {raw.sha256}" for raw in answers), str(slots), self.kept.software
        )
        path = work.part_path(named, 0)
        self.kept.use(path)
        writer.write(path, parts=1)
        return path

    def _patients(self, counted: list[int]) -> int:
        pure = sum(file.lines for file in self.landing.manifest.files if file.types == ("Patient",))
        return pure + sum(counted)

    def _may_hold_patients(self, piece: Range) -> bool:
        """Whether a file's Patients have to be counted line by line; as :meth:`Landing.files` chooses."""
        types = piece.file.types
        return types != ("Patient",) and ("Patient" in types or "" in types)

    def _shelf(self, parts: list[PartOf], listed: Path) -> Path:
        path = self.kept.path(f"lent-{listed.name.partition('-')[2]}")
        if not path.exists():
            write_shelf(
                path,
                (
                    (f"{part.name}:{part.before + one.number}", one)
                    for part in parts
                    for one in lent_of(part.path)
                ),
            )
        return path

    def _ties(self, parts: list[PartOf], listed: Path) -> dict[Node, Node]:
        steps = [(listed, first, first + _KEYS_A_STEP - 1) for first in range(0, BUCKETS, _KEYS_A_STEP)]
        kept = sum(account_of(part.path).kept for part in parts)
        pairs = [pair for _, found in self.pool.each(work.tied, steps, kept / _TIED) for pair in found]
        pairs += [pair for part in parts for pair in account_of(part.path).pairs]
        return homes(pairs)

    def _batches(
        self, parts: list[PartOf], listed: Path, shelf: Path, wanted: Path, slots: int, tied: dict[Node, Node]
    ) -> tuple[tuple[Batch, ...], tuple[int, ...]]:
        sizes = sizes_of(parts, slots)
        moved = moves(tied, slots)
        coverage = self.kept.write("coverage", _WIRE.encode(list(self.landing.coverage)))
        former = tuple(sorted(self.kept.folder.glob(f"judged-{slots}-*.rows")))
        batches: list[Batch] = []
        weights: list[int] = []
        for own in spans_of(sizes, self.cut.batch, self.pool.workers):
            first, last = own[0][0], own[-1][1]
            here = touching(moved, own, slots)
            batches.append(
                Batch(
                    own,
                    slots,
                    here,
                    origins(here, own, slots),
                    listed,
                    shelf,
                    wanted,
                    coverage,
                    (),
                    b"",
                    tuple(path for path in former if overlaps(path, first, last)),
                    self.kept.path(f"judged-{slots}-{first}-{last}.rows"),
                )
            )
            weights.append(sum(sizes[first : last + 1]))
        return tuple(batches), tuple(weights)

    # ---- what they come to ---------------------------------------------------------------------------

    def judge(self, sieved: Sieved) -> list[Done]:
        """Judge every batch; again, should a line without an owner turn out to cost everybody something."""
        gaps = sieved.gaps
        while True:
            settings = hashlib.sha256(_WIRE.encode([self._settings(), gaps])).digest()
            steps = [(one._replace(gaps=gaps, settings=settings),) for one in sieved.batches]
            total, judged = sum(sieved.sizes), 0
            done: list[Done] = []
            self.told(Step("people", 0, total))
            for at, one in self.pool.each(work.judged, steps, total / _JUDGED):
                done.append(one)
                judged += sieved.sizes[at]
                self.told(Step("people", judged, total))
            rests = (rest for one in done for rest in verdicts.rests_of(one.target))
            found = lost_by_all(row for rest in rests for row in rest.lost)
            if found == gaps:
                return done
            gaps = found

    def _settings(self) -> list[str]:
        trial = self.task.trial
        options = str(sorted(trial.site.options.items()))
        rules = [self.versions[name] for name in ("protocol_sha256", "mappings_sha256", "software_sha256")]
        return [FORMAT, self.kept.software, *rules, str(self.task.as_of), trial.site.zone.key, options]

    def _of(self, types: frozenset[str]) -> list[Range]:
        names = {file.name for file in self.landing.files(types)}
        return [piece for piece in self.ranges if piece.file.name in names]
