"""The vocabulary and short ways to write facts, for the protocol tests."""

from __future__ import annotations

import csv
from datetime import date
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import yaml

from adapter.model.dates import parse_date
from adapter.model.decision import Decision
from adapter.model.facts import (
    Answer,
    Coding,
    Event,
    Facts,
    Finding,
    Intervention,
    ReferenceRange,
    Source,
    Subject,
)
from adapter.model.protocol import ConceptInfo, DrugInfo, Protocol, UnitScale, Vocabulary
from adapter.model.quantity import Interval
from adapter.protocol import evaluate, load

MAPPINGS = Path(__file__).parents[2] / "mappings"
ZONE = ZoneInfo("Asia/Shanghai")
QUESTIONNAIRE = "https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation"
SCREENING = date(2019, 6, 3)


def vocabulary() -> Vocabulary:
    """What ``mappings/`` lets a protocol name, read with the plainest means."""
    text = (MAPPINGS / "concepts.yaml").read_text(encoding="utf-8")
    concepts = {}
    for key, entry in yaml.safe_load(text)["concepts"].items():
        if entry["class"] == "intervention":
            continue
        low, high = (None if limit is None else Fraction(limit) for limit in entry.get("hard", (None, None)))
        concepts[key] = ConceptInfo(
            key,
            entry["class"],
            entry["label"]["en"],
            entry.get("unit", ""),
            low,
            high,
            entry.get("silence", "unknown"),
            ("Condition",) if entry["class"] == "event" else ("Observation",),
            broader=tuple(entry.get("broader", ())),
        )
    for key in ("research_consent", "research_subject", "adverse_event"):
        concepts.setdefault(key, ConceptInfo(key, "event", key.replace("_", " ")))
    with (MAPPINGS / "drugs.csv").open(encoding="utf-8") as rows:
        drugs = {
            row["drug"]: DrugInfo(
                row["drug"], row["drug"].replace("_", " "), row["role"], tuple(row["classes"].split(";"))
            )
            for row in csv.DictReader(rows)
        }
    with (MAPPINGS / "units.csv").open(encoding="utf-8") as rows:
        units = {
            (row["concept"], row["spelling"]): UnitScale(
                Fraction(row["factor"]), Fraction(row["offset"] or 0)
            )
            for row in csv.DictReader(rows)
            if row["factor"] and not row["scale"]
        }
    return Vocabulary(concepts, drugs, units)


def protocol() -> Protocol:
    return load(MAPPINGS / "protocols" / "NCT03864250", vocabulary())
