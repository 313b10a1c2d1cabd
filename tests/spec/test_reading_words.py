"""Means, the last so many, pairs, absolute change, so many of several: expected answers worked out by hand.

Screening is 2019-06-03; a protein is in g/d, an albumin in g/L, a creatinine in umol/L
(0.3 mg/dL x 88.42 = 26.526 umol/L, ``mappings/units.csv``).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.errors import ProtocolError
from adapter.model.facts import Finding, Source
from adapter.model.quantity import Interval
from adapter.protocol import evaluate, load
from adapter.protocol.averages import mean_of, median_of
from tests.spec.protocol_words import SCREENING, ZONE, Row, facts, lab, reported, told, vocabulary

HEAD = """\
id: TRIAL-1
version: "1"
title: A trial
anchors: {screening: {as_of: true}}
readings:
  first: {finding: creatinine, take: earliest}
  any: {finding: creatinine, take: any}
  last: {finding: creatinine}
  mean_protein: {finding: urine_protein_24h, take: mean, of_at_least: 2}
  mean_first: {finding: urine_protein_24h, take: mean, to: screening - 90 days}
  recent: {finding: urine_protein_24h}
criteria:
  - {id: OTHER, kind: inclusion, text: t, source: s, met_when: {sex: female}}
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
"""


def judged(folder: Path, condition: str, *rows: Row):  # type: ignore[no-untyped-def]
    (folder / "protocol.yaml").write_text(f"{HEAD}    met_when: {condition}\n", encoding="utf-8")
    return evaluate(load(folder, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE)


def outcome(folder: Path, condition: str, *rows: Row) -> str:
    return told(judged(folder, condition, *rows), "RULE")


def proteins(*pairs: tuple[str, str], **more: object) -> list[Row]:
    return [lab("urine_protein_24h", value, on, **more) for value, on in pairs]


UNSURE = {"excluded": "UNIT_MISSING"}
TWO = proteins(("3.0", "2019-05-20"), ("5.0", "2019-05-27"))
MEAN = "{finding: urine_protein_24h, take: mean, from: screening - 28 days, of_at_least: 2, at_least: 4 g/d}"


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        # (3 + 5) / 2 = 4
        (MEAN, TWO, "met [BOUNDARY]"),
        (MEAN.replace("at_least: 4", "above: 4"), TWO, "not_met [BOUNDARY]"),
        # one collection is no mean of two; none is nothing
        (MEAN, TWO[:1], "unknown"),
        (MEAN, [], "unknown"),
        # (3 + more than 5) / 2 is more than 4; (3 + less than 5) / 2 is less than 4
        (MEAN.replace("at_least: 4", "above: 4"), [TWO[0], *proteins((">5", "2019-05-27"))], "met"),
        (MEAN, [TWO[0], *proteins(("<5", "2019-05-27"))], "not_met"),
        (MEAN, [TWO[0], *proteins((">3", "2019-05-27"))], "unknown"),
        # outside the window; a third of no unit is shown, one that is contradicted leaves it open
        (MEAN, [TWO[0], *proteins(("5.0", "2019-04-27"))], "unknown"),
        (MEAN, [*TWO, *proteins(("9", "2019-05-10"), **UNSURE)], "met [BOUNDARY, UNIT_MISSING]"),
        (MEAN, [*TWO, *proteins(("9", "2019-05-10"), excluded="CONFLICT")], "unknown [BOUNDARY, CONFLICT]"),
        # the median of 1, 2 and 9 is 2, of 1 and 2 it is 1.5
        ("{finding: urine_protein_24h, take: median, at_most: 2 g/d}",
         proteins(("1", "2019-05-01"), ("9", "2019-05-02"), ("2", "2019-05-03")), "met [BOUNDARY]"),
        ("{finding: urine_protein_24h, take: median, below: 1.6 g/d}",
         proteins(("1", "2019-05-01"), ("2", "2019-05-03")), "met"),
        ("{finding: urine_protein_24h, take: median, below: 2.1 g/d}",
         proteins(("1", "2019-05-01"), (">9", "2019-05-02"), ("2", "2019-05-03")), "met"),
        # a named mean may be the other side of a fall: the mean of 6 and 10 is 8, 8 -> 4 is 50 %
        ("{fall: {from: mean_first, to: recent}, at_least: 50 %}",
         proteins(("6", "2019-01-10"), ("10", "2019-02-10"), ("4", "2019-05-20")), "met [BOUNDARY]"),
        ("{reading: mean_protein, above: 3.9 g/d}", TWO, "met"),
        ("{finding: urine_protein_24h, above: 1.1 x reading:mean_protein}", TWO, "met [READINGS_DISAGREE]"),
    ],
)  # fmt: skip
def test_means_and_medians(tmp_path: Path, condition: str, rows: list[Row], expected: str) -> None:
    assert outcome(tmp_path, condition, *rows) == expected


def test_a_mean_names_every_reading_it_was_made_from(tmp_path: Path) -> None:
    [used] = judged(tmp_path, MEAN, *TWO).criterion("RULE").evidence
    assert (used.role, used.value, used.conversion) == ("used", "4 g/d", "mean of 2 readings")
    assert used.derived_from == tuple(row.source for row in TWO if isinstance(row, Finding))


def test_means_and_medians_of_intervals() -> None:
    more, less, two = reported(">5"), reported("<=3"), Interval.exactly(2)
    assert str(mean_of([more, two])) == ">3.5"
    assert str(mean_of([less, two])) == "<=2.5"
    assert str(mean_of([more, less])) == "any"
    assert str(median_of([more, two])) == ">3.5"
    assert str(median_of([more, less, two])) == "[2, 3]"  # between all of 2 and 2.., at most 3
    assert str(median_of([more, more, two])) == ">5"
    assert mean_of([Interval.exactly(1), Interval.exactly(2)]).point == Fraction(3, 2)


LAST_TWO = "{finding: urine_protein_24h, take: every, last: 2, below: 4 g/d}"
OF_THREE = "{repeated: {finding: urine_protein_24h, below: 4 g/d, readings: 2, last: 3}}"
FALLING = proteins(("8", "2019-02-10"), ("3", "2019-04-10"), ("2", "2019-05-10"))


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        (LAST_TWO, FALLING, "met"),
        (LAST_TWO, [*FALLING, *proteins(("5", "2019-05-20"))], "not_met"),
        (LAST_TWO, FALLING[2:], "unknown"),  # one reading is not two
        (LAST_TWO, [*FALLING, *proteins(("5", "2019-05-20"), **UNSURE)], "unknown [UNIT_MISSING]"),
        (LAST_TWO, [*FALLING, *proteins(("5", "2019-03-20"), **UNSURE)], "met"),  # older than both
        (OF_THREE, FALLING, "met"),
        (OF_THREE, [*FALLING, *proteins(("5", "2019-05-20"), ("6", "2019-05-21"))], "not_met"),
        (OF_THREE, FALLING[:1], "unknown"),
        ("{finding: urine_protein_24h, take: mean, last: 2, below: 3 g/d}", FALLING, "met"),
    ],
)  # fmt: skip
def test_the_last_so_many(tmp_path: Path, condition: str, rows: list[Row], expected: str) -> None:
    assert outcome(tmp_path, condition, *rows) == expected


def pressure(number: int, high: str, low: str) -> list[Row]:
    """One measurement, of a day of its own: two components of one resource."""
    on = f"2019-05-1{number}T08:00:00Z"
    return [
        replace(lab(name, value, on), source=Source(f"Observation/bp{number}", "1", path), unit="mm[Hg]")
        for name, value, path in (
            ("systolic_bp", high, "component[0]"),
            ("diastolic_bp", low, "component[1]"),
        )
        if value
    ]


PAIRS = (
    "{share: {finding: systolic_bp, below: '140 mm[Hg]', of_at_least: 4, "
    "beside: {finding: diastolic_bp, below: '80 mm[Hg]'}, passing: {above: 50 %}}}"
)
GOOD = [row for number in range(3) for row in pressure(number, "130", "75")]
APART = [
    replace(lab("systolic_bp", "130", "2019-05-02T08:00:00Z"), unit="mm[Hg]"),
    replace(lab("diastolic_bp", "70", "2019-05-02T08:00:00Z"), unit="mm[Hg]"),
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([*GOOD, *pressure(9, "150", "90")], "met"),  # 3 of 4
        # two systolic and two diastolic pass, but never both: 0 of 4, though each alone has 50 %
        ([*pressure(1, "130", "90"), *pressure(2, "130", "90"), *pressure(3, "150", "70"),
          *pressure(4, "150", "70")], "not_met"),
        ([*GOOD[:4], *pressure(8, "150", "70"), *pressure(9, "130", "90")], "not_met [BOUNDARY]"),  # 2 of 4
        # the diastolic of one is missing: 2 or 3 of 4
        ([*GOOD[:4], *pressure(8, "150", "70"), *pressure(9, "130", "")], "unknown"),
        # of one that fails anyway it does not matter: 3 of 4
        ([*GOOD, *pressure(9, "150", "")], "met"),
        # two resources of the same instant belong together: 3 of 4
        ([*GOOD[:4], *pressure(8, "150", "70"), *APART], "met"),
        # parts of one resource before others of the same time: 3 of 4
        ([*GOOD, *pressure(9, "150", "90"), lab("diastolic_bp", "95", "2019-05-10T08:00:00Z")], "met"),
        (GOOD, "unknown"),  # 3 measurements are not 4
        ([], "unknown"),
    ],
)  # fmt: skip
def test_readings_that_belong_together(tmp_path: Path, rows: list[Row], expected: str) -> None:
    assert outcome(tmp_path, PAIRS, *rows) == expected


def test_both_readings_of_a_pair_are_evidence(tmp_path: Path) -> None:
    evidence = judged(tmp_path, PAIRS, *GOOD, *pressure(9, "150", "90")).criterion("RULE").evidence
    assert sum(row.role == "used" for row in evidence) == 8


def creatinines(*pairs: tuple[str, str], **more: object) -> list[Row]:
    return [lab("creatinine", value, on, unit="umol/L", **more) for value, on in pairs]


RISE = "{rise: {from: first, to: last}, at_least: 20 umol/L}"
AKI = "{rise: {from: any, to: any, apart: {at_most: 48 hours}}, at_least: 0.3 mg/dL}"
TWO_DAYS = "{rise: {from: any, to: any, apart: {at_most: 2 days}}, at_least: 20 umol/L}"


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        (RISE, creatinines(("80", "2019-05-01"), ("100", "2019-05-20")), "met [BOUNDARY]"),
        (RISE, creatinines(("80", "2019-05-01"), ("99", "2019-05-20")), "not_met"),
        (RISE, creatinines(("<80", "2019-05-01"), ("100", "2019-05-20")), "met"),
        (RISE, creatinines((">80", "2019-05-01"), ("105", "2019-05-20")), "unknown"),
        ("{fall: {from: first, to: last}, above: 20 umol/L}",
         creatinines(("100", "2019-05-01"), ("79", "2019-05-20")), "met"),
        # 26.526 umol/L within 48 hours: 27 is enough, 26 is not
        (AKI, creatinines(("80", "2019-05-01T08:00:00Z"), ("107", "2019-05-03T08:00:00Z")), "met"),
        (AKI, creatinines(("80", "2019-05-01T08:00:00Z"), ("106", "2019-05-03T08:00:00Z")), "not_met"),
        # an hour too late: no two readings lie so close, nobody knows
        (AKI, creatinines(("80", "2019-05-01T08:00:00Z"), ("107", "2019-05-03T09:00:00Z")), "unknown"),
        (AKI, creatinines(("80", "2019-05-01T08:00:00Z"), ("107", "2019-05-01T18:00:00Z")), "met"),  # one day
        # without times of day: 24 to 72 hours
        (AKI, creatinines(("80", "2019-05-01"), ("107", "2019-05-03")), "unknown"),
        (AKI, creatinines(("80", "2019-05-01"), ("107", "2019-05-02")), "met"),  # less than 48 hours
        (AKI, creatinines(("80", "2019-05-01"), ("81", "2019-05-03")), "unknown"),
        (TWO_DAYS, creatinines(("80", "2019-05-01"), ("100", "2019-05-03")), "met [BOUNDARY]"),
        (TWO_DAYS, creatinines(("80", "2019-05-01"), ("100", "2019-05-04")), "unknown"),
        # the second pair decides
        (TWO_DAYS, creatinines(("80", "2019-05-01"), ("81", "2019-05-02"), ("105", "2019-05-03")), "met"),
        (TWO_DAYS, creatinines(("80", "2019-05-01"), ("81", "2019-05-02")), "not_met"),
        (TWO_DAYS, [*creatinines(("80", "2019-05-01"), ("81", "2019-05-02")),
                    *creatinines(("300", "2019-05-03"), excluded="CONFLICT")], "unknown [CONFLICT]"),
        (AKI, creatinines(("107", "2019-05-03T08:00:00Z")), "unknown"),
    ],
)  # fmt: skip
def test_a_change_in_the_unit_of_the_reading(
    tmp_path: Path, condition: str, rows: list[Row], expected: str
) -> None:
    assert outcome(tmp_path, condition, *rows) == expected


MALE, FEMALE, NOBODY_KNOWS = "{sex: male}", "{sex: female}", "{finding: albumin, above: 1 g/L}"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((MALE, MALE, FEMALE), "met"),
        ((MALE, FEMALE, FEMALE), "not_met"),
        ((MALE, FEMALE, NOBODY_KNOWS), "unknown"),
        ((MALE, MALE, NOBODY_KNOWS), "met"),
        ((FEMALE, FEMALE, NOBODY_KNOWS), "not_met"),
    ],
)
def test_two_of_three(tmp_path: Path, parts: tuple[str, ...], expected: str) -> None:
    assert outcome(tmp_path, f"{{some: {{at_least: 2, of: [{', '.join(parts)}]}}}}") == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("{finding: hbsag, take: mean, is: positive}", "is: does not go with a mean"),
        ("{finding: [albumin, egfr], take: mean, above: 1 g/L}", "different units"),
        ("{finding: albumin, take: every, last: 0, above: 1 g/L}", "at least 1"),
        ("{share: {finding: albumin, take: latest, above: 1 g/L, passing: {above: 1 %}}}", "every reading"),
        ("{rise: {from: first, to: last}, above: 3 g/L}", "does not convert for creatinine"),
        ("{some: {at_least: 3, of: [{sex: male}, {sex: female}]}}", "3 of 2"),
        ("{age: {at: screening - 12 hours, at_least: 18 years}}", "days are the finest step here"),
        ("{rise: {from: first, to: last, apart: {}}, above: 3 %}", "apart: needs"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_reason(tmp_path: Path, condition: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        judged(tmp_path, condition)


def test_an_egfr_of_a_child_is_unknown_with_its_reason(tmp_path: Path) -> None:
    nothing = lab("egfr", "", "2019-05-20", method="CKD-EPI 2009", excluded="AGE_NOT_ADULT")
    rule = '{finding: egfr, from: screening - 28 days, at_least: "40 mL/min/{1.73_m2}"}'
    assert outcome(tmp_path, rule, nothing) == "unknown [AGE_NOT_ADULT]"
    evidence = judged(tmp_path, rule, nothing).criterion("RULE").evidence
    assert [(row.role, row.why) for row in evidence] == [("ignored", "AGE_NOT_ADULT")]
