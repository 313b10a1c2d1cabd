"""``adapter run``: a round of everything that comes back, once or every so often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from adapter import logs, pipeline, routine
from adapter.cli.options import BaseUrlOption, JsonLinesOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.outbox import own_endpoint
from adapter.cli.patience import Patience
from adapter.cli.terminal import Terminal
from adapter.model import wire
from adapter.pipeline import Workspace
from adapter.routine import Round
from adapter.trial import Standing

console = Terminal()


def run(
    base_url: BaseUrlOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    every: Annotated[
        float, typer.Option(min=0, help="Hours between the starts of rounds; 0: one round, as from cron.")
    ] = 0,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Whether the hospital is told.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and judge; write nothing to the hospital, send no mail.")
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Read what changed, screen, follow those on the study, tell the hospital, and mail a digest of counts.

    A step that fails for now is tried again in the next round; without fresh records nobody is judged anew.
    One round ends with the exit code of the first step that failed. Ends after the round it is at when told
    to (SIGTERM, Ctrl-C). See docs/operations.md.
    """
    standing = Standing(pipeline.open_trial(protocol, site))
    here = Workspace(workspace)
    if every:
        logs.configure()
    patience = Patience()
    while True:
        began, trial = datetime.now(UTC), standing.trial()
        done = asyncio.run(
            routine.go_round(
                trial,
                here,
                base_url or trial.site.base_url,
                clock=lambda: datetime.now(UTC),
                write=write,
                dry_run=dry_run,
                own=own_endpoint(trial, here),
            )
        )
        _show(done, as_json)
        if not every:
            raise typer.Exit(done.exit_code)
        for one in done.steps:
            logs.log().info("round", step=one.name, state=one.state, fault=one.fault)
        if patience.ended(max(0.0, every * 3600 - (datetime.now(UTC) - began).total_seconds())):
            return


def _show(done: Round, as_json: bool) -> None:
    if as_json:
        print(wire.encode(done).decode(), flush=True)  # noqa: T201
        return
    for one in done.steps:
        console.print(f"{one.name:8} {one.state:6} {one.seconds:6.1f} s  {one.fault}", highlight=False)
    news = done.news
    moved = ", ".join(f"{count} newly {name}" for name, count in news.moved.items()) or "no verdict changed"
    console.print(
        f"{moved}; {news.alerts} new safety lines, {news.overdue} people with something overdue, "
        f"{news.waiting} write-backs wait for approval",
        highlight=False,
    )
