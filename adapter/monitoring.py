"""Following the people on the study: what the protocol says of each as of a day, by arm, and whom to tell.

Reads the facts that a screening left, so no record is fetched or mapped twice. Leaves its rows under
``monitoring/``, whole or not at all; the same facts and day leave the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from adapter import pipeline, protocol
from adapter.errors import ConfigError
from adapter.model import wire
from adapter.model.ladder import Ladder
from adapter.model.monitoring import Monitoring
from adapter.model.results import ResultsTable
from adapter.pipeline import Count, Screening
from adapter.protocol.ladder_load import load_ladders
from adapter.protocol.results import results
from adapter.screening import Progress, people
from adapter.screening.parallel.pool import Pool, cores
from adapter.screening.parallel.work import Brief, trial_of
from adapter.trial import Trial, Workspace, network, open_store, token_source
from adapter.writeback import send
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.research_study import StudyReference
from adapter.writeback.send import WriteReport

_ROWS, _RESULTS = "monitoring.ndjson", "results.json"
_PEOPLE_A_STEP = 50
# What a person takes, roughly, and from how many seconds on more processes are worth their start.
_SECONDS, _WORTH = 0.015, 8.0


class MonitoringReport:
    """Everyone on the study as of a day, and the outcomes by arm.

    The rows of a monitoring that has just run stay on disk until they are asked for.
    """

    def __init__(self, rows: tuple[Monitoring, ...] | Path, results: ResultsTable) -> None:
        self._rows = rows
        self.results = results

    @property
    def rows(self) -> tuple[Monitoring, ...]:
        if isinstance(self._rows, Path):
            self._rows = tuple(wire.read_rows(self._rows, Monitoring))
        return self._rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MonitoringReport) and (self.rows, self.results) == (
            other.rows,
            other.results,
        )

    __hash__ = None  # type: ignore[assignment]


class Followed(NamedTuple):
    """Some people: their rows as they are kept, and what the outcomes by arm are counted from."""

    rows: bytes
    counted: tuple[Monitoring, ...]


def monitor(
    trial: Trial,
    workspace: Workspace,
    *,
    as_of: date,
    progress: Progress = lambda _: None,
    workers: int = 0,
) -> MonitoringReport:
    """Evaluate everyone on the study by ``as_of``; raises :class:`ConfigError` without a screening.

    ``workers`` are the processes that share the work; 0 is one a core, if they are worth their start. The
    same bytes are left however many there are.
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
    steps = [(brief, ladders, one) for one in people.stretches(workspace, enrolled, _PEOPLE_A_STEP)]
    counted: list[Monitoring] = []
    with (
        _draft(workspace) as draft,
        Pool(workers or cores(), brief, trial, 0 if workers else _WORTH) as pool,
    ):
        with (draft / _ROWS).open("wb") as out:
            for found in _in_order(pool.each(follow, steps, len(enrolled) * _SECONDS)):
                out.write(found.rows)
                counted += found.counted
        table = results(counted, arms=tuple(arm.code for arm in trial.protocol.study.arms))
        (draft / _RESULTS).write_bytes(wire.encode(table))
    return MonitoringReport(workspace.monitoring / _ROWS, table)


def _in_order(found: Iterable[tuple[int, Followed]]) -> Iterator[Followed]:
    """What comes in any order, each with its place, in its place."""
    early: dict[int, Followed] = {}
    place = 0
    for number, one in found:
        early[number] = one
        while place in early:
            yield early.pop(place)
            place += 1


def follow(brief: Brief, ladders: tuple[Ladder, ...], stretch: people.Stretch) -> Followed:
    """The step of a worker: everyone of a stretch, judged anew."""
    trial = trial_of(brief)
    rows, counted = bytearray(), list[Monitoring]()
    for facts in people.read(stretch):
        found = protocol.monitor(
            trial.protocol, facts, as_of=brief.as_of, zone=trial.site.zone, ladders=ladders
        )
        rows += wire.encode(found) + b"\n"
        counted.append(_countable(found))
    return Followed(bytes(rows), tuple(counted))


def _countable(found: Monitoring) -> Monitoring:
    """Without what the outcomes by arm do not look at."""
    return msgspec.structs.replace(
        found,
        exits=(),
        doses=(),
        safety=(),
        deviations=(),
        ladders=(),
        due=(),
        visits=tuple(msgspec.structs.replace(visit, evidence=()) for visit in found.visits),
    )


def renew(
    trial: Trial, workspace: Workspace, screening: Screening, judged: frozenset[str]
) -> MonitoringReport | None:
    """After a screening in which these people alone were judged anew: evaluate them, and keep what was said
    of the others; everybody is evaluated if that was of another day. None where nobody is followed yet."""
    before = read_monitoring(workspace)
    if before is None:
        return None
    day, rules = screening.as_of, trial.protocol
    enrolled = pipeline.enrolment_days(screening.facts, rules.id, day)
    others = {row.subject: row for row in before.rows if row.subject not in judged}
    if any(row.as_of != day for row in before.rows) or others.keys() != enrolled.keys() - judged:
        return monitor(trial, workspace, as_of=day)
    facts = screening.facts.by_subject() if judged & enrolled.keys() else {}
    ladders = load_ladders(trial.folder, trial.vocabulary, rules) if facts else ()
    rows = tuple(
        others.get(subject)
        or protocol.monitor(rules, facts[subject], as_of=day, zone=trial.site.zone, ladders=ladders)
        for subject in sorted(enrolled)
    )
    report = MonitoringReport(rows, results(rows, arms=tuple(arm.code for arm in rules.study.arms)))
    with _draft(workspace) as draft:
        wire.write_rows(draft / _ROWS, report.rows)
        (draft / _RESULTS).write_bytes(wire.encode(report.results))
    return report


def read_monitoring(workspace: Workspace) -> MonitoringReport | None:
    """What :func:`monitor` left, or None if it has not run."""
    folder = workspace.monitoring
    if not folder.exists():
        return None
    try:
        rows = tuple(wire.read_rows(folder / _ROWS, Monitoring))
        return MonitoringReport(rows, wire.decode((folder / _RESULTS).read_bytes(), ResultsTable))
    except (FileNotFoundError, msgspec.MsgspecError) as fault:
        raise ConfigError(
            "the monitoring here cannot be read", where=str(folder), fix="run adapter monitor again"
        ) from fault


async def write_back(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: Count = lambda done, of: None,
    transport: httpx.AsyncBaseTransport | None = None,
    own: httpx.AsyncBaseTransport | None = None,
) -> WriteReport:
    """The decisions of the screening and, if there is a monitoring, Flags about the people on the study.

    One report of both; nobody is in both, because the screening leaves out who is on the study.
    """
    told = await pipeline.write_back(
        trial, workspace, base_url, now=now, dry_run=dry_run, progress=progress, transport=transport, own=own
    )
    followed = read_monitoring(workspace)
    if followed is None or not followed.rows:
        return told
    flagged = await _write_flags(
        trial,
        workspace,
        followed,
        base_url,
        now=now,
        dry_run=dry_run,
        progress=progress,
        transport=transport,
        own=own,
    )
    return send.joined(told, flagged)


async def _write_flags(
    trial: Trial,
    workspace: Workspace,
    followed: MonitoringReport,
    base_url: str,
    *,
    now: datetime,
    dry_run: bool,
    progress: Count,
    transport: httpx.AsyncBaseTransport | None,
    own: httpx.AsyncBaseTransport | None,
) -> WriteReport:
    screening = pipeline.read_screening(workspace)
    token = token_source(trial, base_url) if transport is None else None
    with open_store(workspace, now) as database:
        return await send.write_flags(
            base_url,
            followed.rows,
            protocol_lines(trial),
            study=StudyReference(trial.protocol.id, trial.protocol.title),
            database=database,
            now=now,
            recorded=_statuses(screening, trial.protocol.id),
            token=token,
            dry_run=dry_run,
            progress=progress,
            aliases={old: one.id for one in screening.facts.subjects for old in one.merged},
            transport=transport or network(trial, base_url),
            ladder=pipeline.ladder_of(trial, workspace, own),
        )


def protocol_lines(trial: Trial) -> dict[str, ProtocolLine]:
    """Words, place and severity of every rule that may raise a Flag; an exit that names none is high."""
    plan = trial.protocol.plan
    lines = {rule.id: ProtocolLine(rule.text, rule.source, rule.severity or "medium") for rule in plan.safety}
    return lines | {
        rule.id: ProtocolLine(rule.text, rule.source, rule.severity or "high") for rule in plan.exits
    }


def _statuses(screening: Screening, study: str) -> dict[str, str]:
    """The status of the latest ResearchSubject of this study in the landed data, by subject."""
    latest: dict[str, tuple[object, str]] = {}
    for event in screening.facts.events:
        if (
            event.concept == "research_subject"
            and not event.excluded
            and study in event.attribute("study_identifier").split()
            and event.start is not None
        ):
            found = (event.start.first, event.status)
            latest[event.subject] = max(found, latest.get(event.subject, found), key=str)
    return {subject: status for subject, (_, status) in latest.items()}


@contextmanager
def _draft(workspace: Workspace) -> Iterator[Path]:
    """A folder that takes the place of the monitoring before if the block ends well, and else is gone."""
    draft = workspace.monitoring.with_name(f".monitoring.partial-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        shutil.rmtree(workspace.monitoring, ignore_errors=True)
        draft.rename(workspace.monitoring)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
