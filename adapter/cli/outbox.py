"""``adapter outbox``: what is to be written into a hospital's system, and a person's leave for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer
from rich.table import Table
from sqlalchemy import Engine

from adapter.cli.options import DryRunOption, JsonOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.errors import ConfigError
from adapter.model import wire
from adapter.store import audit
from adapter.store.database import open_database
from adapter.store.outbox import Leave, Outbox, OutboxRow
from adapter.store.outbox_state import STATES
from adapter.trial import Trial, Workspace, open_store
from adapter.writeback.settle import settle as settled

app = typer.Typer(
    help="What is to be written, how far it came, and a person's leave for it. See docs/write-back.md.",
    no_args_is_help=True,
)
_Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers from adapter outbox list.")]
_ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]
_ByOption = Annotated[
    str, typer.Option("--by", help="Who decides; ADAPTER_ACTOR or the user of this machine unless given.")
]
_AllOption = Annotated[bool, typer.Option("--all", help="Every row that waits for a decision.")]


@app.command("list")
def listed(
    state: Annotated[str, typer.Option("--state", help=f"One of {', '.join(STATES)}.")] = "",
    subject: Annotated[str, typer.Option("--subject", help="Patient.id of one person.")] = "",
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """One line a row, oldest first: number, state, person, verdict, proposed status, rung, reason."""
    if state and state not in STATES:
        raise ConfigError(f"no state {state!r}", where="--state", fix=f"one of {', '.join(STATES)}")
    with _opened(workspace) as engine:
        rows = Outbox(engine).rows((state,) if state else (), subject)
    if as_json:
        for row in rows:
            print(wire.encode(msgspec.structs.replace(row, body=b"")).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    for title in ("no", "state", "person", "what", "verdict", "proposed", "rung", "reason"):
        table.add_column(title, overflow="fold")
    for row in rows:
        said = (row.state, row.subject, row.purpose, row.verdict, row.proposed, row.rung, row.reason)
        table.add_row(str(row.number), *said)
    Terminal().print(table if rows else "the outbox is empty")


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="A number from adapter outbox list.")],
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Print one row as JSON: the very resources that would be sent, and who said what to them."""
    with _opened(workspace) as engine:
        outbox = Outbox(engine)
        row, words = outbox.row(number), outbox.approvals(number)
    facts = {key: value for key, value in msgspec.to_builtins(row).items() if key != "body"}
    told = {**facts, "approvals": words, "content": msgspec.Raw(row.body)}
    print(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())  # noqa: T201


@app.command()
def approve(
    numbers: _Numbers = None,
    every: _AllOption = False,
    reason: _ReasonOption = "",
    by: _ByOption = "",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Allow exactly this content to be sent by the next adapter writeback. Other content asks again."""
    _decide("approved", numbers or [], every, reason, by, workspace)


@app.command()
def reject(
    numbers: _Numbers = None,
    every: _AllOption = False,
    reason: _ReasonOption = "",
    by: _ByOption = "",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Say no to exactly this content. It is not sent, and not asked again until there is news."""
    _decide("rejected", numbers or [], every, reason, by, workspace)


@app.command()
def settle(
    number: Annotated[int, typer.Argument(help="A number from adapter outbox list --state unknown.")],
    there: Annotated[
        str, typer.Option("--there", help="It arrived, and lies there as this reference (Communication/17).")
    ] = "",
    absent: Annotated[bool, typer.Option("--absent", help="It never arrived; it is sent again.")] = False,
    reason: _ReasonOption = "",
    by: _ByOption = "",
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Say what became of a write whose answer was lost, where the server lets only people look.

    Nothing more is sent about that person on that rung until someone does. Kept in the audit with the reason.
    """
    if not reason.strip():
        raise ConfigError("a decision needs a reason", where="--reason", fix='add --reason "..."')
    if bool(there) == absent:
        raise ConfigError("is it there or not?", where="outbox settle", fix="--there REFERENCE or --absent")
    now, who = datetime.now(UTC), by.strip() or audit.actor()
    with _opened(workspace) as engine:
        row = settled(engine, number, there=there, who=who, reason=reason.strip(), now=now, dry_run=dry_run)
    said = (
        f"row {number} would be {'done' if there else 'superseded'}"
        if dry_run
        else f"row {number} is {row.state}"
    )
    Terminal().print(f"{said}, says {who}", highlight=False)


def own_endpoint(trial: Trial, workspace: Workspace) -> httpx.AsyncBaseTransport | None:
    """The way into our own FHIR endpoint, where the site names that rung."""
    if "own" not in trial.site.rungs:
        return None
    from adapter.web.app import own_endpoint as endpoint

    return httpx.ASGITransport(endpoint(open_database(workspace.database)))


def _decide(verdict: Leave, numbers: list[int], every: bool, reason: str, by: str, workspace: Path) -> None:
    if not reason.strip():
        raise ConfigError("a decision needs a reason", where="--reason", fix='add --reason "..."')
    if bool(numbers) == every:
        raise ConfigError("which rows?", where="outbox", fix="name numbers, or --all and no number")
    now, who = datetime.now(UTC), by.strip() or audit.actor()
    with _opened(workspace) as engine:
        outbox = Outbox(engine)
        chosen: list[int] = numbers or [row.number for row in outbox.rows(("planned",))]
        done: list[OutboxRow] = [outbox.decide(one, verdict, who, reason.strip(), now) for one in chosen]
    Terminal().print(f"{len(done)} {verdict} by {who}", highlight=False)


@contextmanager
def _opened(workspace: Path) -> Iterator[Engine]:
    here = Workspace(workspace)
    if isinstance(here.database, Path) and not here.database.exists():
        raise ConfigError(
            "there is no database here", where=str(here.database), fix="name the workspace with -w"
        )
    with open_store(here, datetime.now(UTC)) as engine:
        yield engine
