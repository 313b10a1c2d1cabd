"""``adapter follow``: stay with a hospital, and say what each look brought."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from adapter import following, pipeline
from adapter.cli.options import JsonLinesOption, LandedFromOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.patience import Patience
from adapter.cli.terminal import Terminal
from adapter.errors import Retriable
from adapter.following import Answer
from adapter.model import wire
from adapter.pipeline import Workspace

console = Terminal()
progress = Terminal(stderr=True)


def follow(
    base_url: LandedFromOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    every: Annotated[float, typer.Option(min=1, help="Seconds between looks into the inbox.")] = 10,
    sweep: Annotated[float, typer.Option(min=0.01, help="Hours after which all is looked at anyway.")] = 24,
    once: Annotated[bool, typer.Option("--once", help="Answer what waits and end, as from cron.")] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Answer the hospital's subscriptions: read what changed, screen again whom it touches.

    Messages arrive at adapter serve --site and wait in the database; needs a landing made over REST (adapter
    fetch). Ends after the look it is at when told to (SIGTERM, Ctrl-C). See docs/subscriptions.md.
    """
    trial = pipeline.open_trial(protocol, site)
    server = base_url or trial.site.base_url
    patience = Patience()
    while True:
        try:
            done = asyncio.run(
                following.answer(
                    trial,
                    Workspace(workspace),
                    server,
                    now=datetime.now(UTC),
                    sweep_every=timedelta(hours=sweep),
                )
            )
        except Retriable as fault:
            if once:
                raise
            progress.print(f"{fault.message}; what was told waits, and is tried again")
            done = None
        if done is not None:
            _show(done, as_json)
        if once or patience.ended(every):
            return


def _show(done: Answer, as_json: bool) -> None:
    if as_json:
        print(wire.encode(done).decode(), flush=True)  # noqa: T201
        return
    changed = ", ".join(f"{times} {kind}" for kind, times in done.sync.changes.items()) or "nothing changed"
    anew = done.judged - done.unchanged
    console.print(f"{done.messages} messages: {changed}; {done.judged} people, {anew} judged anew")
