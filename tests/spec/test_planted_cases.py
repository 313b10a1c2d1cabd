"""Verdicts on the synthetic hospital equal the truth file that its plan wrote.

The truth says, per planted person, the overall verdict, the criteria that the plan determines and flags that
must be shown. It is written without any evaluator; a criterion it leaves out is not judged here.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from adapter import pipeline
from adapter.demo import hospital
from adapter.model.decision import Decision

AS_OF = date(2019, 6, 3)
Truth = dict[str, Any]


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> tuple[pipeline.Screening, list[Truth]]:
    root: Path = tmp_path_factory.mktemp("planted")
    made = hospital.generate(root / "hospital" / "fhir")
    workspace = pipeline.Workspace(root / "work")
    pipeline.land(made.folder, workspace, now=datetime(2019, 6, 3, tzinfo=UTC))
    done = pipeline.screen(pipeline.open_trial(), workspace, as_of=AS_OF)
    lines = made.truth.read_text(encoding="utf-8").splitlines()
    return done, [truth for truth in map(json.loads, lines) if truth["story"] != "noise"]


def differences(decision: Decision, truth: Truth) -> list[str]:
    found = []
    if decision.overall.value != truth["overall"]:
        found.append(f"overall: planned {truth['overall']}, found {decision.overall.value}")
    for name, verdict in truth["criteria"].items():
        if (got := decision.criterion(name)).verdict.value != verdict:
            found.append(f"{name}: planned {verdict}, found {got.verdict.value} ({got.reason})")
    for name, flags in truth["flags"].items():
        if missing := set(flags) - set(decision.criterion(name).flags):
            found.append(f"{name}: planned {sorted(missing)} among {list(decision.criterion(name).flags)}")
    return found


def test_every_planted_verdict(screened: tuple[pipeline.Screening, list[Truth]]) -> None:
    done, truths = screened
    decisions = {decision.subject: decision for decision in done.decisions}
    told = []
    for truth in truths:
        decision = decisions.get(truth["patient"])
        wrong = ["was never judged"] if decision is None else differences(decision, truth)
        told += [f"{truth['patient']} {truth['story']} ({truth['planted']}): {line}" for line in wrong]
    assert not told, f"{len(told)} differences\n" + "\n".join(told)


def test_people_on_the_study_are_judged_as_of_the_day_before_they_entered(
    screened: tuple[pipeline.Screening, list[Truth]],
) -> None:
    done, truths = screened
    as_of = {decision.subject: decision.as_of.isoformat() for decision in done.decisions}
    planned = {truth["patient"]: truth["as_of"] for truth in truths if truth["enrolled"]}
    assert len(planned) == done.funnel.enrolled
    assert {subject: as_of[subject] for subject in planned} == planned


def test_the_numbers_add_up(screened: tuple[pipeline.Screening, list[Truth]]) -> None:
    done, _ = screened
    funnel = done.funnel
    assert done.sifted.balanced
    assert funnel.candidates == funnel.eligible + funnel.undetermined + funnel.ineligible
    assert funnel.patients >= funnel.suspected >= funnel.coded >= 80


def test_no_verdict_without_evidence(screened: tuple[pipeline.Screening, list[Truth]]) -> None:
    done, _ = screened
    bare = [
        (decision.subject, result.id)
        for decision in done.decisions
        for top in decision.criteria
        for result in top.walk()
        if result.verdict.value != "unknown"
        and not any(row.role == "used" for child in result.walk() for row in child.evidence)
    ]
    assert not bare
