"""The JSON Schema of protocol.yaml: it lets shipped protocols pass and finds what the loader would refuse."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from adapter.protocol import words
from adapter.protocol.render.schema import json_schema
from adapter.protocol.render.schema_shapes import IN_PLACE, VALUES

FOLDERS = sorted(path.parent for path in Path("mappings/protocols").glob("*/protocol.yaml"))


class Yaml12(yaml.SafeLoader):
    """Scalars as editors read them: a date is a text."""


Yaml12.yaml_implicit_resolvers = {
    first: [found for found in resolvers if found[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


def read(text: str) -> Any:
    return yaml.load(text, Yaml12)  # noqa: S506 - a SafeLoader


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_protocol_is_valid(folder: Path) -> None:
    tree = read((folder / "protocol.yaml").read_text(encoding="utf-8"))
    assert [f"{list(error.absolute_path)}: {error.message}" for error in validator().iter_errors(tree)] == []


def test_the_first_protocol_of_the_documentation_is_valid() -> None:
    page = Path("docs/protocol-vocabulary.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```yaml protocol\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert list(validator().iter_errors(read(text))) == []


def criterion(rule: str) -> Any:
    return read(
        f"{{id: X, version: '1', title: t, criteria: [{{id: A, kind: inclusion, met_when: {{{rule}}}}}]}}"
    )


@pytest.mark.parametrize(
    "rule",
    [
        "finding: albumin, above: 25 g/L",
        "finding: albumin, take: nearest, near: biopsy - 30 days, between: [1 g/L, 2 g/L]",
        "finding: alt, above: 1.5 x upper_limit",
        "finding: egfr, below: 70 % of reading:first",
        "attested: consent, is: true",
        "attested: onset, on_or_before: screening - 6 months",
        "all: [{sex: male}, {not: {age: {at: screening, at_least: 18 years}}}]",
        "event: x, presence: any, from: 2019-06-03",
        "exposure: {class: [a, b]}, systemic: true, within: washout",
    ],
)
def test_a_right_rule_is_valid(rule: str) -> None:
    assert list(validator().iter_errors(criterion(rule))) == []


@pytest.mark.parametrize(
    "rule",
    [
        "finding: albumin",  # no test
        "finding: albumin, abov: 25 g/L",
        "finding: albumin, above: 25 g/L, presence: any",
        "finding: albumin, take: newest, above: 25 g/L",
        "finding: albumin, within: a, from: screening, above: 25 g/L",
        "finding: albumin, above: much",
        "finding: albumin, between: [1 g/L]",
        "finding: albumin, is: true",
        "attested: consent, is: positive",
        "attested: consent",
        "sex: man",
        "sex: male, event: x",
        "all: []",
        "all: {sex: male}",
        "age: {at: screening, at_least: 18 months}",
        "age: {at_least: 18 years}",
        "elapsed: {since: a, until: b, more_than: 6 fortnights}",
        "event: x, from: screening minus 3 days",
        "exposure: {drug: a, class: b}",
        "fall: {from: a, to: b}, at_least: 30",
        "fall: {from: a}, at_least: 30 %",
        "if: {sex: male}",
        "repeated: {finding: albumin, above: 25 g/L}",
    ],
)
def test_a_wrong_rule_is_not(rule: str) -> None:
    assert not validator().is_valid(criterion(rule))


# Below these keys the author gives the names.
FREE = {"anchors", "windows", "readings", "having", "lacking", "words"}


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every word of a tree with the place where it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not (path and path[-1] in FREE):
                yield path, key
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from places(value, (*path, number))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_word_of_a_shipped_protocol_may_be_misspelt(folder: Path) -> None:
    whole = read((folder / "protocol.yaml").read_text(encoding="utf-8"))
    found = list(places(whole))
    assert len(found) > 300
    for path, word in found[:: len(found) // 60]:
        changed = copy.deepcopy(whole)
        inner = changed
        for step in path:
            inner = inner[step]
        inner[f"{word}x"] = inner.pop(word)
        assert not validator().is_valid(changed), (path, word)


def test_every_word_of_the_vocabulary_is_in_the_schema() -> None:
    said = set(re.findall(r'"([^"]+)"', json.dumps(json_schema(), ensure_ascii=False)))
    units = {unit for unit in words.PLACES["time unit"] if "|" not in unit}
    elsewhere = {*units, *words.LIMITS, *words.VISIT_ANCHORS, *words.PLACES["response at"]}
    assert words.all_words() - said - elsewhere == set()
    patterns = json.dumps(json_schema())
    assert [word for word in (*units, *words.LIMITS) if word.removesuffix("s") not in patterns] == []


def test_no_shape_is_left_over_from_a_word_that_is_gone() -> None:
    for place, word in IN_PLACE:
        operator = place.removeprefix("condition ")
        allowed = (operator, *words.CONDITIONS[operator]) if place != operator else words.PLACES[place]
        assert word in allowed, (place, word)
    assert set(words.PLACES) >= VALUES


def test_the_committed_schema_is_the_one_of_the_vocabulary() -> None:
    """Written again with: adapter render --as json-schema --out mappings/protocols"""
    committed = json.loads(Path("mappings/protocols/protocol.schema.json").read_text(encoding="utf-8"))
    assert committed == json_schema()
