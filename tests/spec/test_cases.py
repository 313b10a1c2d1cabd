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
