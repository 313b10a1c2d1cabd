"""``adapter mapping``: unknown codes and units of a site, and how one becomes known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from adapter.cli.options import DryRunOption, JsonOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.mapping import decide
from adapter.mapping.impact import Impact, impact
from adapter.mapping.suggest import Suggestion, suggestions
from adapter.mapping.unmapped import Unmapped, unmapped
from adapter.model import wire
from adapter.pipeline import open_trial, read_screening
from adapter.store import audit
from adapter.store.mapping_log import MappingLog, Proposal
from adapter.trial import Workspace, open_store

app = typer.Typer(
    help="Codes and units that no table knows, by how often they come; propose a row, see what it would "
    "change, let a second person approve it, put an earlier file back. See docs/mapping-codes.md.",
    no_args_is_help=True,
)
_Number = Annotated[int, typer.Argument(help="A number from adapter mapping proposals.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why, and where it is written; kept with the row.")]
_By = Annotated[
    str, typer.Option("--by", help="Who; ADAPTER_ACTOR or the user of this machine unless given.")
]


@app.command("list")
def listed(
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    most: Annotated[int, typer.Option("--most", min=1, help="How many lines.")] = 40,
    as_json: JsonOption = False,
) -> None:
    """What is unknown, most people first: code, text, numbers as written, and what it may mean."""
    trial = open_trial(protocol, site)
    found = unmapped(read_screening(Workspace(workspace)).facts, trial.terminology)
    told = [(row, suggestions(row, trial.terminology)) for row in found[:most]]
    if as_json:
        for row, meant in told:
            print(wire.encode({"unmapped": row, "suggestions": meant}).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    for title in ("people", "results", "what", "system and code", "text", "as written", "may be"):
        table.add_column(title, overflow="fold")
    for row, meant in told:
        table.add_row(*_line(row, meant, trial.terminology.system(row.code.system)))
    Terminal().print(table if told else "every code and unit of the candidates is known")
    if len(found) > most:
        Terminal().print(f"{len(found) - most} more; --most shows them")


def _line(row: Unmapped, meant: tuple[Suggestion, ...], system: str) -> tuple[str, ...]:
    what = {"code": row.about, "unit": f"unit of {row.concept}", "no_unit": f"no unit: {row.concept}"}
    written = ", ".join(f"{one.value} {one.unit}".strip() for one in row.samples)
    may_be = "\n".join(
        f"{one.concept if row.kind == 'code' else one.unit}"
        + (f" (like {one.name}, {one.likeness} %)" if one.name else "")
        + (f" {one.plausible} of {one.numbers} plausible" if one.numbers else "")
        for one in meant
    )
    code = f"{system.rsplit('/', 1)[-1]} {row.code.code}".strip()
    return str(row.people), str(row.resources), what[row.kind], code, row.code.display, written, may_be


@app.command()
def propose(
    concept: Annotated[str, typer.Argument(help="A concept of mappings/concepts.yaml, or a drug.")],
    system: Annotated[str, typer.Option("--system", help="URI of the code system as sent; empty: any.")] = "",
    code: Annotated[str, typer.Option("--code", help="The code; for a unit: of this test only.")] = "",
    text: Annotated[str, typer.Option("--text", help="The exact text of a result without a code.")] = "",
    use: Annotated[str, typer.Option("--use", help="AUTO decides; FLAG; SUPP is shown; NEVER.")] = "AUTO",
    method: Annotated[
        str, typer.Option("--method", help="Equation, assay or timing, if the code means one.")
    ] = "",
    unit: Annotated[str, typer.Option("--unit", help="Propose a unit instead: its spelling.")] = "",
    kind: Annotated[
        str, typer.Option("--kind", help="Of the unit: default, confirm or spelling.")
    ] = "default",
    means: Annotated[str, typer.Option("--means", help="For spelling: the accepted unit.")] = "",
    reason: _Reason = "",
    by: _By = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose a row for codes.csv of the site (units.csv with --unit); says whose verdict would change."""
    if unit:
        file, cells = (
            "units.csv",
            {"concept": concept, "code": code, "unit": unit, "kind": kind, "means": means},
        )
    else:
        cells = {
            "system": system,
            "code": code,
            "text": text,
            "concept": concept,
            "use": use,
            "method": method,
        }
        file = "codes.csv"
    trial, now, who = open_trial(protocol, site), datetime.now(UTC), by.strip() or audit.actor()
    effect = impact(trial, Workspace(workspace), file, decide.owned(cells, who, now))
    kept: Proposal | None = None
    if not dry_run:
        with open_store(Workspace(workspace), now) as engine:
            kept = decide.propose(trial, engine, file, cells, by=who, reason=reason, now=now)
    if as_json:
        print(wire.encode({"proposal": kept, "impact": effect}).decode())  # noqa: T201
        return
    _tell(effect)
    if kept is not None:
        Terminal().print(f"proposal {kept.number}; a second person approves it with adapter mapping approve")


@app.command()
def proposals(
    workspace: WorkspaceOption = Path("workspace"),
    site: SiteOption = "demo",
    state: Annotated[str, typer.Option("--state", help="proposed, approved or rejected.")] = "",
    as_json: JsonOption = False,
) -> None:
    """What was proposed, by whom, and what became of it; the newest first."""
    with open_store(Workspace(workspace), datetime.now(UTC)) as engine:
        rows = MappingLog(engine).proposals(site, state)
    if as_json:
        for row in rows:
            print(wire.encode(row).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    for title in ("no", "state", "file", "row", "by", "reason", "decided by", "why"):
        table.add_column(title, overflow="fold")
    for row in rows:
        said = " ".join(f"{name}={cell}" for name, cell in row.cells.items() if cell)
        table.add_row(
            str(row.number), row.state, row.file, said, row.proposed_by, row.reason, row.decided_by,
            row.decided_why,
        )  # fmt: skip
    Terminal().print(table if rows else "nothing was proposed")


@app.command()
def approve(
    number: _Number,
    reason: _Reason = "",
    by: _By = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    dry_run: DryRunOption = False,
) -> None:
    """Write a proposal of somebody else into mappings/sites/<site>; the next screening uses it."""
    trial, now = open_trial(protocol, site), datetime.now(UTC)
    with open_store(Workspace(workspace), now) as engine:
        wanted = MappingLog(engine).proposal(number)
        _tell(impact(trial, Workspace(workspace), wanted.file, wanted.cells))
        if not dry_run:
            who = by.strip() or audit.actor()
            decide.approve(trial, engine, number, by=who, why=reason, now=now)
            Terminal().print(f"in {wanted.file} of {site}; adapter screen judges by it")


@app.command()
def reject(
    number: _Number,
    reason: _Reason = "",
    by: _By = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
) -> None:
    """Say no to a proposal, or take one back."""
    trial, now = open_trial(protocol, site), datetime.now(UTC)
    with open_store(Workspace(workspace), now) as engine:
        decide.reject(trial, engine, number, by=by.strip() or audit.actor(), why=reason, now=now)


@app.command()
def versions(
    workspace: WorkspaceOption = Path("workspace"), site: SiteOption = "demo", as_json: JsonOption = False
) -> None:
    """Every version of the site's files that the adapter has seen: when, who, why."""
    with open_store(Workspace(workspace), datetime.now(UTC)) as engine:
        rows = MappingLog(engine).versions(site)
    for row in rows:
        if as_json:
            print(wire.encode(row).decode())  # noqa: T201
        else:
            said = (str(row.number), row.at, row.file, row.sha256[:12], row.who or "-", row.why)
            Terminal().print("  ".join(said), highlight=False)


@app.command()
def rollback(
    number: Annotated[int, typer.Argument(help="A number from adapter mapping versions.")],
    reason: _Reason = "",
    by: _By = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    dry_run: DryRunOption = False,
) -> None:
    """Put a file back as it was in a version, as a new version."""
    trial, now = open_trial(protocol, site), datetime.now(UTC)
    with open_store(Workspace(workspace), now) as engine:
        if dry_run:
            Terminal().print(MappingLog(engine).version(number).content, end="", highlight=False)
            return
        who = by.strip() or audit.actor()
        back, _ = decide.roll_back(trial, engine, number, by=who, why=reason, now=now)
    Terminal().print(f"{back.file} of {site} is version {number} again; adapter screen judges by it")


def _tell(effect: Impact) -> None:
    out = Terminal()
    out.print(
        f"{effect.subjects} of {effect.people} people would change overall, "
        f"{len(effect.criteria)} lines of {len({one.subject for one in effect.criteria})} people; "
        f"{effect.readings:+d} usable readings",
        highlight=False,
    )
    for one in effect.verdicts:
        out.print(f"  {one.subject}  {one.before} -> {one.after}", highlight=False)
