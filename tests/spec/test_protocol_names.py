"""The list of names for protocol authors is whole, and what docs/ shows is what mappings/ says."""

from __future__ import annotations

import csv
from datetime import date
from functools import cache
from pathlib import Path

import pytest
import yaml

from adapter import pipeline
from adapter.cli import render_view
from adapter.protocol.case_records import attestation

PAGE = Path("docs/protocol-names.md")


@cache
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_mappings_say() -> None:
    """Written again with: make pages"""
    assert render_view.rendered(pipeline.open_trial(site=""), "names", "en") == {PAGE.name: page()}


def test_every_concept_and_drug_is_there_by_its_files() -> None:
    concepts = yaml.safe_load(Path("mappings/concepts.yaml").read_text(encoding="utf-8"))["concepts"]
    for key, entry in concepts.items():
        if entry["class"] != "intervention":
            assert f"| `{key}` | {entry['label']['en']} | {entry['label']['zh']} |" in page(), key
    with Path("mappings/drugs.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert f"| `{row['drug']}` |" in page()
            for name in filter(None, (row["role"], *row["classes"].split(";"))):
                assert f"| `{name}` |" in page(), name


@pytest.mark.parametrize(
    ("written", "element"),
    [
        ("true", "valueBoolean"),
        ("2019-06", "valueDate"),
        ("2019-06-03T09:00:00+08:00", "valueDateTime"),
        ("partial-remission", "valueCoding"),
        ("I-II", "valueCoding"),
        ("type-1", "valueString"),
        ("25-50%", "valueString"),
        ("mild", "valueString"),
    ],
)
def test_an_answer_becomes_what_the_page_says(written: str, element: str) -> None:
    [item] = attestation({"question": written}, "https://example.org/q", date(2019, 6, 3))["item"]
    assert [*item["answer"][0]] == [element]
