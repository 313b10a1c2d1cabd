"""A slice of the synthetic hospital, for real servers: the same lines in a bulk folder and on a server."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from adapter.demo import hospital

STORIES = {"eligible": 3, "undetermined": 3, "ineligible": 2}  # how many people of each outcome
_REFERENCE = re.compile(r'"reference": "([A-Z][A-Za-z]+/[A-Za-z0-9.-]+)')
JSON = {"Content-Type": "application/fhir+json"}


class Line(NamedTuple):
    """One resource as its bytes are, and decoded."""

    text: str
    resource: dict[str, Any]


def slice_of_hospital(root: Path) -> list[Line]:
    """The first planted stories of people with one record each who are not on the study, and what their
    resources refer to."""
    made = hospital.generate(root / "fhir", patients=120)
    truths = [json.loads(line) for line in made.truth.read_text(encoding="utf-8").splitlines()]
    lines = list(_lines(made.folder))
    merged = {name for line in lines if line.resource.get("link") for name in _owners(line)}
    alone = [
        one for one in truths if one.get("overall") and not one["enrolled"] and one["patient"] not in merged
    ]
    chosen = {
        one["patient"]
        for outcome, many in STORIES.items()
        for one in [one for one in alone if one["overall"] == outcome][:many]
    }
    return _closed([line for line in lines if _owners(line) <= chosen and _loadable(line)])


def record_of(folder: Path, patient: str) -> list[Line]:
    """Everything of one person in a made hospital, as far as a server takes it alone."""
    return _closed([line for line in _lines(folder) if _owners(line) <= {patient} and _loadable(line)])


def _lines(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.ndjson*")):
        data = path.read_bytes()
        for line in (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines():
            try:
                yield Line(line, json.loads(line))
            except json.JSONDecodeError:
                continue  # the two lines the generator truncates on purpose


def _owners(line: Line) -> set[str]:
    own = {line.resource["id"]} if line.resource["resourceType"] == "Patient" else set()
    return own | set(re.findall(r"Patient/(p\d+m?)", json.dumps(line.resource)))


def _loadable(line: Line) -> bool:
    """What a HAPI server takes by default: no references into another server."""
    return '"reference":"http' not in line.text


def _closed(lines: list[Line]) -> list[Line]:
    """Without what refers to something left out: HAPI refuses dangling references."""
    known = {f"{line.resource['resourceType']}/{line.resource['id']}" for line in lines}
    kept = [line for line in lines if set(_REFERENCE.findall(json.dumps(line.resource))) <= known]
    return kept if len(kept) == len(lines) else _closed(kept)


def reachable(line: Line, lacks: frozenset[str], versioned: bool) -> bool:
    """Whether a server gives the line to one who asks for a patient's resources, type by type."""
    owner = re.search(
        r'"(?:subject|patient|individual)": \{"reference": "([^"]+)"', json.dumps(line.resource)
    )
    named_by_version = owner is not None and "/_history/" in owner[1]
    return line.resource["resourceType"] not in lacks and (versioned or not named_by_version)


def write(lines: list[Line], folder: Path) -> Path:
    """The lines as a bulk folder, one file a type."""
    folder.mkdir(parents=True)
    for kind in {line.resource["resourceType"] for line in lines}:
        texts = [line.text for line in lines if line.resource["resourceType"] == kind]
        (folder / f"{kind}.ndjson").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def load(base_url: str, lines: list[Line], at_once: int) -> None:
    """The newest version of each, ``at_once`` in one transaction, where they may refer to one another."""
    ordered = sorted(lines, key=lambda line: int(line.resource.get("meta", {}).get("versionId", "1")))
    newest = {f"{line.resource['resourceType']}/{line.resource['id']}": line.text for line in ordered}
    entries = [
        f'{{"resource":{text},"request":{{"method":"PUT","url":"{name}"}}}}' for name, text in newest.items()
    ]
    for start in range(0, len(entries), at_once):
        some = ",".join(entries[start : start + at_once])
        bundle = f'{{"resourceType":"Bundle","type":"transaction","entry":[{some}]}}'
        answer = httpx.post(base_url, content=bundle.encode(), headers=JSON, timeout=240, trust_env=False)
        assert answer.status_code == 200, answer.text[:500]
