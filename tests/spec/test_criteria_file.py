"""What a protocol file says of a criterion, word by word, and where: written here, and read back by hand.

The words are those of ``docs/protocol-vocabulary.md``. A place is file:line:column of the part itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import ProtocolError
from adapter.model.decision import Verdict
from adapter.model.protocol import Criterion, FlagRule, Line, OtherReading, Protocol
from adapter.model.rules import Not, SexIs
from adapter.protocol import load
from tests.spec.protocol_words import vocabulary

MEN, WOMEN = SexIs(sex="male"), SexIs(sex="female")
MINIMAL = "{id: INCL01, kind: inclusion, met_when: {sex: male}}"
HEAD = """\
id: TRIAL-1
version: "1"
title: A trial
anchors: {entry: {as_of: true}}
"""
FULL = """\
criteria:
  - id: INCL01
    kind: inclusion
    text: {en: Men, zh: 男}
    source: page 3
    pending: true
    settles: {en: ask for the sex, zh: 询问性别}
    decide:
      - met: {sex: male}
        flags: [SEEN, TWICE]
        review: true
        because: is a man
      - not_met: {sex: female}
    flag:
      - name: ODD
        when: {sex: female}
        review: true
      - {name: EVEN, when: {sex: male}}
    alternatives:
      - name: women_too
        reading: women as well
        met_when: {sex: female}
        review: true
      - name: nobody
        reading: neither
        decide: [{unknown: {sex: male}}]
    criteria:
      - {id: INCL01A, met_when: {sex: female}}
"""
MONITORED = """\
visits:
  - {id: W4, name: Week 4, day: 28, from: 21, to: 35}
monitoring:
  day_zero: entry
  exits:
    - id: X1
      visit: W4
      severity: high
      met_when: {sex: male}
      criteria:
        - {id: X1A, visit: W4, severity: low, met_when: {sex: female}}
    - {id: X2, met_when: {sex: male}}
criteria: [{id: INCL01, kind: inclusion, met_when: {sex: male}}]
"""


def read(folder: Path, body: str) -> Protocol:
    (folder / "protocol.yaml").write_text(HEAD + body, encoding="utf-8")
    return load(folder, vocabulary())


def place(body: str, part: str, after: str = "") -> str:
    """Where a part begins, the first one after another text: counted, not asked of the reader."""
    text = HEAD + body
    at = text.index(part, text.index(after))
    return f"protocol.yaml:{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


def test_everything_that_is_said_of_a_criterion_is_read(tmp_path: Path) -> None:
    [found] = read(tmp_path, FULL).criteria
    assert (found.id, found.kind, found.source) == ("INCL01", "inclusion", "page 3")
    assert (found.text, found.text_zh) == ("Men", "男")
    assert (found.settles, found.settles_zh) == ("ask for the sex", "询问性别")
    assert found.pending
    assert not found.simple
    assert (found.visit, found.severity) == ("", "")
    assert found.where == place(FULL, "id: INCL01")
    first, second = found.lines
    assert (first.verdict, second.verdict) == (Verdict.MET, Verdict.NOT_MET)
    assert (first.when.sex, second.when.sex) == ("male", "female")  # type: ignore[union-attr]
    assert (first.flags, first.review, first.because) == (("SEEN", "TWICE"), True, "is a man")
    assert (second.flags, second.review, second.because) == ((), False, "")
    assert (first.where, second.where) == (place(FULL, "met: {sex"), place(FULL, "not_met:"))


def test_the_flags_of_a_criterion(tmp_path: Path) -> None:
    odd, even = read(tmp_path, FULL).criteria[0].flags
    assert odd == FlagRule(
        name="ODD",
        when=_at(WOMEN, place(FULL, "{sex", "ODD")),
        review=True,
        where=place(FULL, "name: ODD"),
    )
    assert even == FlagRule(
        name="EVEN", when=_at(MEN, place(FULL, "{sex", "EVEN")), where=place(FULL, "{name: EVEN")
    )


def test_other_readings_have_lines_of_their_own(tmp_path: Path) -> None:
    too, nobody = read(tmp_path, FULL).criteria[0].alternatives
    asked = place(FULL, "{sex", "women as well")
    women = _at(WOMEN, asked)
    assert too == OtherReading(
        name="women_too",
        reading="women as well",
        lines=(
            Line(verdict=Verdict.MET, when=women, where=asked),
            Line(verdict=Verdict.NOT_MET, when=Not(part=women, where=asked), where=asked),
        ),
        review=True,
        where=place(FULL, "name: women_too"),
    )
    line = place(FULL, "{unknown", "neither")
    assert nobody == OtherReading(
        name="nobody",
        reading="neither",
        lines=(Line(verdict=Verdict.UNKNOWN, when=_at(MEN, place(FULL, "{sex", "neither")), where=line),),
        where=place(FULL, "name: nobody"),
    )


def test_a_part_of_a_criterion_is_of_the_same_kind(tmp_path: Path) -> None:
    [part] = read(tmp_path, FULL).criteria[0].criteria
    assert (part.id, part.kind, part.simple) == ("INCL01A", "inclusion", True)


def test_what_is_not_said_is_empty(tmp_path: Path) -> None:
    body = f"criteria: [{MINIMAL}]\n"
    asked = place(body, "{sex")
    men = _at(MEN, asked)
    [found] = read(tmp_path, body).criteria
    assert found == Criterion(
        id="INCL01",
        kind="inclusion",
        text="",
        lines=(
            Line(verdict=Verdict.MET, when=men, where=asked),
            Line(verdict=Verdict.NOT_MET, when=Not(part=men, where=asked), where=asked),
        ),
        simple=True,
        where=place(body, "{id: INCL01"),
    )


def test_a_plain_text_is_english(tmp_path: Path) -> None:
    body = "criteria: [{id: INCL01, kind: inclusion, text: Men, settles: a look, met_when: {sex: male}}]\n"
    [found] = read(tmp_path, body).criteria
    assert (found.text, found.text_zh, found.settles, found.settles_zh) == ("Men", "", "a look", "")


def test_what_is_monitored_names_its_visit_and_how_urgent_it_is(tmp_path: Path) -> None:
    first, second = read(tmp_path, MONITORED).plan.exits
    [part] = first.criteria
    assert [(one.id, one.kind, one.visit, one.severity) for one in (first, part, second)] == [
        ("X1", "exit", "W4", "high"),
        ("X1A", "exit", "W4", "low"),
        ("X2", "exit", "", ""),
    ]


@pytest.mark.parametrize(
    ("was", "now", "message", "fix"),
    [
        ("id: INCL01, ", "", "missing 'id'", "add id: here"),
        ("kind: inclusion, ", "", "missing 'kind'", "add kind: inclusion or kind: exclusion"),
        ("kind: inclusion", "kind: inclusive", "unknown kind 'inclusive'", "did you mean 'inclusion'?"),
        ("kind: inclusion", "severity: high", "unknown word 'severity'", "known: "),
        (", met_when: {sex: male}", "", "exactly one of met_when: and decide: is needed", ""),
        ("met_when:", "decide: [], met_when:", "exactly one of met_when: and decide: is needed", ""),
        ("met_when:", "alternatives: [{name: a, reading: b}], met_when:",
         "exactly one of met_when: and decide: is needed", ""),
        ("met_when:", "alternatives: [{reading: b, met_when: {sex: male}}], met_when:",
         "missing 'name'", "add name: here"),
        ("met_when:", "flag: {when: {sex: male}}, met_when:", "missing 'name'", "add name: here"),
        ("met_when:", "flag: {name: A}, met_when:", "missing 'when'", "add when: here"),
        ("met_when:", "flag: {name: A, when: {sex: male}, severity: low}, met_when:",
         "unknown word 'severity'", "known: "),
        ("met_when:", "alternatives: [{name: a, reading: b, kind: inclusion, met_when: {sex: male}}],"
         " met_when:",
         "unknown word 'kind'", "known: "),
    ],
)  # fmt: skip
def test_mistakes_in_a_criterion(tmp_path: Path, was: str, now: str, message: str, fix: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(tmp_path, f"criteria: [{MINIMAL.replace(was, now)}]\n")
    assert caught.value.message == message
    assert caught.value.fix.startswith(fix)


@pytest.mark.parametrize(
    ("was", "now", "message", "fix"),
    [
        ("severity: high", "severity: hihg", "unknown severity 'hihg'", "did you mean 'high'?"),
        ("visit: W4\n", "visit: W44\n", "unknown visit 'W44'", "did you mean 'W4'?"),
        ("id: X2", "id: X2, kind: inclusion", "unknown word 'kind'", ""),
    ],
)
def test_mistakes_in_what_is_monitored(tmp_path: Path, was: str, now: str, message: str, fix: str) -> None:
    body = MONITORED.replace(was, now)
    with pytest.raises(ProtocolError) as caught:
        read(tmp_path, body)
    assert caught.value.message == message
    assert caught.value.fix.startswith(fix)


def test_a_mistake_in_a_line_is_told_with_the_line(tmp_path: Path) -> None:
    body = FULL.replace("- not_met: {sex: female}", "- not_met: {sex: female}\n        met: {sex: male}")
    with pytest.raises(ProtocolError) as caught:
        read(tmp_path, body)
    assert caught.value.message == "a line has exactly one of met:, not_met:, unknown:"
    assert caught.value.where == place(body, "not_met:")


def _at(condition: SexIs, where: str) -> SexIs:
    return SexIs(sex=condition.sex, where=where)
