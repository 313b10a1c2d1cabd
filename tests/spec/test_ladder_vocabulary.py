"""Ladders of other protocols, written with the documented words: what each word does, by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from adapter.model.facts import ReferenceRange
from adapter.model.monitoring import LadderState
from adapter.protocol.ladder import climb
from adapter.protocol.ladder_load import load_ladders
from tests.spec.ladder_words import context, day, enzyme, tablets, told, trough
from tests.spec.protocol_words import Row, lab, said, vocabulary
from tests.spec.test_ladder_load import protocol_without_ladders

HEAD = """\
measures:
  level: {level: {finding: tacrolimus_trough, from: entry}}
  low: {multiple: {finding: albumin, from: entry}, of: lower_limit, worst: lowest}
  liver: {multiple: {finding: [alt, ast], from: entry}, of: upper_limit}
ladders:
  - id: T
    text: made up
"""


def climbed(body: str, folder: Path, *rows: Row, on: int) -> LadderState:
    (folder / "ladders.yaml").write_text(HEAD + body, encoding="utf-8")
    [ladder] = load_ladders(folder, vocabulary(), protocol_without_ladders())
    return climb(ladder, context(*rows, on=on))


DOSES = {
    # A quarter less, with no minimum: 0.5 -> 0.375.
    "factor: 0.75, minimum: none": ("0.5", "0.375 mg/d"),
    "factor: 0.75, minimum: 0.4 mg/d": ("0.5", "0.4 mg/d [AT_MINIMUM_DOSE]"),
    "factor: 0.5, minimum: 0.5 mg/d": ("0.4", "0.4 mg/d [AT_MINIMUM_DOSE]"),
    "factor: 1.5, minimum: none": ("2", "3 mg/d"),
    "factor: 1.5, minimum: none, maximum: 2.5 mg/d": ("2", "2.5 mg/d [AT_MAXIMUM_DOSE]"),
    # the maximum itself is within it; a step up, or none, is stopped by no minimum
    "factor: 1.5, minimum: none, maximum: 3 mg/d": ("2", "3 mg/d"),
    "factor: 1.5, minimum: 0.5 mg/d": ("0.2", "0.3 mg/d"),
    "factor: 1, minimum: 0.5 mg/d": ("0.4", "0.4 mg/d"),
}


@pytest.mark.parametrize("rule", DOSES)
def test_dose_steps(rule: str, tmp_path: Path) -> None:
    before, after = DOSES[rule]
    factor, _, limits = rule.partition(", ")
    body = f"""\
    measure: level
    dose: {{drug: tacrolimus, {limits}}}
    states:
      - {{id: A, name: a, next: [{{to: B, above: 10 ng/mL}}]}}
      - {{id: B, name: b, dose: {{{factor}}}, terminal: true}}
"""
    assert told(climbed(body, tmp_path, tablets(before, 0), trough("11", 9), on=9)) == f"A -> B @9 {after}"


PERSISTENT = """\
    measure: level
    states:
      - {id: A, name: a, next: [{to: B, above: 10 ng/mL, again_within: 28 days, again_after: 7 days}]}
      - {id: B, name: b, terminal: true}
"""


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ((10,), ""),
        ((10, 16), ""),
        ((10, 17), "A -> B @17"),
        ((10, 38), "A -> B @38"),
        ((10, 39), ""),
        ((10, 39, 50), "A -> B @50"),
    ],
)
def test_two_readings_some_days_apart(days: tuple[int, ...], expected: str, tmp_path: Path) -> None:
    rows = tuple(trough("11", day) for day in days)
    assert told(climbed(PERSISTENT, tmp_path, *rows, on=60)) == expected


def test_a_normal_reading_between_takes_nothing_back(tmp_path: Path) -> None:
    rows = (trough("11", 10), trough("9", 14), trough("11", 18))
    assert told(climbed(PERSISTENT, tmp_path, *rows, on=60)) == "A -> B @18"


FOR_MEN = """\
    when: {sex: male}
    measure: level
    states:
      - {id: A, name: a, next: [{to: B, above: 10 ng/mL}]}
      - {id: B, name: b, terminal: true}
"""


@pytest.mark.parametrize(
    ("sex", "state", "flags", "settled"),
    [
        ("male", "B", (), True),
        ("female", "A", ("NOT_APPLICABLE",), True),
        ("unknown", "A", (), False),
    ],
)
def test_for_whom_a_ladder_is(
    sex: str, state: str, flags: tuple[str, ...], settled: bool, tmp_path: Path
) -> None:
    (tmp_path / "ladders.yaml").write_text(HEAD + FOR_MEN, encoding="utf-8")
    [ladder] = load_ladders(tmp_path, vocabulary(), protocol_without_ladders())
    seen = context(trough("11", 9), on=9)
    seen.subject = msgspec.structs.replace(seen.subject, sex=sex)
    found = climb(ladder, seen)
    assert (found.state, found.flags, not found.settles) == (state, flags, settled)
    assert found.ladder == "T"


def test_a_late_result_may_wait(tmp_path: Path) -> None:
    body = """\
    measure: level
    states:
      - {id: A, name: a, next: [{to: B, above: 10 ng/mL}]}
      - id: B
        name: b
        review: {after: 7 days, from: 5 days, to: 9 days}
        overdue: {flag: OVERDUE, late: waits}
        next: [{to: C, above: 10 ng/mL, at: review}, {to: A, at_most: 10 ng/mL, at: review}]
      - {id: C, name: c, terminal: true}
"""
    state = climbed(body, tmp_path, trough("11", 10), trough("9", 20), on=20)
    assert (state.state, state.overdue) == ("B", True)
    assert state.steps[-1].trigger == (
        f"9 ng/mL, after the review window ({day(15)} to {day(19)}): stored, no step"
    )


def test_a_way_out_at_any_time_leaves_a_review_early(tmp_path: Path) -> None:
    body = """\
    measure: liver
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - id: B
        name: b
        review: {after: 14 days, from: 11 days, to: 17 days}
        next: [{to: C, above: 5 x}, {to: A, at_most: 2 x, at: review}]
      - {id: C, name: c, terminal: true}
"""
    rows = (enzyme("alt", "100", 10), enzyme("alt", "201", 13))
    assert told(climbed(body, tmp_path, *rows, on=13)) == "A -> B @10; B -> C @13"
    rows = (enzyme("alt", "100", 10), enzyme("alt", "200", 13))
    assert told(climbed(body, tmp_path, *rows, on=13)) == "A -> B @10"


def test_since_a_drug_was_begun(tmp_path: Path) -> None:
    """Without an exposure on record the entry stands for it."""
    body = """\
    measure: liver
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - id: B
        name: b
        days: {begun: {exposure: {drug: tacrolimus}, or_entry: HOLD_ASSUMED}}
        next: [{to: C, above: 2 x, since: {day: begun, at_least: 14 days}}]
      - {id: C, name: c, terminal: true}
"""
    rows = (enzyme("alt", "100", 10), tablets("4", 15), enzyme("alt", "100", 28), enzyme("alt", "100", 29))
    assert told(climbed(body, tmp_path, *rows, on=29)) == "A -> B @10; B -> C @29"
    rows = (enzyme("alt", "100", 10), tablets("4", 10), enzyme("alt", "100", 24))
    assert told(climbed(body, tmp_path, *rows, on=29)) == "A -> B @10; B -> C @24", (
        "begun on the day of entry"
    )
    rows = (enzyme("alt", "100", 10), tablets("4", 5), enzyme("alt", "100", 24))
    assert told(climbed(body, tmp_path, *rows, on=29)) == "A -> B @10; B -> C @24 [HOLD_ASSUMED]"


def test_an_answer_given_again_replaces_the_day(tmp_path: Path) -> None:
    body = """\
    measure: liver
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - id: B
        name: b
        days: {begun: {attested: begun}}
        next: [{to: C, above: 2 x, since: {day: begun, at_least: 14 days}}]
      - {id: C, name: c, terminal: true}
"""
    first = said("begun", "2019-06-14", "2019-06-14")  # day 11
    again = said("begun", "2019-06-18", "2019-06-20")  # day 15, told on day 17
    rows = (enzyme("alt", "100", 10), first, again, enzyme("alt", "100", 28))
    assert told(climbed(body, tmp_path, *rows, on=28)) == "A -> B @10"
    assert told(climbed(body, tmp_path, *rows[:2], rows[3], on=28)) == "A -> B @10; B -> C @28"


def test_a_share_of_the_lower_limit(tmp_path: Path) -> None:
    """Albumin 24 of a lower limit of 40 is 0.6 x; 30 is 0.75 x."""
    body = """\
    measure: low
    states:
      - {id: A, name: a, next: [{to: B, below: 0.7 x}]}
      - {id: B, name: b, terminal: true}
"""

    def albumin(value: str, on: int) -> Row:
        row = lab("albumin", value, day(on))
        return msgspec.structs.replace(row, range=ReferenceRange(low=Fraction(40)))

    assert told(climbed(body, tmp_path, albumin("30", 10), albumin("24", 20), on=20)) == "A -> B @20"
    both = (albumin("30", 20), albumin("24", 20))
    assert told(climbed(body, tmp_path, *both, on=20)) == "A -> B @20", "the lower of two samples of a day"
