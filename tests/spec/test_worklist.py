"""The worklist says what the commands say; expected states are those planted in the synthetic hospital."""

from __future__ import annotations

import json
import re
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from adapter import pipeline
from adapter.cli.app import app
from adapter.model import wire
from adapter.model.dates import on_day
from adapter.model.decision import CriterionResult, Evidence, Verdict
from adapter.model.facts import Event, Source, Subject
from adapter.pipeline import Workspace
from adapter.worklist.board import Board, Boards, key_of
from adapter.worklist.candidate import CAUSES, MARKS, STATES, Row, causes_of, row_of
from adapter.worklist.listing import SORTS, Asked, asked_for, fits, page
from adapter.worklist.person import identity, names_of, person
from adapter.worklist.study import study
from tests.worklist_case import AS_OF, planted, trial, truth, ward

SECRET = b"a secret of this workspace, no more"


@cache
def workspace() -> Workspace:
    return ward(Path(mkdtemp(prefix="worklist-spec-")))


@cache
def board() -> Board:
    return Boards(trial(), workspace(), SECRET).current()


def row(story: str) -> Row:
    found = board().row(board().key_of(planted(story)))
    assert found is not None
    return found


def printed(*command: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, [*command, "--workspace", str(workspace().root), "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# --- the same as the commands ---


def test_everybody_stands_where_they_were_planted() -> None:
    rows = {one.subject: one for one in board().rows}
    candidates = [one for one in truth().values() if one.get("overall") and one["patient"] in rows]
    assert len(candidates) > 60
    for one in candidates:
        found = rows[str(one["patient"])]
        assert found.overall.value == one["overall"], one["story"]


def test_the_list_counts_as_adapter_screen_does() -> None:
    [told] = printed("screen", "--as-of", str(AS_OF))
    states = [one.state for one in board().rows]
    assert {name: states.count(name) for name in ("eligible", "undetermined", "ineligible")} == {
        name: told[name] for name in ("eligible", "undetermined", "ineligible")
    }
    assert states.count("on_study") + states.count("off_study") == told["enrolled"]
    assert sum("review" in one.marks for one in board().rows) == told["review"]
    assert wire.encode(board().summary.funnel) == json.dumps(told, separators=(",", ":")).encode()


@pytest.mark.parametrize("story", ["protein-without-unit", "ulcer-not-attested"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_of_a_person_is_what_adapter_explain_prints(story: str, language: str) -> None:
    told = printed("explain", planted(story), "--lang", language)
    shown = person(board(), row(story), language)  # type: ignore[arg-type]
    items = {one.chain.id: one.chain for name in shown.blocks for one in shown.blocks[name]}
    links = [*items.values(), *shown.ladders]
    assert {one["id"] for one in told} == {one.id for one in links}
    for one in told:
        kept = next(link for link in links if link.id == one["id"])
        assert json.loads(wire.encode(kept)) == one


def test_the_page_of_somebody_on_the_study_has_the_ladders_of_adapter_explain() -> None:
    enrolled = next(one for one in board().rows if one.state == "on_study")
    told = [one for one in printed("explain", enrolled.subject) if one["kind"] == "ladder"]
    shown = person(board(), enrolled, "en")
    assert [json.loads(wire.encode(one)) for one in shown.ladders] == told
    assert {one.id for one in shown.due} == {one.id for one in board().followed[enrolled.subject].due}


def test_the_study_page_has_the_outcomes_of_adapter_monitor() -> None:
    told = printed("monitor", "--as-of", str(AS_OF))
    shown = study(board())
    assert [json.loads(wire.encode(shown.results))] == told
    assert shown.enrolment.planned == 124, "ClinicalTrials.gov NCT03864250, enrolment"
    assert sum(count for _, count in shown.enrolment.by_arm) == shown.enrolment.entered
    counted = sum(count for _, _, count in shown.quality[0].issues)
    assert counted == len(pipeline.read_screening(workspace()).facts.issues)


# --- what is missing, and why ---


@pytest.mark.parametrize(
    ("story", "waits", "cause"),
    [
        ("ulcer-not-attested", "EXCL03", "attest"),
        ("protein-without-unit", "INCL03A", "unit"),
        ("albumin-implausible", "INCL03B", "unit"),
        ("protein-at-least-8", "INCL03A", "comparator"),
        ("protein-unmapped", "INCL03A", "unmapped"),
    ],
)
def test_what_is_missing_and_why(story: str, waits: str, cause: str) -> None:
    found = row(story)
    assert waits in found.waits
    assert cause in found.causes
    assert ("unmapped" in found.causes) is (story == "protein-unmapped")


def test_a_reading_too_old_is_a_cause_of_its_own() -> None:
    source = Source("Observation/old")
    aside = Evidence(source, "ignored", why="outside the window")
    result = CriterionResult("INCL03B", "inclusion", Verdict.UNKNOWN, "", evidence=(aside,))
    assert causes_of(result, ("a usable reading of Serum albumin, collected 2019-05-06 to 2019-06-03",)) == (
        "missing",
        "stale",
    )


def test_the_question_that_would_settle_it_is_named_by_its_link() -> None:
    [waiting] = person(board(), row("ulcer-not-attested"), "zh").waiting
    assert (waiting.criterion, waiting.questions) == ("EXCL03", ("ulcer",))
    assert waiting.text.startswith("随机分组前3个月内")


# --- marks ---


def on_study(study_name: str, status: str, presence: str = "present", end: date | None = None) -> Event:
    return Event(
        subject="p",
        concept="research_subject",
        source=Source("ResearchSubject/x"),
        category="research-subject",
        presence=presence,  # type: ignore[arg-type]
        start=on_day(date(2019, 5, 1)),
        end=on_day(end) if end else None,
        status=status,
        attributes=(("study_identifier", study_name),),
    )


@pytest.mark.parametrize(
    ("enrolments", "told", "story", "mark"),
    [
        ([], True, "ulcer-untreated", True),
        ([], False, "ulcer-untreated", False),
        ([on_study("NCT03864250", "candidate", "unconfirmed")], False, "ulcer-untreated", True),
        ([on_study("NCT03864250", "ineligible", "unconfirmed")], False, "ulcer-untreated", False),
    ],
)
def test_no_longer_eligible(enrolments: list[Event], told: bool, story: str, mark: bool) -> None:
    """Ineligible by the record, while the hospital was told, or itself holds, that they are a candidate."""
    decision = board().decision(row(story))
    person_of = Subject("p", Source("Patient/p"))
    found = row_of(
        trial().protocol,
        decision,
        person_of,
        enrolments,
        None,
        as_of=AS_OF,
        key="k",
        entered=None,
        told_eligible=told,
    )
    assert ("no_longer_eligible" in found.marks) is mark


@pytest.mark.parametrize(
    ("event", "mark"),
    [
        (on_study("NCT00000001", "on-study"), True),
        (on_study("NCT00000001", "on-study", end=date(2019, 5, 20)), False),
        (on_study("NCT00000001", "off-study", "past"), False),
        (on_study("NCT03864250", "candidate", "unconfirmed"), False),
    ],
)
def test_enrolled_elsewhere(event: Event, mark: bool) -> None:
    decision = board().decision(row("ulcer-untreated"))
    person_of = Subject("p", Source("Patient/p"))
    found = row_of(
        trial().protocol,
        decision,
        person_of,
        [event],
        None,
        as_of=AS_OF,
        key="k",
        entered=None,
        told_eligible=False,
    )
    assert ("enrolled_elsewhere" in found.marks) is mark


# --- filters, sorting, pages ---

asks = st.builds(
    Asked,
    states=st.lists(st.sampled_from(STATES), unique=True).map(
        lambda found: tuple(s for s in STATES if s in found)
    ),
    blocked=st.sampled_from(["", "INCL03A", "EXCL05"]),
    causes=st.lists(st.sampled_from(CAUSES), unique=True, max_size=2).map(
        lambda found: tuple(c for c in CAUSES if c in found)
    ),
    marks=st.lists(st.sampled_from(MARKS), unique=True, max_size=1).map(tuple),
    sort=st.sampled_from(SORTS),
    down=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(asks, st.integers(1, 20))
def test_pages_show_everybody_that_fits_once_and_nobody_else(asked: Asked, size: int) -> None:
    seen: list[str] = []
    after = ""
    while True:
        found = page(board().rows, msgspec.structs.replace(asked, after=after), size=size)
        seen += [one.subject for one in found.rows]
        if not found.next:
            break
        assert len(found.rows) == size
        after = found.next
    assert len(seen) == len(set(seen)) == found.total
    assert set(seen) == {one.subject for one in board().rows if fits(one, asked)}


@settings(max_examples=60, deadline=None)
@given(asks)
def test_an_address_asks_for_the_same_again(asked: Asked) -> None:
    pairs = [tuple(part.split("=", 1)) for part in asked.query().split("&") if part]
    assert asked_for(pairs) == asked  # type: ignore[arg-type]


def test_nonsense_in_an_address_is_left_out() -> None:
    given = [("state", "<script>"), ("criterion", "a b"), ("sort", "x"), ("after", "../.."), ("other", "1")]
    assert asked_for(given) == Asked()


def test_a_person_who_goes_in_between_leaves_nobody_out() -> None:
    first = page(board().rows, Asked(sort="id"), size=10)
    gone = first.rows[3].subject
    rest = [one for one in board().rows if one.subject != gone]
    second = page(rest, Asked(sort="id", after=first.next), size=10)
    expected = sorted(one.subject for one in board().rows)[10:20]
    assert [one.subject for one in second.rows] == expected


# --- who is who ---


def test_addresses_hold_a_key_that_tells_nobody_who_it_is() -> None:
    keys = [one.key for one in board().rows]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{20}", key) for key in keys)
    subject = board().rows[0].subject
    assert key_of(SECRET, subject) == board().rows[0].key
    assert key_of(b"another workspace's secret", subject) != board().rows[0].key


def test_names_come_from_the_landing_for_the_page_alone() -> None:
    subject = planted("ulcer-not-attested")
    found = identity(workspace(), [subject])
    assert subject in found.name
    assert any(subject in one for one in found.identifiers)
    kept = b"".join(path.read_bytes() for path in workspace().screening.rglob("*.ndjson"))
    assert found.name.encode() not in kept


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_concept_has_a_name(language: str) -> None:
    names = names_of(board(), language)  # type: ignore[arg-type]
    assert {"urine_protein_24h", "egfr", "tacrolimus", "W48"} <= set(names)
    assert (names["W48"] == "第48周") is (language == "zh")


def test_the_demo_hospital_shows_one_of_each_mark_of_enrolment() -> None:
    """Planted are one whom the hospital holds for eligible and one whom another trial has; nobody else is."""
    enrolment = {"no_longer_eligible", "enrolled_elsewhere"}
    planted_marks = {
        (str(one["patient"]), mark)
        for one in truth().values()
        for mark in one.get("marks") or ()  # type: ignore[attr-defined]
    }
    assert {mark for _, mark in planted_marks} == enrolment
    shown = {(one.subject, mark) for one in board().rows for mark in one.marks if mark in enrolment}
    assert shown == planted_marks
