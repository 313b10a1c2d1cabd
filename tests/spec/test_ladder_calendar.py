"""Ladders that step by the calendar: day 0 is 2019-06-03, 4 weeks later 2019-07-01, 8 weeks 2019-07-29."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from adapter.errors import ProtocolError
from adapter.model.monitoring import LadderState
from adapter.protocol import load, monitor
from adapter.protocol.ladder_chain import ladder_chain
from adapter.protocol.ladder_draw import drawn
from adapter.protocol.ladder_load import load_ladders
from adapter.protocol.render.voice import Voice
from tests.spec.protocol_words import ZONE, Row, facts, had, lab, took, vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "ladders.md").read_text(encoding="utf-8")
[TAPER] = re.findall(r"```yaml ladders\n(.*?)```", PAGE, re.DOTALL)
PROTOCOL = """\
id: TRIAL-1
version: "1"
title: A trial
anchors:
  entry: {event: research_subject, take: earliest}
  course: {exposure: {drug: prednisone}, take: earliest}
monitoring: {day_zero: entry}
criteria:
  - {id: ANY, kind: inclusion, text: t, source: s, met_when: {sex: male}}
"""
MIXED = """\
measures:
  sugar: {level: {finding: glucose, from: entry}}
ladders:
  - id: TAPER
    criterion: ANY
    text: taper, but stop at once with a high glucose
    start: entry
    measure: sugar
    states:
      - {id: T0, name: full, next: [{to: OFF, above: 11.1 mmol/L}, {to: T1, after: 1 month}]}
      - {id: T1, name: half, next: [{to: OFF, above: 11.1 mmol/L}]}
      - {id: OFF, name: off, terminal: true}
"""


def folder(tmp_path: Path, ladders: str = TAPER) -> Path:
    (tmp_path / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    (tmp_path / "ladders.yaml").write_text(ladders, encoding="utf-8")
    return tmp_path


def stands(tmp_path: Path, as_of: str, *rows: Row, ladders: str = TAPER) -> LadderState:
    where = folder(tmp_path, ladders)
    protocol = load(where, vocabulary())
    person = facts(had("research_subject", "2019-06-03", category="research-subject"), *rows)
    found = monitor(
        protocol,
        person,
        as_of=date.fromisoformat(as_of),
        zone=ZONE,
        ladders=load_ladders(where, vocabulary(), protocol),
    )
    [state] = found.ladders
    assert [(due.first, due.last) for due in found.due] == (
        [] if state.terminal or state.review_first is None else [(state.review_first, state.review_last)]
    )
    return state


@pytest.mark.parametrize(
    ("as_of", "state", "entered", "next_step"),
    [
        ("2019-06-03", "T0", "2019-06-03", "2019-07-01"),
        ("2019-06-30", "T0", "2019-06-03", "2019-07-01"),
        ("2019-07-01", "T1", "2019-07-01", "2019-07-29"),
        ("2019-07-28", "T1", "2019-07-01", "2019-07-29"),
        ("2019-07-29", "T2", "2019-07-29", None),
        ("2020-07-29", "T2", "2019-07-29", None),
    ],
)
def test_each_step_on_its_day(
    tmp_path: Path, as_of: str, state: str, entered: str, next_step: str | None
) -> None:
    found = stands(tmp_path, as_of)
    assert (found.state, str(found.entered)) == (state, entered)
    assert (str(found.review_first) if found.review_first else None) == next_step
    assert (found.overdue, found.settles) == (False, ())


def test_a_step_says_the_dose_and_why(tmp_path: Path) -> None:
    found = stands(tmp_path, "2019-08-01")
    assert [(step.source, step.target, str(step.on), step.dose, step.trigger) for step in found.steps] == [
        ("T0", "T1", "2019-07-01", "10 mg/d", "28 days after 2019-06-03"),
        ("T1", "T2", "2019-07-29", "0 mg/d", "28 days after 2019-07-01"),
    ]


def test_it_begins_on_the_first_day_of_a_drug_or_waits_for_it(tmp_path: Path) -> None:
    later = TAPER.replace("start: entry", "start: course")
    found = stands(tmp_path, "2019-08-01", took("prednisone", "2019-07-10"), ladders=later)
    assert (found.state, str(found.entered), str(found.review_first)) == ("T0", "2019-07-10", "2019-08-07")
    nobody = stands(tmp_path, "2019-08-01", ladders=later)
    assert (nobody.state, nobody.entered, nobody.settles) == ("T0", None, ("the date of course",))


@pytest.mark.parametrize(
    ("glucose", "as_of", "state", "moves"),
    [
        ((), "2019-07-03", "T1", ["T1"]),  # a calendar month after 3 June
        ((), "2019-07-02", "T0", []),
        (("12", "2019-06-20"), "2019-07-10", "OFF", ["OFF"]),
        # on the day itself the calendar comes first, then what was measured
        (("12", "2019-07-03"), "2019-07-10", "OFF", ["T1", "OFF"]),
        (("9", "2019-07-05"), "2019-07-10", "T1", ["T1"]),
    ],
)
def test_the_calendar_beside_a_measure(
    tmp_path: Path, glucose: tuple[str, ...], as_of: str, state: str, moves: list[str]
) -> None:
    rows = [lab("glucose", *glucose, unit="mmol/L")] if glucose else []
    found = stands(tmp_path, as_of, *rows, ladders=MIXED)
    assert found.state == state
    assert [step.target for step in found.steps if step.source != step.target] == moves


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    start: entry\n", "", "needs a day to count from"),
        ("after: 4 weeks", "above: 3 mg/L", "has no measure"),
        ("after: 4 weeks", "after: 4 weeks, above: 3 mg/L", "goes by the calendar"),
        ("after: 4 weeks", "after: 0 days", "needs a time"),
        ("daily: 20 mg/d", "daily: 20 g/d", "a daily dose in mg/d"),
        ("daily: 20 mg/d", "daily: 20 mg/d, factor: 1", "one of factor: and daily:"),
        ("    start: entry\n", "    start: entry\n    criterion: ANYY\n", "unknown criterion 'ANYY'"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    where = folder(tmp_path, TAPER.replace(old, new))
    with pytest.raises(ProtocolError, match=re.escape(message)):
        load_ladders(where, vocabulary(), load(where, vocabulary()))


def test_it_is_told_in_words_and_drawn(tmp_path: Path) -> None:
    where = folder(tmp_path)
    [ladder] = load_ladders(where, vocabulary(), load(where, vocabulary()))
    state = stands(tmp_path, "2019-06-20")
    english = ladder_chain(ladder, state, Voice("en", vocabulary()))
    chinese = ladder_chain(ladder, state, Voice("zh", vocabulary()))
    assert english.ways == ("to T1 10 mg, 28 days after the state was entered",)
    assert chinese.ways == ("进入该状态28天后进入T1 10mg",)
    assert "By the calendar, from entry." in drawn(ladder)
    assert "T0 --> T1: after 28 days" in drawn(ladder)
    assert "| T1 10 mg (10mg) | - | 10 mg/d | - | after 28 days: T2 |" in drawn(ladder)
