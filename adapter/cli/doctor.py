"""``adapter doctor``: one page of what works at a site and what to fix."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.cli.options import BaseUrlOption, JsonOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.doctor import Examination, examine
from adapter.model import wire
from adapter.trial import Workspace, open_trial

_COLOUR = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    site: SiteOption = "demo",
    base_url: BaseUrlOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try everything this site needs and say what works and what to fix. Writes nothing, shows no patient.

    TLS, clock, token and scopes; /metadata and every kind of search against what the protocol needs; codes
    and units of a small sample; bulk export; ways to write back; disk and database. Exit 1 if something must
    be fixed; warnings alone are 0. Line by line: docs/connecting-a-hospital.md.
    """
    trial = open_trial(protocol, site)
    found = asyncio.run(examine(trial, Workspace(workspace), base_url, now=lambda: datetime.now(UTC)))
    if as_json:
        print(wire.encode(found).decode())  # noqa: T201
    else:
        show(Terminal(), found)
    raise typer.Exit(0 if found.sound else 1)


def show(console: Console, examined: Examination) -> None:
    """One line a check: what was seen, and what to do."""
    console.print(f"{examined.site}: {examined.server}", style="bold", markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in examined.findings:
        told = Text(one.seen)
        if one.fix and one.state != "ok":
            told.append(f"\nfix: {one.fix}", style="italic")
        table.add_row(Text(one.state, style=_COLOUR[one.state]), one.check, told)
    console.print(table)
    ok, warn, fail = (examined.count(state) for state in ("ok", "warn", "fail"))
    console.print(f"{ok} ok, {warn} to look at, {fail} to fix")
