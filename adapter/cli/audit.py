"""``adapter audit``: show who did what, and prove that nobody changed it since."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adapter.cli.options import JsonOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.errors import ConfigError
from adapter.model import wire
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.chain import Link, Verdict
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database, reading
from adapter.trial import Workspace, checkpoint, open_store
from adapter.writeback.audit_event import audit_event
from adapter.writeback.resources import encode

app = typer.Typer(
    help="Who did what and when, in a chain of hashes that shows any later change.", no_args_is_help=True
)


@app.command()
def verify(
    workspace: WorkspaceOption = Path("workspace"),
    write: Annotated[
        bool, typer.Option("--checkpoint", help="If all is well, write a checkpoint of where it stands.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain from the first row and compare it with every checkpoint. Exit 1 if anything differs.

    The checkpoints (ADAPTER_AUDIT_CHECKPOINTS, else a file beside the workspace) show that rows at the end
    are gone or that history was written anew; rows after the last checkpoint are covered by the chain alone.
    """
    here = Workspace(workspace)
    checkpoints = CheckpointFile(here.checkpoints)
    engine = open_database(_existing(here))
    try:
        verdict = audit.verify(engine, checkpoints.read())
        if write and verdict.sound:
            checkpoint(engine, checkpoints, datetime.now(UTC))
    finally:
        engine.dispose()
    if as_json:
        print(wire.encode(verdict).decode())  # noqa: T201
    else:
        _tell(Terminal(), verdict, checkpoints.path)
    raise typer.Exit(0 if verdict.sound else 1)


@app.command()
def show(
    workspace: WorkspaceOption = Path("workspace"),
    since: Annotated[
        str, typer.Option("--since", help="From this day (YYYY-MM-DD, UTC) or time with zone on.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Print the rows, oldest first: number, time (UTC), who, what was done, to what, with which counts."""
    from_here = _time(since)
    engine = open_database(_existing(Workspace(workspace)))
    table = Table(box=None, pad_edge=False)
    for title in ("no", "time (UTC)", "actor", "action", "to", "detail"):
        table.add_column(title, overflow="fold")
    try:
        with reading(engine) as connection:
            for link in audit.links(connection):
                at = _when(link)
                if from_here is not None and at is not None and at < from_here:
                    continue
                if as_json:
                    print(wire.encode(link).decode())  # noqa: T201
                else:
                    shown = f"{at:%Y-%m-%d %H:%M:%S}" if at else str(link.at)
                    table.add_row(str(link.number), shown, *_cells(link))
    finally:
        engine.dispose()
    if not as_json:
        Terminal().print(table)


@app.command()
def export(
    out: Annotated[
        Path | None, typer.Option("--out", help="A new file, readable by you alone; printed unless given.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    since: Annotated[
        str, typer.Option("--since", help="From this day (YYYY-MM-DD, UTC) or time with zone on.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows, write nothing.")] = False,
) -> None:
    """Write the rows as FHIR R4 AuditEvents, one a line (NDJSON), oldest first, each with its hashes.

    They name patients by the hospital's own ids: a file for the hospital's audit repository, not for the
    sponsor. That it was made is itself a row.
    """
    from_here, now = _time(since), datetime.now(UTC)
    stream = _new_file(out) if out is not None and not dry_run else None
    _existing(Workspace(workspace))
    count, last = 0, 0
    with open_store(Workspace(workspace), now) as engine:
        with reading(engine) as connection, _sink(stream) as write:
            for link in audit.links(connection):
                at = _when(link)
                if from_here is not None and at is not None and at < from_here:
                    continue
                count, last = count + 1, link.number
                if not dry_run:
                    write(encode(audit_event(link)).decode() + "\n")
        if not dry_run:
            with engine.begin() as connection:
                told = {"rows": count, "last": last}
                audit.append(connection, Entry(now, audit.actor(), "audit-export", (), told))
    if dry_run or out is not None:
        Terminal(stderr=True).print(f"{count} rows{' would be written' if dry_run else f' in {out}'}")


@contextmanager
def _sink(stream: int | None) -> Iterator[Callable[[str], object]]:
    if stream is None:
        yield sys.stdout.write
        return
    with os.fdopen(stream, "w", encoding="utf-8") as file:
        yield file.write


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as fault:
        raise ConfigError(
            f"the file cannot be written ({fault.strerror})", where=str(path), fix="name a new one"
        ) from fault


def _existing(workspace: Workspace) -> Path | str:
    """A look must not make what it looks for."""
    database = workspace.database
    if isinstance(database, Path) and not database.exists():
        raise ConfigError(
            "there is no database here",
            where=str(database),
            fix="name the workspace with -w, or the database in ADAPTER_DATABASE_URL_FILE; if it was here "
            f"before, compare {workspace.checkpoints}",
        )
    return database


def _when(link: Link) -> datetime | None:
    """None for a time that was tampered with: the row is shown as it is, ``verify`` says what is wrong."""
    try:
        return datetime.fromisoformat(link.at).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _cells(link: Link) -> tuple[str, str, str, str]:
    actor, action, what, detail = (str(one) for one in (link.actor, link.action, link.what, link.detail))
    named = what.strip("[]").replace('"', "").replace(",", " ")
    short = named if len(named) < 60 else f"{named[:56]} ..."
    return actor, action, short, detail if len(detail) < 160 else f"{detail[:156]} ..."


def _tell(console: Console, verdict: Verdict, path: Path) -> None:
    console.print(f"{verdict.rows} rows, {verdict.checkpoints} checkpoints in {path}", soft_wrap=True)
    if verdict.sound:
        console.print(f"sound: row {verdict.number} has hash {verdict.hash}", soft_wrap=True)
        after = verdict.number - verdict.checkpointed
        if after:
            console.print(f"{after} rows after the last checkpoint: their removal would not show")
        return
    for flaw in verdict.flaws[:20]:
        console.print(f"row {flaw.number}  {flaw.kind}: {flaw.text}", soft_wrap=True)
    if len(verdict.flaws) > 20:
        console.print(f"... and {len(verdict.flaws) - 20} more (--json shows all)")
    first = verdict.flaws[0].number
    console.print(
        f"NOT SOUND from row {first} on: keep database and checkpoints as they are, and ask who wrote"
    )


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as fault:
        raise ConfigError(f"{text!r} is no time", where="--since", fix="write YYYY-MM-DD") from fault
    return found if found.tzinfo else found.replace(tzinfo=UTC)
