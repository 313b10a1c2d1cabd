"""The vocabulary and short ways to write facts, for the protocol tests."""

from __future__ import annotations

import csv
import re
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import yaml

from adapter.model.coverage import Coverage
from adapter.model.dates import PartialDate, parse_date
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


_RECORDED_IN = {"kidney_biopsy": "Procedure", "no_known_allergy": "AllergyIntolerance"}


@cache
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
            (_RECORDED_IN.get(key, "Condition") if entry["class"] == "event" else "Observation",),
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


@cache
def protocol() -> Protocol:
    return load(MAPPINGS / "protocols" / "NCT03864250", vocabulary())


# --- facts in one line each -------------------------------------------------------------------------

UNITS = {
    "urine_protein_24h": "g/d",
    "albumin": "g/L",
    "pla2r_antibody": "{RU}/mL",
    "alt": "U/L",
    "ast": "U/L",
    "bilirubin_total": "umol/L",
    "egfr": "mL/min/{1.73_m2}",
}


def when(text: str) -> PartialDate:
    found = parse_date(text, ZONE)
    assert found is not None, text
    return found


def reported(text: str) -> Interval:
    """``9``, ``>8``, ``<=25``: what a laboratory printed."""
    comparator = next((sign for sign in ("<=", ">=", "<", ">") if text.startswith(sign)), "")
    return Interval.reported(Fraction(text[len(comparator) :]), comparator)


def lab(concept: str, value: str, on: str, **more: Any) -> Finding:
    """A reading: a number (with comparator) or one of the qualitative answers."""
    answers: dict[str, Answer] = {"+": "positive", "-": "negative", "?": "equivocal", "(+)": "weak_positive"}
    limit = more.pop("limit", None)
    row = Finding(
        "p",
        concept,
        Source(f"Observation/{concept}-{on}-{more.get('id', value)}", "1"),
        "laboratory",
        value=None if value in answers or not value else reported(value),
        answer=answers.get(value, ""),
        unit=UNITS.get(concept, ""),
        original=value,
        start=when(on) if on else None,
        range=None if limit is None else ReferenceRange(high=Fraction(limit)),
    )
    more.pop("id", None)
    return msgspec.structs.replace(row, **more)


def egfr(value: str, on: str, method: str = "CKD-EPI 2009") -> Finding:
    return lab("egfr", value, on, id=f"{value}-{method}", method=method, category="derived")


def said(link: str, answer: str, on: str = "2019-06-03") -> Finding:
    """An answer of the study's questionnaire: a truth value, a choice, a date or a text."""
    date_like = re.match(r"\d{4}(-|$)", answer) is not None
    return Finding(
        "p",
        "",
        Source(f"QuestionnaireResponse/{on}", "1", link),
        "questionnaire",
        code=Coding(QUESTIONNAIRE, link),
        value_code="" if date_like else answer,
        value_date=when(answer) if date_like else None,
        original=answer,
        start=when(on),
        status="completed",
    )


def had(concept: str, start: str = "", end: str = "", **more: Any) -> Event:
    row = Event(
        "p",
        concept,
        Source(f"Condition/{concept}-{start}{more.get('presence', '')}", "1"),
        "diagnosis",
        start=when(start) if start else None,
        end=when(end) if end else None,
    )
    return msgspec.structs.replace(row, **more)


def took(drug: str, start: str, last: str = "", **more: Any) -> Intervention:
    """A drug from a first to a last day of exposure; without a last day it is still taken."""
    known = vocabulary().drugs[drug]
    row = Intervention(
        "p",
        drug,
        Source(f"MedicationStatement/{drug}-{start}", "1"),
        "statement",
        classes=known.classes,
        role=known.role,
        systemic=True,
        start=when(start),
        exposure_end=when(last) if last else None,
        ongoing=not last,
    )
    return msgspec.structs.replace(row, **more)


Row = Finding | Event | Intervention | Coverage


def facts(*rows: Row, birth: str = "1967-03-14", sex: str = "male", **person: Any) -> Facts:
    subject = Subject("p", Source("Patient/p", "1"), sex, when(birth) if birth else None, **person)  # type: ignore[arg-type]
    return Facts(
        subjects=(subject,),
        findings=tuple(row for row in rows if isinstance(row, Finding)),
        events=tuple(row for row in rows if isinstance(row, Event)),
        interventions=tuple(row for row in rows if isinstance(row, Intervention)),
        coverage=tuple(row for row in rows if isinstance(row, Coverage)),
    )


def judged(*rows: Row, as_of: date = SCREENING, **person: Any) -> Decision:
    return evaluate(protocol(), facts(*rows, **person), as_of=as_of, zone=ZONE)


DAY = "2019-05-28"
P0: dict[str, Row] = {
    "mn": had("membranous_nephropathy", "2019-04-15"),
    "biopsy": had("kidney_biopsy", "2019-04-15", "2019-04-15", presence="past", category="procedure"),
    "protein": lab("urine_protein_24h", "9", DAY),
    "albumin": lab("albumin", "26", DAY),
    "pla2r": lab("pla2r_antibody", "40", DAY, limit=20),
    "egfr": egfr("97.204", DAY),
    "alt": lab("alt", "25", DAY, limit=40),
    "ast": lab("ast", "22", DAY, limit=40),
    "tbil": lab("bilirubin_total", "9", DAY, limit=21),
    **{name: lab(name, "-", DAY) for name in ("hbsag", "hbeag", "hbcab", "hcv_antibody", "hiv_screen")},
    **{
        name: lab(name, "-", DAY)
        for name in ("syphilis_nontreponemal", "syphilis_treponemal", "igra", "cmv_dna")
    },
    "hbsab": lab("hbsab", "+", DAY),
    "no_allergy": had("no_known_allergy", category="allergy"),
    **{
        link: said(link, answer)
        for link, answer in {
            "onset-date": "2019-03-01",
            "biopsy-done": "true",
            "biopsy-date": "2019-04-15",
            "biopsy-histology": "membranous",
            "biopsy-stage": "II",
            "idiopathic": "true",
            "secondary-excluded": "true",
            "fibrosis-percent": "10",
            "serious-complication": "false",
            "consent": "signed",
            "consent-date": "2019-06-03T09:00:00+08:00",
            "fungal-infection": "false",
            "ulcer": "none",
            "malignancy": "none",
            "medication-history-complete": "true",
            "serious-comorbidity": "false",
            "study-drug-allergy": "false",
            "other-trial": "false",
            "can-comply": "true",
        }.items()
    },
}
"""The base patient of the worked cases, who is eligible; see ``cases.yaml``."""
P6 = {**P0, "protein": lab("urine_protein_24h", "6", DAY)}
P18 = {
    **P0,
    "protein": lab("urine_protein_24h", "3.5", DAY),
    "first": lab("urine_protein_24h", "7", "2018-12-01"),
    "albumin": lab("albumin", "29.9", DAY),
    "onset-date": said("onset-date", "2018-11-20"),
}


def changed(base: dict[str, Row], **changes: Row | None) -> tuple[Row, ...]:
    """The base patient with rows replaced, added, or (None) taken away; ``_`` in names stands for ``-``."""
    rows: dict[str, Row | None] = dict(base)
    for name, row in changes.items():
        rows[name if name in base else name.replace("_", "-")] = row
    return tuple(row for row in rows.values() if row is not None)


def told(decision: Decision, criterion: str) -> str:
    """``met [BOUNDARY]``: a verdict with its flags, as the tables write it; ``review`` is asked apart."""
    result = decision.criterion(criterion)
    shown = [flag for flag in result.flags if flag != "REVIEW"]
    return f"{result.verdict.value} [{', '.join(shown)}]" if shown else result.verdict.value
