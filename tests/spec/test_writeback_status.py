"""The transition table, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fhir.resources.R4B.researchsubject import ResearchSubject as R4Subject
from fhir.resources.researchsubject import ResearchSubject as R5Subject

from adapter.model.decision import Overall
from adapter.writeback import status

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "research-subject-status.md").read_text(
    encoding="utf-8"
)

# https://hl7.org/fhir/R4/valueset-research-subject-status.html
R4_CODES = """candidate eligible follow-up ineligible not-registered off-study on-study on-study-intervention
on-study-observation pending-on-study potential-candidate screening withdrawn"""
REGISTERED = {"on-study", "on-study-intervention", "on-study-observation", "follow-up"}
PROPOSED = {"potential-candidate", "candidate", "ineligible"}


def test_the_thirteen_codes_of_r4_and_no_other() -> None:
    assert sorted(one.code for one in status.STATUSES) == R4_CODES.split()


def test_no_transition_is_listed_twice_and_all_are_between_codes() -> None:
    assert len(set(status.TRANSITIONS)) == len(status.TRANSITIONS)
    codes = {*R4_CODES.split(), status.ABSENT}
    assert {move.source for move in status.TRANSITIONS} | {
        move.target for move in status.TRANSITIONS
    } == codes


def test_the_system_moves_only_among_proposals() -> None:
    moves = [move for move in status.TRANSITIONS if move.who == "system"]
    assert {move.target for move in moves} == PROPOSED
    assert {move.source for move in moves} == PROPOSED | {status.ABSENT}
    assert not status.may("system", status.ABSENT, "ineligible")


@pytest.mark.parametrize("source", [code for code in R4_CODES.split() if code not in PROPOSED])
@pytest.mark.parametrize("target", R4_CODES.split())
def test_the_system_moves_nobody_from_screening_on(source: str, target: str) -> None:
    assert status.may("system", source, target) == (source == target)


def test_withdrawn_is_before_registration_and_off_study_after() -> None:
    reaches = {
        end: {move.source for move in status.TRANSITIONS if move.target == end and move.source}
        for end in ("withdrawn", "off-study")
    }
    assert reaches["off-study"] == REGISTERED
    assert reaches["withdrawn"].isdisjoint(REGISTERED | {"off-study"})
    assert {"screening", "eligible", "pending-on-study"} <= reaches["withdrawn"]


def test_every_state_can_be_reached_from_a_candidate() -> None:
    reached = {"candidate"}
    while grown := {m.target for m in status.TRANSITIONS if m.source in reached} - reached:
        reached |= grown
    assert reached == set(R4_CODES.split())


@pytest.mark.parametrize("code", R4_CODES.split())
def test_both_releases_can_say_it(code: str) -> None:
    """Validated by the models of both; R5's state comes back as the same code."""
    frame = {"study": {"reference": "ResearchStudy/s"}}
    r4 = {**frame, **status.r4_form(code), "individual": {"reference": "Patient/p"}}
    assert R4Subject.model_validate(r4).status == code
    r5 = {**frame, **status.r5_form(code), "subject": {"reference": "Patient/p"}}
    assert R5Subject.model_validate(r5).status == "active"
    assert status.from_r5(r5) == code


def test_r5_takes_the_state_that_has_not_ended() -> None:
    before = {**status.r5_form("screening")["progress"][0], "endDate": "2026-01-01"}
    now = status.r5_form("on-study")["progress"][0]
    assert status.from_r5({"progress": [before, now]}) == "on-study"
    assert status.from_r5({"progress": [before]}) == status.from_r5({}) == ""


# person's status, verdict, can they not both be right
CONTRADICTIONS = """
candidate         ineligible    yes
screening         ineligible    yes
eligible          ineligible    yes
pending-on-study  ineligible    yes
ineligible        ineligible    no
on-study          ineligible    no
withdrawn         ineligible    no
ineligible        eligible      yes
ineligible        undetermined  no
eligible          undetermined  no
withdrawn         eligible      no
not-registered    eligible      no
"""


@pytest.mark.parametrize("line", CONTRADICTIONS.strip().splitlines())
def test_contradictions(line: str) -> None:
    code, verdict, expected = line.split()
    assert status.contradicts(code, Overall(verdict)) == (expected == "yes")


def test_the_page_shows_the_table_as_it_is() -> None:
    assert f"```mermaid\n{status.diagram()}\n```" in PAGE
    assert status.table() in PAGE
    for one in status.STATUSES:
        assert f"| {one.code} | {one.stage} | {one.meaning} |" in PAGE
