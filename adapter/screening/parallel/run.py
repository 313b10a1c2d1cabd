"""A landing of any size, screened by several processes over byte ranges and then over units of people.

What a step leaves is named by a hash of everything it depends on and lies beside the workspace's results: a
run that was killed goes on where it stopped, and one after a change does only what the change touches. Memory
holds a range or a batch for each process, and the ids of the candidates; everything else stays on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from adapter.screening.judge import lost_by_all, rules_of
from adapter.screening.parallel import judging, lines, passes, verdicts
from adapter.screening.parallel.batches import moves, overlaps, sizes_of, spans_of, touching
from adapter.screening.parallel.judging import Done
from adapter.screening.parallel.lines import Lines
from adapter.screening.parallel.pool import Pool, cores
from adapter.screening.parallel.underway import Cut, Step, Told, Underway
from adapter.screening.parallel.units import Batch
from adapter.screening.parallel.work import Brief
from adapter.screening.parallel.workfolder import FORMAT, WorkFolder
from adapter.screening.parallel.writing import write
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.source.landing import Landing
from adapter.source.ranges import ranges_of

_WIRE = msgspec.msgpack
# Seconds of one core that are worth starting other processes, which takes half a second and a sixth for each.
_WORTH = 3.0
_JUDGED = 4e6  # bytes of lines that a core judges in a second, roughly


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
    trial, cut = task.trial, cut or Cut()
    certificate, versions = task.versions(landing)
    rules = rules_of(trial, versions)
    brief = Brief(trial.folder, trial.site, trial.mappings, task.as_of, rules, task.full, landing.limits)
    with Pool(workers or cores(), brief, trial, 0 if workers else _WORTH) as pool:
        run = Underway(task, landing, ranges_of(landing, cut.range), cut, WorkFolder(task), pool, told)
        progress("looking for candidates")
        nomination = passes.nominated(run)
        progress(f"reading the records of {len(nomination.candidates.ids)} candidates")
        found = lines.kept(run, nomination)
        work = _batches(run, found)
        progress(f"judging them in {len(work)} batches")
        done = _judged(run, found, work, versions)
        files, reused = [one.target for one in done], sum(one.reused for one in done)
        written = write(task, landing, found.issues, certificate, versions, files, found.counts, reused)
    anew = sum(one.anew for one in done)
    progress(
        f"{written.people - written.screening.reused} people evaluated, "
        f"{written.screening.reused} unchanged since the last screening; {anew} units judged anew"
    )
    run.kept.sweep()
    return written.screening


class _Weighed(NamedTuple):
    """A batch and the bytes of the lines of each of its slots."""

    batch: Batch
    sizes: Sequence[int]

    @property
    def bytes(self) -> int:
        return sum(self.sizes)

    def bytes_of(self, slots: Iterable[int]) -> int:
        return sum(self.sizes[slot - self.batch.first] for slot in slots)


def _batches(run: Underway, found: Lines) -> list[_Weighed]:
    slots = found.slots
    sizes = sizes_of(found.parts, slots)
    moved = moves(found.tied, slots)
    coverage = run.kept.write("coverage", _WIRE.encode(list(run.landing.coverage)))
    former = tuple(sorted(run.kept.folder.glob(f"judged-{slots}-*.rows")))
    batches = []
    for own in spans_of(sizes, run.cut.batch, run.pool.workers):
        first, last = own[0][0], own[-1][1]
        batch = Batch(
            own,
            slots,
            touching(moved, own, slots),
            found.listed,
            found.shelf,
            found.wanted,
            coverage,
            (),
            b"",
            tuple(path for path in former if overlaps(path, first, last)),
            run.kept.path(f"judged-{slots}-{first}-{last}.rows"),
        )
        batches.append(_Weighed(batch, sizes[first : last + 1]))
    return batches


def _judged(run: Underway, found: Lines, work: list[_Weighed], versions: Mapping[str, str]) -> list[Done]:
    """Judge every batch; again, should a line without an owner turn out to cost everybody something."""
    gaps = found.gaps
    while True:
        settings = hashlib.sha256(_WIRE.encode([_settings(run, versions), gaps])).digest()
        batches = [one._replace(batch=one.batch._replace(gaps=gaps, settings=settings)) for one in work]
        done = _once(run, batches)
        lost = lost_by_all(row for one in done for row in verdicts.total_of(one.target).lost)
        if lost == gaps:
            return done
        gaps = lost


def _once(run: Underway, work: list[_Weighed]) -> list[Done]:
    """What stands of earlier runs, and the rest judged now, the largest first."""
    done: list[Done] = []
    left: list[_Weighed] = []
    changed = 0
    for one in work:
        stands, slots = judging.compared(one.batch)
        if stands is not None:
            done.append(stands)
        else:
            left.append(one)
            changed += one.bytes_of(slots)
    left.sort(key=lambda one: -one.bytes)
    total = sum(one.bytes for one in work)
    judged = total - sum(one.bytes for one in left)
    run.told(Step("people", judged, total))
    steps = [(one.batch,) for one in left]
    for at, result in run.pool.each(judging.judged, steps, changed / _JUDGED):
        done.append(result)
        judged += left[at].bytes
        run.told(Step("people", judged, total))
    return done


def _settings(run: Underway, versions: Mapping[str, str]) -> list[str]:
    trial = run.task.trial
    options = str(sorted(trial.site.options.items()))
    rules = [versions[name] for name in ("protocol_sha256", "mappings_sha256", "software_sha256")]
    return [FORMAT, run.kept.software, *rules, str(run.task.as_of), trial.site.zone.key, options]
