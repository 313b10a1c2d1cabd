"""``adapter demo``: the main job from end to end, with embedded defaults, in front of the reader's eyes."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
from rich.console import Console

from adapter import monitoring, pipeline
from adapter.access import Grant
from adapter.access.passwords import hash_password
from adapter.cli import monitor_view, show, trail
from adapter.demo import hospital
from adapter.pipeline import Workspace
from adapter.store import audit
from adapter.store.accounts import Accounts
from adapter.trial import open_store
from adapter.writeback.send import WriteReport

AS_OF = date(2019, 6, 3)
_EMBEDDED = "http://127.0.0.1/fhir"


def run(console: Console, progress: Console, folder: Path, base_url: str) -> None:
    """Generate, land, screen, follow, write back twice, export; everything lies under ``folder`` then."""
    workspace = Workspace(folder, embedded=True)
    for old in ("hospital", "landing", "screening", "monitoring", "writeback", "exports", "lineage"):
        shutil.rmtree(folder / old, ignore_errors=True)
    if not base_url:
        for database in folder.glob("*.sqlite*"):
            database.unlink()
        workspace.checkpoints.unlink(missing_ok=True)
    console.rule("1. A synthetic hospital")
    made = hospital.generate(folder / "hospital" / "fhir")
    console.print(
        f"{made.patients} people, {sum(made.resources.values())} FHIR resources as Bulk Data NDJSON"
    )
    console.rule("2. Land, sieve, map, decide")
    landing = pipeline.land(made.folder, workspace, now=datetime.combine(AS_OF, datetime.min.time(), UTC))
    trail.fetched(workspace, landing, "folder", datetime.now(UTC))
    trial = pipeline.open_trial()
    done = pipeline.screen(trial, workspace, as_of=AS_OF, progress=progress.print)
    trail.screened(workspace, done, datetime.now(UTC))
    show.accounts(console, done.sifted, done.facts.issues)
    console.rule(f"3. Who may be eligible for {trial.protocol.id} as of {AS_OF}")
    show.funnel(console, done.funnel, trial.protocol)
    console.rule("4. Follow those on the study")
    followed = monitoring.monitor(trial, workspace, as_of=AS_OF, progress=progress.print)
    monitor_view.in_brief(console, followed)
    console.rule("5. Tell the hospital: ResearchSubject, Flag, Provenance")
    first = _write(trial, workspace, base_url)
    show.written(console, first)
    again = _write(trial, workspace, base_url)
    console.print(f"and once more: {again.resources_written} resources written, nothing doubled")
    console.rule("6. Tell the sponsor: SDTM and ADaM, pseudonymised")
    trail.exporting(workspace, trial, datetime.now(UTC))
    told = pipeline.export(trial, workspace, key=_key(folder / "pseudonym.key"))
    trail.exported(workspace, trial, told, datetime.now(UTC))
    show.exported(console, told.sdtm)
    show.exported(console, told.adam, "ADaM")
    console.rule("7. Let people in")
    password = _accounts(workspace, trial)
    console.print(
        f"accounts coordinator, investigator and monitor; their password, shown this once: {password}"
    )
    console.rule()
    served = base_url or "adapter serve --workspace " + str(folder)
    show.places(
        console,
        {
            "verdicts with evidence": str(workspace.screening / "decisions.ndjson"),
            "why, for one person": f"adapter explain p00007 --workspace {folder}",
            "facts and issues": str(workspace.screening / "facts"),
            "outcomes, exits, due": str(workspace.monitoring),
            "what was planted": str(made.truth),
            "raw data and coverage": str(workspace.landing / "manifest.json"),
            "written FHIR resources": served + ("" if base_url else "   then /fhir/ResearchSubject"),
            "datasets": str(workspace.sdtm),
            "analysis datasets": str(workspace.exports("sponsor", "adam")),
            "who did what": f"adapter audit show --workspace {folder}",
            "the rules": str(trial.folder / "protocol.yaml"),
        },
    )


def _write(trial: pipeline.Trial, workspace: Workspace, base_url: str) -> WriteReport:
    """To the server named, or in this process to the endpoint that ``adapter serve`` shows later."""
    from adapter.web.app import own_endpoint

    now = datetime.now(UTC)
    with open_store(workspace, now) as database:
        transport = None if base_url else httpx.ASGITransport(own_endpoint(database))
        report = asyncio.run(
            monitoring.write_back(trial, workspace, base_url or _EMBEDDED, now=now, transport=transport)
        )
    if fault := report.fault():
        raise fault
    return report


def _accounts(workspace: Workspace, trial: pipeline.Trial) -> str:
    """One account for each role a person tries first, all with one new password."""
    password, now = secrets.token_urlsafe(15), datetime.now(UTC)
    kept, study, site = hash_password(password), trial.protocol.id, trial.site.site_id
    until = (now + timedelta(days=30)).isoformat()
    with open_store(workspace, now) as database:
        accounts = Accounts(database)
        known = {one.name for one in accounts.listed()}
        for role in ("coordinator", "investigator", "monitor"):
            if role in known:
                accounts.set_secret(role, kept, now=now, by=audit.actor())
            else:
                grants = [Grant(role, study, site, until if role == "monitor" else "")]
                accounts.add(role, f"Demo {role}", kept, grants, now=now, by=audit.actor())
    return password


def _key(path: Path) -> bytes:
    """The demo's own pseudonym key, made once; a real site keeps its key elsewhere."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_hex(32).encode())
    return path.read_bytes()
