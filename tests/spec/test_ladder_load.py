"""Mistakes in ``ladders.yaml``: each names its line and, where one is near, the right word."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from adapter.errors import ProtocolError
from adapter.model.course import LadderIs
from adapter.model.decision import Verdict
from adapter.model.ladder import Ladder
from adapter.model.protocol import Criterion, Line, Protocol
from adapter.protocol.ladder_load import load_ladders
from tests.spec.ladder_words import FOLDER, ladders
from tests.spec.protocol_words import protocol, vocabulary

PLAIN = """\
measures:
  level: {level: {finding: tacrolimus_trough, from: entry}}
  liver: {multiple: {finding: [alt, ast], from: entry}, of: upper_limit}
  fall: {fall: {finding: egfr, from: entry}, against: {finding: egfr, to: entry}}
ladders:
  - id: T
    text: trough too high
    measure: level
    dose: {drug: tacrolimus, minimum: none}
    states:
      - id: A
        name: start
        next: [{to: B, above: 10 ng/mL}]
      - id: B
        name: reduced
        dose: {factor: 0.75}
        days: {told: {attested: told}}
        review: {after: 7 days, from: 5 days, to: 9 days, counted_from: [entry, told]}
        overdue: {flag: OVERDUE, late: waits}
        next: [{to: C, above: 10 ng/mL, at: review}, {to: A, at_most: 10 ng/mL, at: review}]
      - id: C
        name: end
        terminal: true
"""


def loaded(text: str, folder: Path, plan: Protocol | None = None) -> tuple[Ladder, ...]:
    (folder / "ladders.yaml").write_text(text, encoding="utf-8")
    return load_ladders(folder, vocabulary(), plan or protocol_without_ladders())


def protocol_without_ladders() -> Protocol:
    """The protocol's days, without the rules that ask about its own ladders."""
    return Protocol(
        id="P",
        version="1",
        title="t",
        anchors=protocol().anchors,
        windows=protocol().windows,
        criteria=(),
        counts=(),
        reported=(),
    )


def test_a_plain_ladder(tmp_path: Path) -> None:
    [ladder] = loaded(PLAIN, tmp_path)
    assert [state.id for state in ladder.states] == ["A", "B", "C"]
    assert ladder.dosing is not None
    assert ladder.dosing.minimum is None
    step = ladder.state("B").dose
    assert step is not None
    assert step.factor == Fraction(3, 4)


def test_no_file_is_no_ladder(tmp_path: Path) -> None:
    assert load_ladders(tmp_path, vocabulary(), protocol_without_ladders()) == ()


MISTAKES = {
    "an unknown word": ("terminal: true", "terminl: true", "23:9: unknown word 'terminl'", "'terminal'"),
    "a state that is not there": ("{to: B, above", "{to: BB, above", "13:21: unknown state 'BB'", "'B'"),
    "an unknown concept": (
        "tacrolimus_trough",
        "tacrolimus_thruogh",
        "unknown finding concept",
        "'tacrolimus_trough'",
    ),
    "an unknown drug": ("drug: tacrolimus", "drug: tacrolimos", "unknown drug 'tacrolimos'", "'tacrolimus'"),
    "an unknown anchor": ("trough, from: entry", "trough, from: entri", "unknown anchor 'entri'", "'entry'"),
    "an unknown measure": ("measure: level", "measure: levels", "unknown measure 'levels'", "'level'"),
    "a share for a level": ("above: 10 ng/mL}]", "above: 30 %}]", "unit '%' does not convert", "ng/mL"),
    "a level for a multiple": ("measure: level", "measure: liver", "liver is measured in 'x'", "2 x"),
    "a level for a fall": ("measure: level", "measure: fall", "fall is measured in '%'", "30 %"),
    "no comparison": ("{to: B, above: 10 ng/mL}", "{to: B}", "a way out needs a comparison", "above"),
    "no way out": ("        next: [{to: B, above: 10 ng/mL}]\n", "", "missing 'next'", "terminal: true"),
    "a way out of the end": ("terminal: true", "terminal: true\n        next: []", "nothing comes after", ""),
    "a review that is none": (
        "{to: B, above: 10 ng/mL}",
        "{to: B, above: 10 ng/mL, at: review}",
        "no review:",
        "",
    ),
    "a window the wrong way round": ("from: 5 days", "from: 8 days", "0 < from <= after <= to", ""),
    "months": ("after: 7 days", "after: 1 month", "a number of days is needed", ""),
    "a day nobody named": ("[entry, told]", "[entry, tole]", "unknown day of the state 'tole'", "'told'"),
    "a factor of nothing": ("factor: 0.75", "factor: 0", "above 0", ""),
    "a dose without a drug": (
        "    dose: {drug: tacrolimus, minimum: none}\n",
        "",
        "the ladder names no drug",
        "",
    ),
    "a minimum per intake": ("minimum: none", "minimum: 0.5 mg", "a daily dose is needed", "mg/d"),
    "an unreachable state": ("{to: C, above", "{to: A, above", "nothing leads to state 'C'", ""),
    "a late word": ("late: waits", "late: wait", "unknown meaning of a late result 'wait'", "'waits'"),
    "a fall against nothing": (", against: {finding: egfr, to: entry}", "", "missing 'against'", ""),
    "risen of a level is said, of a fall is not": (
        "ladders:",
        "ladders:\n  - {id: U, text: t, measure: fall, states: [{id: A, name: a, next: "
        "[{to: A, above: 3 %, risen: true}]}]}",
        "risen: has no meaning for fall",
        "",
    ),
    "the same ladder twice": (
        "ladders:\n",
        "ladders:\n" + PLAIN.partition("ladders:\n")[2],
        "given twice",
        "",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str, tmp_path: Path) -> None:
    old, new, message, fix = MISTAKES[name]
    assert old in PLAIN
    with pytest.raises(ProtocolError) as raised:
        loaded(PLAIN.replace(old, new, 1), tmp_path)
    assert message in str(raised.value)
    assert fix in str(raised.value)
    assert "ladders.yaml:" in str(raised.value)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = PLAIN.replace("late: waits", "late: wait").replace("{to: B, above", "{to: BB, above")
    with pytest.raises(ProtocolError) as raised:
        loaded(text, tmp_path)
    assert "'wait'" in str(raised.value)
    assert "'BB'" in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "states", "message"),
    [("T", ("D",), "unknown state of T 'D'"), ("TT", ("A",), "unknown ladder 'TT'")],
)
def test_a_rule_that_asks_about_what_is_not_there(
    asked: str, states: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    rule = LadderIs(ladder=asked, states=states, where="protocol.yaml:7:1")
    line = Line(verdict=Verdict.MET, when=rule)
    plan = msgspec.structs.replace(
        protocol_without_ladders(), criteria=(Criterion(id="X", kind="exit", text="", lines=(line,)),)
    )
    with pytest.raises(ProtocolError, match=message) as raised:
        loaded(PLAIN, tmp_path, plan)
    assert "protocol.yaml:7:1" in str(raised.value)


def test_each_terminal_state_is_an_exit_of_the_protocol() -> None:
    assert (FOLDER / "ladders.yaml").exists()
    assert {ladder.criterion for ladder in ladders().values()} == {"X8", "X9"}


def test_a_review_may_be_wanted_on_one_day_alone(tmp_path: Path) -> None:
    [ladder] = loaded(PLAIN.replace("from: 5 days, to: 9 days", "from: 7 days, to: 7 days"), tmp_path)
    review = ladder.state("B").review
    assert review is not None
    assert (review.first, review.target, review.last) == (7, 7, 7)
