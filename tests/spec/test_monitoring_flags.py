"""What is flagged about people on the study, and when it is closed; the plan alone, no server.

Expected behaviour: docs/research-subject-status.md, "On the study".
"""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from typing import Any

import pytest

from adapter.model.decision import CriterionResult, Evidence, Verdict
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring
from adapter.store.ledger import Memory, Written
from adapter.writeback.identity import client_id
from adapter.writeback.monitoring_flag import PRIORITY, ProtocolLine, basis_of, evidence_on, place_of
from adapter.writeback.monitoring_plan import plan_monitoring
from adapter.writeback.plan import CurrentState, Plan, SubjectPlan
from adapter.writeback.resources import content_sha256, reference_of
from tests.writeback_cases import LATER, NOW, on_server, source

STUDY = "NCT03864250"
DAY_1, DAY_2 = date(2026, 3, 1), date(2026, 3, 15)
LINES = {
    "TROUGH": ProtocolLine("Trough above 10 ng/mL", "Interventions, tacrolimus", "medium"),
    "X11": ProtocolLine("Pregnancy", "Exit criterion 11", "high"),
}
TROUGH, LATER_TROUGH, HCG = source("Observation/t1"), source("Observation/t2"), source("Observation/hcg")


def result(name: str, verdict: str, *records: Source, flags: tuple[str, ...] = ()) -> CriterionResult:
    evidence = tuple(Evidence(one, "used") for one in records)
    kind = "exit" if name.startswith("X") else "safety"
    return CriterionResult(name, kind, Verdict(verdict), "planted", flags, evidence)


def row(*results: CriterionResult, as_of: date = DAY_1, subject: str = "p1") -> Monitoring:
    said = f"{subject} {as_of} {[(one.id, one.verdict.value, one.evidence) for one in results]}"
    return Monitoring(
        subject,
        STUDY,
        "1.0.0",
        as_of,
        randomised=date(2025, 12, 1),
        safety=tuple(one for one in results if one.kind == "safety"),
        exits=tuple(one for one in results if one.kind == "exit"),
        fingerprint=sha256(said.encode()).hexdigest(),
    )


class Hospital:
    """A server and a ledger in memory: carries plans out, lets a person meddle."""

    def __init__(self, status: str = "on-study-intervention") -> None:
        self.flags: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.provenances: list[dict[str, Any]] = []
        self.ledger: dict[str, Written] = {}
        self.status = status
        self.writes: list[str] = []

    def plan(self, *rows: Monitoring, memory: Memory | None = None, **more: Any) -> Plan:
        subject = {"resourceType": "ResearchSubject", "id": "s1", "status": self.status}
        people = {"p1": (on_server(subject),)} if self.status else {}
        state = CurrentState("ResearchStudy/s", True, people, self.flags, frozenset(self.gone))
        return plan_monitoring(rows, LINES, state, memory or Memory(self.ledger), LATER, **more)

    def write(self, one: Monitoring, **more: Any) -> SubjectPlan:
        (planned,) = self.plan(one, **more).subjects
        self.writes = [change.reference.split("/")[0] for change in planned.changes]
        for change in planned.changes:
            version = str(int(change.based_on or 0) + 1)
            if change.reference.startswith("Flag/"):
                self.flags[change.reference] = on_server(change.resource, version)
            else:
                self.provenances.append(change.resource)
            content = content_sha256(change.resource)
            fields = (version, change.owned_status, content, change.fingerprint)
            self.ledger[change.reference] = Written(change.reference, *fields)
        return planned

    def edit(self, flag: dict[str, Any], **changed: Any) -> None:
        """A person saves the Flag, which gives it another version."""
        version = str(int(flag["meta"]["versionId"]) + 1)
        self.flags[reference_of(flag)] = on_server(flag, version, **changed)

    def close(self, flag: dict[str, Any], status: str = "inactive") -> None:
        self.edit(flag, status=status, period={**flag["period"], "end": "2026-03-02"})

    def said(self) -> list[str]:
        return sorted(f"{place_of(one, STUDY)[1]} {one['status']}" for one in self.flags.values())

    def only(self) -> dict[str, Any]:
        (flag,) = self.flags.values()
        return flag


def parts(flag: dict[str, Any]) -> dict[str, Any]:
    extension = flag["extension"][0]["extension"]
    return {part["url"]: next(part[key] for key in part if key != "url") for part in extension}


HIGH = row(result("TROUGH", "met", TROUGH), result("X11", "not_met", HCG))
FINE = row(result("TROUGH", "not_met", LATER_TROUGH), result("X11", "not_met", HCG), as_of=DAY_2)
OPEN = row(result("TROUGH", "unknown"), result("X11", "unknown"), as_of=DAY_2)


def test_a_safety_rule_that_holds_becomes_a_flag_with_severity_line_and_evidence() -> None:
    hospital = Hospital()
    planned = hospital.write(HIGH)
    assert (planned.outcome, hospital.writes) == ("created", ["Flag", "Provenance"])
    flag = hospital.only()
    assert flag["meta"]["profile"] == [
        "https://trial-fhir-adapter.org/fhir/StructureDefinition/TrialMonitoringFlag"
    ]
    assert (flag["status"], flag["period"]) == ("active", {"start": "2026-03-01"})
    assert flag["code"]["text"] == "NCT03864250 TROUGH: Trough above 10 ng/mL"
    found = parts(flag)
    assert (found["severity"], found["protocolLine"]) == ("medium", "Interventions, tacrolimus")
    assert (found["evidence"], found["study"]) == ("Observation/t1/_history/1", STUDY)
    (priority,) = [one for one in flag["extension"] if one["url"] == PRIORITY]
    assert priority["valueCodeableConcept"]["coding"][0]["code"] == "PM"
    (provenance,) = hospital.provenances
    assert [one["what"]["reference"] for one in provenance["entity"]] == ["Observation/t1/_history/1"]


def test_twice_is_once() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    again = hospital.write(HIGH)
    assert (again.outcome, hospital.writes, hospital.only()["meta"]["versionId"]) == ("unchanged", [], "1")
    assert again.verdict == "TROUGH"


def test_resolved_when_the_state_says_so_with_the_record_that_says_it() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    planned = hospital.write(FINE)
    assert (planned.outcome, hospital.said()) == ("updated", ["TROUGH inactive"])
    assert hospital.only()["period"] == {"start": "2026-03-01", "end": "2026-03-15"}
    records = [one["what"]["reference"] for one in hospital.provenances[-1]["entity"]]
    assert records == ["Observation/t2/_history/1"]


def test_an_unknown_neither_raises_nor_closes() -> None:
    hospital = Hospital()
    assert (hospital.write(OPEN).outcome, hospital.flags) == ("unchanged", {})
    hospital.write(HIGH)
    assert hospital.write(OPEN).outcome == "unchanged"
    assert hospital.said() == ["TROUGH active"]


def test_more_records_change_the_flag_that_stands() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    before = basis_of(hospital.only())
    hospital.write(row(result("TROUGH", "met", TROUGH, LATER_TROUGH), as_of=DAY_2))
    flag = hospital.only()
    assert (flag["period"], flag["meta"]["versionId"]) == ({"start": "2026-03-01"}, "2")
    assert basis_of(flag) != before
    assert evidence_on([flag]) == {"Observation/t1/_history/1", "Observation/t2/_history/1"}


def test_what_a_person_edits_in_an_active_flag_survives() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    note = {"url": "https://hospital.example/seen-by", "valueString": "ward 3"}
    flag = hospital.only()
    hospital.edit(flag, extension=[*flag["extension"], note])
    hospital.write(row(result("TROUGH", "met", TROUGH, LATER_TROUGH), as_of=DAY_2))
    assert note in hospital.only()["extension"]


@pytest.mark.parametrize("status", ["inactive", "entered-in-error"])
def test_what_a_person_closed_stays_closed(status: str) -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    hospital.close(hospital.only(), status)
    planned = hospital.write(HIGH)
    assert (planned.outcome, planned.reason) == ("respected_human", "CLOSED_BY_PERSON")
    assert (hospital.writes, hospital.said()) == ([], [f"TROUGH {status}"])


@pytest.mark.parametrize("status", ["inactive", "entered-in-error"])
def test_new_records_raise_a_flag_of_their_own_beside_it(status: str) -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    hospital.close(hospital.only(), status)
    (closed,) = hospital.flags
    hospital.write(row(result("TROUGH", "met", LATER_TROUGH), as_of=DAY_2))
    assert hospital.flags[closed]["status"] == status
    assert hospital.said() == sorted([f"TROUGH {status}", "TROUGH active"])


def test_fewer_records_than_a_person_saw_are_nothing_new() -> None:
    hospital = Hospital()
    hospital.write(row(result("TROUGH", "met", TROUGH, LATER_TROUGH)))
    hospital.close(hospital.only())
    planned = hospital.write(row(result("TROUGH", "met", TROUGH), as_of=DAY_2))
    assert (planned.outcome, hospital.writes) == ("respected_human", [])


def test_a_corrected_version_of_the_record_is_new() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    hospital.close(hospital.only())
    hospital.write(row(result("TROUGH", "met", source("Observation/t1", "2")), as_of=DAY_2))
    assert hospital.said() == ["TROUGH active", "TROUGH inactive"]


def test_a_person_may_keep_open_what_the_state_would_close() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    hospital.write(FINE)
    flag = {key: value for key, value in hospital.only().items() if key != "period"}
    hospital.edit({**flag, "period": {"start": "2026-03-01"}}, status="active")
    assert (hospital.write(FINE).outcome, hospital.said()) == ("unchanged", ["TROUGH active"])


def test_what_we_closed_we_raise_again_when_a_correction_is_taken_back() -> None:
    hospital = Hospital()
    for one in (HIGH, FINE, HIGH):
        hospital.write(one)
    assert hospital.said() == ["TROUGH active"]
    assert "end" not in hospital.only()["period"]


def test_what_a_person_deleted_is_not_written_again() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    hospital.gone = set(hospital.flags)
    hospital.flags = {}
    planned = hospital.write(HIGH)
    assert (planned.outcome, hospital.writes) == ("respected_human", [])


PREGNANT = row(result("X11", "met", HCG))


def test_an_exit_is_proposed_and_nobody_is_moved() -> None:
    hospital = Hospital()
    planned = hospital.write(PREGNANT)
    assert (planned.before, planned.after) == ("on-study-intervention", "on-study-intervention")
    assert hospital.writes == ["Flag", "Provenance"]
    found = parts(hospital.only())
    assert (found["proposedStatus"], found["severity"]) == ("off-study", "high")
    assert hospital.only()["code"]["coding"][0]["code"] == "exit-proposed"


def test_the_proposal_is_closed_when_a_person_has_confirmed_it() -> None:
    hospital = Hospital()
    hospital.write(PREGNANT)
    hospital.status = "off-study"
    hospital.write(PREGNANT)
    assert hospital.said() == ["X11 inactive"]


def test_no_exit_is_proposed_for_who_has_left_by_the_landed_data() -> None:
    hospital = Hospital(status="")
    planned = hospital.write(PREGNANT, recorded={"p1": "off-study"})
    assert (planned.outcome, hospital.flags) == ("unchanged", {})


@pytest.mark.parametrize("status", ["withdrawn", "screening", "candidate", "not-registered"])
def test_a_status_that_nobody_on_the_study_can_have_is_left_alone_and_flagged(status: str) -> None:
    hospital = Hospital(status)
    planned = hospital.write(FINE)
    assert (planned.before, planned.after) == (status, status)
    assert hospital.writes == ["Flag", "Provenance"]
    flag = hospital.only()
    assert flag["code"]["coding"][0]["code"] == "status-conflict"
    assert (parts(flag)["personStatus"], parts(flag)["flag"]) == (status, "OUTSIDE_TABLE")
    hospital.status = "off-study"
    hospital.write(FINE)
    assert hospital.said() == ["ResearchSubject.status inactive"]


@pytest.mark.parametrize(
    ("before", "after", "flagged"),
    [
        ("candidate", "on-study-intervention", True),  # past eligible
        ("candidate", "candidate", True),
        ("", "on-study-intervention", False),  # never ours: the hospital's own
        ("", "follow-up", False),
    ],
)
def test_a_move_past_the_table_is_flagged(before: str, after: str, flagged: bool) -> None:
    hospital = Hospital(after)
    if before:
        reference = f"ResearchSubject/{client_id('subject', STUDY, 'p1')}"
        hospital.ledger[reference] = Written(reference, "1", before, "", "")
    hospital.write(FINE)
    assert bool(hospital.flags) == flagged


def test_a_verdict_without_evidence_is_not_written() -> None:
    hospital = Hospital()
    planned = hospital.write(row(result("TROUGH", "met"), result("X11", "not_met", HCG)))
    assert (planned.outcome, planned.reason, hospital.flags) == ("refused", "NO_EVIDENCE", {})


def test_a_row_that_nobody_evaluated_is_refused() -> None:
    (planned,) = Hospital().plan(Monitoring("p1", STUDY, "1", DAY_1)).subjects
    assert (planned.outcome, planned.reason) == ("refused", "NO_FINGERPRINT")


def test_a_lost_ledger_makes_every_closed_flag_a_persons() -> None:
    hospital = Hospital()
    hospital.write(HIGH)
    hospital.write(FINE)
    hospital.ledger = {}
    planned = hospital.write(HIGH)
    assert (planned.outcome, hospital.said()) == ("respected_human", ["TROUGH inactive"])


def test_other_peoples_flags_are_nobodys_business() -> None:
    foreign = {
        "resourceType": "Flag",
        "id": "allergy",
        "status": "active",
        "code": {"text": "allergy"},
        "subject": {"reference": "Patient/p1"},
    }
    hospital = Hospital()
    hospital.flags["Flag/allergy"] = on_server(foreign)
    assert hospital.write(FINE).changes == ()
    assert place_of(foreign, STUDY) is None


def test_rows_come_out_in_the_order_of_subjects_and_time_needs_a_zone() -> None:
    two = row(result("TROUGH", "met", TROUGH), subject="p0")
    assert [one.subject for one in Hospital().plan(HIGH, two).subjects] == ["p0", "p1"]
    with pytest.raises(ValueError, match="zone"):
        plan_monitoring((), LINES, CurrentState(), Memory(), NOW.replace(tzinfo=None))
