"""Screening: from landed bytes to a decision for every candidate; only whom a change touches is judged anew.

A decision is a pure function of the person's own facts (coverage rows included), the rules, the day and the
time zone: :func:`adapter.protocol.evaluate_candidate` sees nothing else. So the former decision stands if all
of these are the same bytes, and is worked out again otherwise. Facts are compared as mapped: they carry the
hash of the resource they were read from, and what a Medication or a merged record lends them.

The as-of day is always one of these things: rules look back from it, so that a verdict may change by time
alone. What is left under ``screening/`` is the same, byte for byte, whether decisions were reused or not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from adapter import attestations, mappers, protocol
from adapter import certificate as certificates
from adapter.errors import ConfigError
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model import wire
from adapter.model.certificate import Certificate
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.facts import Account, Event, Facts, Finding, Intervention, Subject
from adapter.model.funnel import Funnel, Sifted, funnel_of
from adapter.model.issue import Issue
from adapter.source.landing import Landing, Tally, open_landing
from adapter.trial import Trial, Workspace, versions_of

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


class Screening(msgspec.Struct, frozen=True):
    """What one screening found; ``facts`` holds candidates only.

    ``reused`` counts people whose former decision still stood; it is not kept on disk, where nothing tells a
    reused decision from a new one.
    """

    as_of: date
    protocol: str
    versions: dict[str, str]
    sifted: Sifted
    funnel: Funnel
    facts: Facts
    decisions: tuple[Decision, ...]
    reused: int = 0


class Summary(msgspec.Struct, frozen=True):
    """``screening.json``: everything about a screening but its rows."""

    as_of: date
    protocol: str
    versions: dict[str, str]
    sifted: Sifted
    funnel: Funnel


class Basis(msgspec.Struct, frozen=True):
    """What one person's decision rests on: ``digest`` of everything it depends on, and of itself.

    ``decision`` is the SHA-256 of the decision's row; "" for a person nominated and found to be no candidate.
    """

    subject: str
    digest: str
    decision: str


def screen(
    trial: Trial,
    workspace: Workspace,
    *,
    as_of: date,
    full: bool = False,
    progress: Progress = lambda _: None,
) -> Screening:
    """From the landed bytes to a decision for every candidate, left under ``screening/``.

    Answers that people gave on our own pages are read beside what was landed. With ``full`` no former
    decision is reused; the result is the same bytes.
    """
    landing = open_landing(workspace.landing)
    progress("looking for candidates")
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    nominated = landing.candidates(query)
    progress(f"reading the records of {len(nominated.ids)} candidates")
    tally = Tally()
    resources = landing.resources(candidates=nominated.ids, tally=tally)
    answers = attestations.own_answers(workspace, trial.protocol.questionnaire)
    asked = [one for one in answers if attestations.about(one) in nominated.ids]
    facts = mappers.map_resources(
        chain(resources, asked),
        terminology=trial.terminology,
        zone=trial.site.zone,
        coverage=landing.coverage,
        options=trial.site.options,
    )
    tally.read, tally.given = tally.read + len(answers), tally.given + len(asked)
    facts = _only(facts, nominated.ids, (*landing.issues, *nominated.issues))
    certificate = certificates.certificate_of(trial, landing)
    versions = {**versions_of(trial, landing), "coverage_sha256": certificates.sha256_of(certificate)}
    if answers:
        versions["attestations_sha256"] = attestations.sha256_of(answers)
    enrolled = enrolment_days(facts, trial.protocol.id, as_of)
    former = {} if full else _former(workspace)
    decisions, basis, reused = _decide(trial, facts, enrolled, as_of, versions, former)
    progress(f"{len(basis) - reused} people evaluated, {reused} unchanged since the last screening")
    people = frozenset(decision.subject for decision in decisions)
    facts = _only(facts, people, ())
    screening = Screening(
        as_of=as_of,
        protocol=trial.protocol.id,
        versions=versions,
        sifted=Sifted(landed=tally.read, sieved=tally.sieved, accounts=facts.accounts),
        funnel=funnel_of(
            _patients(landing),
            facts,
            decisions,
            enrolled=people & enrolled.keys(),
            diagnoses=trial.protocol.candidates.events,
            counted=trial.protocol.counts,
        ),
        facts=facts,
        decisions=decisions,
        reused=reused,
    )
    _keep(screening, basis, certificate, workspace)
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


Former = Mapping[str, tuple[Basis, Decision | None]]


def _decide(
    trial: Trial,
    facts: Facts,
    enrolled: Mapping[str, date],
    as_of: date,
    versions: Mapping[str, str],
    former: Former,
) -> tuple[tuple[Decision, ...], tuple[Basis, ...], int]:
    """Decisions of the candidates, what each person's rests on, and how many were taken from before."""
    rules = _rules(trial, versions)
    decisions: list[Decision] = []
    basis: list[Basis] = []
    reused = 0
    for subject, own in facts.by_subject().items():
        assessed = _assessed(as_of, enrolled.get(subject))
        digest = _sha256(rules, f"{as_of} {assessed}\n".encode(), wire.encode(_decisive(own)))
        before = former.get(subject)
        if before is not None and before[0].digest == digest:
            decision = before[1]
            reused += 1
        else:
            decision = protocol.evaluate_candidate(
                trial.protocol, own, as_of=as_of, assessed=assessed, zone=trial.site.zone
            )
        basis.append(Basis(subject, digest, _sha256(wire.encode(decision)) if decision else ""))
        decisions += [decision] if decision else []
    return tuple(decisions), tuple(basis), reused


def _decisive(own: Facts) -> Facts:
    """Without issues: no rule reads them, and some name a line number that shifts with the landing."""
    return msgspec.structs.replace(own, issues=())


def _assessed(as_of: date, enrolled: date | None) -> date:
    """People on the study are judged as they were the day before they entered it, others as they are."""
    return as_of if enrolled is None else enrolled - timedelta(days=1)


def _rules(trial: Trial, versions: Mapping[str, str]) -> bytes:
    """Everything a decision depends on that is the same for all people, the program itself included."""
    names = ("protocol_sha256", "mappings_sha256", "software_sha256")
    return "".join(f"{versions[name]}\n" for name in names).encode() + f"{trial.site.zone.key}\n".encode()


def _former(workspace: Workspace) -> Former:
    """The last screening's decisions and what they rest on; what is not consistent is not reused."""
    folder = workspace.screening
    try:
        rows = {row.subject: row for row in wire.read_rows(folder / "basis.ndjson", Basis)}
        decisions = {row.subject: row for row in wire.read_rows(folder / "decisions.ndjson", Decision)}
    except (FileNotFoundError, msgspec.MsgspecError):
        return {}
    found: dict[str, tuple[Basis, Decision | None]] = {}
    for subject, row in rows.items():
        decision = decisions.get(subject)
        if row.decision == (_sha256(wire.encode(decision)) if decision else ""):
            found[subject] = row, decision
    return found


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


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


def _keep(
    screening: Screening, basis: Iterable[Basis], certificate: Certificate, workspace: Workspace
) -> None:
    draft = workspace.screening.with_name(f".screening.partial-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "facts").mkdir(parents=True)
    for name, _ in _TABLES:
        wire.write_rows(draft / "facts" / f"{name}.ndjson", getattr(screening.facts, name))
    wire.write_rows(draft / "decisions.ndjson", screening.decisions)
    wire.write_rows(draft / "basis.ndjson", basis)
    certificates.keep(certificate, draft)
    summary = Summary(
        screening.as_of, screening.protocol, screening.versions, screening.sifted, screening.funnel
    )
    (draft / "screening.json").write_bytes(wire.encode(summary))
    _swap(draft, workspace.screening)


def _swap(draft: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
