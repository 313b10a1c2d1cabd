"""Write-back against a real HAPI FHIR server, read back by plain HTTP calls that share no code with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapter.model.decision import CriterionResult, Decision, Evidence, Verdict
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring
from adapter.store.ledger import Ledger
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.research_study import StudyReference
from adapter.writeback.send import WriteReport, write_back, write_flags
from tests.writeback_cases import LATER, NOW, decision

PROFILES = Path(__file__).resolve().parents[2] / "fhir_profiles"


class Hospital:
    """Patients with a protein result each, in a study of their own, on the shared server."""

    def __init__(self, base_url: str, ledger_path: Path) -> None:
        self.base_url = base_url
        self.ledger_path = ledger_path
        self.key = uuid4().hex[:10]
        self.study = StudyReference(f"NCT{self.key}", "A trial")
        self.http = httpx.Client(
            headers={"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"},
            timeout=60,
            trust_env=False,
        )

    def patient(self, name: str) -> str:
        return f"{name}-{self.key}"

    def protein(self, name: str, version: str = "1") -> Source:
        return Source(f"Observation/protein-{self.patient(name)}", version)

    def admit(self, *names: str) -> None:
        for name in names:
            self.put({"resourceType": "Patient", "id": self.patient(name)})
            self.measure(name, "9.0")

    def measure(self, name: str, value: str) -> None:
        observation = {
            "resourceType": "Observation",
            "id": f"protein-{self.patient(name)}",
            "status": "final",
            "code": {"text": "24 h urinary protein"},
            "subject": {"reference": f"Patient/{self.patient(name)}"},
            "valueString": value,
        }
        self.put(observation)

    def put(self, resource: dict[str, Any], **headers: str) -> httpx.Response:
        url = f"{self.base_url}/{resource['resourceType']}/{resource['id']}"
        answer = self.http.put(url, json=resource, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer

    def get(self, path: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.base_url}/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def found(self, query: str) -> list[dict[str, Any]]:
        return [entry["resource"] for entry in self.get(query).get("entry", [])]

    def subject(self, name: str) -> dict[str, Any]:
        (one,) = self.found(f"ResearchSubject?patient=Patient/{self.patient(name)}")
        return one

    def flags(self, name: str) -> dict[str, str]:
        flags = self.found(f"Flag?patient=Patient/{self.patient(name)}")
        return {flag["code"]["coding"][0]["code"]: flag["status"] for flag in flags}

    def provenances(self, name: str) -> list[dict[str, Any]]:
        return self.found(f"Provenance?target=ResearchSubject/{self.subject(name)['id']}&_sort=_lastUpdated")

    def verdict(self, overall: str, name: str, version: str = "1", **more: Any) -> Decision:
        evidence = (self.protein(name, version),)
        return decision(overall, self.patient(name), study=self.study.id, evidence=evidence, **more)

    async def write(self, *decisions: Decision, **options: Any) -> WriteReport:
        return await write_back(
            self.base_url,
            decisions,
            study=self.study,
            database=self.ledger_path,
            now=options.pop("now", NOW),
            **options,
        )


@pytest.fixture
def hospital(hapi_base_url: str, tmp_path: Path) -> Iterator[Hospital]:
    one = Hospital(hapi_base_url, tmp_path / "ledger.sqlite")
    yield one
    one.http.close()


def verdict_of(subject: dict[str, Any]) -> str:
    (extension,) = [e for e in subject["extension"] if e["url"].endswith("/screening-verdict")]
    return next(part["valueCode"] for part in extension["extension"] if part["url"] == "verdict")


async def test_written_once_and_read_back_by_another_client(hospital: Hospital) -> None:
    hospital.admit("anna", "bao", "carl")
    report = await hospital.write(
        hospital.verdict("eligible", "anna"),
        hospital.verdict("undetermined", "bao"),
        hospital.verdict("ineligible", "carl"),
    )
    assert report.outcomes == {"created": 2, "not_needed": 1}
    # subject, flag, provenance; subject, provenance; study; and the device, unless an earlier test made it
    assert report.resources_written in (3 + 2 + 1, 3 + 2 + 1 + 1)
    assert (report.fault(), report.duplicates) == (None, ())
    anna = hospital.subject("anna")
    assert (anna["status"], verdict_of(anna), anna["meta"]["versionId"]) == ("candidate", "eligible", "1")
    assert hospital.get(anna["study"]["reference"])["identifier"][0]["value"] == hospital.study.id
    assert hospital.flags("anna") == {"candidate": "active"}
    bao = hospital.subject("bao")
    assert (bao["status"], verdict_of(bao)) == ("potential-candidate", "undetermined")
    assert hospital.flags("bao") == {}
    assert hospital.found(f"ResearchSubject?patient=Patient/{hospital.patient('carl')}") == []


async def test_provenance_names_the_evidence_and_its_version(hospital: Hospital) -> None:
    hospital.admit("anna")
    hospital.measure("anna", "9.1")
    await hospital.write(hospital.verdict("eligible", "anna", version="2"))
    (provenance,) = hospital.provenances("anna")
    what = provenance["entity"][0]["what"]
    assert what["reference"].startswith(f"Observation/protein-{hospital.patient('anna')}")
    (part,) = [p for p in what["extension"][0]["extension"] if p["url"] == "version"]
    version = part["valueString"]
    assert (
        hospital.get(f"{what['reference'].split('/_history')[0]}/_history/{version}")["valueString"] == "9.1"
    )
    agent = hospital.get(provenance["agent"][0]["who"]["reference"])
    assert (agent["resourceType"], agent["version"][0]["value"]) == ("Device", "0.1.0")


async def test_a_dry_run_writes_nothing_and_shows_the_plan(hospital: Hospital) -> None:
    hospital.admit("anna")
    report = await hospital.write(hospital.verdict("eligible", "anna"), dry_run=True)
    assert report.rows[0]["writes"] == "create ResearchSubject, create Flag, create Provenance"
    assert (report.resources_written, report.dry_run) == (0, True)
    assert hospital.found(f"ResearchSubject?patient=Patient/{hospital.patient('anna')}") == []


async def test_writing_twice_changes_nothing(hospital: Hospital) -> None:
    hospital.admit("anna", "bao")
    verdicts = [hospital.verdict("eligible", "anna", review=True), hospital.verdict("undetermined", "bao")]
    await hospital.write(*verdicts)
    again = await hospital.write(*verdicts, now=LATER)
    assert (again.outcomes, again.resources_written) == ({"unchanged": 2}, 0)
    assert [hospital.subject(name)["meta"]["versionId"] for name in ("anna", "bao")] == ["1", "1"]
    assert [len(hospital.provenances(name)) for name in ("anna", "bao")] == [1, 1]


async def test_a_persons_status_is_respected_and_contradicted_visibly(hospital: Hospital) -> None:
    hospital.admit("anna")
    await hospital.write(hospital.verdict("eligible", "anna"))
    hospital.put({**hospital.subject("anna"), "status": "screening"})
    hospital.measure("anna", "2.0")
    report = await hospital.write(hospital.verdict("ineligible", "anna", version="2"))
    assert report.outcomes == {"respected_human": 1}
    assert report.rows[0]["reason"] == "CONTRADICTED"
    anna = hospital.subject("anna")
    assert (anna["status"], verdict_of(anna)) == ("screening", "ineligible")
    assert hospital.flags("anna") == {"candidate": "inactive", "contradiction": "active"}
    again = await hospital.write(hospital.verdict("ineligible", "anna", version="2"), now=LATER)
    assert (again.outcomes, again.resources_written) == ({"respected_human": 1}, 0)


async def test_a_correction_changes_the_verdict(hospital: Hospital) -> None:
    hospital.admit("anna")
    await hospital.write(hospital.verdict("eligible", "anna"))
    hospital.measure("anna", "2.0")
    report = await hospital.write(hospital.verdict("ineligible", "anna", version="2"), now=LATER)
    assert report.outcomes == {"updated": 1}
    anna = hospital.subject("anna")
    assert (anna["status"], verdict_of(anna), anna["meta"]["versionId"]) == ("ineligible", "ineligible", "2")
    assert hospital.flags("anna") == {"candidate": "inactive"}
    assert len(hospital.provenances("anna")) == 2
    receipts = Ledger(hospital.ledger_path, hospital.base_url).receipts()
    versions = [r.version for r in receipts if r.reference == f"ResearchSubject/{anna['id']}"]
    assert (versions, {r.rung for r in receipts}) == (["1", "2"], {"ResearchSubject"})


class Meddling(httpx.AsyncBaseTransport):
    """Lets a person change something after we have read and before our transaction arrives."""

    def __init__(self, meddle: Any, times: int) -> None:
        self._network = httpx.AsyncHTTPTransport()
        self._meddle = meddle
        self._times = times
        self.transactions = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.transactions += 1
            if self._times > 0:
                self._times -= 1
                self._meddle()
        return await self._network.handle_async_request(request)


async def test_a_change_between_reading_and_writing_is_read_again_and_kept(hospital: Hospital) -> None:
    hospital.admit("anna")
    await hospital.write(hospital.verdict("undetermined", "anna"))

    def nurse() -> None:
        hospital.put({**hospital.subject("anna"), "status": "screening"})

    report = await hospital.write(
        hospital.verdict("eligible", "anna", version="1"), transport=Meddling(nurse, times=1), now=LATER
    )
    assert report.outcomes == {"respected_human": 1}
    assert (hospital.subject("anna")["status"], verdict_of(hospital.subject("anna"))) == (
        "screening",
        "eligible",
    )


async def test_who_keeps_changing_it_makes_a_conflict_and_nothing_is_forced(hospital: Hospital) -> None:
    hospital.admit("anna")
    await hospital.write(hospital.verdict("undetermined", "anna"))
    periods = iter(["2026-01-01", "2026-01-02", "2026-01-03"])

    def nurse() -> None:
        hospital.put({**hospital.subject("anna"), "period": {"start": next(periods)}})

    transport = Meddling(nurse, times=3)
    report = await hospital.write(hospital.verdict("eligible", "anna"), transport=transport, now=LATER)
    assert report.outcomes == {"conflict": 1}
    assert type(report.fault()).__name__ == "WriteConflict"
    assert transport.transactions == 2
    assert verdict_of(hospital.subject("anna")) == "undetermined"


async def test_one_subject_that_is_refused_costs_its_neighbours_nothing(hospital: Hospital) -> None:
    """Nobody admitted "ghost": HAPI refuses references to what is not there."""
    hospital.admit("anna", "bao")
    ghost = hospital.verdict("eligible", "ghost")
    report = await hospital.write(
        hospital.verdict("eligible", "anna"), ghost, hospital.verdict("undetermined", "bao")
    )
    assert report.outcomes == {"created": 2, "refused": 1}
    refused = next(row for row in report.rows if row["outcome"] == "refused")
    assert "HAPI-1094" in refused["reason"]
    reference = f"ResearchSubject?study:ResearchStudy.identifier={hospital.study.id}"
    assert len(hospital.found(reference)) == 2


class Deaf(httpx.AsyncBaseTransport):
    """Delivers a transaction to the real server and loses the answer."""

    def __init__(self, losses: int) -> None:
        self._network = httpx.AsyncHTTPTransport()
        self.losses = losses

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._network.handle_async_request(request)
        if request.method == "POST" and b'"ResearchSubject"' in await request.aread() and self.losses:
            self.losses -= 1
            await answer.aread()
            raise httpx.ReadTimeout("lost", request=request)
        return answer


async def test_a_lost_answer_is_found_on_the_server_and_not_sent_twice(hospital: Hospital) -> None:
    hospital.admit("anna")
    report = await hospital.write(hospital.verdict("eligible", "anna"), transport=Deaf(1))
    assert report.outcomes == {"created": 1}
    assert hospital.subject("anna")["meta"]["versionId"] == "1"
    hospital.measure("anna", "2.0")
    after = await hospital.write(hospital.verdict("ineligible", "anna", version="2"), now=LATER)
    assert after.outcomes == {"updated": 1}  # the adopted status is still known to be ours


async def test_what_a_person_deleted_is_not_written_again(hospital: Hospital) -> None:
    hospital.admit("anna")
    await hospital.write(hospital.verdict("undetermined", "anna"))
    subject, (provenance,) = hospital.subject("anna"), hospital.provenances("anna")
    for gone in (provenance, subject):
        url = f"{hospital.base_url}/{gone['resourceType']}/{gone['id']}"
        assert hospital.http.delete(url).status_code == 200
    report = await hospital.write(hospital.verdict("eligible", "anna"), now=LATER)
    assert (report.outcomes, report.rows[0]["reason"]) == ({"respected_human": 1}, "DELETED_BY_PERSON")
    assert hospital.found(f"ResearchSubject?patient=Patient/{hospital.patient('anna')}") == []


async def test_the_hospitals_own_study_and_subject_are_used(hospital: Hospital) -> None:
    hospital.admit("anna")
    study = {
        "resourceType": "ResearchStudy",
        "id": f"ours-{hospital.key}",
        "status": "active",
        "identifier": [{"system": "https://clinicaltrials.gov", "value": hospital.study.id}],
    }
    subject = {
        "resourceType": "ResearchSubject",
        "id": f"hospital-{hospital.key}",
        "status": "eligible",
        "study": {"reference": f"ResearchStudy/ours-{hospital.key}"},
        "individual": {"reference": f"Patient/{hospital.patient('anna')}"},
    }
    hospital.put(study)
    hospital.put(subject)
    report = await hospital.write(hospital.verdict("ineligible", "anna"))
    assert (report.outcomes, report.study) == ({"respected_human": 1}, f"ResearchStudy/ours-{hospital.key}")
    anna = hospital.subject("anna")
    assert (anna["id"], anna["status"], verdict_of(anna)) == (subject["id"], "eligible", "ineligible")
    assert hospital.flags("anna") == {"contradiction": "active"}


def followed(hospital: Hospital, trough: str, pregnancy: str, version: str = "1") -> Monitoring:
    """Anna on the study: a safety rule on her protein result, an exit on the same."""
    evidence = (Evidence(hospital.protein("anna", version), "used"),)
    return Monitoring(
        hospital.patient("anna"),
        hospital.study.id,
        "1.0.0",
        NOW.date(),
        randomised=NOW.date(),
        safety=(CriterionResult("TROUGH", "safety", Verdict(trough), "planted", (), evidence),),
        exits=(CriterionResult("X11", "exit", Verdict(pregnancy), "planted", (), evidence),),
        fingerprint=f"{trough} {pregnancy} {version}",
    )


def enrol(hospital: Hospital, status: str) -> None:
    study = {
        "resourceType": "ResearchStudy",
        "id": f"ours-{hospital.key}",
        "status": "active",
        "identifier": [{"system": "https://clinicaltrials.gov", "value": hospital.study.id}],
    }
    subject = {
        "resourceType": "ResearchSubject",
        "id": f"hospital-{hospital.key}",
        "status": status,
        "study": {"reference": f"ResearchStudy/ours-{hospital.key}"},
        "individual": {"reference": f"Patient/{hospital.patient('anna')}"},
    }
    hospital.put(study)
    hospital.put(subject)


async def flag_anna(hospital: Hospital, row: Monitoring) -> WriteReport:
    return await write_flags(
        hospital.base_url,
        [row],
        {"TROUGH": ProtocolLine("Trough above 10 ng/mL", "Interventions", "medium")},
        study=hospital.study,
        database=hospital.ledger_path,
        now=LATER,
    )


async def test_safety_flags_are_written_changed_and_resolved(with_profiles: Hospital) -> None:
    hospital = with_profiles
    hospital.admit("anna")
    enrol(hospital, "on-study-intervention")
    report = await flag_anna(hospital, followed(hospital, "met", "met"))
    assert (report.outcomes, report.rows[0]["verdict"]) == ({"created": 1}, "TROUGH, X11")
    assert hospital.flags("anna") == {"safety": "active", "exit-proposed": "active"}
    for flag in hospital.found(f"Flag?patient=Patient/{hospital.patient('anna')}"):
        assert errors(hospital, flag) == []
    again = await flag_anna(hospital, followed(hospital, "met", "met"))
    assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)

    hospital.measure("anna", "9.5")
    changed = await flag_anna(hospital, followed(hospital, "met", "not_met", version="2"))
    assert changed.outcomes == {"updated": 1}
    assert hospital.flags("anna") == {"safety": "active", "exit-proposed": "inactive"}
    await flag_anna(hospital, followed(hospital, "not_met", "not_met", version="2"))
    flags = hospital.found(f"Flag?patient=Patient/{hospital.patient('anna')}")
    assert {flag["status"] for flag in flags} == {"inactive"}
    assert all(flag["period"]["end"] for flag in flags)
    safety = next(flag for flag in flags if flag["code"]["coding"][0]["code"] == "safety")
    assert safety["meta"]["versionId"] == "3"
    # an exit is a proposal: nobody has touched the hospital's ResearchSubject
    anna = hospital.subject("anna")
    assert (anna["status"], anna["meta"]["versionId"]) == ("on-study-intervention", "1")


async def test_what_a_person_closed_stays_closed_and_a_new_record_gets_its_own_flag(
    hospital: Hospital,
) -> None:
    hospital.admit("anna")
    enrol(hospital, "on-study-intervention")
    await flag_anna(hospital, followed(hospital, "met", "not_met"))
    (flag,) = hospital.found(f"Flag?patient=Patient/{hospital.patient('anna')}")
    hospital.put({**flag, "status": "inactive", "period": {**flag["period"], "end": "2026-03-02"}})
    report = await flag_anna(hospital, followed(hospital, "met", "not_met"))
    assert (report.outcomes, report.rows[0]["reason"]) == ({"respected_human": 1}, "CLOSED_BY_PERSON")
    hospital.measure("anna", "9.5")
    await flag_anna(hospital, followed(hospital, "met", "not_met", version="2"))
    flags = hospital.found(f"Flag?patient=Patient/{hospital.patient('anna')}")
    assert sorted(one["status"] for one in flags) == ["active", "inactive"]
    assert hospital.get(f"Flag/{flag['id']}")["status"] == "inactive"


async def test_a_registered_person_who_is_called_withdrawn_is_left_so_and_flagged(hospital: Hospital) -> None:
    hospital.admit("anna")
    enrol(hospital, "withdrawn")
    await flag_anna(hospital, followed(hospital, "not_met", "not_met"))
    assert hospital.flags("anna") == {"status-conflict": "active"}
    assert hospital.subject("anna")["status"] == "withdrawn"
    hospital.put({**hospital.subject("anna"), "status": "off-study"})
    await flag_anna(hospital, followed(hospital, "not_met", "not_met"))
    assert hospital.flags("anna") == {"status-conflict": "inactive"}


# HAPI's validator lets these pass: it does not look where references lead unless it is given a fetcher, and
# an undefined extension is a warning to it. Our own checker refuses all of these.
HAPI_IS_LENIENT = {
    "Communication-note-about-a-group",
    "Provenance-by-a-person",
    "Provenance-target-is-an-observation",
    "ResearchSubject-of-a-group",
    "ResearchSubject-own-extension-nobody-defined",
}


@pytest.fixture
def with_profiles(hospital: Hospital) -> Hospital:
    definitions = [json.loads(path.read_bytes()) for path in sorted(PROFILES.glob("*.json"))]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in definitions
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = hospital.http.post(hospital.base_url, json=bundle)
    assert answer.status_code == 200, answer.text
    return hospital


def errors(hospital: Hospital, resource: dict[str, Any]) -> list[str]:
    answer = hospital.http.post(f"{hospital.base_url}/{resource['resourceType']}/$validate", json=resource)
    issues = answer.json()["issue"]
    return [one["diagnostics"] for one in issues if one["severity"] in ("error", "fatal")]


def test_hapi_judges_the_examples_as_we_do(with_profiles: Hospital) -> None:
    for path in sorted((PROFILES / "examples" / "valid").glob("*.json")):
        assert errors(with_profiles, json.loads(path.read_bytes())) == [], path.name
    accepted = {
        path.stem
        for path in sorted((PROFILES / "examples" / "invalid").glob("*.json"))
        if not errors(with_profiles, json.loads(path.read_bytes()))
    }
    assert accepted == HAPI_IS_LENIENT


async def test_hapi_finds_what_was_written_to_conform(with_profiles: Hospital) -> None:
    with_profiles.admit("anna")
    await with_profiles.write(with_profiles.verdict("eligible", "anna", review=True))
    anna = with_profiles.subject("anna")
    flags = with_profiles.found(f"Flag?patient=Patient/{with_profiles.patient('anna')}")
    assert len(flags) == 2
    for resource in (
        anna,
        *flags,
        *with_profiles.provenances("anna"),
        with_profiles.get(anna["study"]["reference"]),
    ):
        assert resource["meta"]["profile"]
        assert errors(with_profiles, resource) == [], resource["resourceType"]
