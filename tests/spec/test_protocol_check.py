"""Design-time checks: for each a protocol that is fine and one that is not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapter.protocol import check, load
from adapter.protocol.check import CHECKS, STRUCTURE
from tests.spec.protocol_words import protocol, vocabulary

HEAD = """\
id: TRIAL-1
version: "1"
title: {en: A trial}
anchors: {screening: {as_of: true}}
"""
CRITERION = "criteria:\n  - id: INCL01\n    kind: inclusion\n    text: A sentence\n    source: a page\n"


def remarks(folder: Path, text: str) -> set[str]:
    (folder / "protocol.yaml").write_text(HEAD + text, encoding="utf-8")
    return {remark.code for remark in check(load(folder, vocabulary()), vocabulary())}


def rule(condition: str, more: str = "") -> str:
    return f"{more}{CRITERION}    met_when: {condition}\n"


def decide(*lines: str) -> str:
    return CRITERION + "    decide:\n" + "".join(f"      - {line}\n" for line in lines)


WINDOW = "windows: {{laboratory: {{from: screening - {0} days, to: screening - {1} days}}}}\n"
IN_WINDOW = "{finding: albumin, within: laboratory, below: 25 g/L}"
LOW, HIGH = "{finding: albumin, below: 25 g/L}", "{finding: albumin, at_least: 25 g/L}"
ALTERNATIVE = "    alternatives:\n      - name: other\n        reading: another\n        met_when: %s\n"

PAIRS = {
    "UNUSED": (rule(IN_WINDOW, WINDOW.format(28, 0)), rule(LOW, WINDOW.format(28, 0))),
    "CONTRADICTION": (
        rule("{finding: albumin, above: 20 g/L, below: 25 g/L}"),
        rule("{all: [{finding: albumin, above: 30 g/L}, {finding: albumin, below: 25 g/L}]}"),
    ),
    "IMPLAUSIBLE": (rule(LOW), rule("{finding: albumin, below: 250 g/L}")),
    "WINDOW_BACKWARD": (rule(IN_WINDOW, WINDOW.format(28, 7)), rule(IN_WINDOW, WINDOW.format(7, 28))),
    "UNREACHABLE": (
        decide(f"met: {LOW}", f"not_met: {HIGH}"),
        decide(f"met: {LOW}", f"not_met: {HIGH}", f"unknown: {LOW}"),
    ),
    "UNDOCUMENTED": (rule(LOW), rule(LOW).replace("    source: a page\n", "")),
    "ONE_SIDED": (
        decide(f"met: {LOW}", f"not_met: {HIGH}"),
        decide(f"met: {LOW}", f"unknown: {HIGH}"),
    ),
    "SAME_READING": (
        rule(LOW) + ALTERNATIVE % "{finding: albumin, below: 26 g/L}",
        rule(LOW) + ALTERNATIVE % "{finding: albumin, below: 2.5 g/dL}",
    ),
}


@pytest.mark.parametrize("code", PAIRS)
def test_a_correct_protocol_and_an_incorrect_one(tmp_path: Path, code: str) -> None:
    correct, incorrect = PAIRS[code]
    assert code not in remarks(tmp_path, correct)
    assert code in remarks(tmp_path, incorrect)


def test_every_check_is_tested_here_or_with_the_loader() -> None:
    assert set(CHECKS) == {*PAIRS, *STRUCTURE, "UNAVAILABLE"}


def test_a_line_below_one_that_covers_everything_is_unreachable(tmp_path: Path) -> None:
    text = decide(f"met: {{any: [{LOW}, {{not: {LOW}}}]}}", f"not_met: {HIGH}")
    assert "UNREACHABLE" in remarks(tmp_path, text)


def test_a_concept_without_a_verified_code_is_never_known(tmp_path: Path) -> None:
    assert "UNAVAILABLE" not in remarks(tmp_path, rule(LOW))
    words = vocabulary()
    unverified = msgspec.structs.replace(words.concepts["albumin"], decides=False)
    poorer = msgspec.structs.replace(words, concepts={**words.concepts, "albumin": unverified})
    assert "UNAVAILABLE" in {remark.code for remark in check(load(tmp_path, poorer), poorer)}


def test_two_readings_of_any_take_may_lie_on_both_sides(tmp_path: Path) -> None:
    text = rule(
        "{all: [{finding: albumin, take: any, above: 30 g/L}, {finding: albumin, take: any, below: 25 g/L}]}"
    )
    assert "CONTRADICTION" not in remarks(tmp_path, text)


def test_the_protocol_of_the_house_has_no_remarks() -> None:
    assert check(protocol(), vocabulary()) == ()
