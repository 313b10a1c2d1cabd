"""What we rely on in HAPI FHIR, asked of a real one.

The write-back is built on these facts; when a new HAPI changes one, this file says so first. Expected
values are FHIR R4's (https://hl7.org/fhir/R4/http.html) except where a comment names a HAPI habit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def fhir(hapi_base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=hapi_base_url + "/",
        headers={"Content-Type": "application/fhir+json"},
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


def put(resource: dict[str, Any], **request: str) -> dict[str, Any]:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url, **request}}


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


class Case:
    """One patient in one study with the four resources a write-back sends; ids are new for each test."""

    def __init__(self) -> None:
        self.key = uuid4().hex[:12]
        self.identifier = f"urn:test:subject|{self.key}"

    def id(self, kind: str) -> str:
        return f"{kind}-{self.key}"

    def subject(self, status: str = "candidate") -> dict[str, Any]:
        return {
            "resourceType": "ResearchSubject",
            "id": self.id("subject"),
            "identifier": [{"system": "urn:test:subject", "value": self.key}],
            "status": status,
            "study": {"reference": f"ResearchStudy/{self.id('study')}"},
            "individual": {"reference": f"Patient/{self.id('patient')}"},
        }

    def flag(self) -> dict[str, Any]:
        return {
            "resourceType": "Flag",
            "id": self.id("flag"),
            "status": "active",
            "code": {"text": "may be eligible for a trial"},
            "subject": {"reference": f"Patient/{self.id('patient')}"},
        }

    def provenance(self) -> dict[str, Any]:
        evidence = {
            "reference": f"Observation/{self.id('protein')}/_history/1",
            "extension": [{"url": "urn:test:version", "valueString": "1"}],
        }
        return {
            "resourceType": "Provenance",
            "id": self.id("provenance"),
            "target": [{"reference": f"ResearchSubject/{self.id('subject')}"}],
            "recorded": "2026-01-02T03:04:05Z",
            "agent": [{"who": {"display": "adapter"}}],
            "entity": [{"role": "source", "what": evidence}],
        }

    def hospital(self) -> list[dict[str, Any]]:
        protein = {
            "resourceType": "Observation",
            "id": self.id("protein"),
            "status": "final",
            "code": {"text": "24 h urinary protein"},
            "subject": {"reference": f"Patient/{self.id('patient')}"},
            "valueQuantity": {"value": 8.5, "unit": "g/d"},
        }
        return [put({"resourceType": "Patient", "id": self.id("patient")}), put(protein)]

    def write_back(self) -> list[dict[str, Any]]:
        study = {"resourceType": "ResearchStudy", "id": self.id("study"), "status": "active"}
        return [put(r) for r in (self.provenance(), self.flag(), self.subject(), study)]


@pytest.fixture
def case(fhir: httpx.Client) -> Case:
    one = Case()
    answer = fhir.post("", json=transaction(*one.hospital(), *one.write_back()))
    assert answer.status_code == 200, answer.text
    assert [e["response"]["status"] for e in answer.json()["entry"]] == ["201 Created"] * 6
    return one


def test_it_is_a_fhir_r4_server_that_names_itself_hapi(fhir: httpx.Client) -> None:
    statement = fhir.get("metadata").json()
    assert (statement["fhirVersion"], statement["software"]["name"]) == ("4.0.1", "HAPI FHIR Server")


def test_a_transaction_takes_our_own_ids_and_may_refer_forward(fhir: httpx.Client, case: Case) -> None:
    assert fhir.get(f"ResearchSubject/{case.id('subject')}").headers["ETag"] == 'W/"1"'
    for kind, name in [("ResearchStudy", "study"), ("Flag", "flag"), ("Provenance", "provenance")]:
        assert fhir.get(f"{kind}/{case.id(name)}").status_code == 200


def test_the_same_transaction_again_makes_no_new_versions(fhir: httpx.Client, case: Case) -> None:
    answer = fhir.post("", json=transaction(*case.write_back()))
    # HAPI compares contents; in the bundle it gives the bare version where the header gives W/"1"
    assert {(e["response"]["status"], e["response"]["etag"]) for e in answer.json()["entry"]} == {
        ("200 OK", "1")
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("identifier={identifier}", 1),
        ("identifier={identifier}&status=candidate", 1),
        ("identifier={identifier}&status=eligible", 0),
        ("study=ResearchStudy/{study}&patient=Patient/{patient}", 1),
    ],
)
def test_a_research_subject_is_found_by(fhir: httpx.Client, case: Case, query: str, found: int) -> None:
    names = {"identifier": case.identifier, "study": case.id("study"), "patient": case.id("patient")}
    bundle = fhir.get("ResearchSubject?" + query.format(**names)).json()
    assert bundle["total"] == found
    assert [e["resource"]["id"] for e in bundle.get("entry", [])] == [case.id("subject")] * found


def test_an_update_with_the_current_version_passes(fhir: httpx.Client, case: Case) -> None:
    url = f"ResearchSubject/{case.id('subject')}"
    answer = fhir.put(url, json=case.subject("screening"), headers={"If-Match": 'W/"1"'})
    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"2"')


def test_an_update_with_a_stale_version_is_a_409_and_changes_nothing(fhir: httpx.Client, case: Case) -> None:
    """R4 says 412 Precondition Failed; HAPI answers 409 Conflict (HAPI-0989). Read both the same way."""
    url = f"ResearchSubject/{case.id('subject')}"
    fhir.put(url, json=case.subject("screening"), headers={"If-Match": 'W/"1"'})
    answer = fhir.put(url, json=case.subject("eligible"), headers={"If-Match": 'W/"1"'})
    assert answer.status_code == 409
    assert fhir.get(url).json()["status"] == "screening"


def test_one_stale_version_undoes_the_whole_transaction(fhir: httpx.Client, case: Case) -> None:
    fhir.put(f"ResearchSubject/{case.id('subject')}", json=case.subject("screening"))
    other = {**case.flag(), "id": case.id("flag-two")}
    answer = fhir.post("", json=transaction(put(other), put(case.subject("eligible"), ifMatch='W/"1"')))
    assert answer.status_code == 409
    assert fhir.get(f"Flag/{case.id('flag-two')}").status_code == 404


def test_a_reference_loses_its_version_but_an_extension_beside_it_stays(
    fhir: httpx.Client, case: Case
) -> None:
    """HAPI's parser strips versions from references unless told otherwise (ParserOptions,
    stripVersionsFromReferences is true by default): evidence must carry its version a second way."""
    what = fhir.get(f"Provenance/{case.id('provenance')}").json()["entity"][0]["what"]
    assert what["reference"] == f"Observation/{case.id('protein')}"
    assert what["extension"] == [{"url": "urn:test:version", "valueString": "1"}]


def test_a_number_alone_is_no_client_assigned_id(fhir: httpx.Client) -> None:
    answer = fhir.put("Patient/123456789", json={"resourceType": "Patient", "id": "123456789"})
    assert (answer.status_code, "HAPI-0960" in answer.text) == (400, True)


def test_a_flag_for_nobody_is_refused(fhir: httpx.Client) -> None:
    nobody = Case()
    answer = fhir.put(f"Flag/{nobody.id('flag')}", json=nobody.flag())
    assert (answer.status_code, "HAPI-1094" in answer.text) == (400, True)


def test_flag_has_no_search_by_status_and_an_unknown_parameter_is_refused(fhir: httpx.Client) -> None:
    answer = fhir.get("Flag?status=active")
    assert (answer.status_code, "HAPI-0524" in answer.text) == (400, True)


def test_pages_are_followed_by_their_next_links(fhir: httpx.Client) -> None:
    key = uuid4().hex[:12]
    people = [{"resourceType": "Patient", "id": f"p{n}-{key}", "name": [{"family": key}]} for n in range(7)]
    fhir.post("", json=transaction(*(put(p) for p in people)))
    url: str | None = f"Patient?family={key}&_count=3"
    pages = []
    while url:
        bundle = fhir.get(url).json()
        pages.append([e["resource"]["id"] for e in bundle["entry"]])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {i for page in pages for i in page} == {p["id"] for p in people}


def test_decimals_keep_their_trailing_zeros(fhir: httpx.Client, case: Case) -> None:
    body = f"""{{"resourceType": "Observation", "id": "{case.id("exact")}", "status": "final",
        "code": {{"text": "x"}}, "valueQuantity": {{"value": 8.000000000000000010}}}}"""
    fhir.put(f"Observation/{case.id('exact')}", content=body)
    assert '"value":8.000000000000000010' in fhir.get(f"Observation/{case.id('exact')}").text.replace(" ", "")
