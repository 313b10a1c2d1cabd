"""Commands. Each reads and leaves its result in a workspace folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress as Bar

from adapter import assurance, certificate, explaining, monitoring, pipeline
from adapter.cli import (
    account,
    audit,
    doctor,
    explain_text,
    fetch_view,
    follow_view,
    keys,
    mapping,
    monitor_view,
    outbox,
    pull,
    render_view,
    run_view,
    screen_view,
    show,
    snapshots,
    spark_view,
    sponsor,
    sync_view,
    trail,
)
from adapter.cli.options import BaseUrlOption, JsonOption, ProtocolOption, SiteOption, WorkspaceOption
from adapter.cli.render_view import Form
from adapter.cli.terminal import Terminal
from adapter.errors import ConfigError
from adapter.exports.profile import Profile
from adapter.model import wire
from adapter.pipeline import Workspace
from adapter.protocol import check as check_protocol
from adapter.protocol.chain import results_of
from adapter.protocol.render.voice import Language
from adapter.screening.task import Task
from adapter.store.accounts import Accounts
from adapter.trial import open_store

app = typer.Typer(
    help="Connects hospital FHIR servers to clinical trials: who may be eligible, why, and what is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(account.app, name="account")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(mapping.app, name="mapping")
app.command()(doctor.doctor)
app.command()(run_view.run)
app.add_typer(outbox.app, name="outbox")
app.add_typer(sponsor.app, name="sponsor")
app.command()(snapshots.snapshots)
app.command()(snapshots.diff)
app.command()(pull.pull)
app.command()(snapshots.lineage)
console = Terminal()
progress = Terminal(stderr=True)

AsOfOption = Annotated[
    str, typer.Option("--as-of", help="The day to judge by, YYYY-MM-DD. Today unless given.")
]
LanguageOption = Annotated[Language, typer.Option("--lang", help="Language of the rules.")]


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
    folder: Annotated[
        Path | None, typer.Option("--folder", help="A folder of Bulk Data NDJSON, plain or gzip.")
    ] = None,
    base_url: BaseUrlOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Export in bulk ($export); search where the server has no export.")
    ] = False,
    group: Annotated[
        str, typer.Option("--group", help="With --bulk: the Group to export; site.toml's, or all patients.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", help='With --bulk: only what changed since an instant, or "last".')
    ] = "",
    wait: Annotated[
        float | None,
        typer.Option("--wait", help="With --bulk: minutes to wait for the server; the next run goes on."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Land hospital data as it is, with hashes and an account of what is complete.

    From a folder everything is landed; from a server the records of the protocol's candidates, or with --bulk
    all patients. An export that was interrupted, however, is gone on with by the same command: nothing that
    was verified is downloaded again. Exit 75: not ready yet, run it again.
    """
    trial = pipeline.open_trial(protocol, site)
    now = datetime.now(trial.site.zone)
    if bulk:
        source = base_url or trial.site.base_url
        wanted = fetch_view.Wanted(source, group, since, None if wait is None else wait * 60)
        fetched = fetch_view.export(progress, trial, Workspace(workspace), wanted, now=now)
        trail.fetched(Workspace(workspace), fetched.landing, source, now)
        certificate.keep(certificate.certificate_of(trial, fetched.landing), fetched.landing.folder)
        fetch_view.landed(console, fetched.landing, why_not_bulk=fetched.why_not_bulk, as_json=as_json)
        return
    if folder is not None:
        landing = pipeline.land(folder, Workspace(workspace), now=now)
    else:
        with _bar("reading") as told:
            landing = asyncio.run(
                pipeline.land_server(
                    trial, Workspace(workspace), base_url or trial.site.base_url, now=now, progress=told
                )
            )
    source = "folder" if folder is not None else base_url or trial.site.base_url
    trail.fetched(Workspace(workspace), landing, source, now)
    certificate.keep(certificate.certificate_of(trial, landing), landing.folder)
    fetch_view.landed(console, landing, as_json=as_json)


app.command()(sync_view.sync)
app.command()(follow_view.follow)
app.command()(sync_view.coverage)


@app.command()
def screen(
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    as_of: AsOfOption = "",
    full: Annotated[
        bool, typer.Option("--full", help="Judge everyone anew; the result is the same, only slower.")
    ] = False,
    engine: spark_view.EngineOption = spark_view.Engine.LOCAL,
    master: spark_view.MasterOption = "",
    data_at: spark_view.DataAtOption = "",
    read_mib: spark_view.ReadOption = spark_view.READ_MIB,
    unit_mib: spark_view.UnitOption = spark_view.UNIT_MIB,
    workers: screen_view.WorkersOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Judge every candidate in the landed data, with evidence for each verdict.

    Who nothing changed for since the last screening as of the same day keeps the former decision. A large
    landing is read by all cores; if that is interrupted, however, the same command goes on where it stopped.
    See docs/screening.md.
    """
    trial = pipeline.open_trial(protocol, site)
    day = _day(as_of, trial.site.zone)
    cluster = spark_view.Cluster(master, data_at, read_mib, unit_mib)
    if engine is spark_view.Engine.SPARK:
        done = spark_view.screen(Task(trial, Workspace(workspace), day, full), cluster, progress.print)
    elif cluster.is_asked_for:
        raise ConfigError(
            "--master, --data-at, --read-mib and --unit-mib are about a cluster",
            where="screen",
            fix="add --engine spark",
        )
    else:
        with screen_view.following(progress, quiet=as_json) as (remark, told):
            done = pipeline.screen(
                trial,
                Workspace(workspace),
                as_of=day,
                full=full,
                workers=workers,
                progress=remark,
                told=told,
            )
    trail.screened(Workspace(workspace), done, datetime.now(UTC))
    if as_json:
        print(wire.encode(done.funnel).decode())  # noqa: T201
        return
    show.accounts(console, done.sifted, done.issues)
    show.funnel(console, done.funnel, trial.protocol)


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(help="Patient.id of someone in the last screening.")],
    criterion: Annotated[
        str, typer.Argument(help="One criterion or ladder, INCL03A, O1 or X8; all unless given.")
    ] = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    lang: LanguageOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Why: sentence, rule, readings used and ignored, comparison, verdict, and what would change it.

    For people on the study (after adapter monitor) also where each ladder stands: its steps and what
    triggered them, the review that is due, what later corrections changed, and what leads on.
    """
    trial = pipeline.open_trial(protocol, site)
    kept = pipeline.read_screening(Workspace(workspace))
    decision = explaining.decision_of(trial, kept, subject)
    followed = explaining.monitored(monitoring.read_monitoring(Workspace(workspace)), decision.subject)
    tells, facts = explaining.teller(trial, lang), explaining.facts_of(kept, decision.subject)
    decision, followed = tells.decision(decision, facts), tells.monitoring(followed, facts)
    results = results_of(decision, followed)
    voice = explaining.voice_of(trial, lang)
    with tells.speaking():
        chains = explaining.chains_of(trial, results, criterion, voice)
    ladders = explaining.ladders_of(trial, followed, criterion, voice)
    if as_json:
        for link in (*chains, *ladders):
            print(wire.encode(link).decode())  # noqa: T201
        return
    if not criterion:
        explain_text.overall(console, trial, decision)
    for found in chains:
        explain_text.show(console, found, voice, alone=bool(criterion))
    for ladder in ladders:
        explain_text.show_ladder(console, ladder, voice)


@app.command()
def render(
    form: Annotated[Form, typer.Option("--as", help="What to render the protocol as.")] = "page",
    lang: LanguageOption = "en",
    protocol: ProtocolOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; printed unless given.")
    ] = None,
) -> None:
    """Show a protocol as a page to review, as FHIR resources, or the JSON Schema that editors check it by."""
    trial = pipeline.open_trial(protocol, "")
    for name, text in render_view.rendered(trial, form, lang).items():
        print(render_view.write(text, out, name), end="" if out is None else "\n")  # noqa: T201


@app.command()
def monitor(
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    as_of: AsOfOption = "",
    full: Annotated[
        bool, typer.Option("--full", help="Judge everyone anew; the result is the same, only slower.")
    ] = False,
    workers: monitor_view.WorkersOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Follow everyone on the study, from the last screening's facts: outcomes, exits, safety, what is due.

    Who nothing changed for since the last time as of the same day is not judged again. If this is
    interrupted, however, the same command goes on where it stopped. See docs/monitoring.md.
    """
    trial = pipeline.open_trial(protocol, site)
    day = _day(as_of, trial.site.zone)
    with monitor_view.following(progress) as told:
        report = monitoring.monitor(
            trial,
            Workspace(workspace),
            as_of=day,
            progress=progress.print,
            workers=workers,
            full=full,
            told=told,
        )
    trail.monitored(Workspace(workspace), report, trial, day.isoformat(), datetime.now(UTC))
    if as_json:
        print(wire.encode(report.results).decode())  # noqa: T201
        return
    monitor_view.monitored(console, trial, report)


@app.command()
def check(
    protocol: ProtocolOption = None,
    cases: Annotated[Path | None, typer.Option(help="A cases file; the protocol's own unless given.")] = None,
    site: SiteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check a protocol file and run its worked cases. Exit 1 if a case differs. Format: docs/cases.md."""
    trial = pipeline.open_trial(protocol, site)
    remarks = check_protocol(trial.protocol, trial.vocabulary)
    reports = assurance.check_cases(trial, cases or trial.folder / "cases.yaml")
    if as_json:
        for report in reports:
            print(wire.encode(report).decode())  # noqa: T201
        wrong = sum(bool(report.differences) for report in reports)
    else:
        show.remarks(console, remarks)
        wrong = show.cases(console, reports)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def writeback(
    base_url: BaseUrlOption = "",
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell the hospital, on the best rung its server takes. A status set by a person is never overwritten.

    ResearchSubject, Flag and Provenance, else a note, else a file under WORKSPACE/writeback. After adapter
    monitor also alerts about people on the study, whose status stays a person's. Where the site wants
    approval, only what adapter outbox approve allowed is sent. See docs/write-back.md.
    """
    trial = pipeline.open_trial(protocol, site)
    with _bar("writing") as told:
        report = asyncio.run(
            monitoring.write_back(
                trial,
                Workspace(workspace),
                base_url or trial.site.base_url,
                now=datetime.now(UTC),
                dry_run=dry_run,
                progress=told,
                own=outbox.own_endpoint(trial, Workspace(workspace)),
            )
        )
    if as_json:
        print(wire.encode(report).decode())  # noqa: T201
    else:
        show.written(console, report)
    if fault := report.fault():
        raise fault


@app.command()
def export(
    workspace: WorkspaceOption = Path("workspace"),
    protocol: ProtocolOption = None,
    site: SiteOption = "demo",
    profile: Annotated[
        Profile,
        typer.Option(
            "--profile",
            help="sponsor: true dates. research: other subject numbers, all dates of a subject moved by one "
            "secret number of days, ages over 89 as 90; written to exports/research.",
        ),
    ] = "sponsor",
    as_json: JsonOption = False,
) -> None:
    """Write SDTM and ADaM of everyone who consented: XPT v5, Dataset-JSON, Parquet, CSV, Define-XML for SDTM.

    ADaM (ADSL, ADLB, ADRS, ADTTE) lies beside SDTM and equals adapter monitor as of the day of the screening.
    The pseudonym key is read from the file that ADAPTER_PSEUDONYM_KEY_FILE or site.toml names. The
    datasets carry the day of the screening, so the same screening gives the same bytes.
    """
    trial = pipeline.open_trial(protocol, site)
    key = trial.site.secret("pseudonym_key")
    if key is None:
        raise ConfigError(
            "no pseudonym key",
            where="ADAPTER_PSEUDONYM_KEY_FILE",
            fix="name a file with at least 16 random bytes, one per study and site; it never leaves the site",
        )
    trail.exporting(Workspace(workspace), trial, datetime.now(UTC))
    done = pipeline.export(trial, Workspace(workspace), key=key, profile=profile)
    trail.exported(Workspace(workspace), trial, done, datetime.now(UTC))
    if as_json:
        print(wire.encode(done.sdtm.rows | done.adam.rows).decode())  # noqa: T201
        return
    show.exported(console, done.sdtm)
    show.exported(console, done.adam, "ADaM")


@app.command()
def serve(
    workspace: WorkspaceOption = Path("workspace"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8765,
    shielded: Annotated[
        bool,
        typer.Option(
            "--shielded",
            help="Allow an address beyond this machine without TLS: only where something else keeps others "
            "out, as docker-compose.yml does by publishing the port on loopback.",
        ),
    ] = False,
    site: SiteOption = "demo",
    protocol: ProtocolOption = None,
) -> None:
    """Serve one study at one site: pages, FHIR at /fhir, snapshots to sponsors at /sponsor, a hospital's
    /subscriptions, and /healthz.

    Whoever is not signed in sees nothing about anybody: adapter account add makes the first account, and
    site.toml names the hospital's identity provider (docs/sign-in-and-roles.md).
    """
    from adapter.web.app import people_of
    from adapter.web.app import serve as run
    from adapter.web.sponsor import Folders

    trial = pipeline.open_trial(protocol, site)
    here = Workspace(workspace)
    packages = Folders(here.snapshots, here.root / "served")
    with open_store(here, datetime.now(UTC)) as database:
        if trial.site.sign_in.openid is None and not Accounts(database).listed():
            progress.print(
                "Nobody can sign in yet: adapter account add NAME --role coordinator", soft_wrap=True
            )
        run(
            database,
            host,
            port,
            shielded=shielded,
            site=trial.site,
            study=trial.protocol.id,
            packages=packages,
            people=people_of(trial, here, database),
        )


@app.command()
def demo(
    workspace: WorkspaceOption = Path("workspace/demo"),
    base_url: Annotated[
        str, typer.Option("--base-url", help="Write to this FHIR server instead of the embedded one.")
    ] = "",
) -> None:
    """The whole line on a synthetic hospital: generate, land, screen, write back twice, export."""
    from adapter.cli.demo import run

    run(console, progress, workspace, base_url)


@contextmanager
def _bar(what: str) -> Iterator[pipeline.Count]:
    """A progress bar on standard error that a step can tell (done, of)."""
    with Bar(console=progress, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _day(text: str, zone: tzinfo) -> date:
    """The day named, or today where the hospital is: coverage ends on its days too."""
    if not text:
        return datetime.now(zone).date()
    try:
        return date.fromisoformat(text)
    except ValueError as fault:
        raise ConfigError(f"{text!r} is no date", where="--as-of", fix="write YYYY-MM-DD") from fault
