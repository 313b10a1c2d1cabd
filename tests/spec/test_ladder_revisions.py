"""What an earlier look would have done, with only what was known then; dates by hand.

Day 70 after randomisation is 2019-08-12, day 75 is 2019-08-17, day 84 is 2019-08-26, day 90 is 2019-09-01.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapter.model.dates import on_day
from adapter.model.facts import Finding, Source
from adapter.protocol.anchors import find_day
from adapter.protocol.context import Context
from adapter.protocol.evaluate import decide
from adapter.protocol.ladder import climb, moves
from tests.spec.ladder_words import R, climbed, enrolled, gfr, ladders, tablets, told, trough
from tests.spec.protocol_words import ZONE, Row
from tests.spec.result_words import amount, facts, patient, result

BASE: tuple[Row, ...] = (gfr("97.2", -6), tablets("4", 0))
HALVED = "(S0 -> S1, dose 2 mg/d)"


def known(row: Finding, on: int, **more: object) -> Finding:
    """The reading with the day its report was issued."""
    return msgspec.structs.replace(row, issued=on_day(R + timedelta(days=on)), **more)


def versions(old: str, new: str, sampled: int, issued: int, corrected: int) -> tuple[Finding, Finding]:
    """A result and its correction: two versions of one resource."""
    return (
        known(gfr(old, sampled), issued, source=Source("Observation/x", "1"), excluded="SUPERSEDED"),
        known(gfr(new, sampled), corrected, source=Source("Observation/x", "2"), status="corrected"),
    )


def test_a_corrected_result_takes_its_step_back_and_that_is_recorded() -> None:
    state = climbed("X8", *BASE, *versions("66", "72", 70, 70, 75), on=100)
    assert (state.state, moves(state)) == ("S0", ())
    assert state.revisions == (
        f"would have been halved on 2019-08-12 {HALVED}: fall 97.2 -> 66 = ~32.099 % > 30 %; "
        "result corrected on 2019-08-17",
    )


def test_a_correction_that_brings_the_step() -> None:
    state = climbed("X8", *BASE, *versions("72", "66", 70, 70, 75), on=80)
    assert told(state) == "S0 -> S1 @70 2 mg/d [UNCONFIRMED]"
    assert state.revisions == (
        f"halved on 2019-08-12 {HALVED} was not known until 2019-08-17; result corrected on 2019-08-17",
    )


def test_a_correction_that_changes_no_step_is_no_revision() -> None:
    assert climbed("X8", *BASE, *versions("66", "65", 70, 70, 75), on=80).revisions == ()
    assert climbed("X8", *BASE, *versions("80", "81", 70, 70, 75), on=80).revisions == ()


def test_a_correction_takes_back_what_followed_too() -> None:
    """66 on day 70 and 67 on day 84 halved twice; with 72 on day 70 the first halving is on day 84."""
    state = climbed("X8", *BASE, *versions("66", "72", 70, 70, 90), gfr("67", 84), trough("7", 84), on=95)
    assert told(state) == "S0 -> S1 @84 2 mg/d [UNCONFIRMED]"
    assert [text.partition(" (")[0] for text in state.revisions] == [
        "would have been halved on 2019-08-12",
        "would have been quartered or at the minimum on 2019-08-26",
        "halved on 2019-08-26",
    ]


def test_each_version_stands_until_the_next() -> None:
    """66 on day 70, corrected to 72 on day 75 and to 71 on day 80."""
    first, last = versions("66", "71", 70, 70, 80)
    second = known(gfr("72", 70), 75, source=Source("Observation/x", "2"), excluded="SUPERSEDED")
    last = msgspec.structs.replace(last, source=Source("Observation/x", "3"))
    state = climbed("X8", *BASE, first, second, last, on=100)
    assert moves(state) == ()
    assert [text.partition(";")[2] for text in state.revisions] == [" result corrected on 2019-08-17"]


def test_a_result_corrected_by_another_resource_of_the_same_sample() -> None:
    old, new = versions("66", "72", 70, 70, 75)
    new = msgspec.structs.replace(new, source=Source("Observation/y", "1"))
    assert len(climbed("X8", *BASE, old, new, on=100).revisions) == 1


@pytest.mark.parametrize(("issued", "revised"), [(70, False), (73, False), (74, True), (90, True)])
def test_a_late_result_gives_the_step_in_its_place_and_says_since_when(issued: int, revised: bool) -> None:
    """The file allows 3 days from sample to report."""
    state = climbed("X8", *BASE, known(gfr("66", 70), issued), on=95)
    assert told(state) == "S0 -> S1 @70 2 mg/d [UNCONFIRMED]"
    day = (R + timedelta(days=issued)).isoformat()
    expected = f"halved on 2019-08-12 {HALVED} was not known until {day}; a result came on {day}"
    assert state.revisions == ((expected,) if revised else ())


def test_a_review_result_that_came_after_its_window_was_overdue_until_then() -> None:
    rows = (*BASE, gfr("66", 70), tablets("2", 71), trough("7", 84))
    waiting = climbed("X8", *rows, on=89)
    assert waiting.overdue
    answered = climbed("X8", *rows, known(gfr("69", 84), 90), on=90)
    assert (answered.state, answered.overdue) == ("S1C", False)
    assert answered.revisions == (
        "continued on half dose on 2019-08-26 (S1 -> S1C) was not known until 2019-09-01; "
        "a result came on 2019-09-01",
    )


def test_a_baseline_that_comes_late() -> None:
    state = climbed("X8", tablets("4", 0), known(gfr("97.2", -6), 90), gfr("66", 70), on=90)
    assert told(state) == "S0 -> S1 @70 2 mg/d [UNCONFIRMED]"
    assert [text.partition(";")[2] for text in state.revisions] == [" a result came on 2019-09-01"]


def test_a_result_that_came_late_and_was_corrected_the_same_day_came_late() -> None:
    """Both versions are of day 90: nobody ever saw the first one stand."""
    state = climbed("X8", *BASE, *versions("72", "66", 70, 90, 90), on=95)
    assert state.revisions == (
        f"halved on 2019-08-12 {HALVED} was not known until 2019-09-01; a result came on 2019-09-01",
    )


def test_a_correction_whose_day_is_not_on_record() -> None:
    """Corrections often keep the first report's ``issued``: then only that it was replaced is known."""
    state = climbed("X8", *BASE, *versions("66", "72", 70, 70, 70), on=100)
    assert state.revisions == (
        f"would have been halved on 2019-08-12 {HALVED}: fall 97.2 -> 66 = ~32.099 % > 30 %; "
        "result corrected since, on a day not on record",
    )


def test_what_was_entered_in_error_never_counted_as_known() -> None:
    wrong = known(gfr("66", 70), 70, excluded="ENTERED_IN_ERROR")
    state = climbed("X8", *BASE, wrong, on=100)
    assert (moves(state), state.revisions) == ((), ())


def test_news_after_the_as_of_day_is_not_told() -> None:
    assert climbed("X8", *BASE, *versions("66", "72", 70, 70, 75), on=74).revisions == ()


def test_from_the_hospitals_own_records() -> None:
    """A man of 52 with creatinine 80 umol/L has 97.2 mL/min, with 112 has 64.7 (CKD-EPI 2009, by a script of
    the published equation); the corrected 85 gives 90.3.
    """

    def creatinine(
        value: int, on: str, version: str, status: str = "final", issued: str = ""
    ) -> dict[str, Any]:
        sent = result("14682-9", f"c-{on}", effectiveDateTime=on, status=status, **amount(value, "umol/L"))
        return {**sent, "meta": {"versionId": version}, "issued": f"{issued or on}T12:00:00+08:00"}

    found = facts(
        creatinine(80, "2019-05-28", "1"),
        creatinine(112, "2019-08-12", "1"),
        creatinine(85, "2019-08-12", "2", "corrected", "2019-08-17"),
        patient(),
    )
    as_of = R + timedelta(days=100)
    seen = Context(enrolled(), found, as_of=as_of, zone=ZONE, find_day=find_day, decide=decide)
    state = climb(ladders()["X8"], seen)
    assert (state.state, moves(state)) == ("S0", ())
    [revision] = state.revisions
    assert revision.startswith("would have been halved on 2019-08-12 (S0 -> S1): fall ~97.204 -> ~64.717 = ")
    assert revision.endswith("; result corrected on 2019-08-17")


def test_a_version_that_stood_for_some_days_had_its_step_while_it_stood() -> None:
    """72 on day 70, corrected to 66 on day 75 and to 71 on day 80 (2019-08-22)."""
    first, last = versions("72", "71", 70, 70, 80)
    second = known(gfr("66", 70), 75, source=Source("Observation/x", "2"), excluded="SUPERSEDED")
    last = msgspec.structs.replace(last, source=Source("Observation/x", "3"))
    state = climbed("X8", *BASE, first, second, last, on=100)
    assert moves(state) == ()
    assert state.revisions == (
        f"halved on 2019-08-12 {HALVED} was not known until 2019-08-17; result corrected on 2019-08-17",
        f"would have been halved on 2019-08-12 {HALVED}: fall 97.2 -> 66 = ~32.099 % > 30 %; "
        "result corrected on 2019-08-22",
    )


def test_a_value_by_another_equation_corrects_nothing() -> None:
    """The value by the equation of 2021 was reported on day 72, the correction of that of 2009 on day 75."""
    other = known(gfr("99", 70), 72, method="CKD-EPI 2021")
    state = climbed("X8", *BASE, *versions("66", "72", 70, 70, 75), other, on=100)
    assert [text.rpartition("; ")[2] for text in state.revisions] == ["result corrected on 2019-08-17"]


@pytest.mark.parametrize(("sampled", "late"), [(74, False), (72, False), (71, True)])
def test_a_result_in_its_usual_time_is_not_late_because_another_was_corrected(
    sampled: int, late: bool
) -> None:
    """On day 75 a result of day 40 is corrected, which moves nothing, and 66 of some days before comes."""
    old, new = versions("90", "91", 40, 40, 75)
    state = climbed("X8", *BASE, old, new, known(gfr("66", sampled), 75), on=80)
    assert (state.state, len(state.revisions)) == ("S1", int(late))


def test_versions_that_stood_for_a_day() -> None:
    """72 on day 70, corrected to 66 on day 75 and to 71 on day 76 (2019-08-18)."""
    first, last = versions("72", "71", 70, 70, 76)
    second = known(gfr("66", 70), 75, source=Source("Observation/x", "2"), excluded="SUPERSEDED")
    last = msgspec.structs.replace(last, source=Source("Observation/x", "3"))
    state = climbed("X8", *BASE, first, second, last, on=100)
    assert [text.rpartition("; ")[2] for text in state.revisions] == [
        "result corrected on 2019-08-17",
        "result corrected on 2019-08-18",
    ]


@pytest.mark.parametrize(("issued", "revised"), [(71, False), (72, False), (73, True)])
def test_an_earlier_sample_that_comes_in_its_usual_time_is_no_revision(issued: int, revised: bool) -> None:
    """66 on day 70 is known at once, 60 on day 69 some days later: the fall was seen a day earlier."""
    rows = (known(gfr("66", 70), 70), known(gfr("60", 69), issued))
    state = climbed("X8", *BASE, *rows, on=80)
    assert told(state) == "S0 -> S1 @69 2 mg/d [UNCONFIRMED]"
    assert bool(state.revisions) is revised


def test_a_version_that_was_replaced_by_nothing_on_record() -> None:
    gone = known(gfr("66", 70), 70, excluded="SUPERSEDED")
    state = climbed("X8", *BASE, gone, on=100)
    assert (moves(state), state.revisions) == ((), ())


def test_a_version_that_only_stood_on_the_limit_moved_nothing() -> None:
    """68.04 is a fall of exactly 30 %: shown, but no step was lost with it."""
    state = climbed("X8", *BASE, *versions("68.04", "80", 70, 70, 70), on=100)
    assert state.revisions == ()
