"""``adapter sync`` and ``adapter coverage``: bring a landing up to date, and show what it covers."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from adapter import certificate, fetching, pipeline
from adapter.cli import fetch_view, trail
from adapter.cli.options import JsonOption, LandedFromOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.model import wire
from adapter.pipeline import Workspace
from adapter.source.landing import open_landing

console = Terminal()
progress = Terminal(stderr=True)


def sync(
    base_url: LandedFromOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    full: Annotated[
        bool, typer.Option("--full", help="Read everything anew; what comes stands, even if older.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring landed data up to date: corrections, deletions, merges, who is new and who is gone.

    What was searched for is asked for by _lastUpdated where the server honours it and in full where it does
    not; an export is asked for what changed since the last one. Former bytes stay in landing/history. If it
    is interrupted, the landing is as it was. See docs/sync-and-coverage.md.
    """
    trial = pipeline.open_trial(protocol, site)
    where, server = Workspace(workspace), base_url or trial.site.base_url
    now = datetime.now(trial.site.zone)
    if open_landing(where.landing).manifest.asked.get("kind") == "bulk":
        group = open_landing(where.landing).manifest.asked.get("group", "")
        since = "" if full else "last"
        fetched = asyncio.run(fetching.export(trial, where, server, now=now, group=group, since=since))
        trail.fetched(where, fetched.landing, server, now)
        certificate.keep(certificate.certificate_of(trial, fetched.landing), where.landing)
        fetch_view.landed(console, fetched.landing, why_not_bulk=fetched.why_not_bulk, as_json=as_json)
        return
    with Progress(console=progress, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        landing, report = asyncio.run(
            pipeline.sync(
                trial,
                where,
                server,
                now=now,
                full=full,
                progress=lambda done, of: bar.update(task, completed=done, total=of),
            )
        )
    trail.fetched(where, landing, server, now)
    certificate.keep(certificate.certificate_of(trial, landing), where.landing)
    if as_json:
        print(wire.encode(report).decode())  # noqa: T201
        return
    told = ", ".join(f"{times} {kind}" for kind, times in report.changes.items()) or "nothing changed"
    console.print(f"generation {report.generation}: {told}")
    console.print(
        f"{report.candidates} candidates: {report.new_candidates} new, {report.former_candidates} no longer"
    )
    how = report.full or f"{report.charts_by_change} by change, {report.charts_in_full} in full"
    console.print(f"{report.requests} requests; charts read: {how}")


def coverage(
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    lang: Annotated[certificate.Language, typer.Option("--lang", help="Language of the page.")] = "en",
    as_json: JsonOption = False,
) -> None:
    """Show what was asked of the hospital, what came and what did not, and which silence means absence.

    The certificate of what is landed now, for one protocol; also left as landing/coverage-certificate.json
    and .md. Every screening keeps a copy of its own, whose hash is among its versions.
    """
    trial = pipeline.open_trial(protocol, site)
    landing = open_landing(Workspace(workspace).landing)
    drawn = certificate.certificate_of(trial, landing)
    certificate.keep(drawn, landing.folder)
    text = certificate.written(drawn).decode() if as_json else certificate.page(drawn, lang)
    print(text, end="")  # noqa: T201
