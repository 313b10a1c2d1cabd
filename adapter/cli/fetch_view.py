"""What ``adapter fetch`` shows: the progress of an export, and what is landed and complete."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from adapter import fetching
from adapter.model import wire
from adapter.source.bulk_status import Step
from adapter.source.landing import Landing
from adapter.trial import Trial, Workspace


class Wanted(NamedTuple):
    """The options of ``adapter fetch --bulk``; ``wait`` is in seconds."""

    base_url: str
    group: str
    since: str
    wait: float | None


class Landed(msgspec.Struct, frozen=True):
    """``adapter fetch --json``; ``files`` of ``how`` "rest" are one a type."""

    how: str
    why_not_bulk: str
    resources: int
    files: int
    issues: int
    transaction_time: str
    complete: tuple[str, ...]
    incomplete: tuple[str, ...]


def export(
    progress: Console, trial: Trial, workspace: Workspace, wanted: Wanted, *, now: datetime
) -> fetching.Fetched:
    """Run the export with a progress bar on standard error, remarks above it."""
    with Progress(console=progress, transient=True) as bar:
        task = bar.add_task("export", total=None)
        said = ""

        def told(step: Step) -> None:
            nonlocal said
            bar.update(task, description=step.phase, completed=step.done, total=step.of or None)
            if step.text and step.text != said:
                said = step.text
                bar.console.print(f"{step.phase}: {escape(step.text)}")

        return asyncio.run(
            fetching.export(
                trial,
                workspace,
                wanted.base_url,
                now=now,
                group=wanted.group,
                since=wanted.since,
                wait=wanted.wait,
                told=told,
            )
        )


def landed(console: Console, landing: Landing, *, why_not_bulk: str = "", as_json: bool) -> None:
    """How much is landed, and where silence is not absence."""
    partial = sorted({row.resource_type for row in landing.coverage if not row.complete})
    if as_json:
        account = Landed(
            landing.manifest.asked.get("kind", ""),
            why_not_bulk,
            landing.lines,
            len(landing.manifest.files),
            len(landing.issues),
            landing.manifest.asked.get("transaction_time", ""),
            tuple(sorted({row.resource_type for row in landing.coverage} - set(partial))),
            tuple(partial),
        )
        print(wire.encode(account).decode())  # noqa: T201
        return
    console.print(f"{landing.lines} resources landed, {len(landing.issues)} issues")
    if partial:
        console.print("not complete, so silence is not absence: " + ", ".join(partial))
