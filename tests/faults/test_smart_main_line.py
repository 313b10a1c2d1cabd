"""From site.toml to a landing with SMART tokens that end all the time; and nothing secret is left on disk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapter import pipeline
from adapter.config import Site, Smart
from adapter.errors import ConfigError
from adapter.source.auth.keys import new_key, public_set
from adapter.trial import Workspace, open_trial
from tests.servers.guarded import Guarded, serving

KEY = new_key("RS384")
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def of_patient(kind: str, number: int, **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": f"{kind}-{number}", "subject": {"reference": "Patient/p1"}, **more}


def hospital(**more: Any) -> Guarded:
    # ICD-10 N04.2: nephrotic syndrome with diffuse membranous glomerulonephritis
    nephropathy = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]}
    resources = {
        "Patient": [{"resourceType": "Patient", "id": "p1"}],
        "Condition": [of_patient("Condition", 1, code=nephropathy)],
        "Observation": [of_patient("Observation", number) for number in range(12)],
    }
    return Guarded(
        public_set([KEY]),
        metadata={"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"},
        resources=resources,
        **more,
    )


def site(server: Guarded, folder: Path) -> Site:
    key = folder / "key.json"
    key.write_text(json.dumps(KEY.private()))
    smart = Smart(client_id="trial-adapter", key_file=str(key))
    return Site("Hospital", "hospital", base_url=server.base_url, smart=smart)


async def test_a_landing_survives_tokens_that_live_for_half_a_second(tmp_path: Path) -> None:
    with serving(hospital(lives=0.5, page_seconds=0.05, ahead=600)) as server:
        trial = open_trial()._replace(site=site(server, tmp_path))
        workspace = Workspace(tmp_path / "workspace")
        landing = await pipeline.land_server(trial, workspace, server.base_url, now=NOW)
    assert len(server.statements) > 2
    assert landing.lines == 14
    assert {row.resource_type for row in landing.coverage if not row.complete} == set()
    secrets = [KEY.private()["d"], *server.tokens, *(form["client_assertion"] for form in server.forms)]
    kept = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())
    assert kept
    assert not [secret for secret in secrets if secret.encode() in kept]


async def test_types_that_are_not_granted_are_not_covered(tmp_path: Path) -> None:
    with serving(hospital(grants="system/Patient.rs system/Condition.read")) as server:
        trial = open_trial()._replace(site=site(server, tmp_path))
        landing = await pipeline.land_server(
            trial, Workspace(tmp_path / "workspace"), server.base_url, now=NOW
        )
    complete = {row.resource_type for row in landing.coverage if row.complete}
    assert complete == {"Patient", "Condition"}


async def test_the_key_of_one_hospital_signs_nothing_for_another_server(tmp_path: Path) -> None:
    with serving(hospital()) as server, serving(hospital()) as other:
        trial = open_trial()._replace(site=site(server, tmp_path))
        with pytest.raises(ConfigError, match="asks for a token"):
            await pipeline.land_server(trial, Workspace(tmp_path / "w"), other.base_url, now=NOW)
        assert other.forms == server.forms == []
