"""What a step of a ladder shows: every record it rests on, and what was compared; worked out by hand.

Days count from randomisation (2019-06-03): day 70 is 2019-08-12, day 84 is 2019-08-26.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapter.model.facts import Coding
from adapter.model.monitoring import LadderStep
from adapter.protocol.ladder import moves
from tests.spec.ladder_words import R, climbed, day, enzyme, gfr, tablets, trough
from tests.spec.protocol_words import Row, lab
from tests.spec.test_ladder_vocabulary import climbed as by_words

BASE: tuple[Row, ...] = (gfr("97.2", -6), tablets("4", 0))
FELL = "fall 97.2 -> 66 = ~32.099 % > 30 %"


def shown(step: LadderStep) -> list[str]:
    """``used egfr 2019-08-12: fall ...``: the role, what it is, its day, and what was made of it."""
    return [
        f"{item.role} {item.concept} {item.when[:10]}: {item.compared or item.why or item.value}"
        for item in step.evidence
    ]


def test_a_halving_rests_on_the_reading_its_baseline_the_dose_and_the_level_beside_it() -> None:
    [step] = moves(climbed("X8", *BASE, gfr("66", 70), trough("7", 68), on=70))
    assert shown(step) == [
        f"used egfr {day(70)}: {FELL}",
        f"used egfr {day(-6)}: {FELL}",
        f"used tacrolimus {day(0)}: 4 mg/d",
        f"support tacrolimus_trough {day(68)}: 7 ng/mL not > 10 ng/mL",
    ]
    assert step.evidence[3].why == "beside the measure"
    assert step.action == (
        "halve the tacrolimus dose (not below 0.5 mg/d); order creatinine and trough in 2 weeks"
    )


def test_of_two_samples_each_carries_its_own_comparison() -> None:
    """97.2 -> 69 falls 29.01 %, 97.2 -> 66 falls 32.10 %: the second is the day's."""
    [step] = moves(climbed("X8", *BASE, gfr("69", 70), gfr("66", 70), on=70))
    own = {item.original: item.compared for item in step.evidence if item.when == day(70)}
    assert own == {"69": "fall 97.2 -> 69 = ~29.012 %", "66": FELL}


def test_a_dose_is_named_in_the_words_of_its_source() -> None:
    order = msgspec.structs.replace(tablets("4", 0), code=Coding("urn:x", "T1", "Tacrolimus capsules 1 mg"))
    [step] = moves(climbed("X8", gfr("97.2", -6), order, gfr("66", 70), on=70))
    [dose] = [item for item in step.evidence if item.concept == "tacrolimus"]
    assert (dose.role, dose.when, dose.original, dose.value) == (
        "used",
        day(0),
        "Tacrolimus capsules 1 mg",
        "4 mg/d",
    )


DOSES = {
    "a stop": ("dose: stop", "0 mg/d"),
    "a hold": ("dose: hold", "0 mg/d"),
    "a dose that is prescribed": ("dose: {daily: 3 mg/d}", "3 mg/d"),
    "a share of the dose": ("dose: {factor: 0.25}", "1 mg/d"),
    # at a factor of 1 the dose stays what it was, above the maximum too: that is no step up
    "the same dose": ("dose: {factor: 1}", "4 mg/d"),
}


@pytest.mark.parametrize("name", DOSES)
def test_each_dose_step_shows_the_dose_it_was_made_from(name: str, tmp_path: Path) -> None:
    dose, expected = DOSES[name]
    body = f"""\
    measure: level
    dose: {{drug: tacrolimus, minimum: none, maximum: 3.5 mg/d}}
    states:
      - {{id: A, name: a, next: [{{to: B, above: 10 ng/mL}}]}}
      - {{id: B, name: b, {dose}, terminal: true}}
"""
    [step] = by_words(body, tmp_path, tablets("4", 0), trough("11", 9), on=9).steps
    assert (step.dose, step.flags) == (expected, ())
    assert f"used tacrolimus {day(0)}: 4 mg/d" in shown(step)


# Which orders say the dose that a step is made from: 4 mg/d on day 0, halved is 2 mg/d.
ORDERS = {
    "one whose reading asks for a second look": ({"use": "FLAG"}, "2 mg/d"),
    "one that only supports": ({"use": "SUPP"}, ""),
    "one entered in error": ({"excluded": "ENTERED_IN_ERROR"}, ""),
    "one in another unit": ({"dose_unit": "g"}, ""),
    "of another drug": ({"concept": "prednisone"}, ""),
}


@pytest.mark.parametrize("name", ORDERS)
def test_which_orders_say_the_dose(name: str) -> None:
    change, expected = ORDERS[name]
    order = msgspec.structs.replace(tablets("4", 0), **change)
    [step] = moves(climbed("X8", gfr("97.2", -6), order, gfr("66", 70), on=70))
    assert (step.dose, "DOSE_UNKNOWN" in step.flags) == (expected, not expected)


# Which dose a step is made from, on day 70 and at the review of day 84.
BEFORE = {
    "the newest order": ((tablets("4", 0), tablets("3", 10)), "1.5 mg/d", "0.75 mg/d"),
    "an order of the day of the step": ((tablets("4", 0), tablets("2.5", 70)), "2 mg/d", "1.25 mg/d"),
    "nothing newer than the step": ((tablets("4", 0),), "2 mg/d", "1 mg/d"),
}


@pytest.mark.parametrize("name", BEFORE)
def test_the_dose_before_a_step(name: str) -> None:
    orders, first, second = BEFORE[name]
    rows = (gfr("97.2", -6), *orders, gfr("66", 70), trough("7", 70), gfr("67", 84), trough("7", 84))
    one, two = moves(climbed("X8", *rows, on=84))
    assert (one.dose, two.dose) == (first, second)
    ordered = [item for item in two.evidence if item.concept == "tacrolimus"]
    assert bool(ordered) is (name == "an order of the day of the step")
    assert ("DOSE_NOT_RECORDED" in two.flags) is not bool(ordered)


def test_two_doses_of_one_day_are_both_shown_and_stay_unknown() -> None:
    rows = (gfr("97.2", -6), tablets("4", 0), tablets("3", 0), gfr("66", 70), gfr("67", 84))
    one, two = moves(climbed("X8", *rows, trough("7", 70), trough("7", 84), on=84))
    assert [text for text in shown(one) if "tacrolimus 20" in text] == [
        f"used tacrolimus {day(0)}: 3 mg/d",
        f"used tacrolimus {day(0)}: 4 mg/d",
    ]
    assert (one.dose, two.dose, two.flags) == ("", "", ("DOSE_NOT_RECORDED",))


@pytest.mark.parametrize(
    ("first", "expected"), [("{daily: 3 mg/d}", "1.5 mg/d"), ("hold", "0 mg/d"), ("stop", "0 mg/d")]
)
def test_what_a_step_asked_for_is_the_dose_before_the_next(tmp_path: Path, first: str, expected: str) -> None:
    """4 mg/d was ordered on day 0, and nothing since."""
    body = f"""\
    measure: level
    dose: {{drug: tacrolimus, minimum: none}}
    states:
      - {{id: A, name: a, next: [{{to: B, above: 10 ng/mL}}]}}
      - {{id: B, name: b, dose: {first}, next: [{{to: C, above: 20 ng/mL}}]}}
      - {{id: C, name: c, dose: {{factor: 0.5}}, terminal: true}}
"""
    last = by_words(body, tmp_path, tablets("4", 0), trough("11", 9), trough("21", 20), on=20).steps[-1]
    assert (last.dose, last.flags) == (expected, ("DOSE_NOT_RECORDED",))


BESIDE = {
    "known to the month only": lab("tacrolimus_trough", "7", "2019-08", unit="ng/mL"),
    "without a number": msgspec.structs.replace(trough("7", 84), value=None),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_level_of_the_days_before_is_missing(name: str) -> None:
    rows = (*BASE, gfr("66", 70), tablets("2", 71), gfr("67", 84), BESIDE[name])
    state = climbed("X8", *rows, on=100)
    assert (state.state, moves(state)[-1].flags) == ("S2", ("TROUGH_MISSING",))


def test_a_high_level_says_by_how_much() -> None:
    step = moves(climbed("X8", *BASE, gfr("66", 70), trough("10.1", 70), on=70))[0]
    assert "TROUGH_HIGH" in step.flags
    assert f"support tacrolimus_trough {day(70)}: 10.1 ng/mL > 10 ng/mL" in shown(step)


# --- alerts -----------------------------------------------------------------------------------------------

WATCHED = """\
    measure: liver
    alerts:
      - {name: HIGH_LEVEL, measure: level, above: 15 ng/mL, in: [B]}
      - {name: VERY_HIGH_LEVEL, measure: level, above: 20 ng/mL}
      - {name: LOW_LEVEL, measure: level, below: 5 ng/mL}
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - {id: B, name: b, next: [{to: C, after: 100 days}]}
      - {id: C, name: c, terminal: true}
"""

# The limit of ALT is 40 U/L: 100 is 2.5 x, 30 is 0.75 x.
ALERTS = {
    "not looked for in this state": ((trough("16", 9),), [], ()),
    "looked for in every state": (
        (trough("21", 9),),
        [("A", "A", 9, "an alert beside the measure", ("VERY_HIGH_LEVEL",))],
        ("VERY_HIGH_LEVEL",),
    ),
    "below a limit": (
        (trough("4", 9),),
        [("A", "A", 9, "an alert beside the measure", ("LOW_LEVEL",))],
        ("LOW_LEVEL",),
    ),
    "beside a reading that moves nothing": (
        (trough("21", 9), enzyme("alt", "30", 9)),
        [("A", "A", 9, "alt 30 U/L / 40 = 0.75 x not > 2 x", ("VERY_HIGH_LEVEL",))],
        ("VERY_HIGH_LEVEL",),
    ),
    "looked for in the state that has been entered": (
        (enzyme("alt", "100", 5), trough("16", 9)),
        [
            ("A", "B", 5, "alt 100 U/L / 40 = 2.5 x > 2 x", ()),
            ("B", "B", 9, "an alert beside the measure", ("HIGH_LEVEL",)),
        ],
        ("HIGH_LEVEL",),
    ),
    "beside a reading that no way out asks about": (
        (enzyme("alt", "100", 5), trough("16", 9), enzyme("alt", "30", 9)),
        [
            ("A", "B", 5, "alt 100 U/L / 40 = 2.5 x > 2 x", ()),
            ("B", "B", 9, "alt 30 U/L / 40 = 0.75 x", ("HIGH_LEVEL",)),
        ],
        ("HIGH_LEVEL",),
    ),
    "seen before the step counts for the state that was left": (
        (trough("21", 3), enzyme("alt", "100", 5)),
        [
            ("A", "A", 3, "an alert beside the measure", ("VERY_HIGH_LEVEL",)),
            ("A", "B", 5, "alt 100 U/L / 40 = 2.5 x > 2 x", ()),
        ],
        (),
    ),
}


@pytest.mark.parametrize("name", ALERTS)
def test_alerts(name: str, tmp_path: Path) -> None:
    rows, steps, flags = ALERTS[name]
    state = by_words(WATCHED, tmp_path, *rows, on=9)
    told = [(s.source, s.target, (s.on - R).days, s.trigger, s.flags) for s in state.steps]
    assert (told, state.flags) == (steps, flags)


def test_every_alert_of_a_day_shows_its_readings() -> None:
    """97.2 -> 48.5 falls 50.1 %; creatinine 80 -> 160 is doubled."""
    rows = (*BASE, lab("creatinine", "80", day(-6)), gfr("66", 70), gfr("48.5", 75))
    state = climbed("X8", *rows, lab("creatinine", "160", day(75)), on=80)
    [stored] = [step for step in state.steps if step.source == step.target]
    said = " / ".join(shown(stored))
    assert stored.flags == ("STEEP_FALL", "CREATININE_DOUBLED")
    assert "fall 97.2 -> 48.5 = ~50.103 % > 50 %" in said
    assert f"used creatinine {day(75)}: rise 80 -> 160 = 100 % >= 100 %" in said
    assert f"used creatinine {day(-6)}: rise 80 -> 160 = 100 % >= 100 %" in said


def test_the_newest_day_is_shown_as_it_stands() -> None:
    state = climbed("X8", *BASE, gfr("90", 70), gfr("80", 75), on=80)
    assert (state.ladder, state.steps) == ("X8", ())
    said = "fall 97.2 -> 80 = ~17.695 % not > 30 %"
    assert [(item.concept, item.when, item.compared) for item in state.latest] == [
        ("egfr", day(75), said),
        ("egfr", day(-6), said),
    ]


def test_what_is_flagged_of_a_reading_is_flagged_of_its_step(tmp_path: Path) -> None:
    body = """\
    measure: %s
    states:
      - {id: A, name: a, next: [{to: B, above: %s}]}
      - {id: B, name: b, terminal: true}
"""
    level = msgspec.structs.replace(trough("11", 9), flags=("APPROX",))
    assert by_words(body % ("level", "10 ng/mL"), tmp_path, level, on=9).flags == ("APPROX",)
    liver = enzyme("alt", "100", 9, flags=("CODE_BROAD",))
    assert by_words(body % ("liver", "2 x"), tmp_path, liver, on=9).flags == ("CODE_BROAD",)
