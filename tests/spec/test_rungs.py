"""Which rungs a server has, from what CapabilityStatements say of writing.

The statements of Epic, Oracle Health and HAPI are subsets written here from the vendors' published
documentation, with only the lines about the types we would write; nobody captured them. Our own is the one
our endpoint gives.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import ConfigError
from adapter.web.fhir.capability import capability_statement
from adapter.writeback.capabilities import Capabilities, capabilities_of
from adapter.writeback.courier import STEPS
from adapter.writeback.rungs import LADDER, Way, choose, leads_on

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SEARCHED = ("_id", "patient", "identifier")


def statement(types: str, bundles: str = "", *, client_ids: bool | None = None) -> dict[str, Any]:
    """``types``: one line a type with its interactions."""
    resources = []
    for line in types.strip().splitlines():
        kind, *codes = line.split()
        one: dict[str, Any] = {
            "type": kind,
            "interaction": [{"code": code} for code in codes],
            "searchParam": [{"name": name, "type": "token"} for name in SEARCHED],
        }
        if client_ids is not None:
            one["updateCreate"] = client_ids
        resources.append(one)
    rest = {
        "mode": "server",
        "resource": resources,
        "interaction": [{"code": code} for code in bundles.split()],
    }
    return {"resourceType": "CapabilityStatement", "software": {"name": "x"}, "rest": [rest]}


EPIC = statement(
    """
    Communication      read search-type create
    DocumentReference  read search-type create update
    Flag               read search-type
    List               read search-type
    ResearchStudy      read search-type
    ResearchSubject    read search-type
    Task               read search-type update
    """,
    client_ids=False,
)
ORACLE = statement(
    """
    Basic              read search-type create
    Communication      read search-type create patch
    DocumentReference  read search-type create update
    Provenance         read search-type create
    """,
    "batch",
)
EVERYTHING = "read search-type create update"
TYPES = "ResearchStudy ResearchSubject Flag Provenance List Task Basic Communication DocumentReference Device"
HAPI = statement("\n".join(f"{kind} {EVERYTHING}" for kind in TYPES.split()), "transaction", client_ids=True)
READ_ONLY = statement("Patient read search-type\nFlag read search-type")


def rungs(said: dict[str, Any], *named: str, own: bool = False) -> list[str]:
    return [way.rung for way in choose(capabilities_of(said), named, own=own)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (EPIC, "Communication DocumentReference file"),
        (ORACLE, "Basic Communication DocumentReference file"),
        (HAPI, "ResearchSubject List Task Basic Communication DocumentReference file"),
        (READ_ONLY, "file"),
        ({}, "file"),
        ({"rest": "?"}, "file"),
        (
            {
                "rest": [
                    {"mode": "client", "resource": [{"type": "Basic", "interaction": [{"code": "create"}]}]}
                ]
            },
            "file",
        ),
        (capability_statement(NOW), "ResearchSubject List file"),
    ],
    ids=["Epic", "Oracle Health", "HAPI", "read only", "nothing", "no shape", "a client", "our own"],
)
def test_the_ladder_of_a_server(said: dict[str, Any], expected: str) -> None:
    assert rungs(said) == expected.split()


def test_the_ladder_is_best_first() -> None:
    order = "ResearchSubject List Task Basic Communication DocumentReference own file"
    assert list(LADDER) == order.split()


def test_a_sites_own_order_replaces_the_ladder_and_is_believed() -> None:
    assert rungs(HAPI, "DocumentReference", "List") == ["DocumentReference", "List"]
    assert rungs(READ_ONLY, "Task", "file") == ["Task", "file"]
    (way,) = choose(capabilities_of(READ_ONLY), ["ResearchSubject"])
    assert (way.whole, way.why) == (False, "named by the site")


def test_our_own_endpoint_only_where_it_is_at_hand() -> None:
    assert rungs(READ_ONLY, "own", "file") == ["file"]
    assert rungs(READ_ONLY, "own", "file", own=True) == ["own", "file"]


def test_a_name_that_is_no_rung() -> None:
    with pytest.raises(ConfigError, match="'Letter'"):
        rungs(HAPI, "List", "Letter")


def way(said: dict[str, Any], rung: str) -> Way:
    return next(one for one in choose(capabilities_of(said)) if one.rung == rung)


def test_how_each_rung_is_climbed() -> None:
    assert way(HAPI, "ResearchSubject").whole
    one_by_one = statement(
        "\n".join(f"{kind} {EVERYTHING}" for kind in TYPES.split()), "batch", client_ids=True
    )
    assert not way(one_by_one, "ResearchSubject").whole
    basic = way(ORACLE, "Basic")
    assert (basic.client_ids, basic.updates, basic.retracts, basic.look) == (False, False, False, "patient")
    listed = way(HAPI, "List")
    assert (listed.client_ids, listed.updates, listed.retracts) == (True, True, True)
    # a message that was sent is not changed, wherever that could be done; a duplicate may be taken back
    document = way(EPIC, "DocumentReference")
    assert (document.client_ids, document.updates, document.retracts) == (False, False, True)


@pytest.mark.parametrize(
    ("parameters", "look"),
    [("patient subject", "patient"), ("subject", "subject"), ("code", ""), ("", "patient")],
)
def test_what_is_there_is_looked_for_by_what_the_server_searches(parameters: str, look: str) -> None:
    said = statement("Basic create search-type")
    said["rest"][0]["resource"][0]["searchParam"] = [{"name": name} for name in parameters.split()]
    assert way(said, "Basic").look == look
    assert way(statement("Basic create"), "Basic").look == ""


def test_updates_without_ids_of_ours_do_not_make_the_first_rung() -> None:
    said = statement(
        "\n".join(f"{kind} {EVERYTHING}" for kind in TYPES.split()), "transaction", client_ids=False
    )
    assert rungs(said)[0] == "List"
    assert not way(said, "List").client_ids


@pytest.mark.parametrize(
    ("status", "codes", "leads"),
    [
        (403, "forbidden", True),
        (404, "", True),
        (405, "not-supported", True),
        (422, "processing", True),
        (501, "", True),
        (400, "not-supported", True),
        (400, "invalid", False),  # our fault, and the next rung would repeat it
        (401, "login", False),
        (413, "too-long", False),
    ],
)
def test_which_refusals_lead_to_the_next_rung(status: int, codes: str, leads: bool) -> None:
    assert leads_on(status, codes) is leads


def test_nothing_said_is_nothing_offered() -> None:
    assert capabilities_of({}) == Capabilities()


def test_the_page_names_every_rung_in_order_and_every_step() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "write-back.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows[: len(LADDER)] == list(LADDER)
    assert [step for step in STEPS if f"`{step}`" not in page] == []
