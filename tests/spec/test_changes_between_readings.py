"""A fall or rise between two readings: how much it is, which readings make it, how far apart; by hand.

Screening is on 2019-06-03.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.model.decision import CriterionResult
from adapter.protocol import evaluate, load
from adapter.protocol.changes import relative_change
from tests.spec.protocol_words import SCREENING, ZONE, Row, facts, lab, reported, vocabulary
from tests.spec.test_thresholds import told
from tests.spec.test_which_readings import doubtful
from tests.spec.test_why import protein, shown

HEAD = """\
id: TRIAL-1
version: "1"
title: A trial
anchors: {screening: {as_of: true}}
readings:
  before: {finding: urine_protein_24h, to: 2019-01-31}
  any_before: {finding: urine_protein_24h, to: 2019-01-31, take: any}
  after: {finding: urine_protein_24h, from: 2019-05-01}
  about_may: {finding: urine_protein_24h, from: 2019-02-01, take: nearest, near: 2019-05-15}
  creatinine: {finding: creatinine, take: any}
  antibody_before: {finding: pla2r_antibody, to: 2019-01-31}
  antibody: {finding: pla2r_antibody, from: 2019-05-01}
criteria:
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
    met_when: """


def ruled(folder: Path, condition: str, *rows: Row) -> CriterionResult:
    (folder / "protocol.yaml").write_text(f"{HEAD}{condition}\n", encoding="utf-8")
    decision = evaluate(load(folder, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE)
    return decision.criterion("RULE")


# In percent of the first value, for all pairs of numbers that both texts allow.
# What is reported as "<70" is above 0: else it would say 0.
CHANGES = """
first | second | fall      | rise
100   | 70     | 30        | -30
100   | 130    | -30       | 30
100   | <70    | (30, 100) | (-100, -30)
100   | <=70   | [30, 100) | (-100, -30]
>100  | 70     | (30, 100) | (-100, -30)
>=90  | 63     | [30, 100) | (-100, -30]
1     | 0.4    | 60        | -60
10    | >5     | <50       | >-50
10    | >=5    | <=50      | >=-50
<10   | 5      | <50       | >-50
<10   | >=0    | <=100     | >=-100
10    | 0      | 100       | -100
>10   | 0      | 100       | -100
10    | >=0    | <=100     | >=-100
>=0   | 5      | <100      | >-100
0     | 5      | any       | any
0     | 0      | any       | any
"""
_, *LINES = [[cell.strip() for cell in line.split("|")] for line in CHANGES.strip().splitlines()]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line[0]} to {line[1]}")
def test_the_share_that_a_value_changed_by(line: list[str]) -> None:
    first, second, *expected = line
    found = [relative_change(reported(first), reported(second), way).scaled(100) for way in ("fall", "rise")]
    assert [str(change) for change in found] == expected


def test_from_nothing_there_is_no_share(tmp_path: Path) -> None:
    """No antibody in January, 5 in May, or none again: that is no percentage, but 5 more than none."""
    rise = "{rise: {from: antibody_before, to: antibody}, above: %s}"
    none, some = lab("pla2r_antibody", "0", "2019-01-10"), lab("pla2r_antibody", "5", "2019-05-10")
    none_again = lab("pla2r_antibody", "0", "2019-05-10")
    assert told(ruled(tmp_path, rise % "50 %", none, some)) == "unknown"
    assert told(ruled(tmp_path, rise % "50 %", none, none_again)) == "unknown"
    assert told(ruled(tmp_path, rise % "'4 {RU}/mL'", none, some)) == "met"


# --- which readings ----------------------------------------------------------------------------------------

FALL = "{fall: {from: any_before, to: after}, above: 50 %}"
BEFORE, AFTER = protein("6", "2019-01-10"), protein("4", "2019-05-10")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # 6 to 4 is 33 %
        ([BEFORE, AFTER], "not_met"),
        # any earlier one would do, and one of them cannot be read; a later one cannot be read either
        ([BEFORE, AFTER, doubtful(protein("1", "2019-01-05"), "IMPLAUSIBLE")], "unknown IMPLAUSIBLE"),
        (
            [
                BEFORE,
                AFTER,
                doubtful(protein("1", "2019-01-05"), "IMPLAUSIBLE"),
                doubtful(protein("1", "2019-05-20")),
            ],
            "unknown IMPLAUSIBLE UNIT_MISSING",
        ),
        # nothing at all that can be read
        (
            [
                doubtful(protein("1", "2019-01-05"), "IMPLAUSIBLE"),
                doubtful(protein("1", "2019-05-20")),
            ],
            "unknown IMPLAUSIBLE UNIT_MISSING",
        ),
    ],
)
def test_readings_that_cannot_be_relied_on_on_either_side(
    tmp_path: Path, rows: list[Row], expected: str
) -> None:
    assert told(ruled(tmp_path, FALL, *rows)) == expected


def test_the_reading_nearest_to_a_day(tmp_path: Path) -> None:
    """8 to 2 is a fall of 75 %, 8 to 7 of 12.5 %; 10 May is nearer to 15 May than 30 May is."""
    rows = [protein("8", "2019-01-10"), protein("2", "2019-05-10"), protein("7", "2019-05-30")]
    condition = "{fall: {from: before, to: about_may}, above: 50 %}"
    assert told(ruled(tmp_path, condition, *rows)) == "met"


# --- how far apart -----------------------------------------------------------------------------------------

RISE = "{rise: {from: creatinine, to: creatinine, apart: {%s}}, at_least: 26.5 umol/L}"
SHARE = "{rise: {from: before, to: after, apart: {%s}}, at_least: 50 %%}"


def kidney(first: str, second: str) -> list[Row]:
    """Creatinine of 80 and then 110 umol/L: 30 more."""
    return [lab("creatinine", "80", first, unit="umol/L"), lab("creatinine", "110", second, unit="umol/L")]


MORNING, EVENING = "2019-05-10T08:00:00+08:00", "2019-05-10T20:00:00+08:00"
PERHAPS = "perhaps not as far apart as asked"


@pytest.mark.parametrize(
    ("apart", "first", "second", "expected"),
    [
        # by the times of day two of one day may be a pair, 12 hours apart
        ("at_most: 48 hours", MORNING, EVENING, "met"),
        ("at_least: 12 hours", MORNING, EVENING, "met"),
        ("at_least: 13 hours", MORNING, EVENING, "unknown no pair"),
        ("at_most: 11 hours", MORNING, EVENING, "unknown no pair"),
        # without times: the day after is up to 48 hours later, 2 days after more than 24, 3 more than 48
        ("at_most: 48 hours", "2019-05-10", "2019-05-11", "met"),
        ("at_most: 48 hours", "2019-05-10", "2019-05-12", "unknown perhaps"),
        ("at_most: 48 hours", "2019-05-10", "2019-05-13", "unknown no pair"),
        ("at_least: 48 hours", "2019-05-10", "2019-05-13", "met"),
        ("at_least: 49 hours", "2019-05-10", "2019-05-13", "unknown perhaps"),
        ("at_least: 24 hours", "2019-05-10", "2019-05-11", "unknown perhaps"),
        ("at_least: 24 hours, at_most: 72 hours", "2019-05-10", "2019-05-12", "met"),
        # by the calendar
        ("at_least: 3 days", "2019-05-10", "2019-05-13", "met"),
        ("at_least: 4 days", "2019-05-10", "2019-05-13", "unknown no pair"),
        ("at_most: 3 days", "2019-05-10", "2019-05-13", "met"),
        ("at_most: 2 days", "2019-05-10", "2019-05-13", "unknown no pair"),
        ("at_most: 2 days", MORNING, EVENING, "unknown no pair"),
    ],
)
def test_how_far_apart_two_readings_are(
    tmp_path: Path, apart: str, first: str, second: str, expected: str
) -> None:
    result = ruled(tmp_path, RISE % apart, *kidney(first, second))
    told_of = " ".join(shown(result))
    doubt = " perhaps" if PERHAPS in told_of else " no pair" if "no partner" in told_of else ""
    assert result.verdict.value + doubt == expected


@pytest.mark.parametrize(
    ("apart", "value", "expected"),
    [
        ("at_least: 60 days", "16", "met"),
        ("at_least: 60 days", "11", "not_met"),
        ("at_least: 150 days", "16", "unknown"),
        # known to the month only: 10 January to some day of May is 111 to 141 days
        ("at_least: 111 days", "16 in May", "met"),
        ("at_least: 112 days", "16 in May", "unknown"),
        ("at_least: 112 days", "11 in May", "unknown"),
        ("at_most: 141 days", "16 in May", "met"),
        ("at_most: 140 days", "16 in May", "unknown"),
    ],
)
def test_how_far_apart_two_chosen_readings_are(tmp_path: Path, apart: str, value: str, expected: str) -> None:
    """10 to 16 is a rise of 60 %, 10 to 11 of 10 %; 10 January to 10 May is 120 days."""
    number, _, month = value.partition(" in ")
    rows = [protein("10", "2019-01-10"), protein(number, "2019-05" if month else "2019-05-10")]
    assert ruled(tmp_path, SHARE % apart, *rows).verdict.value == expected


@pytest.mark.parametrize(("value", "expected"), [("5", "met"), ("3", "not_met")])
def test_a_limit_that_is_the_reading_nearest_to_a_day(tmp_path: Path, value: str, expected: str) -> None:
    """Half of the 8 of 10 May, not half of the 20 of 30 May."""
    rows = [protein("8", "2019-05-10"), protein("20", "2019-05-30"), protein(value, "2019-01-10")]
    assert told(ruled(tmp_path, "{reading: before, above: 0.5 x reading:about_may}", *rows)) == expected
