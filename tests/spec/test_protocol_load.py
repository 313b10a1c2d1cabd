"""Mistakes in a protocol file: each names its place, the word, and the nearest known one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from adapter.errors import ProtocolError
from adapter.model.protocol import Protocol
from adapter.model.rules import ReadingIs
from adapter.model.selection import Bounds
from adapter.protocol import load
from tests.spec.protocol_words import MAPPINGS, protocol, vocabulary

HEAD = """\
id: TRIAL-1
version: "1"
title: {en: A trial}
anchors: {screening: {as_of: true}}
windows: {laboratory: {from: screening - 28 days, to: screening}}
readings: {albumin_now: {finding: albumin, within: laboratory}}
criteria:
  - id: INCL01
    kind: inclusion
    text: {en: A sentence}
    source: a page
"""
HEAD_LINES = HEAD.count("\n")


def written(folder: Path, body: str, head: str = HEAD) -> Protocol:
    (folder / "protocol.yaml").write_text(head + body, encoding="utf-8")
    return load(folder, vocabulary())


def rule(folder: Path, condition: str) -> Protocol:
    return written(folder, f"    met_when: {condition}\n")


def test_a_minimal_protocol_loads(tmp_path: Path) -> None:
    found = rule(tmp_path, "{reading: albumin_now, below: 2.5 g/dL}")
    test = found.criteria[0].lines[0].when
    assert isinstance(test, ReadingIs)
    assert isinstance(test.test, Bounds)
    amount = test.test.bounds[0].amount
    assert (amount.value, amount.unit, amount.text) == (Fraction(25), "g/L", "2.5 g/dL")
    assert found.counts == ("INCL01",)


MISTAKES = [
    (
        "{finding: albumen, below: 25 g/L}",
        "unknown finding concept 'albumen'",
        "did you mean 'albumin'?",
    ),
    ("{finding: albumin, belw: 25 g/L}", "unknown word 'belw'", "did you mean 'below'?"),
    ("{findings: albumin, below: 25 g/L}", "a condition has exactly one operator", "split it"),
    ("{findig: albumin}", "unknown condition 'findig'", "did you mean 'finding'?"),
    ("{reading: albumin_new, below: 25 g/L}", "unknown reading", "did you mean 'albumin_now'?"),
    ("{finding: albumin, within: labratory, below: 25 g/L}", "unknown window", "'laboratory'"),
    ("{finding: albumin, from: screning - 3 days, below: 25 g/L}", "unknown anchor", "'screening'"),
    ("{finding: albumin, below: 25 U/L}", "unit 'U/L' does not convert for albumin", "'g/L'"),
    ("{finding: albumin, below: 25}", "unit '' does not convert", "'g/L'"),
    ("{finding: albumin, below: 1.5 x uper_limit}", "unknown reference value", "'upper_limit'"),
    ("{finding: albumin}", "exactly one test is needed here, found 0", "one of above"),
    ("{finding: albumin, below: 25 g/L, is: negative}", "exactly one test", "one of above"),
    ("{finding: hbsag, is: negativ}", "unknown answer 'negativ'", "did you mean 'negative'?"),
    ("{finding: albumin, take: nearest, below: 25 g/L}", "near: <moment> belong together", ""),
    ("{finding: albumin, take: lastest, below: 25 g/L}", "unknown selection", "'latest'"),
    ("{criterion: INCL1}", "unknown criterion 'INCL1'", "did you mean 'INCL01'?"),
    ("{all: []}", "an empty list of conditions", ""),
    ("{age: {at: screening, at_least: 18 days}}", "an age is given in whole years", "18 years"),
    ("{elapsed: {since: screening, until: screening}}", "elapsed: needs a comparison", "6 months"),
    ("{elapsed: {since: screening}}", "missing 'until'", "add until: here"),
    ("{event: membraneous_nephropathy}", "unknown event concept", "'membranous_nephropathy'"),
    ("{event: hepatitis_b, presence: activ}", "unknown presence", "present"),
    ("{exposure: {drug: tacrolimuss}}", "unknown drug", "'tacrolimus'"),
    ("{exposure: {drug: tacrolimus, role: E5}}", "exactly one of drug:", ""),
    ("{fall: {from: albumin_now, to: albumin_now}, at_least: 30}", "expected a percentage", "30 %"),
    ("{date: 2019-02-30, before: screening}", "no such day", ""),
    ("{date: screening - 3 fortnights, before: screening}", "unknown time unit", "known: day"),
    ("{sex: men}", "unknown sex 'men'", ""),
]


@pytest.mark.parametrize(("condition", "message", "fix"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_in_a_condition(tmp_path: Path, condition: str, message: str, fix: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        rule(tmp_path, condition)
    assert message in caught.value.message
    assert fix in caught.value.fix
    file, line, _ = caught.value.where.split(":")
    assert (file, int(line)) == ("protocol.yaml", HEAD_LINES + 1)


def test_the_column_is_that_of_the_word(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError) as caught:
        rule(tmp_path, "{finding: albumen, below: 25 g/L}")
    line = (tmp_path / "protocol.yaml").read_text(encoding="utf-8").splitlines()[HEAD_LINES]
    assert caught.value.where == f"protocol.yaml:{HEAD_LINES + 1}:{line.index('albumen') + 1}"


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    body = """\
    decide:
      - met: {finding: albumen, below: 25 g/L}
      - not_mett: {finding: albumin, below: 25 g/L}
      - unknown: {all: [{sex: men}, {criterion: NOPE}]}
"""
    with pytest.raises(ProtocolError) as caught:
        written(tmp_path, body)
    text = str(caught.value)
    for word in ("albumen", "not_mett", "'men'", "'NOPE'"):
        assert word in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: a\nid: b\n", "'id' is given twice"),
        ("id: [unclosed\n", "is not YAML"),
        ("", "is empty"),
        ("- a\n- b\n", "expected a mapping"),
        ("id: &x a\nversion: *x\n", "aliases"),
        ("id: x\nversion: '1'\ntitle: t\n", "missing 'criteria'"),
        ("idd: x\n", "unknown word 'idd'"),
    ],
)
def test_a_mistake_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        written(tmp_path, "", head=text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        load(tmp_path, vocabulary())


def test_a_tag_runs_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    tag = f"!!python/object/apply:os.system ['touch {marker}']"
    with pytest.raises(ProtocolError):
        rule(tmp_path, tag)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("    met_when: {criterion: INCL01}\n", "depends on itself"),
        (
            "    met_when: {sex: male}\n  - {id: INCL01, kind: inclusion, met_when: {sex: male}}\n",
            "is there twice",
        ),
        (
            "    met_when: {sex: male}\n  - {id: INCLUSION1, kind: inclusion, met_when: {sex: male}}\n",
            "IETESTCD",
        ),
    ],
)
def test_what_cannot_be_evaluated_or_reported_is_refused(tmp_path: Path, body: str, code: str) -> None:
    with pytest.raises(ProtocolError, match=code):
        written(tmp_path, body)


def test_an_anchor_that_rests_on_itself_is_refused(tmp_path: Path) -> None:
    head = HEAD.replace(
        "{screening: {as_of: true}}", "{screening: {anchor: other}, other: {anchor: screening}}"
    )
    with pytest.raises(ProtocolError, match="anchor screening depends on itself"):
        written(tmp_path, "    met_when: {sex: male}\n", head=head)


def test_the_protocol_of_the_house() -> None:
    found = protocol()
    tops = [criterion.id for criterion in found.criteria]
    assert tops[:5] == ["INCL01", "INCL02", "INCL03", "INCL04", "INCL034"]
    assert [name for name in tops if name.startswith("EXCL")] == [f"EXCL{n:02}" for n in range(1, 12)]
    assert [child.id for child in found.criterion("INCL03").criteria] == [f"INCL03{c}" for c in "ABCDE"]
    assert {child.id for child in found.criterion("EXCL02").criteria} == {
        "EXCL02HB", "EXCL02HC", "EXCL02TB", "EXCL02CM", "EXCL02FU", "EXCL02SY", "EXCL02HI",
    }  # fmt: skip
    assert "INCL03" not in found.counts
    assert "INCL04" not in found.counts
    assert all(criterion.text_zh for criterion in found.walk())
    assert (MAPPINGS / "protocols" / found.id / "protocol.yaml").is_file()
