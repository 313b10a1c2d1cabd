"""Everybody on the study, in stretches, by as many processes as are worth their start."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

from adapter import protocol
from adapter.errors import ConfigError, WorkerLost
from adapter.model import wire
from adapter.model.ladder import Ladder
from adapter.monitoring.kept import ROWS, Basis, Known, MonitoringReport, drafted, known_in
from adapter.protocol.ladder_load import load_ladders
from adapter.protocol.results import Counted, Outcomes, counted, results
from adapter.screening import Progress, Summary, people
from adapter.screening.parallel.pool import Pool, cores
from adapter.screening.parallel.work import Brief, trial_of
from adapter.trial import Trial, Workspace, rules_sha256, software_sha256

FORMAT = "adapter-monitoring/1"
_PEOPLE_A_STEP = 25
# What a person takes, roughly, and from how many seconds on more processes are worth their start.
_SECONDS, _WORTH = 0.015, 8.0
_OUTCOMES = wire.decoder(Outcomes)


class Done(NamedTuple):
    """How far a monitoring is: people done, of how many, and how many of them were judged anew."""

    people: int
    of: int
    anew: int


Told = Callable[[Done], None]


class _Asked(NamedTuple):
    """What a step is told besides its people."""

    brief: Brief
    ladders: tuple[Ladder, ...]
    settings: bytes


class Followed(NamedTuple):
    """Some people: their rows as they are kept, what these were worked out from, what the outcomes by arm are
    counted from, and how many were judged anew."""

    rows: bytes
    basis: tuple[Basis, ...]
    counted: tuple[Counted, ...]
    anew: int


def monitor(
    trial: Trial,
    workspace: Workspace,
    *,
    as_of: date,
    progress: Progress = lambda _: None,
    workers: int = 0,
    full: bool = False,
    told: Told = lambda _: None,
) -> MonitoringReport:
    """Evaluate everyone on the study by ``as_of``; raises :class:`ConfigError` without a screening.

    Who nothing changed for since a row was worked out as of the same day by the same rules keeps that row,
    also one of a run that was killed; with ``full`` nobody does. ``workers`` are the processes that share the
    work; 0 is one a core, if they are worth their start. The same bytes are left in every case.
    """
    screened = people.read_summary(workspace)
    if screened.protocol != trial.protocol.id:
        raise ConfigError(
            f"the screening here is of {screened.protocol}, not of {trial.protocol.id}",
            where=str(workspace.screening),
            fix="run adapter screen with this protocol first",
        )
    enrolled = people.enrolled(workspace, trial.protocol.id, as_of)
    progress(f"evaluating {len(enrolled)} people on the study")
    brief = Brief(trial.folder, trial.site, trial.mappings, as_of, b"", full=True, limits=None)
    ladders = load_ladders(trial.folder, trial.vocabulary, trial.protocol)
    asked = _Asked(brief, ladders, _settings(trial, ladders, as_of))
    known = {} if full else known_in(workspace)
    steps = [
        (asked, one, {name: known[name] for name in one.subjects if name in known})
        for one in people.stretches(
            workspace, enrolled, _PEOPLE_A_STEP, decisions=_by_these_rules(trial, screened)
        )
    ]
    unknown = len(enrolled.keys() - known.keys()) or len(enrolled) // 10
    found: list[Counted] = []
    anew = 0
    with (
        drafted(workspace) as draft,
        Pool(workers or cores(), brief, trial, 0 if workers else _WORTH) as pool,
    ):
        try:
            for part in _in_order(pool.each(follow, steps, unknown * _SECONDS)):
                draft.add(part.rows, part.basis)
                found += part.counted
                anew += part.anew
                told(Done(len(found), len(enrolled), anew))
        except WorkerLost as fault:
            fix = "run adapter monitor again: what was finished is kept; fewer --workers need less memory"
            raise WorkerLost(fault.message, where="monitor", fix=fix) from None
        table = results(found, arms=tuple(arm.code for arm in trial.protocol.study.arms))
        draft.finish(table)
    return MonitoringReport(workspace.monitoring / ROWS, table, len(found))


def _settings(trial: Trial, ladders: tuple[Ladder, ...], as_of: date) -> bytes:
    """Everything a row depends on that is the same for all people, the program itself included."""
    rules = hashlib.sha256(wire.encode_in_order((trial.protocol, ladders))).hexdigest()
    said = (FORMAT, software_sha256(), rules, trial.site.zone.key, as_of.isoformat())
    return hashlib.sha256("\n".join(said).encode()).digest()


def _by_these_rules(trial: Trial, screened: Summary) -> bool:
    """Whether the screening judged as would be judged now: then whether somebody was eligible on the day
    before entry is known already."""
    now = {**rules_sha256(trial), "software_sha256": software_sha256()}
    named = f"{trial.protocol.id} {trial.protocol.version}"
    return now.items() <= screened.versions.items() and screened.versions["protocol"] == named


def _in_order(found: Iterable[tuple[int, Followed]]) -> Iterator[Followed]:
    """What comes in any order, each with its place, in its place."""
    early: dict[int, Followed] = {}
    place = 0
    for number, one in found:
        early[number] = one
        while place in early:
            yield early.pop(place)
            place += 1


def follow(asked: _Asked, stretch: people.Stretch, known: dict[str, tuple[Known, ...]]) -> Followed:
    """The step of a worker: everyone of a stretch."""
    trial = trial_of(asked.brief)
    rows, basis, told, anew = bytearray(), list[Basis](), list[Counted](), 0
    with _without_garbage():
        for person in people.persons(stretch):
            of = person.digest(asked.settings)
            row = next((row for one in known.get(person.subject, ()) if (row := one.read(of))), None)
            if row is not None:
                told.append(counted(_OUTCOMES.decode(row)))
            else:
                found = protocol.monitor(
                    trial.protocol,
                    person.facts(),
                    as_of=asked.brief.as_of,
                    zone=trial.site.zone,
                    ladders=asked.ladders,
                    assessment=person.decision(),
                )
                row = wire.encode(found)
                told.append(counted(found))
                anew += 1
            rows += row + b"\n"
            basis.append(Basis(person.subject, of, hashlib.sha256(row).hexdigest(), len(row)))
    return Followed(bytes(rows), tuple(basis), tuple(told), anew)


@contextmanager
def _without_garbage() -> Iterator[None]:
    """A stretch is small enough to be looked through for garbage once, at its end, and not all the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
            gc.collect(1)
