"""Telling the hospital: the decisions of a screening, and Flags about the people on the study."""

from __future__ import annotations

from datetime import datetime

import httpx

from adapter import pipeline
from adapter.monitoring.kept import MonitoringReport, read_monitoring
from adapter.pipeline import Count, Screening
from adapter.trial import Trial, Workspace, network, open_store, token_source
from adapter.writeback import send
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.research_study import StudyReference
from adapter.writeback.send import WriteReport


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
