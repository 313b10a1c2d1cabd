"""What a rule may ask of somebody on a study: response, arm, ladder, days on hold, eligibility at entry.

The trial is that of ``test_visits_and_due.py``: day 0 is 2019-06-03, week 4 is from 24 June to 8 July.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapter.model.course import ArmIs, GapIs, LadderIs, ResponseIs
from adapter.model.coverage import Coverage
from adapter.model.decision import Evidence
from adapter.model.facts import Event, Source
from adapter.model.kleene import Truth
from adapter.model.monitoring import LadderState, LadderStep
from adapter.protocol.anchors import find_day
from adapter.protocol.conditions import outcome_of
from adapter.protocol.context import Context
from adapter.protocol.course import held_days
from adapter.protocol.evaluate import decide
from adapter.protocol.outcome import Outcome
from tests.spec.ladder_words import enrolled
from tests.spec.protocol_words import ZONE, Row, facts, had, lab, protocol
from tests.spec.test_visits_and_due import BEFORE, ENTRY, TRIAL, followed, on_study, protein
from tests.spec.test_why import shown

LOST = Coverage("Observation", False, reason="HTTP 500")


def asked(folder: Path, rule: str, *rows: Row, at_visit: bool = True, **more: Any) -> Any:
    """The verdict on a rule that looks at week 4, or (``at_visit=False``) at no visit."""
    return followed(folder, *rows, rule=rule, **more).endpoints[1 if at_visit else 0]


# --- the response ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "states", "expected"),
    [
        # 8 -> 2 is partial; nothing at week 4 is unknown; a value without one before cannot be compared
        ("2", "partial", "met"),
        ("2", "[complete, none]", "not_met"),
        ("2", "unknown", "not_met"),
        ("2", "[unknown, partial]", "met"),
        ("2", "[unknown, none]", "not_met"),
        ("", "partial", "unknown"),
        ("", "unknown", "met"),
        ("", "[unknown, none]", "met"),
        ("0.2", "complete", "met"),
        ("0.2", "unknown", "not_met"),
        # no line of the table is a relapse
        ("2", "relapse", "not_met"),
        ("", "relapse", "unknown"),
    ],
)
def test_the_response_at_a_visit(tmp_path: Path, after: str, states: str, expected: str) -> None:
    rows = (BEFORE, *((protein(after, "2019-07-01"),) if after else ()))
    assert asked(tmp_path, f"{{response: {states}}}", *rows).verdict.value == expected
    named = asked(tmp_path, f"{{response: {states}, at: W4}}", *rows, at_visit=False)
    assert named.verdict.value == expected


@pytest.mark.parametrize("on", ["2019-06-24", "2019-07-08", "2019-07-01T08:30:00+08:00"])
def test_what_was_measured_in_the_window_may_say_no(tmp_path: Path, on: str) -> None:
    """5 g/d is no complete remission, though nobody knows whether it is a partial one."""
    assert asked(tmp_path, "{response: complete}", protein("5", on)).verdict.value == "not_met"


@pytest.mark.parametrize("on", ["2019-06-23", "2019-07-09"])
def test_what_was_measured_outside_the_window_says_nothing(tmp_path: Path, on: str) -> None:
    assert asked(tmp_path, "{response: complete}", protein("5", on)).verdict.value == "unknown"


@pytest.mark.parametrize(
    ("on", "expected"), [("2019-06-23", "unknown"), ("2019-07-08", "not_met"), ("2019-07-09", "unknown")]
)
def test_what_a_line_rests_on_must_be_of_the_visit(tmp_path: Path, on: str, expected: str) -> None:
    """A line that takes any reading there is says no at week 4 only if one of week 4 says so."""
    line = "  response:\n    - complete: {finding: urine_protein_24h, below: 0.3 g/d}\n"
    trial = TRIAL[: TRIAL.index("  response:")] + line + TRIAL[TRIAL.index("  endpoints:") :]
    found = asked(tmp_path, "{response: complete}", protein("5", on), trial=trial)
    assert found.verdict.value == expected


def test_a_response_that_cannot_be_told_shows_what_was_measured(tmp_path: Path) -> None:
    """5 g/d is not complete; without a value before entry nobody knows whether it fell."""
    found = asked(tmp_path, "{response: unknown}", protein("5", "2019-07-01"))
    assert found.verdict.value == "met"
    assert [(item.concept, item.when) for item in found.evidence] == [("urine_protein_24h", "2019-07-01")]


def test_a_reading_that_cannot_be_used_is_told_with_the_response(tmp_path: Path) -> None:
    bare = lab("urine_protein_24h", "2", "2019-07-01", excluded="UNIT_MISSING")
    found = asked(tmp_path, "{response: unknown}", BEFORE, bare)
    assert (found.verdict.value, found.flags, found.settles) == ("met", ("UNIT_MISSING",), ())


def test_a_response_can_be_asked_for_by_itself() -> None:
    """Without anything else of monitoring: peak 9 g/d, then 3 g/d on day 84, a fall of two thirds."""
    rows = (lab("urine_protein_24h", "9", "2019-05-28"), lab("urine_protein_24h", "3", "2019-08-26"))
    here = Context(
        enrolled(), facts(*rows), as_of=date(2019, 9, 30), zone=ZONE, find_day=find_day, decide=decide
    )
    assert outcome_of(ResponseIs(states=("partial",), at="W12"), here).truth is Truth.TRUE
    earlier = ResponseIs(states=("partial",), at="earlier")
    assert outcome_of(earlier, here.at("M6")).truth is Truth.TRUE
    assert outcome_of(earlier, here.at("W12")).truth is Truth.FALSE


def test_the_response_is_that_of_a_visit(tmp_path: Path) -> None:
    found = asked(tmp_path, "{response: partial}", BEFORE, at_visit=False)
    assert (found.verdict.value, found.settles) == ("unknown", ("the visit that is meant",))


@pytest.mark.parametrize(
    ("after", "expected", "flags"),
    [
        ("2", "met", ()),
        # 8 -> 3.9 fell by 51 % but is nephrotic: read strictly that is no partial remission
        ("3.9", "met", ("READING_DIFFERS", "not_nephrotic")),
        ("4", "not_met", ("BOUNDARY",)),
    ],
)
def test_an_answer_that_another_reading_would_change_is_flagged(
    tmp_path: Path, after: str, expected: str, flags: tuple[str, ...]
) -> None:
    found = asked(tmp_path, "{response: partial}", BEFORE, protein(after, "2019-07-01"))
    assert (found.verdict.value, found.flags) == (expected, flags)


# --- the arm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "verdict", "flags", "settles"),
    [
        ((ENTRY,), "met", (), ()),
        ((on_study("mono"),), "met", (), ()),
        ((on_study("arm  b"),), "not_met", (), ()),
        ((on_study(""),), "unknown", (), ("the assigned arm",)),
        ((on_study("Arm C"),), "unknown", ("ARM_UNKNOWN",), ("which arm 'Arm C' is",)),
        ((ENTRY, on_study("Arm B")), "unknown", ("CONFLICT",), ("which of two assigned arms is right",)),
        ((ENTRY, on_study("mono")), "met", (), ()),  # two names of one arm
        ((replace(ENTRY, presence="past"),), "met", (), ()),  # who has left was in an arm
        ((ENTRY, replace(on_study("Arm B"), excluded="ENTERED_IN_ERROR")), "met", (), ()),
        (
            (replace(ENTRY, attributes=(("study_identifier", "X TRIAL-1"), ("assigned_arm", "A"))),),
            "met",
            (),
            (),
        ),
        # the study as an address; another study's arm is none of ours
        ((on_study(study="https://hospital.example/fhir/ResearchStudy/TRIAL-1"),), "met", (), ()),
        ((on_study("Arm B", study="ResearchStudy/TRIAL-2"), ENTRY), "met", (), ()),
        ((on_study("Arm B", study="ResearchStudy/TRIAL-2"),), "unknown", (), ("the assigned arm",)),
    ],
)
def test_the_arm(
    tmp_path: Path, rows: tuple[Event, ...], verdict: str, flags: tuple[str, ...], settles: tuple[str, ...]
) -> None:
    found = asked(tmp_path, "{arm: A}", *rows, entry=None)
    assert (found.verdict.value, found.flags, found.settles) == (verdict, flags, settles)


def test_the_arm_of_somebody_on_no_study() -> None:
    found = outcome_of(ArmIs(arms=("TAC",)), seen())
    assert (found.truth, found.needs) == (Truth.UNKNOWN, ("the assigned arm",))


@pytest.mark.parametrize("rule", ["{arm: A}", "{arm: B}"])
def test_the_arm_is_shown_as_the_hospital_wrote_it(tmp_path: Path, rule: str) -> None:
    [item] = asked(tmp_path, rule, on_study("MONO"), entry=None).evidence
    assert (item.role, item.concept, item.original, item.value) == ("used", "research_subject", "MONO", "arm")


# --- eligibility as of another day --------------------------------------------------------------------


ALBUMIN = ("a usable reading of Serum albumin, collected up to 2019-06-02",)
LOW, HIGH = lab("albumin", "25", "2019-05-20"), lab("albumin", "35", "2019-05-20")


@pytest.mark.parametrize(
    ("state", "rows", "verdict", "settles"),
    [
        # inclusion 1 wants albumin below 30 g/L, inclusion 2 a man
        ("eligible", (LOW,), "met", ()),
        ("ineligible", (LOW,), "not_met", ()),
        ("undetermined", (LOW,), "not_met", ()),
        ("eligible", (HIGH,), "not_met", ()),
        ("ineligible", (HIGH,), "met", ()),
        ("undetermined", (), "met", ()),
        ("eligible", (), "unknown", ALBUMIN),
        # what was measured after entry says nothing about entry
        ("ineligible", (lab("albumin", "35", "2019-06-03"),), "unknown", ALBUMIN),
    ],
)  # fmt: skip
def test_eligibility_the_day_before_entry(
    tmp_path: Path, state: str, rows: tuple[Row, ...], verdict: str, settles: tuple[str, ...]
) -> None:
    found = asked(tmp_path, f"{{eligibility: {state}, at: entry - 1 day}}", *rows)
    assert (found.verdict.value, found.settles) == (verdict, settles)


def test_only_what_decided_eligibility_is_shown(tmp_path: Path) -> None:
    """Not eligible for the albumin: that the person is a man decided nothing."""
    rule = "{eligibility: ineligible, at: entry - 1 day}"
    assert shown(asked(tmp_path, rule, HIGH)) == ["used 2019-05-20 35 g/L: 35 g/L not < 30 g/L"]
    eligible = asked(tmp_path, rule, LOW)
    assert [item.concept for item in eligible.evidence] == ["albumin", "gender"]


@pytest.mark.parametrize("state", ["eligible", "ineligible"])
def test_what_is_said_of_a_verdict_at_entry_is_said_of_the_rule(tmp_path: Path, state: str) -> None:
    """30 g/L is not below 30 g/L, just so."""
    rule = f"{{eligibility: {state}, at: entry - 1 day}}"
    assert asked(tmp_path, rule, lab("albumin", "30", "2019-05-20")).flags == ("BOUNDARY",)


@pytest.mark.parametrize(("start", "settles"), [("", "the date of biopsy"), ("2019-05", "")])
def test_eligibility_of_a_day_that_is_not_known(tmp_path: Path, start: str, settles: str) -> None:
    rows = (had("kidney_biopsy", start, start, presence="past"),) if start else ()
    found = asked(tmp_path, "{eligibility: eligible, at: biopsy}", LOW, *rows)
    assert (found.verdict.value, found.settles) == ("unknown", (settles,) if settles else ())


# --- ladders ----------------------------------------------------------------------------------------


DAY = date(2019, 9, 1)
USED = Evidence(Source("Observation/1", "1"), "used", "egfr", "2019-07-01")


def climbed(name: str = "X8", state: str = "S1", **more: Any) -> LadderState:
    return LadderState(name, state, steps=(step("S0", "S1", "2019-07-01", evidence=(USED,)),), **more)


def step(source: str, target: str, on: str, **more: Any) -> LadderStep:
    return LadderStep(source, target, date.fromisoformat(on), "a trigger", **more)


def seen(*states: LadderState, rows: tuple[Row, ...] = ()) -> Context:
    return Context(
        protocol(),
        facts(*rows),
        as_of=DAY,
        zone=ZONE,
        find_day=find_day,
        decide=decide,
        ladders={state.ladder: state for state in states},
    )


def where(*states: LadderState) -> Outcome:
    return outcome_of(LadderIs(ladder="X8", states=("S1", "S2")), seen(*states))


@pytest.mark.parametrize(
    ("state", "truth", "flags", "needs"),
    [
        (climbed(), Truth.TRUE, (), ()),
        (climbed(flags=("UNCONFIRMED",)), Truth.TRUE, ("UNCONFIRMED",), ()),
        (climbed(overdue=True, settles=("an eGFR",)), Truth.TRUE, (), ()),
        # elsewhere: no, unless a result that is due, or asked for, may still move it
        (climbed(state="S0"), Truth.FALSE, (), ()),
        (climbed(state="S0", flags=("UNCONFIRMED",)), Truth.FALSE, ("UNCONFIRMED",), ()),
        (climbed(state="S0", overdue=True), Truth.UNKNOWN, (), ()),
        (climbed(state="S0", settles=("an eGFR",)), Truth.UNKNOWN, (), ("an eGFR",)),
        (climbed(state="S0", settles=("an eGFR",), flags=("UNCONFIRMED",)), Truth.UNKNOWN,
         ("UNCONFIRMED",), ("an eGFR",)),
        # at its end nothing moves it
        (climbed(state="S3", terminal=True, overdue=True, settles=("an eGFR",)), Truth.FALSE, (), ()),
    ],
)  # fmt: skip
def test_where_a_ladder_stands(
    state: LadderState, truth: Truth, flags: tuple[str, ...], needs: tuple[str, ...]
) -> None:
    found = where(state)
    assert (found.truth, found.flags, found.needs) == (truth, flags, needs)
    assert found.evidence == (USED,)


def test_where_a_ladder_stands_if_results_were_lost() -> None:
    """It was climbed on a part of the results: any other may have moved it. A part that came since counts."""
    partial = climbed(flags=("PARTIAL_RECORD", "UNCONFIRMED"), settles=("the results that did not come",))
    lost = outcome_of(LadderIs(ladder="X8", states=("S1",)), seen(partial, rows=(LOST,)))
    assert lost.truth is Truth.UNKNOWN
    assert lost.flags == ("PARTIAL_RECORD", "UNCONFIRMED")
    assert lost.needs == ("the results that did not come",)
    assert lost.evidence == (USED,)
    whole = where(partial)
    assert (whole.truth, whole.flags) == (Truth.TRUE, ("UNCONFIRMED",))


def test_a_ladder_that_nobody_climbed() -> None:
    assert where() == Outcome(Truth.UNKNOWN, needs=("the ladder X8",))


def test_days_on_hold_do_not_count_as_without_the_drug() -> None:
    """X9 held the drug from 1 to 20 July and again from 10 August; X8 from 5 to 8 August."""
    x9 = LadderState(
        "X9",
        "L2",
        steps=(
            step("L0", "L2", "2019-07-01"),
            step("L2", "L2", "2019-07-09"),  # a review that moves nothing
            step("L2", "L0", "2019-07-20"),
            step("L0", "L2", "2019-08-10"),
        ),
    )
    x8 = LadderState("X8", "S0", steps=(step("S0", "S9", "2019-08-05"), step("S9", "S0", "2019-08-08")))
    holds = (LadderIs(ladder="X8", states=("S9",)), LadderIs(ladder="X9", states=("L2",)))
    days = [(str(first), str(last)) for first, last in held_days(GapIs(drugs=(), holds=holds), seen(x8, x9))]
    assert days == [
        ("2019-07-01", "2019-07-20"),
        ("2019-08-05", "2019-08-08"),
        ("2019-08-10", "2019-09-01"),
    ]
    assert held_days(GapIs(drugs=(), holds=holds), seen()) == ()
