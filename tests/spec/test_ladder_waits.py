"""What a ladder waits for: the days of a state, the window of a review, what is asked for; by hand.

Days count from randomisation (2019-06-03, day 0): day 30 is 2019-07-03, day 70 is 2019-08-12.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapter.model.decision import Verdict
from adapter.model.facts import Intervention
from adapter.protocol.ladder import climb, moves, verdict
from tests.spec.ladder_words import answered, climbed, context, day, enzyme, gfr, ladders, tablets, told
from tests.spec.ladder_words import trough as level
from tests.spec.protocol_words import Row, lab, said, took
from tests.spec.test_ladder_calendar import stands
from tests.spec.test_ladder_vocabulary import climbed as by_words

BASE: tuple[Row, ...] = (gfr("97.2", -6), tablets("4", 0))


def alt(value: str, on: int) -> Row:
    return enzyme("alt", value, on)


# --- days that a person records, or the first exposure to a drug -------------------------------------------

SINCE = """\
    measure: liver
    states:
      - {{id: A, name: a, next: [{{to: B, above: 2 x}}]}}
      - id: B
        name: b
        days: {{begun: {{{begun}, or_entry: ASSUMED}}}}
        next: [{{to: C, above: 2 x, since: {{day: begun, at_least: 14 days}}}}]
      - {{id: C, name: c, terminal: true}}
"""
DRUG, ROLE, CLASS = (
    "exposure: {drug: tacrolimus}",
    "exposure: {role: STUDY-T}",
    "exposure: {class: calcineurin_inhibitor}",
)
"""ALT is above twice its limit on day 10, when B is entered, and again on day 29 (19 days later)."""


def given(drug: str, on: int, **more: Any) -> Intervention:
    return msgspec.structs.replace(took(drug, day(on)), **more)


# 15 to 29 is 14 days, 16 to 29 is 13.
EXPOSED = {
    "long enough ago": (DRUG, [given("tacrolimus", 15)], "B -> C @29"),
    "a day too late": (DRUG, [given("tacrolimus", 16)], ""),
    "on the day of the reading itself": (DRUG, [given("tacrolimus", 29)], ""),
    "the first of two": (DRUG, [given("tacrolimus", 20), given("tacrolimus", 15)], "B -> C @29"),
    "two records of one day": (
        DRUG,
        [given("tacrolimus", 15), given("tacrolimus", 15, kind="order")],
        "B -> C @29",
    ),
    "another drug is not asked about": (DRUG, [given("prednisone", 20)], "B -> C @29 [ASSUMED]"),
    "a record that only supports": (DRUG, [given("tacrolimus", 20, use="SUPP")], "B -> C @29 [ASSUMED]"),
    "a record never used": (DRUG, [given("tacrolimus", 20, use="NEVER")], "B -> C @29 [ASSUMED]"),
    "a record in error": (
        DRUG,
        [given("tacrolimus", 20, excluded="ENTERED_IN_ERROR")],
        "B -> C @29 [ASSUMED]",
    ),
    "before the state was entered": (DRUG, [given("tacrolimus", 9)], "B -> C @29 [ASSUMED]"),
}


def stepped(begun: str, folder: Path, *rows: Row) -> Any:
    return by_words(SINCE.format(begun=begun), folder, alt("100", 10), *rows, alt("100", 29), on=29)


@pytest.mark.parametrize("name", EXPOSED)
def test_the_first_day_of_a_drug(name: str, tmp_path: Path) -> None:
    begun, rows, expected = EXPOSED[name]
    assert told(stepped(begun, tmp_path, *rows)) == "; ".join(filter(None, ("A -> B @10", expected)))


def test_the_first_day_of_a_role_or_class_of_drugs(tmp_path: Path) -> None:
    known = took("tacrolimus", day(20))
    for by, name in (("role", known.role), ("class", known.classes[0])):
        begun = f"exposure: {{{by}: {name}}}"
        assert told(stepped(begun, tmp_path, known)) == "A -> B @10"
        assert told(stepped(begun, tmp_path)) == "A -> B @10; B -> C @29 [ASSUMED]"


def test_the_record_of_a_first_day_is_shown(tmp_path: Path) -> None:
    step = stepped(DRUG, tmp_path, given("tacrolimus", 15)).steps[-1]
    [shown] = [item for item in step.evidence if item.concept == "tacrolimus"]
    assert (shown.role, shown.when, shown.source.reference) == (
        "used",
        day(15),
        f"MedicationStatement/tacrolimus-{day(15)}",
    )
    assert step.trigger.endswith(f", 14 days after begun ({day(15)})")


ANSWERS = {
    "the answer": ([said("begun", day(15), day(15))], "B -> C @29"),
    "given again, with an earlier day": (
        [said("begun", day(20), day(20)), said("begun", day(15), day(21))],
        "B -> C @29",
    ),
    "given again, with a later day": (
        [said("begun", day(15), day(20)), said("begun", day(20), day(21))],
        "",
    ),
    "taken back as an error": (
        [msgspec.structs.replace(said("begun", day(20), day(20)), excluded="ENTERED_IN_ERROR")],
        "B -> C @29 [ASSUMED]",
    ),
    "given after the day asked about": ([said("begun", day(20), day(30))], "B -> C @29 [ASSUMED]"),
    "to another question": ([said("other", day(20), day(20))], "B -> C @29 [ASSUMED]"),
    "a day after the reading": ([said("begun", "2019-07-03", day(29))], "B -> C @29 [ASSUMED]"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_day_that_a_person_told(name: str, tmp_path: Path) -> None:
    rows, expected = ANSWERS[name]
    state = stepped("attested: begun", tmp_path, *rows)
    assert told(state) == "; ".join(filter(None, ("A -> B @10", expected)))
    used = [item.role for item in moves(state)[-1].evidence if "Questionnaire" in item.source.reference]
    assert used == (["used"] if expected == "B -> C @29" else [])


def test_a_day_counted_from_the_entry(tmp_path: Path) -> None:
    """B is entered on day 10; 13 and 14 days later ALT is still above twice its limit."""
    body = """\
    measure: liver
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - {id: B, name: b, next: [{to: C, above: 2 x, since: {day: entry, at_least: 14 days}}]}
      - {id: C, name: c, terminal: true}
"""
    rows = (alt("100", 10), alt("100", 23))
    assert told(by_words(body, tmp_path, *rows, on=24)) == "A -> B @10"
    state = by_words(body, tmp_path, *rows, alt("100", 24), on=24)
    assert told(state) == "A -> B @10; B -> C @24"
    assert state.steps[-1].trigger == f"alt 100 U/L / 40 = 2.5 x > 2 x, 14 days after entry ({day(10)})"


# --- windows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on", "late"), [(84, False), (87, False), (88, True)])
def test_only_after_the_last_day_of_its_window_a_review_is_late(on: int, late: bool) -> None:
    """Halved on day 70: the review is due from day 81 to day 87."""
    step = moves(climbed("X8", *BASE, gfr("66", 70), tablets("2", 71), gfr("67", on), level("7", on), on=on))[
        -1
    ]
    assert (step.target, step.flags) == ("S2", ("REVIEW_LATE",) if late else ())


def test_a_window_that_also_counts_from_the_entry_rests_on_no_assumption() -> None:
    """Nobody told when liver protection began, but the review counts from the entry too."""
    assert told(climbed("X9", alt("85", 30), alt("78", 44), on=44)) == "L0 -> L1 @30; L1 -> L0 @44 [WATCH]"


def test_a_window_that_counts_from_an_assumed_day_says_so() -> None:
    """Nobody told when tacrolimus was held."""
    rows = (alt("85", 30), answered("liver-protection-start", 30), alt("88", 44), alt("39", 58))
    assert told(climbed("X9", *rows, on=58)).endswith("L2 -> L3 @58 [HOLD_ASSUMED]")


def test_a_late_result_rests_on_the_assumed_day_too() -> None:
    """Held on day 44, so the review was due from day 55 to day 61."""
    rows = (alt("85", 30), answered("liver-protection-start", 30), alt("88", 44), alt("39", 62))
    last = moves(climbed("X9", *rows, on=62))[-1]
    assert (last.target, last.flags) == ("L3", ("REVIEW_LATE", "HOLD_ASSUMED"))


def test_the_record_of_the_day_that_a_window_counts_from_is_shown() -> None:
    rows = (alt("85", 30), answered("liver-protection-start", 30), alt("88", 44))
    last = moves(climbed("X9", *rows, answered("tacrolimus-hold-start", 44), alt("39", 58), on=58))[-1]
    told_of = [item.source.path for item in last.evidence if "Questionnaire" in item.source.reference]
    assert told_of == ["tacrolimus-hold-start"]


def test_a_review_that_fits_no_way_out_may_ask_for_nothing(tmp_path: Path) -> None:
    """1.5 x is neither above 5 times nor at most the limit; the file says nothing of what would settle it."""
    body = """\
    measure: liver
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - id: B
        name: b
        review: {after: 14 days, from: 11 days, to: 17 days}
        next: [{to: C, above: 5 x, at: review}, {to: A, at_most: 1 x, at: review}]
      - {id: C, name: c, terminal: true}
"""
    state = by_words(body, tmp_path, alt("100", 10), alt("60", 24), on=30)
    assert (state.state, state.settles, verdict(state)) == ("B", (), Verdict.NOT_MET)


EARLY = """\
    measure: liver
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - id: B
        name: b
        days: {hold: {attested: hold, or_entry: HOLD_ASSUMED}}
        review: {after: 14 days, from: 11 days, to: 17 days, counted_from: [hold]}
        next: [{to: C, above: 5 x}, {to: A, at_most: 2 x, at: review}]
      - {id: C, name: c, terminal: true}
"""


@pytest.mark.parametrize(("on", "flags"), [(13, ""), (24, " [HOLD_ASSUMED]")])
def test_a_step_outside_the_window_does_not_rest_on_it(tmp_path: Path, on: int, flags: str) -> None:
    """ALT above 5 times the limit of 40 is acted on at any time; B is entered on day 10, its review due on
    days 21 to 27."""
    state = by_words(EARLY, tmp_path, alt("100", 10), alt("201", on), on=on)
    assert told(state) == f"A -> B @10; B -> C @{on}{flags}"


def test_after_a_review_that_fits_no_way_out_no_other_is_due() -> None:
    """1.75 x is neither above twice nor at most 1.5 times: a physician's word is asked for instead."""
    rows = (alt("85", 30), answered("liver-protection-start", 30), alt("88", 44))
    held = answered("tacrolimus-hold-start", 44)
    waiting = climbed("X9", *rows, held, on=50)
    assert [str(edge) for edge in (waiting.review_first, waiting.review_last)] == [day(55), day(61)]
    reviewed = climbed("X9", *rows, held, alt("70", 58), on=70)
    assert (reviewed.state, reviewed.review_first, reviewed.review_last) == ("L2", None, None)
    assert (reviewed.overdue, verdict(reviewed)) == (False, Verdict.UNKNOWN)


# --- the calendar -----------------------------------------------------------------------------------------

CALENDAR = """\
measures:
  sugar: {level: {finding: glucose, from: entry}}
ladders:
  - id: T
    text: made up
    start: entry
    measure: sugar
    states:
"""


def test_nothing_measured_when_the_review_is_over(tmp_path: Path) -> None:
    """4 weeks after 2019-06-03 is 2019-07-01; the review is due from 5 to 9 days later."""
    states = """\
      - {id: A, name: a, next: [{to: B, after: 4 weeks}]}
      - id: B
        name: b
        review: {after: 7 days, from: 5 days, to: 9 days}
        overdue: {flag: OVERDUE}
        next: [{to: C, above: 11 mmol/L, at: review}]
      - {id: C, name: c, terminal: true}
"""
    state = stands(tmp_path, "2019-07-11", ladders=CALENDAR + states)
    assert (state.state, state.overdue, state.flags) == ("B", True, ("OVERDUE",))
    assert state.settles == (
        "a usable reading of Glucose, collected 2019-06-03 to 2019-07-11",
        "a result of Glucose, due 2019-07-06 to 2019-07-10",
    )


def test_a_ladder_that_begins_later_has_not_been_entered(tmp_path: Path) -> None:
    states = """\
      - {id: A, name: a, next: [{to: B, after: 1 month}]}
      - {id: B, name: b, terminal: true}
"""
    text = CALENDAR.replace("start: entry\n", "start: entry + 28 days\n") + states
    waiting = stands(tmp_path, "2019-06-30", ladders=text)
    assert (waiting.state, waiting.entered) == ("A", None)
    begun = stands(tmp_path, "2019-07-01", ladders=text)
    assert (begun.state, str(begun.entered)) == ("A", "2019-07-01")
    ended = stands(tmp_path, "2019-08-01", ladders=text)
    assert [step.trigger for step in ended.steps] == ["1 month after 2019-07-01"]


def test_a_step_by_the_calendar_needs_no_reading_beside_it(tmp_path: Path) -> None:
    """The review of B was missed; that C comes 8 weeks after it is no review."""
    states = """\
      - {id: A, name: a, next: [{to: B, after: 4 weeks}]}
      - id: B
        name: b
        review: {after: 7 days, from: 5 days, to: 9 days}
        next: [{to: C, above: 11 mmol/L, at: review}, {to: C, after: 8 weeks}]
      - {id: C, name: c, terminal: true}
"""
    beside = "    beside: {finding: tacrolimus_trough, from: entry, look_back: 6 days, missing: NO_LEVEL}\n"
    text = CALENDAR.replace("    states:\n", f"{beside}    states:\n") + states
    by_calendar = stands(tmp_path, "2019-09-01", ladders=text)
    assert [(step.target, step.flags) for step in by_calendar.steps] == [("B", ()), ("C", ())]
    high = lab("glucose", "12", "2019-07-08", unit="mmol/L")
    reviewed = stands(tmp_path, "2019-09-01", high, ladders=text)
    assert [(step.target, step.flags) for step in reviewed.steps] == [("B", ()), ("C", ("NO_LEVEL",))]


def test_all_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    """The drug whose first day begins the ladder was never given, and there is no glucose of before."""
    states = """\
      - {id: A, name: a, next: [{to: B, after: 4 weeks}, {to: B, above: 50 %}]}
      - {id: B, name: b, terminal: true}
"""
    rise = "{rise: {finding: glucose, from: entry}, against: {finding: glucose, to: entry}}"
    text = CALENDAR.replace("{level: {finding: glucose, from: entry}}", rise) + states
    state = stands(tmp_path, "2019-07-11", ladders=text.replace("start: entry\n", "start: course\n"))
    assert state.settles == ("a usable reading of Glucose, collected up to 2019-06-03", "the date of course")


def test_of_two_steps_due_on_one_day_the_first_written_is_taken(tmp_path: Path) -> None:
    states = """\
      - {id: A, name: a, next: [{to: C, after: 28 days}, {to: B, after: 4 weeks}]}
      - {id: B, name: b, terminal: true}
      - {id: C, name: c, terminal: true}
"""
    assert stands(tmp_path, "2019-07-01", ladders=CALENDAR + states).state == "C"


def test_where_a_ladder_has_ended_nothing_is_asked_for(tmp_path: Path) -> None:
    """Its measure counts from the first day of a drug that was never given."""
    states = """\
      - {id: A, name: a, next: [{to: B, after: 4 weeks}]}
      - {id: B, name: b, terminal: true}
"""
    text = CALENDAR.replace("from: entry}", "from: course}") + states
    waiting = stands(tmp_path, "2019-06-30", ladders=text)
    assert (waiting.state, waiting.settles) == ("A", ("the date of course",))
    ended = stands(tmp_path, "2019-07-01", ladders=text)
    assert (ended.state, ended.settles) == ("B", ())


# --- who --------------------------------------------------------------------------------------------------


def test_a_person_whose_record_was_merged_into_another_climbs_nothing() -> None:
    seen = context(*BASE, gfr("66", 70), on=70)
    seen.subject = msgspec.structs.replace(seen.subject, excluded="REPLACED")
    state = climb(ladders()["X8"], seen)
    assert (state.ladder, state.state, state.steps, state.flags) == ("X8", "S0", (), ("REVIEW", "REPLACED"))
    assert (state.settles, verdict(state)) == (("one surviving patient record",), Verdict.UNKNOWN)


# --- what is undecided -------------------------------------------------------------------------------------


def test_what_may_have_been_seen_before_is_told_as_such(tmp_path: Path) -> None:
    """The level of day 10 was printed as ">9": it may have been above 10, or not."""
    body = """\
    measure: level
    states:
      - {id: A, name: a, next: [{to: B, above: 10 ng/mL, again_within: 28 days}]}
      - {id: B, name: b, terminal: true}
"""
    state = by_words(body, tmp_path, level(">9", 10), level("11", 20), on=20)
    assert (state.state, verdict(state)) == ("A", Verdict.UNKNOWN)
    assert state.steps[-1].trigger == "11 ng/mL > 10 ng/mL, perhaps seen before within 28 days"
