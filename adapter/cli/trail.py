"""What the audit says of each command: counts, versions and hashes, by whoever is at work."""

from __future__ import annotations

from datetime import datetime

from adapter.monitoring import MonitoringReport
from adapter.pipeline import Exported, Screening, Trial, Workspace
from adapter.source.landing import Landing
from adapter.trial import landing_sha256, note


def fetched(workspace: Workspace, landing: Landing, source: str, now: datetime) -> None:
    note(
        workspace,
        "fetch",
        now,
        source=source,
        landing_sha256=landing_sha256(landing),
        resources=landing.lines,
        issues=len(landing.issues),
        partial=sorted({row.resource_type for row in landing.coverage if not row.complete}),
    )


def screened(workspace: Workspace, done: Screening, now: datetime) -> None:
    note(
        workspace,
        "screen",
        now,
        as_of=done.as_of,
        versions=done.versions,
        decisions=done.outcomes,
    )


def monitored(
    workspace: Workspace, report: MonitoringReport, trial: Trial, as_of: str, now: datetime
) -> None:
    protocol = f"{trial.protocol.id} {trial.protocol.version}"
    note(workspace, "monitor", now, as_of=as_of, protocol=protocol, people=report.people)


def exporting(workspace: Workspace, trial: Trial, now: datetime) -> None:
    """Before anything is written: an export that dies half way is on record too."""
    note(workspace, "export", now, (trial.protocol.id,), phase="begun")


def exported(workspace: Workspace, trial: Trial, done: Exported, now: datetime) -> None:
    packages = {
        name: {"manifest_sha256": one.manifest_sha256, "rows": one.rows, "subjects": len(one.subjects)}
        for name, one in (("sdtm", done.sdtm), ("adam", done.adam))
    }
    note(workspace, "export", now, (trial.protocol.id,), phase="done", packages=packages)
