"""Days that a protocol finds in the record: the first or last start or end of something; by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.decision import CriterionResult
from adapter.model.facts import Coding, Source
from adapter.protocol import evaluate, load
from tests.spec.protocol_words import SCREENING, ZONE, Row, facts, had, lab, took, vocabulary
from tests.spec.test_why import shown

PROTOCOL = """\
id: TRIAL-1
version: "1"
title: A trial
anchors:
  screening: {{as_of: true}}
  birth: {{birth: true}}
  point: {}
readings:
  first: {{finding: urine_protein_24h, take: earliest}}
criteria:
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
    met_when: {{date: point, before: 2030-01-01}}
"""


def found(folder: Path, anchor: str, *rows: Row) -> CriterionResult:
    (folder / "protocol.yaml").write_text(PROTOCOL.format(anchor), encoding="utf-8")
    protocol = load(folder, vocabulary())
    return evaluate(protocol, facts(*rows), as_of=SCREENING, zone=ZONE).criterion("RULE")


def on(folder: Path, anchor: str, *rows: Row) -> str:
    """The day that the anchor is, or ``unknown``."""
    result = found(folder, anchor, *rows)
    return result.reason.removesuffix(" before 2030-01-01") if result.verdict.value == "met" else "unknown"


BIOPSIES = [
    had("kidney_biopsy", "2018-03-01", "2018-03-02", presence="past"),
    had("kidney_biopsy", "2019-04-15", "2019-04-16", presence="past"),
]


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("{event: kidney_biopsy}", "2019-04-15"),  # the latest, if nothing else is said
        ("{event: kidney_biopsy, take: latest}", "2019-04-15"),
        ("{event: kidney_biopsy, take: earliest}", "2018-03-01"),
        ("{event: kidney_biopsy, edge: end}", "2019-04-16"),
        ("{event: kidney_biopsy, take: earliest, edge: end}", "2018-03-02"),
    ],
)
def test_the_day_of_an_event(tmp_path: Path, anchor: str, expected: str) -> None:
    assert on(tmp_path, anchor, *BIOPSIES) == expected
    assert on(tmp_path, anchor, *reversed(BIOPSIES)) == expected


LATER = had("kidney_biopsy", "2019-05-20", "2019-05-20")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (LATER, "2019-05-20"),
        (replace(LATER, presence="past"), "2019-05-20"),
        # rows that do not count
        (replace(LATER, excluded="ENTERED_IN_ERROR"), "2019-04-15"),
        (replace(LATER, use="SUPP"), "2019-04-15"),
        (replace(LATER, use="NEVER"), "2019-04-15"),
        (replace(LATER, presence="refuted"), "2019-04-15"),
        (replace(LATER, presence="unconfirmed"), "2019-04-15"),
        (replace(LATER, start=None), "2019-04-15"),
        # what is planned has not been; today has
        (had("kidney_biopsy", "2019-06-04"), "2019-04-15"),
        (had("kidney_biopsy", "2019-06-03"), "2019-06-03"),
        # known to the month
        (had("kidney_biopsy", "2019-05"), "2019-05-01..2019-05-31"),
    ],
)
def test_which_events_count_for_a_day(tmp_path: Path, row: Row, expected: str) -> None:
    assert on(tmp_path, "{event: kidney_biopsy}", *BIOPSIES, row) == expected


def test_an_event_of_one_kind(tmp_path: Path) -> None:
    open_, needle = (
        replace(row, attributes=(("approach", approach),))
        for row, approach in zip(BIOPSIES, ("open", "needle guided"), strict=True)
    )
    assert on(tmp_path, "{event: kidney_biopsy, having: {approach: open}}", open_, needle) == "2018-03-01"
    assert on(tmp_path, "{event: kidney_biopsy, having: {approach: needle}}", open_, needle) == "2019-04-15"
    assert on(tmp_path, "{event: kidney_biopsy, having: {approach: laser}}", open_, needle) == "unknown"


def test_the_record_that_says_the_day_is_shown(tmp_path: Path) -> None:
    row = replace(LATER, code=Coding("", "7246002", "Kidney biopsy"))
    [item] = found(tmp_path, "{event: kidney_biopsy}", row).evidence
    assert (item.role, item.concept, item.when) == ("used", "kidney_biopsy", "2019-05-20")
    assert (item.original, item.value) == ("Kidney biopsy", "present")
    assert item.compared == "2019-05-20 before 2030-01-01"
    [item] = found(tmp_path, "{event: kidney_biopsy}", replace(row, code=Coding("", "7246002"))).evidence
    assert item.original == "7246002"
    drug = took("tacrolimus", "2019-03-01", code=Coding("", "386975001", "Prograf"))
    [item] = found(tmp_path, "{exposure: {drug: tacrolimus}}", drug).evidence
    assert (item.role, item.concept, item.when) == ("used", "tacrolimus", "2019-03-01")
    assert (item.original, item.value) == ("Prograf", "statement")
    [item] = found(tmp_path, "{birth: true}").evidence
    assert (item.source.reference, item.concept) == ("Patient/p", "birthDate")
    reading = lab("urine_protein_24h", "9", "2019-05-10")
    assert shown(found(tmp_path, "{reading: first}", reading)) == [
        "used 2019-05-10 9 g/d: 2019-05-10 before 2030-01-01"
    ]


COURSES = [took("tacrolimus", "2019-01-01", "2019-01-31"), took("tacrolimus", "2019-03-01", "2019-03-31")]


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("{exposure: {drug: tacrolimus}, take: earliest}", "2019-01-01"),
        ("{exposure: {drug: tacrolimus}, take: latest}", "2019-03-01"),
        ("{exposure: {drug: tacrolimus}, take: earliest, edge: end}", "2019-01-31"),
        ("{exposure: {drug: tacrolimus}, take: latest, edge: end}", "2019-03-31"),
        ("{exposure: {drug: tacrolimus}, take: earliest, from: 2019-01-02}", "2019-03-01"),
        ("{exposure: {drug: prednisone}, take: earliest}", "unknown"),
    ],
)
def test_the_day_of_a_drug(tmp_path: Path, anchor: str, expected: str) -> None:
    assert on(tmp_path, anchor, *COURSES) == expected
    assert on(tmp_path, anchor, *reversed(COURSES)) == expected


MAY = took("tacrolimus", "2019-05-01", "2019-05-31")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (MAY, "2019-05-31"),
        (replace(MAY, exposure_end=None, end=MAY.exposure_end), "2019-05-31"),
        (replace(MAY, excluded="ENTERED_IN_ERROR"), "2019-03-31"),
        (replace(MAY, use="SUPP"), "2019-03-31"),
        (replace(MAY, use="NEVER"), "2019-03-31"),
        (took("tacrolimus", "2019-05-01"), "2019-03-31"),  # still taken: no end
        (took("tacrolimus", "2019-05-01", "2019-06-03"), "2019-06-03"),
        (took("tacrolimus", "2019-05-01", "2019-06-04"), "2019-03-31"),
    ],
)
def test_which_drugs_count_for_a_day(tmp_path: Path, row: Row, expected: str) -> None:
    anchor = "{exposure: {drug: tacrolimus}, take: latest, edge: end}"
    assert on(tmp_path, anchor, *COURSES, row) == expected


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("{reading: first}", "2019-01-10"),
        ("{reading: first, at_least: 8 g/d}", "2019-05-10"),
        ("{reading: first, at_least: 10 g/d}", "unknown"),
    ],
)
def test_the_day_of_a_reading(tmp_path: Path, anchor: str, expected: str) -> None:
    rows = [lab("urine_protein_24h", "4", "2019-01-10"), lab("urine_protein_24h", "9", "2019-05-10")]
    assert on(tmp_path, anchor, *rows) == expected


@pytest.mark.parametrize(("take", "expected"), [("earliest", "2018-03-01"), ("latest", "2019-04-15")])
def test_days_go_before_the_names_of_records(tmp_path: Path, take: str, expected: str) -> None:
    """The later biopsy stands in the record of the lesser id."""
    first, last = (
        replace(row, source=Source(f"Procedure/{name}", "1"))
        for row, name in zip(BIOPSIES, "ba", strict=True)
    )
    assert on(tmp_path, f"{{event: kidney_biopsy, take: {take}}}", first, last) == expected
