"""The worked cases of every protocol under mappings/, each by the way that hospital data goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter import assurance, config, pipeline

PROTOCOLS = sorted((config.product_folder("mappings") / "protocols").glob("*/cases.yaml"))


def _reports() -> list[assurance.CaseReport]:
    return [
        report
        for cases in PROTOCOLS
        for report in assurance.check_cases(pipeline.open_trial(cases.parent, site=""), cases)
    ]


@pytest.mark.parametrize("report", _reports(), ids=lambda report: f"{report.decision.protocol} {report.case}")
def test_case(report: assurance.CaseReport) -> None:
    told = [f"{one.target}: expected {one.expected}, found {one.found}" for one in report.differences]
    assert not told, f"{report.where} {report.because}\n" + "\n".join(told)


def test_there_are_cases(tmp_path: Path) -> None:
    assert len(_reports()) >= 140


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
