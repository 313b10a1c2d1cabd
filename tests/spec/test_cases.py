"""The worked cases of every protocol under mappings/, each by the way that hospital data goes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from adapter import assurance, config, pipeline
from adapter.model.ladder import Ladder
from adapter.protocol.case_file import Case, load_cases
from adapter.protocol.ladder_load import load_ladders

PROTOCOLS = sorted((config.product_folder("mappings") / "protocols").glob("*/cases.yaml"))


@cache
def _trial(folder: Path) -> tuple[pipeline.Trial, tuple[Ladder, ...]]:
    trial = pipeline.open_trial(folder, site="")
    return trial, load_ladders(folder, trial.vocabulary, trial.protocol)


def _cases() -> Iterator[pytest.ParameterSet]:
    for path in PROTOCOLS:
        trial, _ = _trial(path.parent)
        for case in load_cases(path, trial.protocol.questionnaire):
            yield pytest.param(path.parent, case, id=f"{trial.protocol.id} {case.name}")


CASES = tuple(_cases())


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_case(folder: Path, case: Case) -> None:
    trial, ladders = _trial(folder)
    report = assurance.check_case(trial, case, ladders)
    told = [f"{one.target}: expected {one.expected}, found {one.found}" for one in report.differences]
    assert not told, f"{report.where} {report.because}\n" + "\n".join(told)


def test_there_are_cases() -> None:
    assert len(CASES) >= 140


def test_a_case_may_be_a_whole_person_of_its_own(tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "protocol: NCT03864250\n"
        "cases:\n"
        "  - case: alone\n"
        "    change: {as_of: 2019-06-03, patient: {sex: male, birth: 1967-03-14}}\n"
        "    expect: {INCL01: met, EXCL08: false, overall: undetermined}\n",
        encoding="utf-8",
    )
    (report,) = assurance.check_cases(pipeline.open_trial(site=""), cases)
    assert not report.differences
