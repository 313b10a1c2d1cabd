"""Worked cases against the whole line: does the protocol file say what its author means by it?

An author's own examples, written as ``cases.yaml``, take the way that hospital data goes: FHIR resources,
mappers, rules. Nothing is handed to the evaluator by another door.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from adapter import mappers, protocol
from adapter.model.decision import Decision
from adapter.pipeline import Trial, open_trial
from adapter.protocol.case_file import Case, Expectation, load_cases
from adapter.protocol.case_records import CASE_PATIENT


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
