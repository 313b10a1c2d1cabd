"""FHIR data that nobody here wrote, made by three packages from PyPI, and a plain walk over it.

The packages are generators: the same version and seed give the same resources. Nothing is corrected. The
entries of a transaction Bundle become lines byte for byte; where an entry carries no id, the uuid of its
``fullUrl`` is put in front, as the server does that creates it (https://hl7.org/fhir/R4/bundle.html#references).

The walk uses ``json`` and nothing of the adapter, so that what it counts is an expectation from outside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

# LOINC, as loinc.org names them. Only codes whose meaning needs no context.
LOINC = {
    "29463-7": "weight",  # Body weight
    "8302-2": "height",  # Body height
    "39156-5": "bmi",  # Body mass index (BMI) [Ratio]
    "8480-6": "systolic_bp",  # Systolic blood pressure
    "8462-4": "diastolic_bp",  # Diastolic blood pressure
    "2160-0": "creatinine",  # Creatinine [Mass/volume] in Serum or Plasma
    "1751-7": "albumin",  # Albumin [Mass/volume] in Serum or Plasma
    "1742-6": "alt",  # Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma
    "1920-8": "ast",  # Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma
    "4548-4": "hba1c",  # Hemoglobin A1c/Hemoglobin.total in Blood
    "1988-5": "crp",  # C reactive protein [Mass/volume] in Serum or Plasma
}


class Reading(NamedTuple):
    """One number in the source's own characters."""

    concept: str
    patient: str
    value: str
    unit: str


class Entry(msgspec.Struct):
    resource: msgspec.Raw
    fullUrl: str = ""


class Bundle(msgspec.Struct):
    entry: list[Entry]


class Head(msgspec.Struct):
    resourceType: str
    id: str = ""


def run(tool: str, *arguments: str, cwd: Path) -> None:
    """Run a command-line tool of the environment the tests run in."""
    command = [str(Path(sys.executable).parent / tool), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]


def synthea(cwd: Path) -> Path:
    """Ten people's whole lives as transaction Bundles with ``urn:uuid`` references, about 38 MB."""
    run("synthea", "generate", "-p", "10", "-s", "1", "-r", "20250101", "-o", "synthea", cwd=cwd)
    return unpacked(cwd / "synthea" / "fhir", cwd / "synthea-ndjson")


def clinosim(cwd: Path) -> Path:
    """A year of a hospital's catchment of 100 people, as Bulk Data NDJSON."""
    period = ("--start", "2025-01-01", "--end", "2025-12-31")
    run("clinosim", "simulate", "-p", "100", "-s", "42", *period, "--country", "US",
        "--format", "fhir-r4", "-o", "clinosim", cwd=cwd)  # fmt: skip
    return cwd / "clinosim" / "fhir_r4"


def small_clinosim(cwd: Path) -> Path:
    """Half a year of ten people; in its own folder beside the larger one."""
    period = ("--start", "2025-01-01", "--end", "2025-06-30")
    run("clinosim", "simulate", "-p", "10", "-s", "7", *period, "--country", "US",
        "--format", "fhir-r4", "-o", "small-clinosim", cwd=cwd)  # fmt: skip
    return cwd / "small-clinosim" / "fhir_r4"


def carebundle(cwd: Path) -> Path:
    """Twenty patients as transaction Bundles whose resources have no ids."""
    run("carebundle", "generate", "--profile", "mixed", "--count", "20", "--sex", "mixed",
        "--out", "carebundle", cwd=cwd)  # fmt: skip
    return cwd / "carebundle"


def unpacked(bundles: Path, target: Path, *, with_ids: bool = True) -> Path:
    """One NDJSON file of all entries, bytes as they are but for line breaks between tokens."""
    target.mkdir()
    with (target / "entries.ndjson").open("wb") as out:
        for path in sorted(bundles.glob("*.json")):
            for entry in msgspec.json.decode(path.read_bytes(), type=Bundle).entry:
                raw = bytes(entry.resource).replace(b"\n", b" ").replace(b"\r", b" ")
                if with_ids and not msgspec.json.decode(raw, type=Head).id:
                    raw = b'{"id":"' + entry.fullUrl.rpartition(":")[2].encode() + b'",' + raw[1:]
                out.write(raw + b"\n")
    return target


def lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.ndjson")):
        yield from (line for line in path.read_bytes().split(b"\n") if line.strip())


def walked(line: bytes) -> dict[str, Any]:
    """One resource, its numbers as the characters they are written in."""
    found: dict[str, Any] = json.loads(line, parse_float=str, parse_int=str)
    return found


def reference(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def numbers(resource: dict[str, Any]) -> Iterator[Reading]:
    """The numbers of an Observation and its components that one of our LOINC codes names."""
    patient = resource["subject"]["reference"].replace(":", "/").rpartition("/")[2]
    for part in (resource, *resource.get("component", [])):
        codes = [one["code"] for one in part["code"].get("coding", []) if one["system"] == "http://loinc.org"]
        concepts = {LOINC[code] for code in codes if code in LOINC}
        quantity = part.get("valueQuantity")
        if concepts and quantity:
            assert len(concepts) == 1
            yield Reading(concepts.pop(), patient, quantity["value"], quantity.get("unit", ""))
