"""The coverage certificate tells what was lost from what was never offered, in both languages."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from adapter import certificate
from adapter.model.certificate import Certificate
from adapter.model.coverage import Coverage
from adapter.source.landing import LandingWriter, open_landing
from adapter.trial import open_trial

DAY = date(2019, 6, 3)
ROWS = (
    Coverage("Condition", True, "a", end=DAY, reason="searched"),
    Coverage("Condition", False, "b", reason="PAGING_EXPIRED"),
    Coverage("Observation", False, "a", reason="searched by category only: laboratory", limited=True),
    Coverage("Procedure", False, reason="FILE_MISSING"),
    Coverage("Specimen", True, end=DAY, reason="bulk export"),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    target: Path = tmp_path_factory.mktemp("landed") / "landing"
    with LandingWriter(target) as writer:
        writer.write("Patient", b'{"resourceType":"Patient","id":"a"}')
        writer.finish(now=datetime(2019, 6, 3, tzinfo=UTC), asked={"kind": "rest"}, coverage=ROWS)
    return certificate.certificate_of(open_trial(), open_landing(target))


def test_people_of_whom_something_was_lost_are_counted(drawn: Certificate) -> None:
    lost = {one.resource_type: (one.lost, len(one.incomplete)) for one in drawn.types}
    assert lost == {
        "Condition": (1, 1),
        "Observation": (0, 1),
        "Patient": (0, 0),
        "Procedure": (1, 1),
        "Specimen": (0, 0),
    }


@pytest.mark.parametrize(
    ("language", "kind", "said"),
    [
        ("en", "Condition", "unknown for 1, since something asked for did not come"),
        ("en", "Observation", "decides within what was asked for and offered"),
        ("en", "Procedure", "unknown: something asked for did not come"),
        ("en", "Specimen", "decides"),
        ("zh", "Condition", "1 人未知：请求的部分记录未取得"),
        ("zh", "Observation", "在已请求且可提供的范围内可用于判定"),
        ("zh", "Procedure", "未知：请求的部分记录未取得"),
        ("zh", "Specimen", "可用于判定"),
    ],
)
def test_the_page_says_so(drawn: Certificate, language: certificate.Language, kind: str, said: str) -> None:
    [line] = [one for one in certificate.page(drawn, language).splitlines() if one.startswith(f"| {kind} |")]
    assert line.endswith(f"| {said} |")


def test_a_landing_written_before_the_word_existed_is_on_the_safe_side() -> None:
    assert Coverage("Observation", False, "a", reason="searched by category only: laboratory").lost
