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
from adapter.store.inbox import Inbox
from adapter.trial import Standing, open_store

AGAIN = 10.0  # seconds before a hospital that could not be read is asked again
console = Terminal()
progress = Terminal(stderr=True)


def follow(
    base_url: LandedFromOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between looks into the inbox.")] = 0.1,
    sweep: Annotated[float, typer.Option(min=0.01, help="Hours after which all is looked at anyway.")] = 24,
    once: Annotated[bool, typer.Option("--once", help="Answer what waits and end, as from cron.")] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Answer the hospital's subscriptions: read what changed, screen again whom it touches.

    Messages arrive at adapter serve --site and wait in the database; needs a landing made over REST (adapter
    fetch). What a message names is read and judged alone, within a second; whatever else came takes a look at
    everything. Ends after the look it is at when told to (SIGTERM, Ctrl-C). See docs/subscriptions.md.
    """
    standing, here = Standing(pipeline.open_trial(protocol, site)), Workspace(workspace)
    patience, pause, between = Patience(), timedelta(hours=sweep), following.Between()
    with open_store(here, datetime.now(UTC)) as engine:
        inbox = Inbox(engine)
        while True:
            done, wait = None, every
            try:
                if following.waits(standing.held, inbox, datetime.now(UTC), pause):
                    trial = standing.trial()
                    server = base_url or trial.site.base_url
                    looking = following.answer(
                        trial, here, server, now=datetime.now(UTC), sweep_every=pause, between=between
                    )
                    done = asyncio.run(looking)
            except Retriable as fault:
                if once:
                    raise
                progress.print(f"{fault.message}; what was told waits, and is tried again")
                wait = max(every, AGAIN)
            if done is not None:
                _show(done, as_json)
            if once or patience.ended(wait):
                return


def _show(done: Answer, as_json: bool) -> None:
    if as_json:
        print(wire.encode(done).decode(), flush=True)  # noqa: T201
        return
    changed = ", ".join(f"{times} {kind}" for kind, times in done.sync.changes.items()) or "nothing changed"
    anew, how = done.judged - done.unchanged, "directly" if done.direct else "by a look at everything"
    console.print(f"{done.messages} messages: {changed}; {done.judged} people, {anew} judged anew {how}")
