"""``python -m tests.recorded.record [make ...]``: ask the servers we can run, keep what identifies them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.servers import hapi, medplum, sekmet

HERE = Path(__file__).parent
SERVERS = {"hapi": hapi.running, "medplum": medplum.running, "sekmet": sekmet.running}
KEPT = ("resourceType", "status", "kind", "name", "title", "publisher", "software", "fhirVersion", "format")
TYPES = ("Observation", "Patient")
PARAMETERS = {"_id", "category", "code", "link", "patient", "subject"}


def trimmed(statement: dict[str, Any]) -> dict[str, Any]:
    """The head of the statement, and of two types what a search needs to know."""
    short = {name: statement[name] for name in KEPT if name in statement}
    if "implementation" in statement:
        short["implementation"] = {"description": statement["implementation"].get("description", "")}
    rest = next(one for one in statement["rest"] if one["mode"] == "server")
    resources = []
    for one in rest.get("resource", ()):
        if one["type"] in TYPES:
            search = [
                {"name": item["name"], "type": item["type"]}
                for item in one.get("searchParam", ())
                if item["name"] in PARAMETERS
            ]
            resources.append(
                {"type": one["type"], "interaction": one.get("interaction", []), "searchParam": search}
            )
    operations = [{"name": one["name"]} for one in rest.get("operation", ()) if "export" in one["name"]]
    return {**short, "rest": [{"mode": "server", "resource": resources, "operation": operations}]}


def main(makes: list[str]) -> None:
    for make in makes or list(SERVERS):
        with SERVERS[make]() as base_url:
            statement = httpx.get(f"{base_url}/metadata", timeout=60).json()
        about = {"kind": "recorded", "source": f"our own run, tests/servers/{make}.py"}
        text = json.dumps({"about": about, "statement": trimmed(statement)}, indent=1, ensure_ascii=False)
        (HERE / f"{make}.json").write_text(text + "\n", encoding="utf-8")
        print(make, statement.get("software"), statement.get("name"))


if __name__ == "__main__":
    main(sys.argv[1:])
