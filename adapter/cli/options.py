"""Options that many commands take: one name, one meaning and one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="Folder of landed data, results and the embedded database.")
]
ProtocolOption = Annotated[
    Path | None, typer.Option("--protocol", "-p", help="Protocol folder; NCT03864250 unless given.")
]
SiteOption = Annotated[str, typer.Option("--site", help="A folder name under mappings/sites/.")]
BaseUrlOption = Annotated[
    str, typer.Option("--base-url", help="A FHIR R4 server; the site's own unless given.")
]
LandedFromOption = Annotated[
    str, typer.Option("--base-url", help="The server it was landed from; the site's own unless given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a round.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
