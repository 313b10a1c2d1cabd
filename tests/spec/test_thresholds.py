"""Values against thresholds: what ``>8`` means against 8, ranges in words, limits that are readings.

All expected values are worked out by hand: a comparison is true if it is for every number the text allows,
false if it is for none, else unknown. BOUNDARY: the threshold itself is one of the numbers, at their edge.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.decision import CriterionResult
from adapter.model.facts import ReferenceRange
from adapter.protocol.judge import read_range
from tests.spec.protocol_words import Row, lab, said
from tests.spec.test_why import protein, ruled

AT_8 = """
value | above           at_least           below           at_most
8     | not_met+        met+               not_met+        met+
7.9   | not_met         not_met            met             met
8.1   | met             met                not_met         not_met
>8    | met             met                not_met         not_met
>=8   | unknown+        met+               not_met+        unknown+
<8    | not_met         not_met            met             met
<=8   | not_met+        unknown+           unknown+        met+
>7    | unknown         unknown            unknown         unknown
<9    | unknown         unknown            unknown         unknown
"""
HEADER, *LINES = [line.replace("|", " ").split() for line in AT_8.strip().splitlines()]


def told(result: CriterionResult) -> str:
    return f"{result.verdict.value} {' '.join(result.flags)}".strip()


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_a_reported_value_against_8(tmp_path: Path, line: list[str]) -> None:
    for comparison, expected in zip(HEADER[1:], line[1:], strict=True):
        condition = f"{{finding: urine_protein_24h, {comparison}: 8 g/d}}"
        found = told(ruled(tmp_path, condition, protein(line[0], "2019-05-10")))
        assert found == expected.replace("+", " BOUNDARY"), comparison


@pytest.mark.parametrize(
    ("first", "last", "comparison", "expected"),
    [
        # half of ">10" is any number above 5
        (">10", "4", "below", "met"),
        (">10", "6", "below", "unknown"),
        (">10", "4", "above", "not_met"),
        (">10", "6", "above", "unknown"),
        # half of "<10" is any number below 5
        ("<10", "4", "below", "unknown"),
        ("<10", "6", "below", "not_met"),
        ("<10", "4", "above", "unknown"),
        ("<10", "6", "above", "met"),
        (">10", "4", "at_most", "met"),
        ("<10", "6", "at_least", "met"),
    ],
)
def test_a_threshold_that_is_itself_a_range(
    tmp_path: Path, first: str, last: str, comparison: str, expected: str
) -> None:
    condition = f'{{reading: last, {comparison}: "50 % of reading:first"}}'
    rows = (protein(first, "2019-01-10"), protein(last, "2019-05-10"))
    assert ruled(tmp_path, condition, *rows).verdict.value == expected


@pytest.mark.parametrize(
    ("rows", "expected", "settles"),
    [
        ([], "unknown NO_REFERENCE_READING", ("the reading early",)),
        # two contradicting values of one morning
        (
            [protein("10", "2019-01-10"), protein("8", "2019-01-10")],
            "unknown CONFLICT",
            ("the reading early",),
        ),
        ([protein("10", "2019-01-10"), replace(protein("10", "2019-01-10"), method="x")], "met", ()),
    ],
)
def test_a_threshold_that_is_a_reading_has_to_be_one(
    tmp_path: Path, rows: list[Row], expected: str, settles: tuple[str, ...]
) -> None:
    condition = '{finding: urine_protein_24h, from: 2019-05-01, below: "50 % of reading:early"}'
    found = ruled(tmp_path, condition, *rows, protein("4", "2019-05-10"))
    assert (told(found), found.settles) == (expected, settles)


@pytest.mark.parametrize(
    ("limits", "condition", "expected"),
    [
        (ReferenceRange(high=Fraction(40)), "above: 1.5 x upper_limit", "met"),  # 60
        (ReferenceRange(high=Fraction(41)), "above: 1.5 x upper_limit", "not_met"),  # 61.5
        (ReferenceRange(low=Fraction(70)), "below: 1 x lower_limit", "met"),
        (ReferenceRange(low=Fraction(61)), "below: 1 x lower_limit", "not_met BOUNDARY"),
        # the other limit is of no use
        (ReferenceRange(high=Fraction(70)), "below: 1 x lower_limit", "unknown NO_REFERENCE_RANGE"),
        (ReferenceRange(low=Fraction(40)), "above: 1.5 x upper_limit", "unknown NO_REFERENCE_RANGE"),
        (None, "above: 1.5 x upper_limit", "unknown NO_REFERENCE_RANGE"),
    ],
)
def test_the_laboratorys_own_limits(
    tmp_path: Path, limits: ReferenceRange | None, condition: str, expected: str
) -> None:
    row = replace(lab("alt", "61", "2019-05-10"), range=limits)
    assert told(ruled(tmp_path, f"{{finding: alt, {condition}}}", row)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25-50%", "[25, 50]"),
        ("25 - 50", "[25, 50]"),
        ("25–50", "[25, 50]"),
        ("25~50", "[25, 50]"),
        ("25 to 50 %", "[25, 50]"),
        ("50-25", "None"),
        ("25-25", "25"),
        ("<25%", "<25"),
        ("<= 25", "<=25"),
        ("≤25", "<=25"),
        (">50", ">50"),
        (">=50 %", ">=50"),
        ("≥50", ">=50"),
        ("10", "10"),
        (" 10 % ", "10"),
        ("about 10", "None"),
        ("1.2.3", "None"),
        ("", "None"),
    ],
)
def test_a_range_in_words(text: str, expected: str) -> None:
    assert str(read_range(text)) == expected


@pytest.mark.parametrize(
    ("condition", "answer", "expected"),
    [
        ("is: positive", "+", "met"),
        ("is: positive", "(+)", "met"),  # weakly positive is positive
        ("is: positive", "-", "not_met"),
        ("is: positive", "?", "unknown"),
        ("is: [positive, equivocal]", "?", "met"),
        ("is: negative", "?", "unknown"),
    ],
)
def test_qualitative_answers(tmp_path: Path, condition: str, answer: str, expected: str) -> None:
    row = lab("hbsag", answer, "2019-05-10")
    assert ruled(tmp_path, f"{{finding: hbsag, {condition}}}", row).verdict.value == expected


def test_an_invalid_result_is_no_answer(tmp_path: Path) -> None:
    row = replace(lab("hbsag", "-", "2019-05-10"), answer="invalid")
    found = ruled(tmp_path, "{finding: hbsag, is: negative}", row)
    assert (found.verdict.value, found.settles) == ("unknown", ("a clear positive or negative result",))


@pytest.mark.parametrize(
    ("condition", "row", "expected", "settles"),
    [
        ("{attested: biopsy-stage, code: [I, II]}", said("biopsy-stage", "II"), "met", ()),
        # an answer that came as text only
        (
            "{attested: biopsy-stage, code: [I, II]}",
            replace(said("biopsy-stage", "II"), value_code=""),
            "met",
            (),
        ),
        # a text where a date is asked for
        (
            "{attested: onset-date, before: screening}",
            said("onset-date", "last spring"),
            "unknown",
            ("an answer to the question 'onset-date'",),
        ),
        ("{attested: fibrosis-percent, above: 30 %}", said("fibrosis-percent", "<25%"), "not_met", ()),
        ("{attested: fibrosis-percent, above: 30 %}", said("fibrosis-percent", ">30%"), "met", ()),
        # the person's own word is taken for what the protocol says it means, however it is written
        (
            "{attested: fibrosis-percent, above: 30 %, words: {severe: '>50'}}",
            said("fibrosis-percent", " Severe "),
            "met",
            (),
        ),
    ],
)
def test_what_a_person_wrote(
    tmp_path: Path, condition: str, row: Row, expected: str, settles: tuple[str, ...]
) -> None:
    found = ruled(tmp_path, condition, row)
    assert (found.verdict.value, found.settles) == (expected, settles)


def test_a_limit_that_the_laboratory_did_not_send_has_no_distance(tmp_path: Path) -> None:
    found = ruled(tmp_path, "{finding: alt, above: 1.5 x upper_limit}", lab("alt", "70", "2019-05-10"))
    assert (told(found), found.distance) == ("unknown NO_REFERENCE_RANGE", "")
