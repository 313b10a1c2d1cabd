"""The page that reads like the flow: land, sieve, map, decide, write back, export.

Only this file and ``screening`` (with ``web`` and ``cli``) join the rooms. Each step takes what the step
before left in the workspace and leaves its own result there, whole or not at all, so any step can be run
again alone and the same input leaves the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, time
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
import msgspec

from adapter import protocol
from adapter.exports import profile as profiles
from adapter.exports import sdtm, snapshots
from adapter.exports.adam import build as adam
from adapter.exports.adam.package import write_adam
from adapter.exports.lineage import renamed, traces_of, write_traces
from adapter.exports.package import ExportReport
from adapter.exports.pseudonym import Pseudonymiser, SubjectNumbers
from adapter.exports.sequence import SequenceLog
from adapter.exports.spec import load_specs
from adapter.exports.study import Arm, Criterion, StudyConfig, load_study
from adapter.exports.trial_design import summary_of
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.monitoring import Monitoring
from adapter.model.protocol import Protocol
from adapter.protocol.ladder_load import load_ladders
from adapter.screening import Screening, enrolment_days, read_screening, screen
from adapter.source import crawl
from adapter.source import reread as rereading
from adapter.source import sync as syncing
from adapter.source.client import Announced, FhirClient
from adapter.source.dialects import named
from adapter.source.landing import Landing, land_folder
from adapter.source.reread import Reread
from adapter.source.sync import SyncReport
from adapter.trial import (
    Trial,
    Workspace,
    network,
    open_store,
    open_trial,
    origins_of,
    token_source,
)
from adapter.writeback import send
from adapter.writeback.research_study import StudyArm, StudyReference
from adapter.writeback.send import Ladder, WriteReport

__all__ = [
    "Screening",
    "Trial",
    "Workspace",
    "enrolment_days",
    "export",
    "export_sdtm",
    "land",
    "land_server",
    "open_trial",
    "read_screening",
    "reread",
    "screen",
    "sync",
    "write_back",
]

Count = Callable[[int, int], None]


def land(source: Path, workspace: Workspace, *, now: datetime) -> Landing:
    """Copy a Bulk Data folder into the workspace as it is, with hashes and coverage."""
    return land_folder(source, workspace.landing, now=now)


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
    async with _client(trial, base_url) as client:
        landing, _ = await crawl.land_server(client, query, workspace.landing, now=now, progress=progress)
    return landing


async def sync(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    full: bool = False,
    progress: Count = lambda done, of: None,
) -> tuple[Landing, SyncReport]:
    """Bring what :func:`land_server` left up to date; with ``full`` everything is read anew."""
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    async with _client(trial, base_url) as client:
        return await syncing.sync(client, query, workspace.landing, now=now, full=full, progress=progress)


async def reread(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    references: Iterable[str],
    *,
    now: datetime,
    announced: Announced | None = None,
) -> Reread | None:
    """Bring up to date only what these resources touch; None where it takes :func:`sync`."""
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    async with _client(trial, base_url) as client:
        return await rereading.reread(
            client, query, workspace.landing, references, now=now, announced=announced
        )


def _client(trial: Trial, base_url: str) -> FhirClient:
    return FhirClient(
        base_url,
        token_source(trial, base_url),
        origins=origins_of(trial.site, base_url),
        ca_file=trial.site.ca_file,
        dialect=named(trial.site.dialect),
    )


async def write_back(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: Count = lambda done, of: None,
    transport: httpx.AsyncBaseTransport | None = None,
    own: httpx.AsyncBaseTransport | None = None,
) -> WriteReport:
    """Tell the hospital what was decided about its candidates; people on the study are not touched.

    ``own`` leads into our own FHIR endpoint, for a site whose ``rungs`` name it."""
    screening = read_screening(workspace)
    entered = enrolment_days(screening.facts, trial.protocol.id, screening.as_of)
    token = token_source(trial, base_url) if transport is None else None
    with open_store(workspace, now) as database:
        return await send.write_back(
            base_url,
            [decision for decision in screening.decisions if decision.subject not in entered],
            study=StudyReference(
                trial.protocol.id,
                trial.protocol.title,
                tuple(StudyArm(arm.code, arm.title) for arm in trial.protocol.study.arms),
            ),
            database=database,
            now=now,
            token=token,
            dry_run=dry_run,
            progress=progress,
            aliases={old: one.id for one in screening.facts.subjects for old in one.merged},
            transport=transport or network(trial, base_url),
            ladder=ladder_of(trial, workspace, own),
        )


def ladder_of(trial: Trial, workspace: Workspace, own: httpx.AsyncBaseTransport | None = None) -> Ladder:
    """How this site may be told."""
    return Ladder(trial.site.rungs, trial.site.approval, own, workspace.writeback)


class Exported(NamedTuple):
    """What was written for the sponsor or for research."""

    sdtm: ExportReport
    adam: ExportReport


def export_sdtm(trial: Trial, workspace: Workspace, *, key: bytes) -> ExportReport:
    """:func:`export` for the sponsor, told as far as SDTM goes."""
    return export(trial, workspace, key=key).sdtm


def export(
    trial: Trial, workspace: Workspace, *, key: bytes, profile: profiles.Profile = "sponsor"
) -> Exported:
    """SDTM datasets of everyone who consented to the study, and ADaM made of them, under ``exports``.

    Their time stamp is the start of the screening's day on the site. Subject numbers given once are kept
    in the enrolment log of the workspace, and --SEQ in the sequence log beside it; both stay on the site.
    Both are also kept as one snapshot, and the lineage of their rows beside it, outside of ``exports``.
    """
    screening = read_screening(workspace)
    log = workspace.root / "enrolment-log.json"
    numbers = SubjectNumbers.load(log)
    given = workspace.root / "sequence-log.json"
    study = _study(trial, screening, numbers)
    snapshot_time = datetime.combine(screening.as_of, time(), trial.site.zone)
    followed = _followed(trial, screening)
    specs, analyses = load_specs(trial.mappings / "sdtm"), adam.load_specs(trial.mappings / "adam")
    built = sdtm.build_sdtm(
        screening.facts,
        screening.decisions,
        study=study,
        specs=specs,
        key=key,
        snapshot_time=snapshot_time,
        followed=followed,
        sequences=SequenceLog.load(given),
    )
    analysed = adam.build_adam(built, followed, protocol=trial.protocol, study=study, specs=analyses)
    subjects = built.subjects
    pseudonyms = Pseudonymiser(study.study_id, study.site_id, key)
    if profile == "research":
        people = profiles.disguises(pseudonyms, subjects)
        seen = profiles.disguised(built.datasets, people, pseudonyms)
        built = msgspec.structs.replace(built, datasets=seen)
        analyses_seen = profiles.disguised(analysed.datasets, people, pseudonyms)
        analysed = msgspec.structs.replace(analysed, datasets=analyses_seen)
    report = sdtm.write_sdtm(
        built,
        screening.decisions,
        study=study,
        specs=specs,
        folder=trial.mappings / "sdtm",
        target=workspace.exports(profile, "sdtm"),
        snapshot_time=snapshot_time,
        profile=profile,
        key=key,
    )
    analysis = write_adam(
        analysed,
        built.datasets,
        study=study,
        specs=analyses,
        folder=trial.mappings / "adam",
        target=workspace.exports(profile, "adam"),
        snapshot_time=snapshot_time,
        profile=profile,
    )
    built.sequences.save(given)
    numbers.with_numbers(subjects).save(log)
    report = msgspec.structs.replace(report, sequences=built.sequences)
    traces = traces_of(report.origins, screening.facts, report.subjects, pseudonyms)
    if profile == "research":
        traces = renamed(traces, {name: one.usubjid for name, one in people.items()}, pseudonyms)
    kept = snapshots.keep(report.target, workspace.snapshots, {"adam": analysis.target})
    write_traces(traces, workspace.lineage_of(kept.id))
    return Exported(msgspec.structs.replace(report, snapshot=kept.id), analysis)


def _study(trial: Trial, screening: Screening, numbers: SubjectNumbers) -> StudyConfig:
    study = load_study(trial.folder / "sdtm.yaml")
    return msgspec.structs.replace(
        study,
        arms=tuple(_known_as(arm, trial.protocol) for arm in study.arms),
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


def _known_as(arm: Arm, rules: Protocol) -> Arm:
    """The arm with the names that the protocol file knows for it too."""
    named = (one for one in rules.study.arms if one.code == arm.code)
    more = tuple(name for one in named for name in (one.title, *one.aliases))
    return msgspec.structs.replace(arm, aliases=(*arm.aliases, *more))


def _followed(trial: Trial, screening: Screening) -> tuple[Monitoring, ...]:
    """What the protocol says of those on the study by the day of the screening, from the same facts."""
    enrolled = enrolment_days(screening.facts, trial.protocol.id, screening.as_of)
    ladders = load_ladders(trial.folder, trial.vocabulary, trial.protocol)
    return tuple(
        protocol.monitor(trial.protocol, own, as_of=screening.as_of, zone=trial.site.zone, ladders=ladders)
        for subject, own in screening.facts.by_subject().items()
        if subject in enrolled
    )


def _reported(rules: Protocol) -> Iterable[Criterion]:
    for name in rules.reported:
        criterion = rules.criterion(name)
        category: Literal["INCLUSION", "EXCLUSION"] = (
            "EXCLUSION" if criterion.kind == "exclusion" else "INCLUSION"
        )
        yield Criterion(name, criterion.text, category)
