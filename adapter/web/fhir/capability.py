"""What this endpoint says of itself, made of the table it searches by and of the routes there are.

Source: https://hl7.org/fhir/R4/capabilitystatement.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from adapter import __version__
from adapter.store.parameters import PROJECTED, TYPES, Json
from adapter.writeback.identity import BASE

_READ = ("read", "search-type")
_WRITE = ("vread", "history-instance", "create", "update")
_KINDS = {"token": "token", "reference": "reference", "date": "date", "uri": "uri"}


def capability_statement(now: datetime, operations: Iterable[tuple[str, str]] = ()) -> Json:
    """``operations`` are (resource type, name) of those that are served."""
    offered = tuple(operations)
    kinds = sorted({*TYPES, *(kind for kind, _ in offered)})
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.date().isoformat(),
        "kind": "instance",
        "software": {"name": "trial-fhir-adapter", "version": __version__},
        "implementation": {"description": "Trial resources of the adapter"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "resource": [_resource(kind, offered) for kind in kinds],
                "interaction": [{"code": "transaction"}],
            }
        ],
    }


def _resource(kind: str, operations: tuple[tuple[str, str], ...]) -> Json:
    named = [name for one, name in operations if one == kind]
    said: Json = {"type": kind}
    if kind in TYPES:
        written = kind not in PROJECTED
        said |= {
            "interaction": [{"code": code} for code in (*_READ, *(_WRITE if written else ()))],
            "versioning": "versioned-update" if written else "no-version",
            "readHistory": written,
            "updateCreate": written,
            "conditionalRead": "full-support",
            "conditionalCreate": False,
            "conditionalUpdate": False,
            "conditionalDelete": "not-supported",
            "searchParam": [{"name": one.name, "type": _KINDS[one.kind]} for one in TYPES[kind]],
        }
    if named:
        said["operation"] = [
            {"name": name, "definition": f"{BASE}/OperationDefinition/{kind}-{name}"} for name in named
        ]
    return said
