"""A landing as bad as landings get, and the two engines to screen it with."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any

import zstandard

from adapter import pipeline
from adapter.demo import hospital
from adapter.pipeline import Workspace
from adapter.screening import screen
from adapter.screening.task import Task
from adapter.trial import Trial

DAY = date(2019, 6, 3)
Json = dict[str, Any]


def landed(folder: Path, patients: int = 92) -> tuple[Trial, Workspace]:
    """The demo hospital with the lines of :func:`_adversarial` among its own, plain and compressed."""
    source = folder / "export"
    hospital.generate(source, patients=patients)
    conditions = gzip.decompress((source / "Condition.ndjson.gz").read_bytes()).splitlines()
    candidate = next(json.loads(line)["subject"]["reference"] for line in conditions if b"N04.2" in line)
    bad = _adversarial(candidate.partition("/")[2])
    observations = source / "Observation.0001.ndjson"
    lines = observations.read_bytes().splitlines(keepends=True)
    for at, line in enumerate(bad):
        lines.insert((at * 7919) % len(lines), line)
    observations.write_bytes(b"\xef\xbb\xbf" + b"".join(lines))
    packed = zstandard.ZstdCompressor().compress(b"".join(bad))
    (source / "Observation.0009.ndjson.zst").write_bytes(packed)
    workspace = Workspace(folder / "workspace", embedded=True)
    _land(source, workspace)
    return pipeline.open_trial(None, "demo"), workspace


def changed(export: Path, workspace: Workspace) -> None:
    """Land the export of :func:`landed` again: results of one candidate are withdrawn, somebody is new."""
    observations, conditions = export / "Observation.0001.ndjson", export / "Condition.ndjson.gz"
    diagnoses = gzip.decompress(conditions.read_bytes())
    diagnosis = next(line for line in diagnoses.splitlines() if b"N04.2" in line)
    candidate = json.loads(diagnosis)["subject"]["reference"].encode()
    observations.write_bytes(
        b"".join(
            line.replace(b'"final"', b'"entered-in-error"') if b'"' + candidate + b'"' in line else line
            for line in observations.read_bytes().splitlines(keepends=True)
        )
    )
    own = diagnosis.replace(candidate, b"Patient/newcomer").replace(b'"id":"', b'"id":"of-newcomer-', 1)
    conditions.write_bytes(gzip.compress(diagnoses.rstrip(b"\n") + b"\n" + own + b"\n"))
    with (export / "Patient.ndjson").open("ab") as patients:
        patients.write(
            b'{"resourceType":"Patient","id":"newcomer","gender":"male","birthDate":"1970-03-04"}\n'
        )
    manifest = json.loads((export / "manifest.json").read_bytes())
    for file in manifest["output"]:
        file["count"] += file["type"] in ("Patient", "Condition")
    (export / "manifest.json").write_text(json.dumps(manifest))
    _land(export, workspace)


def skewed(folder: Path, results: int) -> tuple[Trial, Workspace]:
    """The demo hospital, where one candidate has that many results more."""
    source = folder / "export"
    hospital.generate(source, patients=92)
    conditions = gzip.decompress((source / "Condition.ndjson.gz").read_bytes()).splitlines()
    candidate = next(json.loads(line)["subject"]["reference"] for line in conditions if b"N04.2" in line)
    with (source / "Observation.0002.ndjson").open("w") as lines:
        for number in range(results):
            row = _reading(f"skew-{number}", candidate.partition("/")[2], f"{1 + number % 40 / 10}")
            row["effectiveDateTime"] = f"20{10 + number % 9}-{1 + number % 12:02}-{1 + number % 28:02}"
            lines.write(json.dumps(row) + "\n")
    workspace = Workspace(folder / "workspace", embedded=True)
    _land(source, workspace)
    return pipeline.open_trial(None, "demo"), workspace


def _land(source: Path, workspace: Workspace) -> None:
    zone = pipeline.open_trial(None, "demo").site.zone
    pipeline.land(source, workspace, now=datetime(2019, 6, 3, 12, tzinfo=zone))


def copy_of(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root)
    return Workspace(root, embedded=True)


def _adversarial(candidate: str) -> list[bytes]:
    """Lines that are hard to cut, to read, or to attribute."""
    reading = _reading("moved", candidate, "1.0", version="1")
    other = _reading("moved", "somebody-else", "9.0", version="2")
    lines = [
        b"\r\n",
        b"   \n",
        json.dumps(reading).encode() + b"\r\n",
        json.dumps(other).encode() + b"\n",
        json.dumps(_reading("same", candidate, "2.0")).encode() + b"\n",
        json.dumps(_reading("same", candidate, "2.0")).encode() + b"\n",
        json.dumps(_reading("escaped", candidate, "3.0")).replace("Patient/", "Patient\\/").encode() + b"\n",
        json.dumps(_reading("spelled", candidate, "3.5")).replace("Patient/", "\\u0050atient/").encode()
        + b"\n",
        b'{"resourceType":"Observation","id":"cut","subject":{"reference":"Patient/%s"},"co\n'
        % candidate.encode(),
        b'{"resourceType":"Observation","id":"no-owner-cut","status":"fin\n',
        b'{"resourceType":"Observation","id":"\xff\xfe","subject":{"reference":"Patient/%s"}}\n'
        % candidate.encode(),
        b'{"resourceType":"Condition","id":"\xc3\x28","code":{"text":"membranous nephropathy N04.2"}}\n',
        b'{"resourceType":"Patient","id":"double","id":"trouble","gender":"male"}\n',
        b"not json at all\n",
        b'{"resourceType":"Bundle","entry":[]}\n',
        json.dumps(
            {
                "resourceType": "MedicationRequest",
                "id": "lent",
                "status": "active",
                "intent": "order",
                "subject": {"reference": f"Patient/{candidate}"},
                "medicationReference": {"reference": "Medication/lent-drug"},
                "authoredOn": "2019-05-01",
            }
        ).encode()
        + b"\n",
        b'{"resourceType":"Medication","id":"lent-drug","code":{"coding":[{"system":'
        b'"http://www.nlm.nih.gov/research/umls/rxnorm","code":"42316"}],"text":"tacrolimus"}}\n',
        b'{"resourceType":"Patient","id":"survivor-%s","gender":"male","link":[{"other":{"reference":'
        b'"Patient/%s"},"type":"seealso"}]}\n' % (candidate.encode(), candidate.encode()),
    ]
    return [*lines, *_strangers(candidate)] * 2


def _strangers(candidate: str) -> list[bytes]:
    """Somebody else's specimen and identifier, which the sieve drops, and results that name them."""
    system = "https://fhir.demo-hospital.example/id/record-number"
    number = {"system": system, "value": f"CANARY-MRN-{candidate}"}
    rows: list[Json] = [
        {"resourceType": "Specimen", "id": "theirs", "subject": {"reference": "Patient/somebody-else"}},
        {"resourceType": "Patient", "id": "somebody-else", "identifier": [number]},
        _reading("taken from another", candidate, "4.0") | {"specimen": {"reference": "Specimen/theirs"}},
        _reading("whose", candidate, "4.5") | {"subject": {"identifier": number}},
    ]
    return [json.dumps(row).encode() + b"\n" for row in rows]


def _reading(name: str, patient: str, value: str, version: str = "1") -> Json:
    return {
        "resourceType": "Observation",
        "id": name,
        "meta": {"versionId": version},
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2019-05-01T08:00:00+08:00",
        "valueQuantity": {"value": float(value), "unit": "g/dL", "system": "http://unitsofmeasure.org"},
    }


def locally(trial: Trial, workspace: Workspace) -> dict[str, bytes]:
    """What a local run leaves."""
    screen(trial, workspace, as_of=DAY, full=True)
    return files(workspace)


def task_of(trial: Trial, workspace: Workspace) -> Task:
    return Task(trial, workspace, DAY)


def files(workspace: Workspace) -> dict[str, bytes]:
    folder = workspace.screening
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that are not the same bytes; pytest would print whole files."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if names == ["screening.json"]:
        left, right = json.loads(one[names[0]]), json.loads(other[names[0]])
        return [f"{key}: {left[key]} {right[key]}" for key in left if left[key] != right[key]]
    return names
