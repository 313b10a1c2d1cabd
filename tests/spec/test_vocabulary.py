"""The vocabulary is closed, and its documentation is whole and true."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from adapter.protocol import load
from adapter.protocol.check import CHECKS
from adapter.protocol.readings import TROUBLES
from adapter.protocol.words import CONDITIONS, PLACES, all_words
from tests.spec.protocol_words import vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "protocol-vocabulary.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml (\w+)\n(.*?)```", PAGE, re.DOTALL)
EXPLAINED = " ".join(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
[PROTOCOL] = [text for kind, text in BLOCKS if kind == "protocol"]


@pytest.mark.parametrize("word", sorted(all_words()))
def test_every_word_of_the_parser_is_explained(word: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", EXPLAINED), (
        f"docs/protocol-vocabulary.md: {word}"
    )


@pytest.mark.parametrize("code", [*CHECKS, *sorted(TROUBLES)])
def test_every_check_and_every_trouble_is_named(code: str) -> None:
    assert code in PAGE


def test_every_operator_has_an_example() -> None:
    examples = "".join(text for _, text in BLOCKS)
    for operator in CONDITIONS:
        assert re.search(rf"\b{operator}:", examples), operator


def test_the_first_protocol_loads(tmp_path: Path) -> None:
    (tmp_path / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    assert [criterion.id for criterion in load(tmp_path, vocabulary()).criteria] == ["INCL01", "EXCL01"]


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "condition"])
def test_every_condition_on_the_page_loads(tmp_path: Path, text: str) -> None:
    criterion = "  - id: EXTRA\n    kind: inclusion\n    met_when:\n" + textwrap.indent(text, " " * 6)
    head, tail = PROTOCOL.split("eligibility:")
    (tmp_path / "protocol.yaml").write_text(f"{head}{criterion}eligibility:{tail}", encoding="utf-8")
    assert load(tmp_path, vocabulary()).criterion("EXTRA")


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "criterion"])
def test_every_criterion_on_the_page_loads(tmp_path: Path, text: str) -> None:
    head, tail = PROTOCOL.split("eligibility:")
    added = textwrap.indent(text, "  ")
    (tmp_path / "protocol.yaml").write_text(f"{head}{added}eligibility:{tail}", encoding="utf-8")
    assert len(load(tmp_path, vocabulary()).criteria) == 3


def test_the_monitoring_on_the_page_loads(tmp_path: Path) -> None:
    """Its anchors and readings are added to those of the first protocol."""
    [text] = [found for found in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "monitoring:" in found]
    added = re.fullmatch(r"anchors:\n(.*)readings:\n(.*)(visits:\n.*)", text, re.DOTALL)
    assert added
    whole = PROTOCOL.replace("anchors:\n", f"anchors:\n{added[1]}").replace(
        "readings:\n", f"readings:\n{added[2]}"
    )
    (tmp_path / "protocol.yaml").write_text(f"{whole}{added[3]}", encoding="utf-8")
    protocol = load(tmp_path, vocabulary())
    assert [criterion.id for criterion in protocol.plan.walk()] == ["O1", "X1", "LOWALB"]


def test_the_tables_of_words_name_each_modifier_once() -> None:
    for words in (*CONDITIONS.values(), *PLACES.values()):
        assert len(words) == len(set(words)), words
