"""What the readings of one day say on a ladder, and against which baseline; worked out by hand.

Days count from randomisation (2019-06-03): day 9 is 2019-06-12, day 70 is 2019-08-12.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from adapter.model.decision import Verdict
from adapter.model.facts import Finding, ReferenceRange
from adapter.model.monitoring import LadderState
from adapter.protocol.anchors import find_day
from adapter.protocol.context import Context
from adapter.protocol.evaluate import decide
from adapter.protocol.ladder import climb, moves, verdict
from adapter.protocol.ladder_load import load_ladders
from tests.spec.ladder_words import (
    R,
    answered,
    climbed,
    context,
    day,
    enzyme,
    gfr,
    ladders,
    tablets,
    told,
    trough,
)
from tests.spec.protocol_words import ZONE, Row, facts, lab, protocol, vocabulary
from tests.spec.test_ladder_load import protocol_without_ladders
from tests.spec.test_ladder_vocabulary import climbed as by_words

BASE: tuple[Row, ...] = (gfr("97.2", -6), tablets("4", 0))


def one_way(measure: str, way: str) -> str:
    return f"""\
    measure: {measure}
    states:
      - {{id: A, name: a, next: [{{to: B, {way}}}]}}
      - {{id: B, name: b, terminal: true}}
"""


# Troughs of one day in ng/mL; the highest is the day's. What is said of the day is said of that one.
LEVELS = [
    ("above: 10 ng/mL", "11", "B", (), "11 ng/mL > 10 ng/mL"),
    ("above: 10 ng/mL", ">10", "B", (), ">10 ng/mL > 10 ng/mL"),
    ("above: 10 ng/mL", ">=10", "A", (), ">=10 ng/mL > 10 ng/mL undecided"),
    ("above: 10 ng/mL", "9 11", "B", (), "11 ng/mL > 10 ng/mL"),
    ("above: 10 ng/mL", "11 <12", "B", (), "11 ng/mL > 10 ng/mL"),
    ("above: 10 ng/mL", "11 >20", "B", (), ">20 ng/mL > 10 ng/mL"),
    ("below: 10 ng/mL", "<10", "B", (), "<10 ng/mL < 10 ng/mL"),
    ("below: 10 ng/mL", "<10 <8", "B", (), None),
    ("below: 10 ng/mL", "<10 <=10", "A", (), None),
    ("below: 10 ng/mL", "10", "A", ("BOUNDARY",), "10 ng/mL not < 10 ng/mL"),
    ("at_least: 10 ng/mL", "10", "B", ("BOUNDARY",), "10 ng/mL >= 10 ng/mL"),
    # two limits: on either of them is BOUNDARY
    (
        "at_least: 10 ng/mL, below: 20 ng/mL",
        "10",
        "B",
        ("BOUNDARY",),
        "10 ng/mL >= 10 ng/mL and 10 ng/mL < 20 ng/mL",
    ),
    (
        "at_least: 10 ng/mL, below: 20 ng/mL",
        "20",
        "A",
        ("BOUNDARY",),
        "20 ng/mL >= 10 ng/mL and 20 ng/mL not < 20 ng/mL",
    ),
]


@pytest.mark.parametrize(("way", "values", "state", "flags", "said"), LEVELS)
def test_the_highest_of_a_day_decides(
    tmp_path: Path, way: str, values: str, state: str, flags: tuple[str, ...], said: str | None
) -> None:
    found = by_words(one_way("level", way), tmp_path, *(trough(value, 9) for value in values.split()), on=9)
    assert (found.state, found.flags) == (state, flags)
    assert said is None or found.steps[-1].trigger == said


def albumin(value: str, on: int) -> Finding:
    return msgspec.structs.replace(lab("albumin", value, day(on)), range=ReferenceRange(low=Fraction(40)))


# Albumin in g/L of a lower limit of 40: 24 is 0.6 x, 30 is 0.75 x, 28 is 0.7 x.
LOWEST = [
    ("24", "B", "albumin 24 g/L / 40 = 0.6 x < 0.7 x"),
    ("30 24", "B", "albumin 24 g/L / 40 = 0.6 x < 0.7 x"),
    ("24 >20", "B", "albumin 24 g/L / 40 = 0.6 x < 0.7 x"),
    ("28 30", "A", "albumin 28 g/L / 40 = 0.7 x not < 0.7 x"),
    ("30 >20", "A", "albumin 30 g/L / 40 = 0.75 x < 0.7 x undecided"),
]


@pytest.mark.parametrize(("values", "state", "said"), LOWEST)
def test_the_lowest_where_the_measure_gets_worse_by_falling(
    tmp_path: Path, values: str, state: str, said: str
) -> None:
    rows = (albumin(value, 9) for value in values.split())
    found = by_words(one_way("low", "below: 0.7 x"), tmp_path, *rows, on=9)
    assert (found.state, found.steps[-1].trigger) == (state, said)


def test_a_multiple_says_what_was_divided(tmp_path: Path) -> None:
    """85 of a limit of 40 is 2.125."""
    found = by_words(one_way("liver", "above: 2 x"), tmp_path, enzyme("alt", "85", 9), on=9)
    assert found.steps[0].trigger == "alt 85 U/L / 40 = 2.125 x > 2 x"


# 105 -> 66 falls 37.1 %, 97.2 -> 66 falls 32.1 %, 90 -> 66 falls 26.7 %.
BASELINES = {
    "of two of one day the highest: it hides no fall": (("105", "97.2"), "fall 105 -> 66 = "),
    "in whatever order they came": (("90", "97.2"), "fall 97.2 -> 66 = "),
    "a number before a mere upper bound": (("<60", "97.2"), "fall 97.2 -> 66 = "),
}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_that_nothing_puts_in_order(name: str) -> None:
    values, expected = BASELINES[name]
    state = climbed("X8", *(gfr(value, -6) for value in values), tablets("4", 0), gfr("66", 70), on=70)
    assert moves(state)[0].trigger.startswith(expected)


def test_a_baseline_of_at_least_90_does_not_say_that_63_is_more_than_30_percent_lower() -> None:
    """90 -> 63 is 30 % exactly, and ">=90" may be 90."""
    state = climbed("X8", gfr(">=90", -6), tablets("4", 0), gfr("63", 70), on=70)
    assert (state.state, verdict(state)) == ("S0", Verdict.UNKNOWN)
    assert state.steps[0].trigger.endswith("> 30 % undecided")


def test_the_baseline_is_no_reading_to_judge_by() -> None:
    """It is of the day of randomisation, on which the ladder's own readings begin too."""
    state = climbed("X8", gfr("97.2", 0), tablets("4", 0), on=30)
    assert (state.steps, verdict(state)) == ((), Verdict.UNKNOWN)
    assert state.settles == (
        f"a usable reading of Estimated glomerular filtration rate, collected {day(0)} to {day(30)}",
    )


def test_without_a_baseline_one_is_asked_for() -> None:
    state = climbed("X8", tablets("4", 0), gfr("66", 70), on=70)
    assert state.settles == (
        f"a usable reading of Estimated glomerular filtration rate, collected {day(-28)} to {day(0)}",
        "a baseline of the same series",
    )


def test_a_reading_without_a_baseline_of_its_kind_is_shown_as_it_is() -> None:
    state = climbed("X8", gfr("97.2", -6, method="CKD-EPI 2021"), gfr("66", 70), on=70)
    assert state.steps[0].trigger == "66 mL/min/{1.73_m2} > 30 % undecided"
    assert state.settles == ("a baseline of the same series",)


def test_a_measure_with_one_baseline_asks_for_that(tmp_path: Path) -> None:
    """Creatinine 90 days later, with nothing from before randomisation."""
    body = """\
measures:
  rise:
    rise: {finding: creatinine, from: entry}
    against: {finding: creatinine, from: entry - 7 days, to: entry}
ladders:
  - id: T
    text: made up
    measure: rise
    states:
      - {id: A, name: a, next: [{to: B, at_least: 100 %}]}
      - {id: B, name: b, terminal: true}
"""
    (tmp_path / "ladders.yaml").write_text(body, encoding="utf-8")
    [ladder] = load_ladders(tmp_path, vocabulary(), protocol_without_ladders())
    state = climb(ladder, context(lab("creatinine", "160", day(9)), on=9))
    assert state.settles[0] == f"a usable reading of Serum creatinine, collected {day(-7)} to {day(0)}"


def test_of_somebody_whose_day_of_entry_is_not_known_it_is_asked_for() -> None:
    seen = Context(protocol(), facts(*BASE), as_of=R, zone=ZONE, find_day=find_day, decide=decide)
    state = climb(ladders()["X8"], seen)
    assert (state.state, state.steps, verdict(state)) == ("S0", (), Verdict.UNKNOWN)
    assert state.settles == ("the date of entry",)


# What is on record of an eGFR, the day it is shown on, and why it moves nothing.
UNUSABLE = {
    "of the day asked about": (gfr("66", 70, excluded="UNIT_MISSING"), 70, 70, "UNIT_MISSING"),
    "of the day before": (gfr("66", 69, excluded="UNIT_MISSING"), 70, 69, "UNIT_MISSING"),
    "known to the month only, shown on its last day": (
        lab("egfr", "66", "2019-07", method="CKD-EPI 2009", category="derived"),
        70,
        58,
        "DATE_PARTIAL",
    ),
    "without a number": (msgspec.structs.replace(gfr("66", 70), value=None), 70, 70, "NO_VALUE"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_reading_that_cannot_be_relied_on_is_shown_on_its_day(name: str) -> None:
    row, on, shown_on, why = UNUSABLE[name]
    state = climbed("X8", *BASE, row, on=on)
    [step] = state.steps
    assert ((step.on - R).days, step.trigger, step.flags) == (shown_on, "no usable reading", (why,))
    assert [(item.role, item.why) for item in step.evidence] == [("ignored", why)]
    assert (state.flags, verdict(state)) == ((why,), Verdict.UNKNOWN)
    assert state.settles == (f"a usable reading of Estimated glomerular filtration rate of {day(shown_on)}",)


def test_a_month_that_is_not_over_is_not_shown_as_past() -> None:
    row = lab("egfr", "66", "2019-08", method="CKD-EPI 2009", category="derived")
    assert climbed("X8", *BASE, row, on=70).steps == ()


def test_a_panel_asks_only_for_what_was_high() -> None:
    """AST was normal on entry: that day 44 leaves it out says nothing."""
    rows = (enzyme("alt", "85", 30), enzyme("ast", "20", 30), enzyme("alt", "78", 44))
    assert told(climbed("X9", *rows, on=44)) == "L0 -> L1 @30; L1 -> L0 @44 [WATCH]"


# --- limits, series, ways that may hold --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "value", "state", "said"),
    [
        (0, "3", "A", "bilirubin_total 3 umol/L > 2 x undecided"),
        (None, "3", "A", "bilirubin_total 3 umol/L > 2 x undecided"),
        (1, "3", "B", "bilirubin_total 3 umol/L / 1 = 3 x > 2 x"),
        (Fraction(1, 2), "3", "B", "bilirubin_total 3 umol/L / 0.5 = 6 x > 2 x"),
    ],
)
def test_an_upper_limit_of_nothing_is_none(
    tmp_path: Path, limit: int | Fraction | None, value: str, state: str, said: str
) -> None:
    high = None if limit is None else ReferenceRange(high=Fraction(limit))
    row = msgspec.structs.replace(lab("bilirubin_total", value, day(9)), range=high)
    found = by_measure(tmp_path, "bilirubin", "[{to: B, above: 2 x}]", row, on=9)
    assert (found.state, found.steps[-1].trigger) == (state, said)
    assert ("NO_REFERENCE_RANGE" in found.flags) is (state == "A")


MEASURES = """\
measures:
  bilirubin: {multiple: {finding: bilirubin_total, from: entry}, of: upper_limit}
  any_series: {fall: {finding: egfr, from: entry}, against: {finding: egfr, to: entry}}
  listed:
    fall: {finding: egfr, from: entry}
    against: {finding: egfr, to: entry}
    series: [CKD-EPI 2021, CKD-EPI 2009]
  nearest:
    fall: {finding: egfr, from: entry}
    against: {finding: egfr, take: nearest, near: entry, from: entry - 28 days, to: entry}
  level: {level: {finding: tacrolimus_trough, from: entry}}
ladders:
  - id: T
    text: made up
"""


def by_measure(folder: Path, measure: str, ways: str, *rows: Row, on: int) -> LadderState:
    body = f"""\
    measure: {measure}
    states:
      - {{id: A, name: a, next: {ways}}}
      - {{id: B, name: b, terminal: true}}
"""
    if "to: C" in ways:
        body += "      - {id: C, name: c, terminal: true}\n"
    (folder / "ladders.yaml").write_text(MEASURES + body, encoding="utf-8")
    [ladder] = load_ladders(folder, vocabulary(), protocol_without_ladders())
    return climb(ladder, context(*rows, on=on))


NEWER = "CKD-EPI 2021"
# By the equation of 2021 100 -> 66 falls 34 %, by that of 2009 70 -> 66 falls 5.7 %.
BOTH = (gfr("100", -6, method=NEWER), gfr("66", 70, method=NEWER), gfr("70", -6), gfr("66", 70))
SERIES = {
    "the first listed": ("listed", BOTH, "fall 100 -> 66 = 34 % > 30 %"),
    "by name, if none is listed": ("any_series", BOTH, "fall 70 -> 66 = ~5.714 % not > 30 %"),
    "the only one there is": ("any_series", BOTH[:2], "fall 100 -> 66 = 34 % > 30 %"),
    "reported values after the listed ones": (
        "listed",
        (lab("egfr", "100", day(-6)), lab("egfr", "66", day(70))),
        "fall 100 -> 66 = 34 % > 30 %",
    ),
    "the baseline nearest to a day": (
        "nearest",
        (gfr("70", -20), gfr("100", -6), gfr("66", 70)),
        "fall 100 -> 66 = 34 % > 30 %",
    ),
}


@pytest.mark.parametrize("name", SERIES)
def test_which_series_is_compared(name: str, tmp_path: Path) -> None:
    measure, rows, expected = SERIES[name]
    state = by_measure(tmp_path, measure, "[{to: B, above: 30 %}]", *rows, on=70)
    said = [item.compared for item in state.latest if item.when == day(70) and ">" in item.compared]
    assert [text for text in said if "30 %" in text] == [expected]
    assert state.state == ("A" if " not " in expected else "B")


@pytest.mark.parametrize(
    ("value", "second", "state", "settled"),
    [
        # ">8" may be above 10, which leads elsewhere; or to the same state, whichever of the two it is
        (">8", "C", "A", False),
        (">8", "B", "B", True),
        (">10", "C", "B", True),
        ("9", "C", "C", True),
    ],
)
def test_a_way_that_may_hold_bars_those_below_that_lead_elsewhere(
    tmp_path: Path, value: str, second: str, state: str, settled: bool
) -> None:
    ways = f"[{{to: B, above: 10 ng/mL}}, {{to: {second}, above: 5 ng/mL}}]"
    found = by_measure(tmp_path, "level", ways, trough(value, 9), on=9)
    assert (found.state, not found.settles) == (state, settled)


def test_only_what_led_into_the_state_can_be_higher_than_then() -> None:
    """ALT led in on day 30 and is no higher on day 42, after 7 days of protection; AST was normal then."""
    rows = (enzyme("alt", "85", 30), enzyme("ast", "20", 30), answered("liver-protection-start", 35))
    state = climbed("X9", *rows, enzyme("alt", "82", 42), enzyme("ast", "81", 42), on=42)
    assert told(state) == "L0 -> L1 @30"
    assert state.steps[-1].trigger == f"alt 82 U/L / 40 = 2.05 x > 2 x, not higher than on {day(30)}"


def test_a_step_says_that_it_was_higher() -> None:
    rows = (enzyme("alt", "85", 30), answered("liver-protection-start", 38), enzyme("alt", "88", 44))
    step = moves(climbed("X9", *rows, on=44))[-1]
    assert step.trigger == f"alt 88 U/L / 40 = 2.2 x > 2 x, higher than on {day(30)}"


@pytest.mark.parametrize(("first", "moved"), [("9", False), ("11", True)])
def test_only_what_passed_was_seen_before(tmp_path: Path, first: str, moved: bool) -> None:
    ways = "[{to: B, above: 10 ng/mL, again_within: 28 days}]"
    state = by_measure(tmp_path, "level", ways, trough(first, 10), trough("11", 18), on=18)
    assert (state.state, state.settles) == ("B" if moved else "A", ())
    assert (", seen before" in state.steps[-1].trigger) if moved else state.steps == ()
