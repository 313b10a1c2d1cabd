"""``adapter sponsor``: who may pull snapshots from ``adapter serve``, of which study, site and profile."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from adapter.cli.options import DryRunOption, JsonOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.errors import AdapterError, ConfigError
from adapter.exports.profile import Profile
from adapter.model import wire
from adapter.store import audit
from adapter.store.sponsor_tokens import Scope, SponsorTokens, Token
from adapter.trial import Workspace, open_store, open_trial

app = typer.Typer(
    help="Tokens by which sponsors pull snapshots; each opens one study, site and profile, until a day.",
    no_args_is_help=True,
)
_MOST_DAYS = 366


@app.command()
def grant(
    name: Annotated[
        str, typer.Argument(help="Who pulls, as the audit will say it: statistics@sponsor.example.")
    ],
    workspace: WorkspaceOption = Path("workspace"),
    site: SiteOption = "demo",
    protocol: ProtocolOption = None,
    profile: Annotated[
        Profile, typer.Option("--profile", help="Which datasets: sponsor (true dates) or research (moved).")
    ] = "sponsor",
    days: Annotated[int, typer.Option("--days", min=1, max=_MOST_DAYS, help="How long it is valid.")] = 90,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A new file to write it to, readable by you alone; shown unless given."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a token. It is shown this once and kept as a hash: who loses it gets another one.

    Give it to the sponsor by a safe way, not by e-mail. Their program sends it in the header
    "Authorization: Bearer ..."; `adapter pull` reads it from a file. See docs/sponsor-pull.md.
    """
    trial, now, by = open_trial(protocol, site), datetime.now(UTC), audit.actor()
    scope = Scope(trial.protocol.id, trial.site.site_id.upper(), profile)
    ends = now + timedelta(days=days)
    if out is not None and out.exists():
        raise ConfigError("this file is there already", where=str(out), fix="name a new one")
    with open_store(Workspace(workspace), now) as database:
        tokens = SponsorTokens(database)
        if dry_run:
            tokens.would_grant(name, scope, ends, now=now, by=by)
            _tell(
                _plain(Token("", name, scope, now, by, ends), now), as_json, "would be granted; nothing was"
            )
            return
        stream = None if out is None else _new_file(out)
        try:
            made, text = tokens.grant(name, scope, ends, now=now, by=by)
        except AdapterError:
            if out is not None:
                out.unlink()
            raise
        told = _plain(made, now)
        if stream is None:
            told["token"] = text
        else:
            with os.fdopen(stream, "w") as file:
                file.write(f"{text}\n")
            told["file"] = str(out)
    _tell(told, as_json, "granted; it is not shown again")


@app.command("list")
def listed(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Show all tokens ever granted, without their secrets: whose, for what, until when, what came last."""
    now = datetime.now(UTC)
    with open_store(Workspace(workspace), now) as database:
        tokens = SponsorTokens(database)
        found = [_plain(one, now, tokens) for one in tokens.listed()]
    if as_json:
        print(wire.encode(found).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    columns = ("id", "name", "study", "site", "profile", "expires_at", "state", "last_pull")
    for title in columns:
        table.add_column(title.replace("_", " "), overflow="fold")
    for one in found:
        table.add_row(*(str(one.get(title) or "") for title in columns))
    Terminal().print(table)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of a token, as `adapter sponsor list` shows it.")],
    workspace: WorkspaceOption = Path("workspace"),
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """End a token now: the next request with it is refused. What was pulled is with the sponsor."""
    now = datetime.now(UTC)
    with open_store(Workspace(workspace), now) as database:
        tokens = SponsorTokens(database)
        if dry_run:
            found, said = tokens.named(name, now), "would be revoked; nothing was"
        else:
            found, said = tokens.revoke(name, now=now, by=audit.actor()), "revoked"
    _tell(_plain(found, now), as_json, said)


def _new_file(path: Path) -> int:
    """Opened before the token exists: a token that cannot be written down would be lost."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as fault:
        raise ConfigError(
            f"the token cannot be written ({fault.strerror})", where=str(path), fix="name another file"
        ) from fault


def _plain(token: Token, now: datetime, tokens: SponsorTokens | None = None) -> dict[str, Any]:
    last = tokens.last_receipt(token) if tokens else None
    return {
        "id": token.id,
        "name": token.name,
        "study": token.scope.study,
        "site": token.scope.site,
        "profile": token.scope.profile,
        "granted_by": token.granted_by,
        "granted_at": token.granted_at.isoformat(timespec="seconds"),
        "expires_at": token.expires_at.isoformat(timespec="seconds"),
        "state": token.state(now),
        **({"last_pull": last.snapshot if last else None} if tokens else {}),
    }


def _tell(told: dict[str, Any], as_json: bool, said: str) -> None:
    if as_json:
        print(wire.encode(told).decode())  # noqa: T201
        return
    console = Terminal()
    for name, value in told.items():
        if value != "":
            console.print(f"{name.replace('_', ' ')}: {value}", soft_wrap=True, markup=False, highlight=False)
    console.print(said)
