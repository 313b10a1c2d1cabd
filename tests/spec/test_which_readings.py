"""Which readings decide, what a doubtful one does, and what several of them say; worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.spec.protocol_words import Row, egfr, lab
from tests.spec.test_thresholds import told
from tests.spec.test_why import HIGH, protein, ruled, shown

EARLY, NINE, LATE = "2019-01-10", "2019-05-10", "2019-05-20"
SUGAR = "repeated: {finding: glucose, above: 11.1 mmol/L"
TWICE = f"{SUGAR}, readings: 2, apart: {{at_least: 14 days, at_most: 60 days}}}}"
THRICE = f"{SUGAR}, readings: 3, apart: {{at_least: 14 days}}}}"
SHARE = "share: {finding: tacrolimus_trough, at_most: 10 ng/mL, of_at_least: 3, passing: {at_least: 75 %}}"


def doubtful(row: Row, why: str = "UNIT_MISSING") -> Row:
    return replace(row, excluded=why)


def sugar(*pairs: tuple[str, str]) -> list[Row]:
    return [lab("glucose", value, on) for value, on in pairs]


def troughs(*levels: str) -> list[Row]:
    return [lab("tacrolimus_trough", level, f"2019-05-0{day}") for day, level in enumerate(levels, 1)]


@pytest.mark.parametrize(
    ("rows", "expected", "settles"),
    [
        # a newer reading that cannot be relied on is told; an older one is not
        ([protein("9", NINE), doubtful(protein("1", LATE))], "met UNIT_MISSING", ()),
        ([protein("9", NINE), doubtful(protein("1", EARLY))], "met", ()),
        # the same day is not surely older
        ([protein("9", NINE), doubtful(protein("1", NINE))], "met UNIT_MISSING", ()),
        # newer readings that contradict each other leave it open; older ones do not
        (
            [protein("9", NINE), doubtful(protein("1", LATE), "CONFLICT")],
            "unknown CONFLICT",
            ("which of the contradicting newer readings is right",),
        ),
        ([protein("9", NINE), doubtful(protein("1", EARLY), "CONFLICT")], "met", ()),
        # a row that only repeats or takes back another says nothing at all
        ([protein("9", NINE), doubtful(protein("1", LATE), "SUPERSEDED")], "met", ()),
        # two of one time
        (
            [protein("9", NINE), protein("7", NINE)],
            "unknown CONFLICT",
            ("which of the readings of the same time is right",),
        ),
        ([protein("9", NINE), protein("10", NINE)], "met", ()),
        # two of one day with their hours: the later decides; without the hour of one nobody knows
        (
            [protein("9", "2019-05-10T08:00:00+08:00"), protein("7", "2019-05-10T12:00:00+08:00")],
            "not_met READINGS_DISAGREE",
            (),
        ),
        ([protein("9", "2019-05-10T08:00:00+08:00"), protein("7", NINE)], "unknown CONFLICT", None),
        # an earlier one that says the opposite is worth knowing, one that says the same is not
        ([protein("9", NINE), protein("7", EARLY)], "met READINGS_DISAGREE", ()),
        ([protein("7", NINE), protein("9", EARLY)], "not_met READINGS_DISAGREE", ()),
        ([protein("9", NINE), protein("10", EARLY)], "met", ()),
        ([protein("9", NINE), protein(">7", EARLY)], "met", ()),
        # known to the month: it may lie on either side of the others
        ([protein("9", "2019-05"), protein("7", NINE)], "unknown CONFLICT", None),
        ([protein("9", "2019-05"), protein("7", "2019-04-30")], "met READINGS_DISAGREE", ()),
        # nothing but doubtful ones; nothing but what is only shown
        ([doubtful(protein("9", NINE))], "unknown UNIT_MISSING", None),
        ([replace(protein("9", NINE), use="SUPP")], "unknown SUPPORT_ONLY", None),
        ([replace(protein("9", NINE), start=None)], "unknown NO_DATE", None),
    ],
)
def test_the_latest_reading(
    tmp_path: Path, rows: list[Row], expected: str, settles: tuple[str, ...] | None
) -> None:
    found = ruled(tmp_path, HIGH, *rows)
    assert told(found) == expected
    assert settles is None or found.settles == settles


def test_of_a_date_that_may_lie_before_the_window_nothing_is_known(tmp_path: Path) -> None:
    condition = "{finding: urine_protein_24h, from: 2019-05-06, above: 8 g/d}"
    assert told(ruled(tmp_path, condition, protein("9", "2019-05"))) == "unknown DATE_PARTIAL"
    assert told(ruled(tmp_path, condition, protein("9", "2019-05-06"))) == "met"
    assert told(ruled(tmp_path, condition, protein("9", "2019-05-05"))) == "unknown"


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        # any: one is enough, though others are doubtful; every: one that fails is enough
        ("take: any, above: 8 g/d", [protein("9", NINE), doubtful(protein("1", LATE))], "met"),
        (
            "take: any, above: 8 g/d",
            [protein("7", NINE), doubtful(protein("1", LATE))],
            "unknown UNIT_MISSING",
        ),
        ("take: any, above: 8 g/d", [protein("7", NINE), protein("6", LATE)], "not_met"),
        ("take: every, above: 8 g/d", [protein("7", NINE), doubtful(protein("1", LATE))], "not_met"),
        (
            "take: every, above: 8 g/d",
            [protein("9", NINE), doubtful(protein("1", LATE))],
            "unknown UNIT_MISSING",
        ),
        ("take: every, above: 8 g/d", [protein("9", NINE), protein("10", LATE)], "met"),
        # too few of them: what one can decide is decided, the rest is open
        ("take: any, of_at_least: 2, above: 8 g/d", [protein("9", NINE)], "met"),
        ("take: any, of_at_least: 2, above: 8 g/d", [protein("7", NINE)], "unknown"),
        ("take: any, of_at_least: 2, above: 8 g/d", [protein("7", NINE), protein("6", LATE)], "not_met"),
        ("take: every, of_at_least: 2, above: 8 g/d", [protein("7", NINE)], "not_met"),
        ("take: every, of_at_least: 2, above: 8 g/d", [protein("9", NINE)], "unknown"),
        ("take: every, of_at_least: 2, above: 8 g/d", [protein("9", NINE), protein("10", LATE)], "met"),
        # the flags are those of the readings that decided
        ("take: any, above: 8 g/d", [protein("8", NINE), protein("9", LATE)], "met"),
        ("take: any, above: 9 g/d", [protein("8", NINE), protein("9", LATE)], "not_met BOUNDARY"),
        # the highest and the lowest; intervals that overlap leave both
        ("take: highest, above: 8 g/d", [protein("9", EARLY), protein("7", LATE)], "met"),
        ("take: lowest, above: 8 g/d", [protein("9", EARLY), protein("7", LATE)], "not_met"),
        ("take: highest, above: 8 g/d", [protein("9", EARLY), protein(">7", LATE)], "unknown"),
        ("take: earliest, above: 8 g/d", [protein("9", EARLY), protein("7", LATE)], "met"),
    ],
)
def test_several_readings_of_one_kind(tmp_path: Path, condition: str, rows: list[Row], expected: str) -> None:
    assert told(ruled(tmp_path, f"{{finding: urine_protein_24h, {condition}}}", *rows)) == expected


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        # 14 and 60 days apart fit, 13 and 61 do not
        (TWICE, sugar(("12", "2019-03-01"), ("12", "2019-03-15")), "met"),
        (TWICE, sugar(("12", "2019-03-01"), ("12", "2019-04-30")), "met"),
        (TWICE, sugar(("12", "2019-03-01"), ("12", "2019-05-01")), "unknown"),
        (TWICE, sugar(("12", "2019-03-01"), ("12", "2019-03-14")), "unknown"),
        # one between, too near to either, does not break the pair
        (TWICE, sugar(("12", "2019-03-01"), ("9", "2019-03-08"), ("12", "2019-03-15")), "met"),
        # the first and the last are far enough apart, whatever lies between: 1, 15 and 29
        (
            THRICE,
            sugar(("12", "2019-03-01"), ("12", "2019-03-08"), ("12", "2019-03-15"), ("12", "2019-03-29")),
            "met",
        ),
        (THRICE, sugar(("12", "2019-03-01"), ("12", "2019-03-15"), ("12", "2019-03-28")), "unknown"),
        (THRICE, sugar(("12", "2019-03-01"), ("12", "2019-03-15"), ("9", "2019-03-29")), "not_met"),
        # a doubtful one may be the second
        (TWICE, [*sugar(("12", "2019-03-01")), doubtful(lab("glucose", "1", "2019-03-15"))], "unknown"),
        # at the limit is not above it
        (TWICE, sugar(("12", "2019-03-01"), ("11.1", "2019-03-15")), "not_met"),
        # 3 of 4 are 75 %; with a doubtful fifth it may be 60 or 80 %
        (SHARE, troughs("9", "9", "9", "11"), "met BOUNDARY"),
        (SHARE, troughs("9", "9", "11", "11"), "not_met"),
        (SHARE, [*troughs("9", "9", "9", "11"), doubtful(lab("tacrolimus_trough", "1", LATE))], "unknown"),
        # 3 of 3 with a doubtful fourth: 75 or 100 %
        (SHARE, [*troughs("9", "9", "9"), doubtful(lab("tacrolimus_trough", "1", LATE))], "met"),
        # one that may be on either side: 2 or 3 of 4
        (SHARE, troughs("9", "9", ">8", "11"), "unknown"),
        (SHARE, troughs("9", "9", "9", ">8"), "met"),
    ],
)
def test_repetition_and_share(tmp_path: Path, condition: str, rows: list[Row], expected: str) -> None:
    assert told(ruled(tmp_path, f"{{{condition}}}", *rows)) == expected


KIDNEY = "{fall: {from: kidney_before, to: kidney, same: series}, at_least: 30 %}"
LISTED = "{fall: {from: kidney_before, to: kidney, series: [CKD-EPI 2009]}, at_least: 30 %}"
SOME = "{fall: {from: first, to: some}, above: 50 %}"
EACH = "{fall: {from: first, to: each}, above: 50 %}"


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        (KIDNEY, [egfr("100", EARLY), egfr("70", LATE)], "met BOUNDARY"),
        (KIDNEY, [egfr("100", EARLY), egfr("71", LATE)], "not_met"),
        # a change of equation looks like a change of the kidney
        (KIDNEY, [egfr("100", EARLY), egfr("60", LATE, "CKD-EPI 2021")], "unknown EQUATION_MIX"),
        # the series asked for decides, whatever the other says
        (
            LISTED,
            [
                egfr("100", EARLY),
                egfr("90", LATE),
                egfr("100", EARLY, "CKD-EPI 2021"),
                egfr("60", LATE, "CKD-EPI 2021"),
            ],
            "not_met",
        ),
        (LISTED, [egfr("100", EARLY, "CKD-EPI 2021"), egfr("60", LATE, "CKD-EPI 2021")], "unknown"),
        # of one laboratory and one code
        (KIDNEY, [lab("egfr", "100", EARLY), lab("egfr", "60", LATE)], "met"),
        (
            KIDNEY,
            [lab("egfr", "100", EARLY, laboratory="A"), lab("egfr", "60", LATE, laboratory="B")],
            "unknown EQUATION_MIX",
        ),
        # 10 to 4 is 60 %, 10 to 6 is 40 %; a doubtful later one may be anything
        (SOME, [protein("10", EARLY), protein("4", NINE), doubtful(protein("9", LATE))], "met"),
        (
            SOME,
            [protein("10", EARLY), protein("6", NINE), doubtful(protein("9", LATE))],
            "unknown UNIT_MISSING",
        ),
        (
            EACH,
            [protein("10", EARLY), protein("4", NINE), doubtful(protein("9", LATE))],
            "unknown UNIT_MISSING",
        ),
        (EACH, [protein("10", EARLY), protein("6", NINE), doubtful(protein("9", LATE))], "not_met"),
        # one reading is no change
        (SOME, [protein("10", EARLY)], "unknown"),
        (
            "{fall: {from: first, to: last}, above: 50 %}",
            [protein("10", EARLY), doubtful(protein("9", LATE))],
            "unknown UNIT_MISSING",
        ),
    ],
)
def test_changes(tmp_path: Path, condition: str, rows: list[Row], expected: str) -> None:
    assert told(ruled(tmp_path, condition, *rows)) == expected


def test_readings_without_a_partner_are_shown(tmp_path: Path) -> None:
    found = ruled(tmp_path, KIDNEY, egfr("100", EARLY), egfr("60", LATE, "CKD-EPI 2021"))
    assert sorted(shown(found)) == sorted(
        {
            f"ignored {EARLY} 100 mL/min/{{1.73_m2}} (no partner in the same series)",
            f"ignored {LATE} 60 mL/min/{{1.73_m2}} (no partner in the same series)",
        }
    )
