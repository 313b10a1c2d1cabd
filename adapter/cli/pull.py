"""``adapter pull``: a site's snapshot to a folder of the sponsor's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adapter.cli.options import JsonOption
from adapter.cli.terminal import Terminal
from adapter.client import Listed, Planned, SponsorClient
from adapter.errors import ConfigError
from adapter.model import wire

console = Terminal()


def pull(
    url: Annotated[str, typer.Argument(help="The site's address: https://adapter.hospital.example/sponsor.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder to fill; an older pull there is replaced whole.")
    ] = None,
    snapshot: Annotated[str, typer.Option("--snapshot", help="Id of a snapshot.")] = "latest",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="A file with the token; else ADAPTER_SPONSOR_TOKEN_FILE or ADAPTER_SPONSOR_TOKEN.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="Certificate authorities (PEM) of the site's own.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Show the snapshots there are.")] = False,
    difference: Annotated[
        bool, typer.Option("--difference", help="Show what changed since your last pull, as JSON.")
    ] = False,
    since: Annotated[
        str, typer.Option("--since", help="With --difference: since this snapshot, whatever you pulled.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fetched, change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Pull a snapshot from a site: every file is held against the manifest, and the folder changes at once.

    Interrupted, the same command goes on where it stopped. Exit 77: the site refuses, and says why; 75: it
    does not answer now, run it again; 76: what came is not what was promised. See docs/sponsor-pull.md.
    """
    client = SponsorClient(url, token_file=token_file, ca_file=ca_file)
    if list_only:
        _show_list(client.snapshots(), as_json)
        return
    if difference:
        print(wire.encode(client.difference(snapshot, since)).decode())  # noqa: T201
        return
    if to is None:
        raise ConfigError("where to?", where="--to", fix="name a folder: --to data/site-demo")
    if dry_run:
        _show_plan(client.plan(to, snapshot), as_json)
        return
    with _bar() as bar:
        task = bar.add_task("pulling", total=None)
        done = client.pull(
            to, snapshot, lambda here, of, file: bar.update(task, completed=here, total=of, description=file)
        )
    if as_json:
        print(wire.encode({**msgspec.structs.asdict(done), "folder": str(done.folder)}).decode())  # noqa: T201
        return
    what = "is there already, whole" if done.current else f"{done.came} bytes came"
    console.print(f"{done.snapshot}: {done.files} files, {what}; {done.folder}", soft_wrap=True, markup=False)
    if not done.acknowledged:
        console.print("the site could not be told; the next difference may start from an older pull")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Terminal(stderr=True), transient=True)


def _show_list(found: tuple[Listed, ...], as_json: bool) -> None:
    if as_json:
        print(wire.encode(found).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    for title in ("id", "time", "profile", "datasets", "rows", "files", "bytes"):
        table.add_column(title, no_wrap=title == "id")
    for one in found:
        rows = str(sum(one.rows.values()))
        numbers = str(len(one.rows)), rows, str(one.files), str(one.bytes)
        table.add_row(one.id, one.time, one.profile, *numbers)
    console.print(table)


def _show_plan(plan: tuple[Planned, ...], as_json: bool) -> None:
    if as_json:
        print(wire.encode(plan).decode())  # noqa: T201
        return
    for one in plan:
        console.print(
            f"{one.how:6} {one.bytes:>12} {one.path}", soft_wrap=True, markup=False, highlight=False
        )
    left = sum(one.bytes for one in plan if one.how in ("fetch", "resume"))
    console.print(f"{left} bytes would be fetched (fewer on the way, packed); nothing was")
