"""Visits in months, responses that nobody measured, other readings of a line: days and answers by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from adapter.errors import ProtocolError
from adapter.model.monitoring import Monitoring
from adapter.protocol import load, monitor
from tests.spec.protocol_words import ZONE, Row, facts, had, lab, vocabulary

TRIAL = """\
id: TRIAL-1
version: "1"
title: A trial
anchors:
  entry: {{event: research_subject, take: earliest}}
readings:
  protein: {{finding: urine_protein_24h, take: nearest, near: visit, from: visit_first, to: visit_last}}
  before: {{finding: urine_protein_24h, take: latest, to: entry}}
visits:
  - {{id: SCR, name: Screening, day: -14, from: -28, to: -1}}
  - {{id: M1, name: Month 1, day: 1 month, from: {first}, to: 1 month + 2 days, reading: protein}}
  - id: M24
    name: Month 24
    day: 24 months
    from: 24 months - 28 days
    to: 24 months + 4 weeks
    reading: protein
monitoring:
  day_zero: entry
  response:
    - complete: {{reading: protein, below: 0.3 g/d}}
    - relapse: {{all: [{{response: [complete, partial], at: earlier}}, {{reading: protein, above: 3.5 g/d}}]}}
    - partial: {{fall: {{from: before, to: protein}}, above: 50 %}}
      source: a paper
      alternatives:
        - name: half_is_enough
          reading: 50 % is a partial remission
          met_when: {{fall: {{from: before, to: protein}}, at_least: 50 %}}
    - none: {{fall: {{from: before, to: protein}}, at_most: 50 %}}
  endpoints:
    - {{id: REL, text: t, source: s, visit: M24, met_when: {{response: relapse}}}}
    - {{id: REM, text: t, source: s, visit: M24, met_when: {{response: [complete, partial]}}}}
    - {{id: NOT, text: t, source: s, visit: M24, met_when: {{not: {{response: [complete, partial]}}}}}}
criteria:
  - {{id: ANY, kind: inclusion, text: t, source: s, met_when: {{sex: male}}}}
"""


def followed(
    folder: Path, *rows: Row, first: str = "1 month - 2 days", entry: str = "2019-01-31"
) -> Monitoring:
    (folder / "protocol.yaml").write_text(TRIAL.format(first=first), encoding="utf-8")
    person = facts(had("research_subject", "2019-01-31", category="research-subject"), *rows)
    return monitor(load(folder, vocabulary()), person, as_of=date(2021, 6, 1), zone=ZONE)


def protein(value: str, on: str, **more: object) -> Row:
    return lab("urine_protein_24h", value, on, **more)


def test_months_are_calendar_months_and_days_may_lie_before(tmp_path: Path) -> None:
    """From 31 January a month ends on 28 February; 24 months later is 31 January 2021."""
    days = {one.visit: (str(one.target), str(one.first), str(one.last)) for one in followed(tmp_path).visits}
    assert days == {
        "SCR": ("2019-01-17", "2019-01-03", "2019-01-30"),
        "M1": ("2019-02-28", "2019-02-26", "2019-03-02"),
        "M24": ("2021-01-31", "2021-01-03", "2021-02-28"),
    }


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("2 months", "is not within"),
        ("1 month - 12 hours", "days are the finest step"),
        ("a month", "not a number of days or months"),
        ("3 days - 1 month", "months first, then days"),
    ],
)
def test_a_window_that_cannot_be_is_refused(tmp_path: Path, first: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        followed(tmp_path, first=first)


BEFORE = protein("8", "2019-01-20")
EARLY = protein("1", "2019-02-28")  # 8 -> 1 is a fall of 87.5 %: partial remission at month 1


@pytest.mark.parametrize(
    ("rows", "relapse", "remission"),
    [
        ((), "unknown", "unknown"),
        ((BEFORE,), "unknown", "unknown"),  # nobody looked at month 24
        ((BEFORE, EARLY), "unknown", "unknown"),
        ((BEFORE, EARLY, protein("5", "2021-01-20")), "met", "not_met"),
        ((BEFORE, protein("5", "2021-01-20")), "not_met", "not_met"),
        ((BEFORE, EARLY, protein("2", "2021-01-20")), "not_met", "met"),
        ((BEFORE, EARLY, protein("5", "2021-01-20", excluded="UNIT_MISSING")), "unknown", "unknown"),
        ((protein("2", "2021-01-20"),), "not_met", "unknown"),  # nothing to compare with, but measured
    ],
)
def test_what_nobody_measured_is_unknown(
    tmp_path: Path, rows: tuple[Row, ...], relapse: str, remission: str
) -> None:
    found = {one.id: one.verdict.value for one in followed(tmp_path, *rows).endpoints}
    assert (found["REL"], found["REM"]) == (relapse, remission)
    opposite = {"met": "not_met", "not_met": "met", "unknown": "unknown"}
    assert found["NOT"] == opposite[remission]


def test_another_reading_of_a_line_is_shown_beside(tmp_path: Path) -> None:
    """8 -> 4 is a fall of exactly 50 %."""
    found = followed(tmp_path, BEFORE, protein("4", "2021-01-20"))
    visit = found.visits[2]
    assert (visit.response, visit.flags) == ("none", ("READING_DIFFERS",))
    assert [(one.name, one.response) for one in visit.alternatives] == [("half_is_enough", "partial")]
    remission = next(one for one in found.endpoints if one.id == "REM")
    assert (remission.verdict.value, remission.flags) == (
        "not_met", ("BOUNDARY", "READING_DIFFERS", "half_is_enough"),
    )  # fmt: skip
    same = followed(tmp_path, BEFORE, protein("2", "2021-01-20")).visits[2]
    assert (same.response, same.flags) == ("partial", ())
