"""Commands. Each reads and leaves its result in a workspace folder."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapter import pipeline
from adapter.cli import show
from adapter.errors import ConfigError
from adapter.model import wire
from adapter.pipeline import Workspace

app = typer.Typer(
    help="Connects hospital FHIR servers to clinical trials: who may be eligible, why, and what is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()
progress = Console(stderr=True)

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="Folder for landed data and results.")
]
SiteOption = Annotated[str, typer.Option("--site", help="A folder name under mappings/sites/.")]
ProtocolOption = Annotated[
    Path | None, typer.Option("--protocol", "-p", help="Protocol folder; NCT03864250 unless given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine instead of tables.")]
AsOfOption = Annotated[
    str, typer.Option("--as-of", help="The day to judge by, YYYY-MM-DD. Today unless given.")
]


@app.command("demo-data")
def demo_data(
    folder: Annotated[
        Path, typer.Argument(help="Folder to fill; its sibling truth.ndjson says what is right.")
    ],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 20190603,
    patients: Annotated[int, typer.Option(min=92, help="How many people.")] = 2000,
) -> None:
    """Generate a synthetic hospital as FHIR Bulk Data NDJSON, as dirty as hospitals are."""
    from adapter.demo import hospital

    made = hospital.generate(folder, seed=seed, patients=patients)
    total = sum(made.resources.values())
    console.print(f"{made.patients} people, {total} resources in {made.folder}; truth in {made.truth}")


@app.command()
def fetch(
    folder: Annotated[Path, typer.Option("--folder", help="A folder of Bulk Data NDJSON, plain or gzip.")],
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Land hospital data as it is, with hashes and an account of what is complete."""
    landing = pipeline.land(folder, Workspace(workspace), now=datetime.now(UTC))
    console.print(f"{landing.lines} resources landed, {len(landing.issues)} issues")


@app.command()
def screen(
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Judge every candidate in the landed data, with evidence for each verdict."""
    trial = pipeline.open_trial(protocol, site)
    done = pipeline.screen(trial, Workspace(workspace), as_of=_day(as_of), progress=progress.print)
    if as_json:
        print(wire.encode(done.funnel).decode())  # noqa: T201
        return
    show.accounts(console, done.sifted, done.facts.issues)
    show.funnel(console, done.funnel, trial.protocol)


@app.command()
def check(
    protocol: ProtocolOption = None,
    cases: Annotated[Path | None, typer.Option(help="A cases file; the protocol's own unless given.")] = None,
    site: SiteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check a protocol file and run its worked cases. Exit 1 if a case differs. Format: docs/cases.md."""
    trial = pipeline.open_trial(protocol, site)
    reports = pipeline.check_cases(trial, cases or trial.folder / "cases.yaml")
    if as_json:
        for report in reports:
            print(wire.encode(report).decode())  # noqa: T201
        wrong = sum(bool(report.differences) for report in reports)
    else:
        wrong = show.cases(console, reports)
    raise typer.Exit(1 if wrong else 0)


def _day(text: str) -> date:
    if not text:
        return datetime.now(UTC).astimezone().date()
    try:
        return date.fromisoformat(text)
    except ValueError as fault:
        raise ConfigError(f"{text!r} is no date", where="--as-of", fix="write YYYY-MM-DD") from fault
