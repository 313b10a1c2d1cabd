"""The page that reads like the flow: land, sieve, map, decide, write back, export.

Only this file (with ``web`` and ``cli``) joins the rooms. Each step takes what the step before left in the
workspace and leaves its own result there, whole or not at all, so any step can be run again alone and the
same input leaves the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

from adapter import mappers, protocol
from adapter.errors import ConfigError
from adapter.exports import sdtm
from adapter.exports.package import ExportReport
from adapter.exports.pseudonym import SubjectNumbers
from adapter.exports.study import Criterion, load_study
from adapter.exports.trial_design import summary_of
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.facts import Account, Event, Facts, Finding, Intervention, Subject
from adapter.model.funnel import Funnel, Sifted, funnel_of
from adapter.model.issue import Issue
from adapter.model.protocol import Protocol
from adapter.source import crawl
from adapter.source.client import FhirClient
from adapter.source.landing import Landing, Tally, land_folder, open_landing
from adapter.source.token import FixedToken
from adapter.trial import Trial, Workspace, open_trial, token_for, versions_of
from adapter.writeback import send
from adapter.writeback.research_study import StudyArm, StudyReference
from adapter.writeback.send import WriteReport

__all__ = [
    "Screening",
    "Trial",
    "Workspace",
    "enrolment_days",
    "export_sdtm",
    "land",
    "land_server",
    "open_trial",
    "read_screening",
    "screen",
    "write_back",
]

Progress = Callable[[str], None]
Count = Callable[[int, int], None]

# The tables of Facts and the type of their rows, as they lie on disk.
_TABLES: tuple[tuple[str, type], ...] = (
    ("subjects", Subject),
    ("findings", Finding),
    ("events", Event),
    ("interventions", Intervention),
    ("issues", Issue),
    ("accounts", Account),
    ("coverage", Coverage),
)


class Screening(msgspec.Struct, frozen=True):
    """What one screening found; ``facts`` holds candidates only."""

    as_of: date
    protocol: str
    versions: dict[str, str]
    sifted: Sifted
    funnel: Funnel
    facts: Facts
    decisions: tuple[Decision, ...]


class Summary(msgspec.Struct, frozen=True):
    """``screening.json``: everything about a screening but its rows."""

    as_of: date
    protocol: str
    versions: dict[str, str]
    sifted: Sifted
    funnel: Funnel


def land(source: Path, workspace: Workspace, *, now: datetime) -> Landing:
    """Copy a Bulk Data folder into the workspace as it is, with hashes and coverage."""
    return land_folder(source, workspace.landing, now=now)


def screen(
    trial: Trial, workspace: Workspace, *, as_of: date, progress: Progress = lambda _: None
) -> Screening:
    """From the landed bytes to a decision for every candidate, left under ``screening/``."""
    landing = open_landing(workspace.landing)
    progress("looking for candidates")
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    nominated = landing.candidates(query)
    progress(f"reading the records of {len(nominated.ids)} candidates")
    tally = Tally()
    resources = landing.resources(candidates=nominated.ids, tally=tally)
    facts = mappers.map_resources(
        resources,
        terminology=trial.terminology,
        zone=trial.site.zone,
        coverage=landing.coverage,
        options=trial.site.options,
    )
    facts = _only(facts, nominated.ids, (*landing.issues, *nominated.issues))
    progress(f"evaluating {len(facts.subjects)} people")
    zone = trial.site.zone
    people = {
        subject: own
        for subject, own in facts.by_subject().items()
        if protocol.is_candidate(trial.protocol, own, as_of=as_of, zone=zone)
    }
    facts = _only(facts, frozenset(people), ())
    enrolled = enrolment_days(facts, trial.protocol.id, as_of)
    decisions = tuple(
        protocol.evaluate(trial.protocol, own, as_of=_assessed(as_of, enrolled.get(subject)), zone=zone)
        for subject, own in people.items()
    )
    sifted = Sifted(landed=tally.read, sieved=tally.sieved, accounts=facts.accounts)
    screening = Screening(
        as_of=as_of,
        protocol=trial.protocol.id,
        versions=versions_of(trial, landing),
        sifted=sifted,
        funnel=funnel_of(
            _patients(landing),
            facts,
            decisions,
            enrolled=frozenset(enrolled),
            diagnoses=trial.protocol.candidates.events,
            counted=trial.protocol.counts,
        ),
        facts=facts,
        decisions=decisions,
    )
    _keep(screening, workspace)
    return screening


def read_screening(workspace: Workspace) -> Screening:
    """What :func:`screen` left; raises :class:`ConfigError` if there is nothing."""
    folder = workspace.screening
    try:
        summary = wire.decode((folder / "screening.json").read_bytes(), Summary)
        tables: dict[str, Any] = {
            name: tuple(wire.read_rows(folder / "facts" / f"{name}.ndjson", row)) for name, row in _TABLES
        }
        decisions = tuple(wire.read_rows(folder / "decisions.ndjson", Decision))
    except (FileNotFoundError, msgspec.MsgspecError) as fault:
        raise ConfigError("no screening here", where=str(folder), fix="run adapter screen first") from fault
    return Screening(
        summary.as_of,
        summary.protocol,
        summary.versions,
        summary.sifted,
        summary.funnel,
        Facts(**tables),
        decisions,
    )


async def land_server(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    progress: Count = lambda done, of: None,
) -> Landing:
    """Fetch every candidate's record from a FHIR server over REST into the workspace."""
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    secret = token_for(trial, base_url)
    async with FhirClient(base_url, FixedToken(secret) if secret else None) as client:
        landing, _ = await crawl.land_server(client, query, workspace.landing, now=now, progress=progress)
    return landing


async def write_back(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: Count = lambda done, of: None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> WriteReport:
    """Tell the hospital what was decided about its candidates; people on the study are not touched."""
    screening = read_screening(workspace)
    entered = enrolment_days(screening.facts, trial.protocol.id, screening.as_of)
    secret = token_for(trial, base_url) if transport is None else None
    workspace.writeback.mkdir(parents=True, exist_ok=True)
    return await send.write_back(
        base_url,
        [decision for decision in screening.decisions if decision.subject not in entered],
        study=StudyReference(
            trial.protocol.id,
            trial.protocol.title,
            tuple(StudyArm(arm.code, arm.title) for arm in trial.protocol.study.arms),
        ),
        ledger_path=workspace.writeback / "ledger.sqlite",
        now=now,
        token=(lambda: secret.decode("ascii")) if secret else None,
        dry_run=dry_run,
        progress=progress,
        aliases={old: one.id for one in screening.facts.subjects for old in one.merged},
        transport=transport,
    )


def export_sdtm(trial: Trial, workspace: Workspace, *, key: bytes) -> ExportReport:
    """SDTM datasets of everyone who consented to the study, under ``exports/sdtm``.

    Their time stamp is the start of the screening's day on the site. Subject numbers given once are kept
    in the enrolment log of the workspace, which stays on the site.
    """
    screening = read_screening(workspace)
    log = workspace.root / "enrolment-log.json"
    numbers = SubjectNumbers.load(log)
    study = load_study(trial.folder / "sdtm.yaml")
    study = msgspec.structs.replace(
        study,
        site_id=trial.site.site_id.upper(),
        country=trial.site.country,
        laboratories=trial.site.laboratories,
        criteria=tuple(_reported(trial.protocol)),
        protocol_version=trial.protocol.version,
        parameters=(
            *study.parameters,
            *summary_of(trial.protocol.title, trial.protocol.study.enrolment),
        ),
        numbers=numbers,
        versions=screening.versions,
    )
    report = sdtm.export_sdtm(
        screening.facts,
        screening.decisions,
        study=study,
        specs=trial.mappings / "sdtm",
        target=workspace.sdtm,
        key=key,
        snapshot_time=datetime.combine(screening.as_of, time(), trial.site.zone),
    )
    numbers.with_numbers(report.subjects).save(log)
    return report


def _reported(rules: Protocol) -> Iterable[Criterion]:
    for name in rules.reported:
        criterion = rules.criterion(name)
        category: Literal["INCLUSION", "EXCLUSION"] = (
            "EXCLUSION" if criterion.kind == "exclusion" else "INCLUSION"
        )
        yield Criterion(name, criterion.text, category)


def enrolment_days(facts: Facts, study: str, as_of: date) -> dict[str, date]:
    """Day of entry of everyone who is, or was, on this study by ``as_of``.

    Entry is ResearchSubject.period.start. A status that only proposes (candidate, eligible ...) is no entry.
    """
    days: dict[str, date] = {}
    for event in facts.events:
        if (
            event.concept == "research_subject"
            and not event.excluded
            and event.presence in ("present", "past")
            and study in event.attribute("study_identifier").split()
            and event.start is not None
            and event.start.first <= as_of
        ):
            days[event.subject] = min(event.start.first, days.get(event.subject, event.start.first))
    return days


def _assessed(as_of: date, enrolled: date | None) -> date:
    """People on the study are judged as they were the day before they entered it, others as they are."""
    return as_of if enrolled is None else enrolled - timedelta(days=1)


def _only(facts: Facts, wanted: frozenset[str], issues: Iterable[Issue]) -> Facts:
    """The facts of those who were asked for: the sieve may have kept more."""
    survivors = {one.id for one in facts.subjects if wanted & {one.id, *one.merged}}
    order = sorted(
        {*facts.issues, *issues}, key=lambda one: (one.resource_type, one.reference, one.code, one.path)
    )
    return Facts(
        subjects=tuple(row for row in facts.subjects if row.id in survivors),
        findings=tuple(row for row in facts.findings if row.subject in survivors),
        events=tuple(row for row in facts.events if row.subject in survivors),
        interventions=tuple(row for row in facts.interventions if row.subject in survivors),
        issues=tuple(order),
        accounts=facts.accounts,
        coverage=facts.coverage,
    )


def _patients(landing: Landing) -> int:
    return sum(1 for _ in landing.resources(frozenset({"Patient"})))


def _keep(screening: Screening, workspace: Workspace) -> None:
    draft = workspace.screening.with_name(f".screening.partial-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "facts").mkdir(parents=True)
    for name, _ in _TABLES:
        wire.write_rows(draft / "facts" / f"{name}.ndjson", getattr(screening.facts, name))
    wire.write_rows(draft / "decisions.ndjson", screening.decisions)
    summary = Summary(
        screening.as_of, screening.protocol, screening.versions, screening.sifted, screening.funnel
    )
    (draft / "screening.json").write_bytes(wire.encode(summary))
    shutil.rmtree(workspace.screening, ignore_errors=True)
    draft.rename(workspace.screening)
