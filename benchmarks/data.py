"""A seeded folder of NDJSON of any size: Observations, and Conditions that nominate a known few.

Lines look like a laboratory's, about 950 bytes, written as most producers do (no blanks, UTF-8). Candidates
are chosen before the lines are written, so that what a reader must find is known without reading.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

LINES_PER_PATIENT = 60
DIAGNOSIS = "77182004"
CODES = (
    ("2889-4", "24小时尿蛋白定量", "g/(24.h)", 8),
    ("1751-7", "白蛋白", "g/L", 40),
    ("14682-9", "肌酐", "umol/L", 90),
    ("11253-2", "他克莫司谷浓度", "ng/mL", 6),
    ("1742-6", "丙氨酸氨基转移酶", "U/L", 25),
    ("2345-7", "葡萄糖", "mmol/L", 5),
    ("718-7", "血红蛋白", "g/L", 130),
    ("2823-3", "钾", "mmol/L", 4),
)
_LINE = (
    '{"resourceType":"Observation","id":"o%(number)d","meta":{"versionId":"1","lastUpdated":'
    '"2024-03-%(day)02dT12:00:00.000+08:00"},"identifier":[{"system":"urn:oid:2.16.156.1.1","value":"L%(number)d"}],'
    '"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category",'
    '"code":"laboratory","display":"Laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":'
    '"%(code)s"},{"system":"urn:oid:2.16.156.1.2","code":"T%(number)d","display":"%(text)s"}],"text":"%(text)s"},'
    '"subject":{"reference":"Patient/%(patient)s"},"encounter":{"reference":"Encounter/e%(number)d"},'
    '"effectiveDateTime":"2024-03-%(day)02dT08:%(minute)02d:00+08:00","issued":"2024-03-%(day)02dT11:30:00+08:00",'
    '"performer":[{"reference":"Organization/lab%(day)d","display":"检验科"}],"valueQuantity":{"value":%(value)s,'
    '"unit":"%(unit)s","system":"http://unitsofmeasure.org","code":"%(unit)s"},"referenceRange":[{"low":{"value":'
    '0.0,"unit":"%(unit)s"},"high":{"value":%(value)s,"unit":"%(unit)s"},"text":"参考区间"}]}\n'
)
_CONDITION = (
    '{"resourceType":"Condition","id":"c%s","code":{"coding":[{"system":"http://snomed.info/sct","code":"%s"}]},'
    '"subject":{"reference":"Patient/%s"}}\n'
)


class Folder(NamedTuple):
    """Where the files are and what is true of them."""

    path: Path
    observations: Path
    candidates: frozenset[str]
    lines: int
    lines_of_candidates: int
    bytes: int


def write(path: Path, megabytes: int, share: float, seed: int) -> Folder:
    """Write about ``megabytes`` of Observations, and the Patients and Conditions to them; seeded."""
    dice = random.Random(seed)  # noqa: S311 - data, no secret
    size = len(_line(dice, 0, "p0000000").encode())
    lines = megabytes * 10**6 // size
    patients = [f"p{number:07d}" for number in range(max(500, lines // LINES_PER_PATIENT))]
    candidates = frozenset(dice.sample(patients, max(1, round(len(patients) * share))))
    observations = path / "Observation.ndjson"
    theirs = 0
    with observations.open("w", encoding="utf-8", newline="\n") as out:
        for number in range(lines):
            patient = dice.choice(patients)
            theirs += patient in candidates
            out.write(_line(dice, number, patient))
    with (path / "Condition.ndjson").open("w", encoding="utf-8", newline="\n") as out:
        for number, patient in enumerate(patients):
            out.write(_CONDITION % (number, DIAGNOSIS if patient in candidates else "38341003", patient))
    with (path / "Patient.ndjson").open("w", encoding="utf-8", newline="\n") as out:
        for patient in patients:
            out.write(
                f'{{"resourceType":"Patient","id":"{patient}","gender":"male","birthDate":"1970-01-02"}}\n'
            )
    return Folder(path, observations, candidates, lines, theirs, observations.stat().st_size)


def _line(dice: random.Random, number: int, patient: str) -> str:
    code, text, unit, usual = dice.choice(CODES)
    return _LINE % {
        "number": number,
        "day": dice.randrange(1, 29),
        "minute": dice.randrange(60),
        "code": code,
        "text": text,
        "patient": patient,
        "value": f"{usual * dice.uniform(0.5, 2):.2f}",
        "unit": unit,
    }
