"""Whatever is sent to the interfaces for machines, the answer is one they may give: no fault of ours, none
that is neither FHIR nor a problem. Calls are made up by schemathesis from the OpenAPI description, always the
same ones.
"""

from __future__ import annotations

import copy
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings

from adapter.access import Grant, Principal
from adapter.config import HookClient, Hooks, Site
from adapter.store.database import open_database
from adapter.store.parameters import TYPES
from adapter.trial import open_trial
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app
from tests.servers.ehr import Ehr

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
STUDY, SITE = "NCT03864250", "demo"
ROLES = ("service", "coordinator", "monitor")


def application() -> Any:
    """As a caller meets it who may do everything that machines do."""
    folder = Path(tempfile.mkdtemp(prefix="adapter-openapi-"))
    (folder / "jwks.json").write_text(json.dumps(Ehr("ehr").jwks()))
    hooks = Hooks("http://127.0.0.1", {"ehr": HookClient("ehr", jwks_file=str(folder / "jwks.json"))})
    plain = open_trial()
    site = Site(
        **{**{name: getattr(plain.site, name) for name in plain.site.__struct_fields__}, "hooks": hooks}
    )
    grants = tuple(Grant(role, STUDY, SITE) for role in ROLES)
    inside = Inside(Principal("anna", grants, "anna"))
    premises = Premises(STUDY, SITE, inside, lambda: NOW)
    engine = open_database(folder / "adapter.sqlite")
    return create_app(engine, lambda: NOW, premises=premises, trial=plain._replace(site=site))


def described(app: Any) -> dict[str, Any]:
    """The description, with the types we serve named: a name made up is never one of them."""
    found: dict[str, Any] = copy.deepcopy(app.openapi())
    for path in found["paths"].values():
        for operation in path.values():
            for one in operation.get("parameters", ()):
                if one["name"] == "kind":
                    one["schema"] = {"type": "string", "enum": [*TYPES, "Observation"]}
    return found


APP = application()
SCHEMA = schemathesis.openapi.from_dict(described(APP))
SCHEMA.app = APP
MACHINES = SCHEMA.include(path_regex=r"^/(fhir|cds-services)")


@MACHINES.parametrize()
@seed(20190603)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=False,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_may_be_given(case: schemathesis.Case) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text
    media = answer.headers.get("content-type", [""])
    told = media[0] if isinstance(media, list) else media
    if answer.status_code == 304:
        return
    if case.path.startswith("/fhir"):
        assert told.startswith("application/fhir+json"), told
        assert answer.json()["resourceType"]
        assert (answer.status_code >= 400) == (answer.json()["resourceType"] == "OperationOutcome")
    elif answer.status_code >= 400:
        assert told.startswith("application/problem+json"), told
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("path", ["/fhir/{kind}", "/fhir/{kind}/{key}", "/cds-services/{service}"])
def test_what_machines_use_is_described(path: str) -> None:
    assert path in SCHEMA.raw_schema["paths"]
