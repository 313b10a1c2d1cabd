"""``adapter snapshots``, ``diff`` and ``lineage``: what the sponsor got, and where each value comes from.

Inside the site only: the lineage names FHIR ids and the hospital's own text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from adapter import attestations
from adapter.cli.options import JsonOption, WorkspaceOption
from adapter.cli.terminal import Terminal
from adapter.errors import NotFound
from adapter.exports import difference as differences
from adapter.exports import lineage as lineages
from adapter.exports import snapshots as kept
from adapter.exports.difference import Cause, Difference
from adapter.exports.lineage import CellLineage
from adapter.exports.profile import Profile
from adapter.model import wire
from adapter.model.facts import Source
from adapter.source.changes import HISTORY, Change
from adapter.source.landing import open_landing
from adapter.trial import Workspace

console = Terminal()
_ProfileOption = Annotated[
    Profile, typer.Option("--profile", help="Whose latest snapshot: of the sponsor or of research.")
]


def snapshots(
    workspace: WorkspaceOption = Path("workspace"),
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its manifest.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the packages that were exported; each stays as it was under exports/snapshots/<id>.

    The id is made from the content: the same screening, rules and program give the same id and the same
    bytes. With --verify each file is hashed again; one that differs ends the command with an error.
    """
    found = kept.listed(Workspace(workspace).snapshots)
    if verify:
        for one in found:
            kept.verify(one.folder)
    if as_json:
        print(wire.encode([{**_plain(one), "folder": str(one.folder)} for one in found]).decode())  # noqa: T201
        return
    table = Table(box=None, pad_edge=False)
    for title in ("id", "time", "profile", "datasets", "rows", "protocol"):
        table.add_column(title, no_wrap=title == "id", min_width=21 if title == "id" else None)
    for one in found:
        rows = sum(one.rows.values())
        protocol = one.versions.get("protocol", "")
        table.add_row(one.id, one.time, one.profile, str(len(one.rows)), str(rows), protocol)
    console.print(table)


def diff(
    former: Annotated[str, typer.Argument(help="Id of a snapshot, or the beginning of one.")],
    latter: Annotated[str, typer.Argument(help="Another one; latest is the last.")] = "latest",
    workspace: WorkspaceOption = Path("workspace"),
    profile: _ProfileOption = "sponsor",
    as_json: JsonOption = False,
) -> None:
    """Which subjects and records differ between two snapshots, and which source correction caused it."""
    here = Workspace(workspace)
    one, other = (kept.named(here.snapshots, name, profile) for name in (former, latter))
    traces = (lineages.read_traces(here.lineage_of(one.id)), lineages.read_traces(here.lineage_of(other.id)))
    found = differences.difference(one, other, traces)
    if as_json:
        print(wire.encode(found).decode())  # noqa: T201
        return
    _show_difference(found, _history(here))


def lineage(
    dataset: Annotated[str, typer.Argument(help="A dataset: LB, ADLB.")],
    subject: Annotated[str, typer.Argument(help="SUBJID or USUBJID: 001-003.")],
    number: Annotated[int, typer.Argument(help="The record's --SEQ or ASEQ; 0 in a dataset without, as DM.")],
    variable: Annotated[str, typer.Argument(help="A variable: LBSTRESN, AVAL.")],
    workspace: WorkspaceOption = Path("workspace"),
    snapshot: Annotated[str, typer.Option("--snapshot", help="Id of a snapshot.")] = "latest",
    profile: _ProfileOption = "sponsor",
    as_json: JsonOption = False,
) -> None:
    """Where one cell comes from: FHIR resource, version, original text and each transformation.

    A cell of an analysis dataset leads to the SDTM cell it was made of, and through that to the hospital.

    Works inside the site, where the subject number is resolved by the enrolment log; outside, sources.csv of
    the package gives the keyed name of each source, by which the site finds it again.
    """
    here = Workspace(workspace)
    chosen = kept.named(here.snapshots, snapshot, profile)
    traces = lineages.read_traces(here.lineage_of(chosen.id))
    usubjid = _usubjid(subject, (one.usubjid for one in traces))
    found = lineages.cell_lineage(chosen.folder, traces, dataset.upper(), usubjid, number, variable.upper())
    if as_json:
        print(wire.encode(found).decode())  # noqa: T201
        return
    patients = [
        trace.source.reference
        for trace in traces
        if (trace.dataset, trace.usubjid) == ("DM", usubjid) and trace.source.reference.startswith("Patient/")
    ]
    _show_lineage(found, here, subject, patients)


def _plain(one: kept.Snapshot) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(one).items() if name != "folder"}


def _usubjid(subject: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    found = [name for name in names if name == subject or name.endswith(f"-{subject}")]
    if len(found) != 1:
        raise NotFound(f"no subject {subject} in this snapshot", fix="SUBJID as in DM, for example 001-003")
    return found[0]


def _show_lineage(found: CellLineage, here: Workspace, subject: str, patients: list[str]) -> None:
    console.print(f"snapshot {found.snapshot}, {found.usubjid}")
    if patients:
        console.print(f"subject {subject}: {patients[0]}")
    one: CellLineage | None = found
    while one is not None:
        console.print("")
        _show_cell(one, here)
        one = one.through


def _show_cell(found: CellLineage, here: Workspace) -> None:
    console.print(
        f"{found.dataset} {found.number} {found.variable} ({found.label}) = {found.value or '(empty)'}"
    )
    if not found.traces:
        console.print(f"  {found.origin}: {found.method or 'from the study itself, no hospital record'}")
    for trace in found.traces:
        console.print(f"  {_told(trace.source)}  ({trace.token} in the package)")
        for name in trace.inputs:
            console.print(f"    computed from {_told(name)}")
        for step in found.steps(trace):
            console.print(f"    {step.what}: {step.result}")
        console.print(f"    {_bytes(here, trace.source)}")


def _told(source: Source) -> str:
    version = f"/_history/{source.version}" if source.version else ""
    return f"{source.reference}{version}{f' {source.path}' if source.path else ''}"


def _bytes(here: Workspace, source: Source) -> str:
    """Whether the very bytes are still landed, kept as superseded, or were answered here and by whom."""
    if attestations.is_own_answer(source.reference):
        return attestations.origin(here, source)
    for raw in open_landing(here.landing).resources(frozenset({source.reference.split("/")[0]})):
        if raw.sha256 == source.sha256:
            return f"landed as {raw.where}, SHA-256 {source.sha256}"
    for change in _history(here):
        if source.sha256 and change.former_sha256 == source.sha256:
            return f"superseded since ({change.kind}); kept in landing/history, SHA-256 {source.sha256}"
    return f"no longer landed, SHA-256 {source.sha256}"


def _history(here: Workspace) -> list[Change]:
    files = sorted((here.landing / HISTORY).glob("*.changes.ndjson"))
    return [change for path in files for change in wire.read_rows(path, Change)]


def _show_difference(found: Difference, history: list[Change]) -> None:
    console.print(
        f"{found.former} to {found.latter}: "
        f"{len(found.records)} records of {len(found.subjects)} subjects differ"
    )
    for name, (was, now) in found.versions.items():
        console.print(f"  {name}: {was[:16] or '-'} to {now[:16] or '-'}")
    for one in found.records:
        console.print("")
        console.print(f"{one.dataset} {one.key} {one.kind}")
        for variable, (was, now) in one.cells.items():
            console.print(f"  {variable}: {was or '(empty)'} to {now or '(empty)'}")
        for cause in one.causes:
            console.print(f"  because of {_caused(cause, history)}")
        for cause in one.through:
            console.print(f"  through {_caused(cause, history)}")
        if not one.causes and not one.through:
            console.print("  no source of this subject changed: rules, mappings, program or day did")


def _caused(cause: Cause, history: list[Change]) -> str:
    told = next(
        (
            change
            for change in history
            if change.reference == cause.reference
            and (change.former_sha256 == cause.former_sha256 or change.sha256 == cause.sha256)
        ),
        None,
    )
    versions = f"version {cause.former_version or '-'} to {cause.version or '-'}"
    if told is None:
        kind = "new" if not cause.former_sha256 else "no longer used" if not cause.sha256 else "corrected"
        return f"{cause.reference}: {kind}, {versions}"
    return f"{cause.reference}: {told.kind}{f' ({told.why})' if told.why else ''}, {versions}, {told.updated}"
