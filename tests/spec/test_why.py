"""What a verdict says for itself: which records, what was compared, why others do not count, what is missing.

A coordinator reads these sentences before signing; a wrong number in one is as bad as a wrong verdict. All
are worked out by hand from the rows beside them. Screening is on 2019-06-03.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapter.model.coverage import Coverage
from adapter.model.decision import CriterionResult
from adapter.protocol import evaluate, load
from adapter.protocol.occurrences import MEDICATION_TYPES
from tests.spec.protocol_words import (
    SCREENING,
    ZONE,
    Row,
    egfr,
    facts,
    had,
    lab,
    said,
    took,
    vocabulary,
    when,
)

PROTOCOL = """\
id: TRIAL-1
version: "1"
title: A trial
questionnaire: https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation|1.0
anchors:
  screening: {as_of: true}
  visit: {attested: visit-date}
  first_visit: {attested: first-visit}
  birth: {birth: true}
readings:
  first: {finding: urine_protein_24h, take: earliest}
  last: {finding: urine_protein_24h}
  early: {finding: urine_protein_24h, to: 2019-01-31}
  many: {finding: urine_protein_24h, take: any, of_at_least: 4}
  some: {finding: urine_protein_24h, take: any}
  kidney: {finding: egfr, from: 2019-05-01}
  kidney_before: {finding: egfr, to: 2019-01-31}
  each: {finding: urine_protein_24h, take: every}
  weight: {finding: weight}
criteria:
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
"""
COVERED = tuple(Coverage(name, True) for name in MEDICATION_TYPES)
HIGH = "{finding: urine_protein_24h, above: 8 g/d}"
WINDOW = "{finding: urine_protein_24h, from: screening - 28 days, above: 8 g/d}"
BETWEEN = "{finding: urine_protein_24h, between: [3.5 g/d, 8 g/d]}"
LIMIT = "{finding: alt, above: 1.5 x upper_limit}"
STRESS = "{attested: fibrosis-percent, above: 30 %, words: {moderate: 25-50}}"
FALL = "{fall: {from: first, to: last}, above: 50 %}"
TWICE = "{repeated: {finding: glucose, above: 11.1 mmol/L, readings: 2, apart: {at_least: 14 days}}}"
SHARE = "{share: {finding: tacrolimus_trough, at_most: 10 ng/mL, of_at_least: 3, passing: {at_least: 70 %}}}"
GAP = "{gap: {drug: tacrolimus, from: 2019-03-01, to: 2019-05-31}, above: 14 days}"
PER_KG = "{dose: {drug: tacrolimus, weight: weight}, between: [0.05 mg/kg/d, 0.10 mg/kg/d]}"
LESS = "{dose_change: {drug: prednisone, direction: reduction, from: 2019-05-01}}"
CALCINEURIN = "{exposure: {drug: tacrolimus}, from: screening - 90 days, to: screening}"


def protein(value: str, on: str) -> Row:
    return lab("urine_protein_24h", value, on)


def dosed(drug: str, milligrams: int, start: str, last: str = "") -> Row:
    return replace(took(drug, start, last, kind="order"), daily_dose=milligrams, dose_unit="mg")


def ruled(folder: Path, condition: str, *rows: Row, **person: Any) -> CriterionResult:
    (folder / "protocol.yaml").write_text(f"{PROTOCOL}    met_when: {condition}\n", encoding="utf-8")
    protocol = load(folder, vocabulary())
    decision = evaluate(protocol, facts(*rows, **person), as_of=SCREENING, zone=ZONE)
    return decision.criterion("RULE")


def shown(result: CriterionResult) -> list[str]:
    """``used 2019-05-10 9 g/d: 9 g/d > 8 g/d``, ``ignored 2019-01-10 4 g/d: ... (not the latest)``."""
    return [
        f"{item.role} {item.when or item.concept} {item.value}"
        + (f": {item.compared}" if item.compared else "")
        + (f" ({item.why})" if item.why else "")
        for item in result.evidence
    ]


@pytest.mark.parametrize(
    ("condition", "rows", "reason", "distance", "evidence"),
    [
        # one reading against numbers: the number, its unit, the sign, the threshold; "not" if it is not so
        (
            HIGH,
            [protein("9", "2019-05-10")],
            "9 g/d > 8 g/d",
            "1 g/d above",
            ["used 2019-05-10 9 g/d: 9 g/d > 8 g/d"],
        ),
        (
            HIGH,
            [protein("7.5", "2019-05-10"), protein("9", "2019-01-10")],
            "7.5 g/d not > 8 g/d",
            "0.5 g/d below",
            [
                "used 2019-05-10 7.5 g/d: 7.5 g/d not > 8 g/d",
                "ignored 2019-01-10 9 g/d: 9 g/d > 8 g/d (not the latest)",
            ],
        ),
        (HIGH, [protein("8", "2019-05-10")], "8 g/d not > 8 g/d", "exactly at the threshold", None),
        (BETWEEN, [protein("5", "2019-05-10")], "5 g/d >= 3.5 g/d and 5 g/d <= 8 g/d", "1.5 g/d above", None),
        # between fails by its upper bound: that bound is what the distance is from
        (
            BETWEEN,
            [protein("9", "2019-05-10")],
            "9 g/d >= 3.5 g/d and 9 g/d not <= 8 g/d",
            "1 g/d above",
            None,
        ),
        # the laboratory's own limit: 1.5 x 40 = 60
        (
            LIMIT,
            [lab("alt", "61", "2019-05-10", limit=40)],
            "61 U/L > 60 U/L (1.5 x upper_limit)",
            "1 U/L above",
            None,
        ),
        # another reading as the threshold: half of 10
        (
            '{reading: last, below: "50 % of reading:first"}',
            [protein("10", "2019-01-10"), protein("4", "2019-05-10")],
            "4 g/d < 5 g/d (50 % of reading:first)",
            "1 g/d below",
            None,
        ),
        ("{attested: can-comply, exists: true}", [said("can-comply", "false")], "exists", "", None),
        # answers and codes
        ("{finding: hbsag, is: negative}", [lab("hbsag", "-", "2019-05-10")], "answer negative", "", None),
        (
            "{finding: hbsag, is: [positive, equivocal]}",
            [lab("hbsag", "-", "2019-05-10")],
            "answer negative, not positive or equivocal",  # and whatever else counts as positive
            "",
            None,
        ),
        (
            "{attested: biopsy-stage, code: [I, II]}",
            [said("biopsy-stage", "III")],
            "answer III, not I or II",
            "",
            None,
        ),
        (
            "{attested: onset-date, on_or_before: 2018-12-03}",
            [said("onset-date", "2018-12-03")],
            "2018-12-03 on or before 2018-12-03",
            "",
            None,
        ),
        (
            "{attested: onset-date, before: 2018-12-03}",
            [said("onset-date", "2018-12-03")],
            "2018-12-03 not before 2018-12-03",
            "",
            None,
        ),
        (
            "{attested: can-comply, is: true}",
            [said("can-comply", "true", "2019-05-01"), said("can-comply", "false", "2019-06-01")],
            "answer false, not true",
            "",
            [
                "used 2019-06-01 false: answer false, not true",
                "ignored 2019-05-01 true (answered again later)",
            ],
        ),
        # a fall: both ends, both values, the share and the limit
        (
            FALL,
            [protein("10", "2019-01-10"), protein("4", "2019-05-10")],
            "fall 10 -> 4 = 60 % > 50 %",
            "fall of 60 %",
            [
                "used 2019-01-10 10 g/d: fall 10 -> 4 = 60 % > 50 %",
                "used 2019-05-10 4 g/d: fall 10 -> 4 = 60 % > 50 %",
            ],
        ),
        (
            "{rise: {from: first, to: last}, above: 50 %, reaching: {above: 16 g/d}}",
            [protein("10", "2019-01-10"), protein("16", "2019-05-10")],
            "rise 10 -> 16 = 60 % > 50 % and 16 not > 16 g/d",
            "rise of 60 %",
            None,
        ),
        # several readings: each with its own comparison
        (
            TWICE,
            [lab("glucose", "12", "2019-05-01"), lab("glucose", "11.1", "2019-05-15")],
            "11.1 mmol/L not > 11.1 mmol/L",
            "",
            [
                "used 2019-05-15 11.1: 11.1 mmol/L not > 11.1 mmol/L",
                "used 2019-05-01 12: 12 mmol/L > 11.1 mmol/L",
            ],
        ),
        (
            TWICE,
            [
                lab("glucose", value, f"2019-05-{day}")
                for value, day in (("11", "01"), ("12", "02"), ("13", "16"))
            ],
            "12 mmol/L > 11.1 mmol/L",
            "",
            [
                "used 2019-05-02 12: 12 mmol/L > 11.1 mmol/L",
                "used 2019-05-16 13: 13 mmol/L > 11.1 mmol/L",
                "used 2019-05-01 11: 11 mmol/L not > 11.1 mmol/L",
            ],
        ),
        # of two conditions the one that is not so is the reason
        (
            f"{{all: [{HIGH}, {{finding: hbsag, is: equivocal}}]}}",
            [protein("9", "2019-05-10"), lab("hbsag", "-", "2019-05-11")],
            "answer negative, not equivocal",
            "",
            [
                "used 2019-05-11 negative: answer negative, not equivocal",
                "used 2019-05-10 9 g/d: 9 g/d > 8 g/d",
            ],
        ),
        # and of two of which one is enough, the one that is so
        (
            f"{{any: [{HIGH}, {{finding: hbsag, is: negative}}]}}",
            [protein("7", "2019-05-10"), lab("hbsag", "-", "2019-05-11")],
            "answer negative",
            "",
            None,
        ),
        # two of three levels: 66.666667 %
        (
            SHARE,
            [
                lab("tacrolimus_trough", level, f"2019-05-0{day}")
                for day, level in enumerate(("9", "10", "11"), 1)
            ],
            "~66.667 % of 3 readings not >= 70 %; 11 ng/mL not <= 10 ng/mL",
            "~66.666667 % of 3 readings",
            [
                "used 2019-05-03 11: ~66.667 % of 3 readings not >= 70 %; 11 ng/mL not <= 10 ng/mL",
                "used 2019-05-01 9: ~66.667 % of 3 readings not >= 70 %; 9 ng/mL <= 10 ng/mL",
                "used 2019-05-02 10: ~66.667 % of 3 readings not >= 70 %; 10 ng/mL <= 10 ng/mL",
            ],
        ),
        # time: 20 November 2018 to 3 June 2019 is 10+31+31+28+31+30+31+3 = 195 days
        (
            "{elapsed: {since: visit, until: screening, more_than: 6 months}}",
            [said("visit-date", "2018-11-20")],
            "2018-11-20 to 2019-06-03: more than 6 months",
            "195 days",
            ["used 2019-06-03 2018-11-20: 2018-11-20 to 2019-06-03: more than 6 months"],
        ),
        (
            "{elapsed: {since: visit, until: screening, at_least: 1 day, less_than: 6 months}}",
            [said("visit-date", "2018-11-20")],
            "2018-11-20 to 2019-06-03: not at least 1 day and less than 6 months",
            "195 days",
            None,
        ),
        (
            "{elapsed: {since: visit, until: screening, at_least: 1 month}}",
            [said("visit-date", "2019-06-02")],
            "2019-06-02 to 2019-06-03: not at least 1 month",
            "1 day",
            None,
        ),
        (
            "{date: visit, on_or_after: screening - 28 days}",
            [said("visit-date", "2019-05-05")],
            "2019-05-05 not on or after 2019-05-06",
            "",
            None,
        ),
        # 2019-06-30 - the drug ended 2 days before the 90 days began (2019-03-05), or within them
        (
            CALCINEURIN,
            [took("tacrolimus", "2019-01-01", "2019-03-15")],
            "last exposure 2019-03-15; period 2019-03-05 to 2019-06-03",
            "last exposure 10 days after 2019-03-05",
            ["used 2019-01-01 statement: last exposure 2019-03-15; period 2019-03-05 to 2019-06-03"],
        ),
        # nothing from 1 to 15 May is on record: 15 days
        (
            GAP,
            [*COVERED, took("tacrolimus", "2019-03-01", "2019-04-30"), took("tacrolimus", "2019-05-16")],
            "longest gap 15 days (2019-05-01 to 2019-05-15) > 14 days",
            "1 day above",
            [
                f"used {start} statement to {last}: longest gap 15 days (2019-05-01 to 2019-05-15) > 14 days"
                for start, last in (("2019-03-01", "2019-04-30"), ("2019-05-16", "still taken"))
            ],
        ),
        (
            CALCINEURIN,
            [took("tacrolimus", "2019-01-01", "2019-03-06")],
            "last exposure 2019-03-06; period 2019-03-05 to 2019-06-03",
            "last exposure 1 day after 2019-03-05",
            None,
        ),
        # nothing from 1 May on record but for that day
        (
            GAP.replace("14 days", "1 day"),
            [*COVERED, took("tacrolimus", "2019-03-01", "2019-04-30"), took("tacrolimus", "2019-05-02")],
            "longest gap 1 day (2019-05-01 to 2019-05-01) not > 1 day",
            "exactly at the threshold",
            None,
        ),
        # 3 mg a day for 50 kg is 0.06 mg/kg/d
        (
            PER_KG,
            [dosed("tacrolimus", 3, "2019-05-01"), lab("weight", "50", "2019-05-01")],
            "3 mg/d / 50 kg = 0.06 mg/kg/d >= 0.05 mg/kg/d and 3 mg/d / 50 kg = 0.06 mg/kg/d <= 0.1 mg/kg/d",
            "0.01 mg/kg/d above",
            None,
        ),
        # 10 after 30 mg a day on 20 May
        (
            LESS,
            [dosed("prednisone", 30, "2019-04-01", "2019-05-19"), dosed("prednisone", 10, "2019-05-20")],
            "30 -> 10 mg/d on 2019-05-20",
            "",
            ["used 2019-05-20 10 mg/d on 2019-05-20: 30 -> 10 mg/d on 2019-05-20"],
        ),
        (
            LESS,
            [dosed("prednisone", 30, "2019-04-01")],
            "no such change of dose",
            "",
            ["used 2019-04-01 30 mg/d on 2019-04-01: no such change of dose"],
        ),
    ],
)
def test_the_reason_names_what_was_compared(
    tmp_path: Path,
    condition: str,
    rows: list[Row],
    reason: str | None,
    distance: str,
    evidence: list[str] | None,
) -> None:
    result = ruled(tmp_path, condition, *rows)
    assert result.distance == distance
    assert reason is None or result.reason.startswith(reason)
    assert evidence is None or shown(result) == evidence


@pytest.mark.parametrize(
    ("condition", "rows", "settles", "evidence"),
    [
        # nothing there: what to look for, and in which days
        (WINDOW, [], "a usable reading of Protein in 24-hour urine, collected 2019-05-06 to 2019-06-03", []),
        (HIGH, [], "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03", []),
        (
            WINDOW,
            [protein("9", "2019-05-05")],
            "a usable reading of Protein in 24-hour urine, collected 2019-05-06 to 2019-06-03",
            ["ignored 2019-05-05 9 g/d (outside the window)"],
        ),
        # of two outside the window the later is shown, and none when one inside decides nothing new
        (
            WINDOW,
            [protein("9", "2019-05-04"), protein("7", "2019-05-05")],
            "a usable reading of Protein in 24-hour urine, collected 2019-05-06 to 2019-06-03",
            ["ignored 2019-05-05 7 g/d (outside the window)"],
        ),
        # there, but not to be relied on
        (
            HIGH,
            [replace(protein("9", "2019-05-10"), excluded="UNIT_MISSING")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            ["ignored 2019-05-10 9 g/d (UNIT_MISSING)"],
        ),
        (
            HIGH,
            [replace(protein("9", "2019-05-10"), use="SUPP")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            ["support 2019-05-10 9 g/d (support only)"],
        ),
        (
            HIGH,
            [replace(protein("9", "2019-05-10"), use="NEVER")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            ["ignored 2019-05-10 9 g/d (NEVER_USE)"],
        ),
        # an answer where a number is asked for
        (
            HIGH,
            [protein("+", "2019-05-10")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            ["ignored 2019-05-10 positive (not of the kind asked for)"],
        ),
        # an interval on both sides of the threshold
        (
            HIGH,
            [protein(">7", "2019-05-10")],
            "an exact value: >7 g/d does not settle > 8 g/d",
            ["used 2019-05-10 >7 g/d: >7 g/d > 8 g/d undecided"],
        ),
        # no limit sent by the laboratory
        (
            LIMIT,
            [lab("alt", "61", "2019-05-10")],
            "the laboratory's upper limit for alt",
            ["used 2019-05-10 61 U/L: 61 U/L > 1.5 x upper_limit"],
        ),
        (
            "{finding: hbsag, is: positive}",
            [lab("hbsag", "?", "2019-05-10")],
            "a clear positive or negative result",
            None,
        ),
        ("{attested: can-comply, is: true}", [], "an answer to the question 'can-comply'", []),
        # words the protocol does not define say nothing; those it does are a range: 25 to 50 against 30
        (STRESS, [said("fibrosis-percent", "some")], "a number", ["used 2019-06-03 some"]),
        (
            STRESS,
            [said("fibrosis-percent", "moderate")],
            "an exact value: [25, 50] % does not settle > 30 %",
            ["used 2019-06-03 moderate: [25, 50] % > 30 % undecided"],
        ),
        # a fall needs two
        (
            FALL,
            [protein("10", "2019-01-10")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            None,
        ),
        (
            "{fall: {from: first, to: last, same: series}, above: 50 %}",
            [egfr("90", "2019-01-10")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            [],
        ),
        # days
        ("{date: visit, before: screening}", [], "the date of visit", []),
        ("{date: screening, after: visit}", [], "the date of visit", []),
        ("{elapsed: {since: visit, until: screening, at_least: 1 day}}", [], "the date of visit", []),
        (
            "{date: visit, before: 2018-11-20}",
            [said("visit-date", "2018-11")],
            "the exact date of visit",
            ["used 2019-06-03 2018-11: 2018-11-01..2018-11-30 before 2018-11-20 undecided"],
        ),
        # six months after November 2018 is 1 to 30 May 2019; 15 May lies between
        (
            "{elapsed: {since: visit, until: 2019-05-15, more_than: 6 months}}",
            [said("visit-date", "2018-11")],
            "the exact date of visit",
            ["used 2019-06-03 2018-11: 2018-11-01..2018-11-30 to 2019-05-15: more than 6 months undecided"],
        ),
        ("{elapsed: {since: screening, until: visit, at_least: 1 day}}", [], "the date of visit", []),
        (
            "{elapsed: {since: first_visit, until: screening, at_least: 1 day}}",
            [],
            "the date of first visit",
            [],
        ),
        (
            "{elapsed: {since: first_visit, until: 2018-11-20, at_least: 1 day}}",
            [said("first-visit", "2018-11")],
            "the exact date of first visit",
            None,
        ),
        (
            "{date: first_visit, before: 2018-11-20}",
            [said("first-visit", "2018-11")],
            "the exact date of first visit",
            None,
        ),
        (
            "{attested: onset-date, before: visit}",
            [said("onset-date", "2018-12-03")],
            "the date of visit",
            None,
        ),
        (TWICE.replace("glucose", "glucose, from: visit"), [], "the date of visit", []),
        (SHARE.replace("trough", "trough, from: visit"), [], "the date of visit", []),
        (HIGH.replace("24h", "24h, from: visit"), [], "the date of visit", []),
        (
            "{reading: last, below: 0.5 x reading:early}",
            [protein("4", "2019-05-10")],
            "the reading early",
            ["used 2019-05-10 4 g/d: 4 g/d < 0.5 x reading:early"],
        ),
        (
            "{finding: egfr, below: 0.5 x reading:kidney_before}",
            [egfr("60", "2019-05-10")],
            "the reading kidney before",
            None,
        ),
        # several: what one of them would need, else another of them
        (
            "{finding: urine_protein_24h, take: every, above: 8 g/d}",
            [protein(">7", "2019-05-10")],
            "an exact value: >7 g/d does not settle > 8 g/d",
            ["used 2019-05-10 >7 g/d: >7 g/d > 8 g/d undecided"],
        ),
        (
            "{finding: urine_protein_24h, take: every, of_at_least: 2, above: 8 g/d}",
            [protein("9", "2019-05-10")],
            "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
            ["used 2019-05-10 9 g/d: 9 g/d > 8 g/d"],
        ),
        (
            TWICE,
            [lab("glucose", "12", "2019-05-01")],
            "a usable reading of Glucose, collected up to 2019-06-03",
            ["used 2019-05-01 12: 12 mmol/L > 11.1 mmol/L"],
        ),
        (
            SHARE,
            [lab("tacrolimus_trough", "9", "2019-05-01")],
            "a usable reading of Tacrolimus trough level, collected up to 2019-06-03",
            None,
        ),
        # events
        (
            "{event: hepatitis_b, from: 2019-01-01}",
            [],
            "a statement about Hepatitis B, 2019-01-01 to 2019-06-03",
            [],
        ),
        (
            "{event: hepatitis_b}",
            [had("hepatitis_b", "2019-02-01", presence="unconfirmed")],
            "confirmation of Hepatitis B with its dates",
            ["used 2019-02-01 unconfirmed (may fit)"],
        ),
        ("{event: hepatitis_b, from: visit}", [], "the date of visit", []),
        # drugs
        (CALCINEURIN, [], "a statement about tacrolimus, 2019-03-05 to 2019-06-03", []),
        (
            CALCINEURIN,
            [took("tacrolimus", "2019-01-01", "2019-03-04")],
            "a statement about tacrolimus, 2019-03-05 to 2019-06-03",
            [
                "ignored 2019-01-01 statement: last exposure 2019-03-04; "
                "period 2019-03-05 to 2019-06-03 (does not fit)"
            ],
        ),
        (
            CALCINEURIN,
            [replace(took("tacrolimus", "2019-01-01"), ongoing=False, flags=("END_UNKNOWN",))],
            "exact dates and route of tacrolimus",
            ["used 2019-01-01 statement: end not known; period 2019-03-05 to 2019-06-03 (may fit)"],
        ),
        ("{exposure: {drug: tacrolimus}, from: visit, to: screening}", [], "the date of visit", []),
        # gaps: the same 15 days, if the records were not all fetched
        (
            GAP,
            [took("tacrolimus", "2019-03-01", "2019-04-30"), took("tacrolimus", "2019-05-16")],
            "complete records of tacrolimus, 2019-03-01 to 2019-05-31",
            None,
        ),
        (GAP, [], "records of tacrolimus, 2019-03-01 to 2019-05-31", []),
        ("{gap: {drug: tacrolimus, from: visit}, above: 14 days}", [], "the date of visit", []),
        # doses
        (
            "{dose: {drug: tacrolimus}, at_most: 8 mg/d}",
            [],
            "the daily dose of tacrolimus, up to 2019-06-03",
            [],
        ),
        ("{dose: {drug: tacrolimus, from: visit}, at_most: 8 mg/d}", [], "the date of visit", []),
        (
            PER_KG,
            [dosed("tacrolimus", 3, "2019-05-01")],
            "a usable reading of Body weight, collected up to 2019-06-03",
            ["used 2019-05-01 3 mg/d on 2019-05-01"],
        ),
        (LESS, [], "the daily dose of prednisone, 2019-05-01 to 2019-06-03", []),
    ],
)
def test_an_open_question_says_what_would_settle_it(
    tmp_path: Path, condition: str, rows: list[Row], settles: str, evidence: list[str] | None
) -> None:
    result = ruled(tmp_path, condition, *rows)
    assert result.verdict.value == "unknown"
    assert result.settles == (settles,)
    assert result.reason == f"not known: {settles}"
    assert evidence is None or shown(result) == evidence


@pytest.mark.parametrize(
    ("condition", "person", "verdict", "evidence"),
    [
        # 14 March 1967: 52 years old on 3 June 2019
        (
            "{age: {at: screening, at_least: 18 years, at_most: 80 years}}",
            {},
            "met",
            ["used birthDate 1967-03-14: on 2019-06-03: 52 y at least 18 y and 52 y at most 80 y"],
        ),
        (
            "{age: {at: screening, at_most: 51 years}}",
            {},
            "not_met",
            ["used birthDate 1967-03-14: on 2019-06-03: 52 y not at most 51 y"],
        ),
        # born some day in 1967: 51 or 52
        (
            "{age: {at: screening, at_least: 52 years}}",
            {"birth": "1967"},
            "unknown",
            ["used birthDate 1967: on 2019-06-03: 51 or 52 y at least 52 y undecided"],
        ),
        ("{sex: male}", {}, "met", ["used gender male: "]),
        ("{sex: female}", {}, "not_met", ["used gender male: "]),
        ("{deceased: {before: screening}}", {}, "not_met", ["used deceased not recorded as deceased"]),
        # died the day before screening, on its day, or some day of its month
        (
            "{deceased: {before: screening}}",
            {"death": when("2019-06-02")},
            "met",
            ["used deceased 2019-06-02"],
        ),
        (
            "{deceased: {before: screening}}",
            {"deceased": True, "death": when("2019-06-03")},
            "not_met",
            ["used deceased 2019-06-03"],
        ),
        ("{deceased: {before: screening}}", {"death": when("2019-06")}, "unknown", ["used deceased 2019-06"]),
        ("{deceased: {before: screening}}", {"deceased": True}, "unknown", ["used deceased deceased"]),
    ],
)
def test_a_person_is_evidence_too(
    tmp_path: Path, condition: str, person: dict[str, Any], verdict: str, evidence: list[str]
) -> None:
    result = ruled(tmp_path, condition, **person)
    assert (result.verdict.value, shown(result)) == (verdict, [text.removesuffix(": ") for text in evidence])


@pytest.mark.parametrize(
    ("condition", "person", "settles"),
    [
        ("{age: {at: screening, at_least: 52 years}}", {"birth": "1967"}, "the full date of birth"),
        ("{age: {at: screening, at_least: 52 years}}", {"birth": ""}, "the date of birth"),
        ("{age: {at: visit, at_least: 52 years}}", {}, "the date of visit"),
        ("{sex: male}", {"sex": "unknown"}, "the recorded sex"),
        ("{deceased: {before: screening}}", {"deceased": True}, "the date of death"),
        ("{deceased: {before: screening}}", {"death": when("2019-06")}, "the date of death"),
    ],
)
def test_what_is_missing_about_a_person(
    tmp_path: Path, condition: str, person: dict[str, Any], settles: str
) -> None:
    assert ruled(tmp_path, condition, **person).settles == (settles,)


def test_silence_that_counts_as_no_is_shown_as_evidence(tmp_path: Path) -> None:
    """No hepatitis B on record, and every condition was fetched."""
    fetched = Coverage("Condition", True)
    [item] = ruled(tmp_path, "{event: hepatitis_b, from: 2019-01-01}", fetched).evidence
    assert (item.source.reference, item.role) == ("coverage/Condition", "used")
    assert item.compared == "no record of Hepatitis B, 2019-01-01 to 2019-06-03"


def test_a_record_asked_about_twice_is_shown_once_with_both_comparisons(tmp_path: Path) -> None:
    both = "{all: [{finding: urine_protein_24h, above: 3 g/d}, {finding: urine_protein_24h, below: 8 g/d}]}"
    assert shown(ruled(tmp_path, both, protein("5", "2019-05-10"))) == [
        "used 2019-05-10 5 g/d: 5 g/d > 3 g/d; 5 g/d < 8 g/d"
    ]
    # asked twice in the same words, it is said once
    again = "{all: [{finding: urine_protein_24h, above: 3 g/d}, {finding: urine_protein_24h, above: 3 g/d}]}"
    assert shown(ruled(tmp_path, again, protein("5", "2019-05-10"))) == [
        "used 2019-05-10 5 g/d: 5 g/d > 3 g/d"
    ]
    # what decided anywhere is shown as what decided: the earlier reading is the first, and not the last
    ends = "{all: [{reading: last, below: 8 g/d}, {reading: first, above: 8 g/d}]}"
    assert shown(ruled(tmp_path, ends, protein("9", "2019-01-10"), protein("5", "2019-05-10"))) == [
        "used 2019-05-10 5 g/d: 5 g/d < 8 g/d",
        "used 2019-01-10 9 g/d: 9 g/d > 8 g/d",
    ]


def test_an_open_question_asks_only_for_what_is_open(tmp_path: Path) -> None:
    """Protein decides, albumin is missing: only albumin is asked for."""
    two = "{all: [{finding: urine_protein_24h, above: 8 g/d}, {finding: albumin, below: 30 g/L}]}"
    result = ruled(tmp_path, two, protein("9", "2019-05-10"))
    assert result.settles == ("a usable reading of Serum albumin, collected up to 2019-06-03",)
    assert not ruled(tmp_path, two, protein("7", "2019-05-10")).settles
    # and the distance told is that of the part that decided
    decided = ruled(tmp_path, two, protein("7", "2019-05-10"), lab("albumin", "20", "2019-05-10"))
    assert decided.distance == "1 g/d below"


def test_evidence_keeps_the_source_s_own_words(tmp_path: Path) -> None:
    """What the hospital wrote stands beside what was made of it."""
    row = replace(lab("urine_protein_24h", "9", "2019-05-10"), original="9000", original_unit="mg/24h")
    [item] = ruled(tmp_path, HIGH, row).evidence
    assert (item.concept, item.original, item.value) == ("urine_protein_24h", "9000 mg/24h", "9 g/d")


def test_a_reading_without_a_value_shows_none(tmp_path: Path) -> None:
    empty = replace(protein("", "2019-05-10"), excluded="NO_VALUE")
    [item] = ruled(tmp_path, HIGH, empty).evidence
    assert (item.value, item.why) == ("", "NO_VALUE")


def test_a_range_has_no_distance(tmp_path: Path) -> None:
    assert ruled(tmp_path, HIGH, protein(">7", "2019-05-10")).distance == ""
    assert ruled(tmp_path, HIGH, protein(">9", "2019-05-10")).distance == ""


def test_a_doubtful_reading_outside_the_window_is_not_shown(tmp_path: Path) -> None:
    row = replace(protein("9", "2019-05-05"), excluded="UNIT_MISSING")
    assert shown(ruled(tmp_path, WINDOW, row)) == []


def test_a_code_is_read_before_the_words_beside_it(tmp_path: Path) -> None:
    coded = replace(said("biopsy-stage", "II"), original="second stage")
    assert ruled(tmp_path, "{attested: biopsy-stage, code: [I, II]}", coded).verdict.value == "met"
    text = replace(said("fibrosis-percent", "<25%"), value_code="")
    assert ruled(tmp_path, "{attested: fibrosis-percent, above: 30 %}", text).verdict.value == "not_met"


def test_a_period_whose_end_is_not_known(tmp_path: Path) -> None:
    condition = "{finding: urine_protein_24h, to: visit, above: 8 g/d}"
    assert ruled(tmp_path, condition).settles == ("the date of visit",)
