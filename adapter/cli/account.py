"""``adapter account``: who may sign in to ``adapter serve`` here, in which role, study and site."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from adapter.access import Grant
from adapter.access.passwords import check_password, hash_password
from adapter.cli.options import DryRunOption, JsonOption, ProtocolOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.config import load_site, product_folder
from adapter.errors import ConfigError
from adapter.model import wire
from adapter.store import audit
from adapter.store.accounts import Account, Accounts, check, new_token
from adapter.store.attempts import Attempts
from adapter.trial import Workspace, open_store, open_trial

app = typer.Typer(
    help="People who sign in with a password, and services with a token: roles per study and site.",
    no_args_is_help=True,
)
_NameArgument = Annotated[str, typer.Argument(help="The account, 2 to 64 of a-z 0-9 . _ -, such as li.wei")]
_RoleOption = Annotated[
    list[str],
    typer.Option(
        "--role", help="coordinator, investigator, sponsor, monitor, admin or service; may be repeated."
    ),
]
_SiteOption = Annotated[
    str, typer.Option("--site", help="A folder name under mappings/sites/; * for any where the role may.")
]
_UntilOption = Annotated[
    str,
    typer.Option(
        "--until", help="Last day (YYYY-MM-DD, UTC). A monitor sees names of patients only with one."
    ),
]
_PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="The password's first line; asked for unless given.")
]
_TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="A service's token goes to this new file; else shown once."),
]


@app.command()
def add(
    name: _NameArgument,
    role: _RoleOption,
    shown_as: Annotated[
        str, typer.Option("--name", help="Printed name, as on signatures; the account's unless given.")
    ] = "",
    workspace: WorkspaceOption = Path("workspace"),
    site: _SiteOption = "demo",
    protocol: ProtocolOption = None,
    until: _UntilOption = "",
    password_file: _PasswordOption = None,
    token_file: _TokenOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add an account. A person's password is asked for, a service's token made here; both are kept as hashes.

    One account may have several roles; further studies and sites come with adapter account grant. What each
    role may do: docs/sign-in-and-roles.md.
    """
    now, by = datetime.now(UTC), audit.actor()
    grants = _grants(role, protocol, site, until)
    planned = Account(name, shown_as.strip() or name, now, now, None, grants)
    check(planned)
    if dry_run:
        _tell(_plain(planned), as_json, "would be added; nothing was")
        return
    token, secret = _secret(planned, password_file)
    with open_store(Workspace(workspace), now) as database:
        stream = _new_file(token_file) if token and token_file else None
        try:
            made = Accounts(database).add(name, shown_as, secret, grants, now=now, by=by)
        except ConfigError:
            if token_file is not None and stream is not None:
                token_file.unlink()
            raise
    _tell(_plain(made) | _handed(token, token_file, stream), as_json, "added")


@app.command()
def grant(
    name: _NameArgument,
    role: _RoleOption,
    workspace: WorkspaceOption = Path("workspace"),
    site: _SiteOption = "demo",
    protocol: ProtocolOption = None,
    until: _UntilOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give an account exactly these roles for a study at a site; what it has elsewhere stays.

    It is signed out everywhere, and signs in again with what it may do now.
    """
    now = datetime.now(UTC)
    new = _grants(role, protocol, site, until)
    here = {(one.study, one.site) for one in new}
    with open_store(Workspace(workspace), now) as database:
        accounts = Accounts(database)
        stay = [one for one in accounts.named(name).grants if (one.study, one.site) not in here]
        if dry_run:
            found, said = accounts.named(name), "would have other grants; nothing was changed"
        else:
            found = accounts.grant(name, [*stay, *new], now=now, by=audit.actor())
            said = "granted"
    _tell(_plain(found), as_json, said)


@app.command("list")
def listed(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Show all accounts: name, roles with study, site and end, and whether they are disabled."""
    with open_store(Workspace(workspace), datetime.now(UTC)) as database:
        found = [_plain(one) for one in Accounts(database).listed()]
    if as_json:
        print(wire.encode(found).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    for title in ("account", "name", "grants", "state"):
        table.add_column(title, overflow="fold")
    for one in found:
        table.add_row(one["account"], one["name"], "\n".join(one["grants"]), one["state"])
    Terminal().print(table)


@app.command()
def password(
    name: _NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    password_file: _PasswordOption = None,
    token_file: _TokenOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set another password (for a service: make another token). The account is signed out everywhere, and a
    wait after failed attempts ends."""
    now = datetime.now(UTC)
    with open_store(Workspace(workspace), now) as database:
        accounts = Accounts(database)
        found = accounts.named(name)
        if dry_run:
            _tell(_plain(found), as_json, "would get another secret; nothing was changed")
            return
        token, secret = _secret(found, password_file)
        stream = _new_file(token_file) if token and token_file else None
        accounts.set_secret(name, secret, now=now, by=audit.actor())
        Attempts(database).forget("account", name)
    _tell(_plain(found) | _handed(token, token_file, stream), as_json, "changed")


@app.command()
def disable(
    name: _NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let nobody in by this account any more, at once. What it did stays under its name."""
    _switch(name, workspace, dry_run, as_json, on=False)


@app.command()
def enable(
    name: _NameArgument,
    workspace: WorkspaceOption = Path("workspace"),
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a disabled account sign in again."""
    _switch(name, workspace, dry_run, as_json, on=True)


def _switch(name: str, workspace: Path, dry_run: bool, as_json: bool, *, on: bool) -> None:
    now, word = datetime.now(UTC), "enabled" if on else "disabled"
    with open_store(Workspace(workspace), now) as database:
        accounts = Accounts(database)
        accounts.named(name)
        if not dry_run:
            (accounts.enable if on else accounts.disable)(name, now=now, by=audit.actor())
        found = accounts.named(name)
    _tell(_plain(found), as_json, f"would be {word}; nothing was changed" if dry_run else word)


def _grants(roles: list[str], protocol: Path | None, site: str, until: str) -> tuple[Grant, ...]:
    study = open_trial(protocol, "").protocol.id
    if site != "*":
        site = load_site(product_folder("mappings"), site).site_id
    try:
        last = date.fromisoformat(until) if until else None
    except ValueError as fault:
        raise ConfigError(f"{until!r} is no day", where="--until", fix="write YYYY-MM-DD") from fault
    after = None if last is None else datetime.combine(last, time(tzinfo=UTC)) + timedelta(days=1)
    end = "" if after is None else after.isoformat()
    return tuple(Grant(one, study, site, end) for one in sorted(set(roles)))


def _secret(account: Account, password_file: Path | None) -> tuple[str, str]:
    """A service's token ("" for a person), and what is kept."""
    if account.is_service:
        return new_token(account.name)
    if password_file is not None:
        try:
            given = password_file.read_text(encoding="utf-8").partition("\n")[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(
                "the password cannot be read", where=str(password_file), fix="a text file of yours alone"
            ) from fault
    elif sys.stdin.isatty():
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise ConfigError(
            "nobody is here to type a password", where="--password-file", fix="name a file, not the password"
        )
    check_password(given, account.name, account.shown_as)
    return "", hash_password(given)


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as fault:
        raise ConfigError(
            f"the token cannot be written ({fault.strerror})", where=str(path), fix="name a new file"
        ) from fault


def _handed(token: str, path: Path | None, stream: int | None) -> dict[str, Any]:
    if not token:
        return {}
    if stream is None:
        return {"token": token}
    with os.fdopen(stream, "w") as file:
        file.write(f"{token}\n")
    return {"token_file": str(path)}


def _plain(account: Account) -> dict[str, Any]:
    return {
        "account": account.name,
        "name": account.shown_as,
        "grants": [
            f"{one.role} {one.study} {one.site}{f' until {one.until}' if one.until else ''}"
            for one in account.grants
        ],
        "state": "disabled" if account.disabled_at is not None else "enabled",
    }


def _tell(told: dict[str, Any], as_json: bool, said: str) -> None:
    if as_json:
        print(wire.encode(told).decode())  # noqa: T201
        return
    console = Terminal()
    console.print(f"{told['account']} ({told['name']}): {said}", soft_wrap=True)
    for one in told["grants"]:
        console.print(f"  {one}", soft_wrap=True)
    if "token" in told:
        console.print("  shown this once; send it as Authorization: Bearer", soft_wrap=True)
        print(told["token"])  # noqa: T201
    if "token_file" in told:
        console.print(f"  its token is in {told['token_file']}", soft_wrap=True)
