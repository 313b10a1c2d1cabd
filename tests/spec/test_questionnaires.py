"""Every protocol's questionnaire asks exactly what its rules read, with answers of the kind they test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = sorted((ROOT / "mappings" / "protocols").glob("*/protocol.yaml"))
PROFILES = ROOT / "fhir_profiles"
DATES = {"before", "on_or_before", "after", "on_or_after"}


def attested(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping with the word ``attested``, wherever it stands."""
    if isinstance(node, dict):
        if "attested" in node:
            yield node
        for part in node.values():
            yield from attested(part)
    elif isinstance(node, list):
        for part in node:
            yield from attested(part)


def questions(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    name = rules["questionnaire"].rpartition("/")[2]
    form = json.loads((PROFILES / f"Questionnaire-{name}.json").read_text(encoding="utf-8"))
    assert form["url"] == rules["questionnaire"]
    return {item["linkId"]: item for item in form["item"]}


@pytest.mark.parametrize("path", PROTOCOLS, ids=lambda path: path.parent.name)
class TestQuestionnaire:
    def test_it_asks_what_the_rules_read_and_nothing_else(self, path: Path) -> None:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        ladders = path.with_name("ladders.yaml")
        climbed = yaml.safe_load(ladders.read_text(encoding="utf-8")) if ladders.exists() else {}
        read = {node["attested"] for node in (*attested(rules), *attested(climbed))}
        assert read == set(questions(rules))

    def test_answers_are_of_the_kind_the_rules_test(self, path: Path) -> None:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        asked = questions(rules)
        for node in attested(rules):
            item = asked[node["attested"]]
            if "is" in node:
                assert item["type"] == "boolean", node
            elif "code" in node and item["type"] == "choice":
                codes = node["code"] if isinstance(node["code"], list) else [node["code"]]
                options = {option["valueCoding"]["code"] for option in item["answerOption"]}
                assert {str(code) for code in codes} <= options, node
            elif DATES & set(node) or len(node) == 1:
                assert item["type"] in ("date", "dateTime"), node

    def test_every_question_cites_a_criterion_and_may_be_left_empty(self, path: Path) -> None:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        known = set(criteria(rules["criteria"]))
        for block in rules.get("monitoring", {}).values():
            if isinstance(block, list):
                known |= set(criteria([rule for rule in block if "id" in rule]))
        for item in questions(rules).values():
            assert {coding["code"] for coding in item["code"]} <= known, item["linkId"]
            assert item["required"] is False


def criteria(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        yield node["id"]
        yield from criteria(node.get("criteria", []))
