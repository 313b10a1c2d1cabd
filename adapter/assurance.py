"""Worked cases against the whole line: does the protocol file say what its author means by it?

An author's own examples, written as ``cases.yaml``, take the way that hospital data goes: FHIR resources,
mappers, rules. Nothing is handed to the evaluator by another door.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from adapter import mappers, protocol
from adapter.model.dates import add_days
from adapter.model.decision import Decision
from adapter.model.ladder import Ladder
from adapter.model.monitoring import LadderState, Monitoring
from adapter.pipeline import Trial, open_trial
from adapter.protocol.case_file import Case, Expectation, load_cases
from adapter.protocol.case_records import CASE_PATIENT
from adapter.protocol.ladder_load import load_ladders


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
    monitoring: Monitoring | None = None


def check_cases(trial: Trial, path: Path) -> tuple[CaseReport, ...]:
    """Run every case of a file the way hospital data goes: FHIR resources, mappers, rules.

    Raises :class:`adapter.errors.ProtocolError` for a mistake in the file itself.
    """
    ladders = load_ladders(trial.folder, trial.vocabulary, trial.protocol)
    cases = load_cases(path, trial.protocol.questionnaire)
    return tuple(check_case(trial, case, ladders) for case in cases)


def check_case(trial: Trial, case: Case, ladders: tuple[Ladder, ...]) -> CaseReport:
    """Run one case as :func:`check_cases` does; ``ladders`` are those of the trial's protocol."""
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
    own, zone = facts.of(subject), trial.site.zone
    judged = case.as_of if case.randomised is None else add_days(case.randomised, -1)
    decision = protocol.evaluate(trial.protocol, own, as_of=judged, zone=zone)
    watched = None
    if case.randomised is not None:
        watched = protocol.monitor(trial.protocol, own, as_of=case.as_of, zone=zone, ladders=ladders)
    told = _told(decision, watched)
    differences = tuple(found for wanted in case.expected if (found := _difference(wanted, told)))
    return CaseReport(case.name, case.where, case.because, decision, differences, watched)


def _told(decision: Decision, watched: Monitoring | None) -> dict[str, tuple[str, frozenset[str]]]:
    """Everything an expectation may name, with its word and its flags."""
    results = [*decision.criteria]
    told = {
        "overall": (decision.overall.value, frozenset[str]()),
        "review": (str(decision.review).lower(), frozenset[str]()),
    }
    if watched is not None:
        results += [*watched.endpoints, *watched.exits, *watched.doses, *watched.safety, *watched.deviations]
        told |= {f"visit {one.visit}": (one.response, frozenset()) for one in watched.visits}
        told |= {f"due {one.id}": (one.status, frozenset()) for one in watched.due}
        told |= {f"ladder {one.ladder}": (one.state, _flags(one)) for one in watched.ladders}
    for top in results:
        told |= {one.id: (one.verdict.value, frozenset(one.flags)) for one in top.walk()}
    return told


def _flags(ladder: LadderState) -> frozenset[str]:
    overdue = ("OVERDUE",) if ladder.overdue else ()
    return frozenset((*ladder.flags, *overdue, *(flag for step in ladder.steps for flag in step.flags)))


def _difference(wanted: Expectation, told: dict[str, tuple[str, frozenset[str]]]) -> Difference | None:
    if wanted.target not in told:
        return Difference(wanted.target, wanted.verdict, "no such criterion")
    found, flags = told[wanted.target]
    missing = wanted.flags - flags
    unwanted = wanted.absent_flags & flags
    if found == wanted.verdict and not missing and not unwanted:
        return None
    signs = [*sorted(wanted.flags), *(f"-{flag}" for flag in sorted(wanted.absent_flags))]
    return Difference(wanted.target, _words(wanted.verdict, signs), _words(found, sorted(flags)))


def _words(verdict: str, flags: Iterable[str]) -> str:
    shown = ", ".join(flags)
    return f"{verdict} [{shown}]" if shown else verdict
