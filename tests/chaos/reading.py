"""What has to hold of a landing that was fetched under faults, and the changes it has to catch up with."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx

from adapter.errors import ConfigError
from adapter.model.coverage import is_covered
from adapter.source.landing import Landing, open_landing
from tests.chaos.people import JSON
from tests.contract.ward import Ward
from tests.writeback_cases import NOW

Known = dict[tuple[str, str], dict[str, Any]]


def changed(ward: Ward, base: str) -> None:
    """One reading corrected, one deleted, one new."""
    resources = {one["id"]: one for one in ward.resources() if one["resourceType"] == "Observation"}
    corrected = {**resources[ward.id("kept-1")], "status": "corrected"}
    new = {**resources[ward.id("kept-2")], "id": ward.id("kept-new")}
    with httpx.Client(base_url=base, headers=JSON, timeout=120, trust_env=False) as http:
        for one in (corrected, new):
            assert http.put(f"/Observation/{one['id']}", json=one).status_code in (200, 201)
        assert http.delete(f"/Observation/{ward.id('kept-3')}").status_code in (200, 204)


def known(landing: Landing) -> Known:
    """What is there and whole; a line cut short is nothing that came."""
    found: Known = {}
    for raw in landing.resources():
        with contextlib.suppress(ValueError):
            one = json.loads(raw.line)
            found[one["resourceType"], one["id"]] = one
    return found


def honest(root: Path, ward: Ward, *, former: bool) -> list[str]:
    """Where the landing claims that a type of a person is complete, it is; who is missing is told of.
    ``former``: a landing stood before, and may stand as it was."""
    try:
        landing = open_landing(root / "landing")
    except ConfigError:
        return [] if not former else ["the former landing is gone"]
    if former and landing.manifest.generation == 1:
        return []
    landing.verify()
    return untrue(landing, open_landing(root / "truth"), ward)


def untrue(landing: Landing, truth: Landing, ward: Ward) -> list[str]:
    came, there = known(landing), known(truth)
    wrong: list[str] = []
    for name in ("old", "kept", "other"):
        patient = ward.id(name)
        if ("Patient", patient) in there and ("Patient", patient) not in came and not landing.issues:
            wrong.append(f"Patient/{patient} is missing and nothing says so")
        for kind in sorted({kind for kind, _ in there}):
            if not is_covered(landing.coverage, kind, patient, None, NOW.date()):
                continue
            wanted = {key: one for key, one in there.items() if key[0] == kind and _about(one, patient)}
            have = {key: one for key, one in came.items() if key[0] == kind and _about(one, patient)}
            if wanted != have:
                differing = sorted(key for key in wanted | have if wanted.get(key) != have.get(key))
                wrong.append(f"{kind} of {patient} is said to be complete, and is not: {differing}")
    return wrong


def equal(root: Path) -> list[str]:
    """The landing holds what an undisturbed fetch does."""
    came, there = known(open_landing(root / "landing")), known(open_landing(root / "truth"))
    differing = sorted(key for key in came | there if came.get(key) != there.get(key))
    return [f"differs from the undisturbed landing: {differing}"] if differing else []


def _about(resource: dict[str, Any], patient: str) -> bool:
    if resource["resourceType"] == "Patient":
        return bool(resource["id"] == patient)
    return f'"Patient/{patient}"' in json.dumps(resource)
