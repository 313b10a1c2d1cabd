"""The page that reads like the flow: land, sieve, map, decide, write back, export.

Only this file (with ``web`` and ``cli``) joins the rooms. Each step takes what the step before left in the
workspace and leaves its own result there, whole or not at all, so any step can be run again alone and the
same input leaves the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapter import config, mappers, protocol
from adapter.errors import ConfigError
from adapter.mappers.terminology import Terminology
from adapter.mappers.vocabulary import candidate_query, vocabulary_of
from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.facts import Account, Event, Facts, Finding, Intervention, Subject
from adapter.model.funnel import Funnel, Sifted, funnel_of
from adapter.model.issue import Issue
from adapter.model.protocol import Protocol, Vocabulary
from adapter.protocol.case_file import Case, Expectation, load_cases
from adapter.protocol.case_records import CASE_PATIENT
from adapter.source.landing import Landing, Tally, land_folder, open_landing

Progress = Callable[[str], None]

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


class Trial(NamedTuple):
    """One protocol at one site, loaded and checked: what every step needs to know."""

    folder: Path
    mappings: Path
    site: config.Site
    terminology: Terminology
    vocabulary: Vocabulary
    protocol: Protocol


class Workspace(NamedTuple):
    """Where the steps leave their results."""

    root: Path

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def screening(self) -> Path:
        return self.root / "screening"

    @property
    def writeback(self) -> Path:
        return self.root / "writeback"

    @property
    def sdtm(self) -> Path:
        return self.root / "exports" / "sdtm"


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


def open_trial(folder: Path | None = None, site: str = "demo", mappings: Path | None = None) -> Trial:
    """Load site, terminology and protocol; raises with file, line and fix if any of them is wrong.

    ``site`` may be "": then no local codes apply and dates are read in the default time zone.
    """
    mappings = mappings or config.product_folder("mappings")
    folder = folder or mappings / "protocols" / "NCT03864250"
    terminology = Terminology.load(mappings, site or None)
    vocabulary = vocabulary_of(terminology)
    return Trial(
        folder=folder,
        mappings=mappings,
        site=config.load_site(mappings, site) if site else config.Site(name="no site", site_id="none"),
        terminology=terminology,
        vocabulary=vocabulary,
        protocol=protocol.load(folder, vocabulary),
    )


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
    enrolled = enrolment_days(facts, trial.protocol.id, as_of)
    decisions = tuple(
        protocol.evaluate(
            trial.protocol, own, as_of=_assessed(as_of, enrolled.get(subject)), zone=trial.site.zone
        )
        for subject, own in facts.by_subject().items()
    )
    sifted = Sifted(landed=tally.read, sieved=tally.sieved, accounts=facts.accounts)
    screening = Screening(
        as_of=as_of,
        protocol=trial.protocol.id,
        versions=_versions(trial, landing),
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


class Difference(msgspec.Struct, frozen=True):
    """One expectation of a worked case that did not come true."""

    target: str
    expected: str
    found: str


class CaseReport(msgspec.Struct, frozen=True):
    """A worked case, what came out, and where that differs from what is right."""

    case: str
    where: str
    because: str
    decision: Decision
    differences: tuple[Difference, ...]


def check_cases(trial: Trial, path: Path) -> tuple[CaseReport, ...]:
    """Run every case of a file the way hospital data goes: FHIR resources, mappers, rules.

    Raises :class:`adapter.errors.ProtocolError` for a mistake in the file itself.
    """
    return tuple(_check_case(trial, case) for case in load_cases(path, trial.protocol.questionnaire))


def _check_case(trial: Trial, case: Case) -> CaseReport:
    if case.site:
        trial = open_trial(trial.folder, case.site, trial.mappings)
    facts = mappers.map_resources(
        case.resources,
        terminology=trial.terminology,
        zone=trial.site.zone,
        coverage=case.coverage,
        options=trial.site.options,
    )
    subject = next(one.id for one in facts.subjects if CASE_PATIENT in (one.id, *one.merged))
    decision = protocol.evaluate(trial.protocol, facts.of(subject), as_of=case.as_of, zone=trial.site.zone)
    differences = tuple(found for wanted in case.expected if (found := _difference(wanted, decision)))
    return CaseReport(case.name, case.where, case.because, decision, differences)


def _difference(wanted: Expectation, decision: Decision) -> Difference | None:
    flags: frozenset[str] = frozenset()
    if wanted.target == "overall":
        found = decision.overall.value
    elif wanted.target == "review":
        found = str(decision.review).lower()
    else:
        try:
            result = decision.criterion(wanted.target)
        except KeyError:
            return Difference(wanted.target, wanted.verdict, "no such criterion")
        found, flags = result.verdict.value, frozenset(result.flags)
    missing = wanted.flags - flags
    unwanted = wanted.absent_flags & flags
    if found == wanted.verdict and not missing and not unwanted:
        return None
    signs = [*sorted(wanted.flags), *(f"-{flag}" for flag in sorted(wanted.absent_flags))]
    return Difference(wanted.target, _words(wanted.verdict, signs), _words(found, sorted(flags)))


def _words(verdict: str, flags: Iterable[str]) -> str:
    shown = ", ".join(flags)
    return f"{verdict} [{shown}]" if shown else verdict


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


def _versions(trial: Trial, landing: Landing) -> dict[str, str]:
    """What the verdicts depend on besides the people: hashes of rules, mappings and landed files."""
    files = hashlib.sha256()
    for file in landing.manifest.files:
        files.update(f"{file.name} {file.sha256}\n".encode())
    return {
        "protocol": f"{trial.protocol.id} {trial.protocol.version}",
        "protocol_sha256": hashlib.sha256((trial.folder / "protocol.yaml").read_bytes()).hexdigest(),
        "mappings_sha256": _digest(
            trial.mappings, ("*.csv", "*.yaml", "codes/*.csv", f"sites/{trial.site.site_id}/*")
        ),
        "landing_sha256": files.hexdigest(),
    }


def _digest(folder: Path, patterns: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        digest.update(
            f"{path.relative_to(folder).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()


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
