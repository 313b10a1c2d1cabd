"""What is written for whom: the plan as a table, before any server is involved.

The expected outcomes are those of docs/research-subject-status.md and of FHIR R4's definitions of the codes.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from adapter.model.decision import Decision
from adapter.store.ledger import Intent, Memory, Written
from adapter.writeback.flag import basis_of
from adapter.writeback.plan import Change, CurrentState, Plan, SubjectPlan, plan_writeback
from adapter.writeback.research_subject import fingerprint_of
from adapter.writeback.resources import content_sha256, reference_of
from tests.writeback_cases import LATER, NOW, STUDY, decision, on_server, source, used

STUDY_REFERENCE = "ResearchStudy/study-of-the-hospital"


def planned(
    verdict: Decision, *held: dict[str, Any], memory: Memory | None = None, gone: frozenset[str] = frozenset()
) -> SubjectPlan:
    subjects = tuple(one for one in held if one["resourceType"] == "ResearchSubject")
    flags = {reference_of(one): one for one in held if one["resourceType"] == "Flag"}
    state = CurrentState(STUDY_REFERENCE, True, {verdict.subject: subjects}, flags, gone)
    return plan_writeback([verdict], state, memory or Memory(), STUDY, LATER).subjects[0]


def written(plan: SubjectPlan) -> tuple[list[dict[str, Any]], Memory]:
    """The server and the ledger after the plan was carried out: everything in version 1 or one higher."""
    held, ledger = [], {}
    for change in plan.changes:
        version = str(int(change.based_on or 0) + 1)
        held.append(on_server(change.resource, version))
        ledger[change.reference] = Written(
            change.reference,
            version,
            change.owned_status,
            content_sha256(change.resource),
            change.fingerprint,
        )
    return held, Memory(ledger)


def kinds(plan: SubjectPlan) -> list[str]:
    return [change.reference.split("-")[0] for change in plan.changes]


def change_of(plan: SubjectPlan, name: str) -> Change:
    return next(change for change in plan.changes if change.reference.startswith(name))


@pytest.mark.parametrize(
    ("verdict", "outcome", "status", "writes"),
    [
        (
            "eligible",
            "created",
            "candidate",
            ["ResearchSubject/subject", "Flag/flag", "Provenance/provenance"],
        ),
        (
            "undetermined",
            "created",
            "potential-candidate",
            ["ResearchSubject/subject", "Provenance/provenance"],
        ),
        ("ineligible", "not_needed", "", []),
    ],
)
def test_a_new_subject(verdict: str, outcome: str, status: str, writes: list[str]) -> None:
    plan = planned(decision(verdict))
    assert (plan.outcome, plan.after, kinds(plan)) == (outcome, status, writes)


# who set it: "us" = the version we wrote, "person" = another version. Columns: what stands there, by whom,
# the new verdict -> what happens, the status afterwards, the Flags that are active afterwards.
TABLE = """
potential-candidate   us      eligible      updated          candidate            candidate
potential-candidate   us      ineligible    updated          ineligible           -
candidate             us      undetermined  updated          potential-candidate  -
candidate             us      ineligible    updated          ineligible           -
ineligible            us      eligible      updated          candidate            candidate
ineligible            us      undetermined  updated          potential-candidate  -
candidate             us      eligible      updated          candidate            candidate
candidate             person  eligible      updated          candidate            candidate
candidate             person  undetermined  respected_human  candidate            -
candidate             person  ineligible    respected_human  candidate            contradiction
potential-candidate   person  eligible      respected_human  potential-candidate  candidate
ineligible            person  eligible      respected_human  ineligible           contradiction
ineligible            person  undetermined  respected_human  ineligible           -
ineligible            person  ineligible    updated          ineligible           -
screening             person  eligible      respected_human  screening            -
screening             person  ineligible    respected_human  screening            contradiction
eligible              person  undetermined  respected_human  eligible             -
eligible              person  ineligible    respected_human  eligible             contradiction
pending-on-study      person  ineligible    respected_human  pending-on-study     contradiction
"""


@pytest.mark.parametrize("line", TABLE.strip().splitlines())
def test_a_known_subject(line: str) -> None:
    before, by, verdict, outcome, after, flag = line.split()
    subject, memory = _standing(before, by)
    plan = planned(decision(verdict), subject, memory=memory)
    assert (plan.outcome, plan.before, plan.after) == (outcome, before, after)
    update = change_of(plan, "ResearchSubject")
    assert (update.resource["status"], update.based_on) == (after, "7")
    assert fingerprint_of(update.resource) == decision(verdict).fingerprint
    raised = [c.reference.split("-")[1] for c in plan.changes if c.reference.startswith("Flag")]
    assert raised == ([] if flag == "-" else [flag])
    assert update.owned_status == (after if by == "us" else "")


@pytest.mark.parametrize(
    "status",
    ["on-study", "on-study-intervention", "on-study-observation", "follow-up", "off-study", "withdrawn",
     "not-registered"],
)  # fmt: skip
@pytest.mark.parametrize("verdict", ["eligible", "undetermined", "ineligible"])
def test_after_registration_or_the_end_nothing_is_written(status: str, verdict: str) -> None:
    """Tacrolimus given by the study itself would read as exclusion 5: the verdict is no longer about them."""
    subject, memory = _standing(status, "person")
    plan = planned(decision(verdict), subject, memory=memory)
    assert (plan.outcome, plan.reason, plan.changes) == ("respected_human", "SCREENING_OVER", ())


def _standing(status: str, by: str) -> tuple[dict[str, Any], Memory]:
    resource = planned(decision("undetermined", fingerprint="earlier")).changes[0].resource
    subject = on_server(resource, "7", status=status)
    version = "7" if by == "us" else "6"
    return subject, Memory(
        {reference_of(subject): Written(reference_of(subject), version, status, "0" * 64, "f")}
    )


@pytest.mark.parametrize("verdict", ["eligible", "undetermined"])
@pytest.mark.parametrize("review", [False, True])
def test_running_twice_changes_nothing(verdict: str, review: bool) -> None:
    held, memory = written(planned(decision(verdict, review=review)))
    again = planned(decision(verdict, review=review), *held, memory=memory)
    assert (again.outcome, again.changes) == ("unchanged", ())


def test_running_twice_beside_a_person_changes_nothing_either() -> None:
    subject, memory = _standing("screening", "person")
    held, memory = written(planned(decision("ineligible"), subject, memory=memory))
    again = planned(decision("ineligible"), *held, memory=memory)
    assert (again.outcome, again.reason, again.changes) == ("respected_human", "CONTRADICTED", ())


def test_our_extension_beside_a_persons_status_does_not_make_the_status_ours() -> None:
    subject, memory = _standing("candidate", "person")
    held, memory = written(planned(decision("undetermined"), subject, memory=memory))
    plan = planned(decision("ineligible"), *held, memory=memory)
    assert (plan.after, plan.reason) == ("candidate", "CONTRADICTED")


def test_what_a_person_wrote_elsewhere_in_the_resource_survives() -> None:
    subject, memory = _standing("screening", "person")
    foreign = {"url": "https://hospital.example/pager", "valueString": "42"}
    subject = {**subject, "consent": {"reference": "Consent/c1"}, "extension": [foreign]}
    after = change_of(planned(decision("eligible"), subject, memory=memory), "ResearchSubject").resource
    assert after["consent"] == {"reference": "Consent/c1"}
    assert after["extension"][0] == foreign


def test_a_subject_of_the_hospital_itself_is_not_doubled() -> None:
    theirs = {
        "resourceType": "ResearchSubject",
        "id": "77a",
        "meta": {"versionId": "3"},
        "status": "screening",
        "study": {"reference": STUDY_REFERENCE},
        "individual": {"reference": "Patient/p1"},
    }
    plan = planned(decision("undetermined"), theirs)
    update = change_of(plan, "ResearchSubject")
    assert (update.reference, update.based_on, plan.after) == ("ResearchSubject/77a", "3", "screening")


def test_a_lost_answer_is_recognised_as_our_own_write() -> None:
    sent = planned(decision("undetermined"))
    held, _ = written(sent)
    open_intents = Memory({}, {change.reference: change.intent() for change in sent.changes})
    again = planned(decision("undetermined"), *held, memory=open_intents)
    assert (again.outcome, again.changes) == ("unchanged", ())
    assert [(one.reference, one.version) for one in again.adopted] == [(sent.changes[0].reference, "1")]
    moved = planned(decision("eligible"), *held, memory=open_intents)
    assert moved.after == "candidate"


def test_an_intent_that_does_not_match_leaves_the_status_to_the_person() -> None:
    sent = planned(decision("undetermined"))
    subject = on_server(sent.changes[0].resource, "2", status="screening")
    intent = Intent(
        reference_of(subject), "potential-candidate", sent.changes[0].intent().content_sha256, "f"
    )
    plan = planned(decision("eligible"), subject, memory=Memory({}, {intent.reference: intent}))
    assert plan.after == "screening"


def test_without_a_ledger_nobodys_status_is_moved() -> None:
    held, _ = written(planned(decision("eligible")))
    plan = planned(decision("undetermined"), held[0])
    assert (plan.outcome, plan.after) == ("respected_human", "candidate")


def test_what_a_person_deleted_stays_deleted() -> None:
    reference = planned(decision("eligible")).changes[0].reference
    plan = planned(decision("eligible"), gone=frozenset({reference}))
    assert (plan.outcome, plan.reason, plan.changes) == ("respected_human", "DELETED_BY_PERSON", ())


class TestFlags:
    def test_a_candidate_who_fails_later_has_the_flag_closed_not_deleted(self) -> None:
        held, memory = written(planned(decision("eligible")))
        flag = change_of(planned(decision("ineligible"), *held, memory=memory), "Flag").resource
        assert (flag["status"], flag["period"]) == ("inactive", {"start": "2026-03-01", "end": "2026-03-01"})

    def test_a_flag_we_closed_is_raised_again(self) -> None:
        held, memory = written(planned(decision("eligible")))
        closed = planned(decision("ineligible"), *held, memory=memory)
        held, memory = written(closed)
        again = change_of(planned(decision("eligible"), *held, memory=memory), "Flag").resource
        assert (again["status"], "end" in again["period"]) == ("active", False)

    def test_a_flag_a_person_closed_stays_closed_while_its_basis_is_the_same(self) -> None:
        (subject, flag, _), memory = written(planned(decision("eligible")))
        closed = on_server(flag, "2", status="inactive", period={**flag["period"], "end": "2026-03-01"})
        tomorrow = decision("eligible", fingerprint="another day")
        assert "Flag/flag" not in kinds(planned(tomorrow, subject, closed, memory=memory))
        corrected = decision("eligible", evidence=(source(version="2"),))
        assert "Flag/flag" in kinds(planned(corrected, subject, closed, memory=memory))

    def test_a_flag_a_person_opened_again_is_not_closed(self) -> None:
        held, memory = written(planned(decision("eligible")))
        held, memory = written(planned(decision("ineligible"), *held, memory=memory))
        flag = next(one for one in held if one["resourceType"] == "Flag")
        reopened = on_server(flag, "3", status="active", period={"start": "2026-03-01"})
        plan = planned(decision("ineligible"), held[0], reopened, memory=memory)
        assert "Flag/flag" not in kinds(plan)

    def test_a_flag_a_person_deleted_is_not_raised_again(self) -> None:
        (subject, flag, _), memory = written(planned(decision("eligible")))
        corrected = decision("eligible", evidence=(source(version="2"),))
        plan = planned(corrected, subject, memory=memory, gone=frozenset({reference_of(flag)}))
        assert kinds(plan) == ["ResearchSubject/subject", "Provenance/provenance"]

    def test_a_flag_whose_basis_changes_keeps_the_day_it_was_raised(self) -> None:
        held, memory = written(planned(decision("eligible")))
        corrected = decision("eligible", evidence=(source(version="2"),), as_of=date(2026, 3, 9))
        flag = change_of(planned(corrected, *held, memory=memory), "Flag").resource
        assert flag["period"] == {"start": "2026-03-01"}

    def test_a_flag_entered_in_error_is_never_touched(self) -> None:
        (subject, flag, _), memory = written(planned(decision("eligible")))
        wrong = on_server(flag, "2", status="entered-in-error")
        corrected = decision("eligible", evidence=(source(version="2"),))
        assert "Flag/flag" not in kinds(planned(corrected, subject, wrong, memory=memory))

    def test_a_reading_that_differs_is_flagged_with_its_criterion(self) -> None:
        flag = change_of(planned(decision("undetermined", review=True)), "Flag").resource
        parts = flag["extension"][0]["extension"]
        assert flag["code"]["coding"][0]["code"] == "review"
        assert {"url": "criterion", "valueCode": "INCL03A"} in parts
        assert {"url": "flag", "valueCode": "READING_DIFFERS"} in parts

    def test_the_basis_does_not_know_the_day(self) -> None:
        today, tomorrow = (
            change_of(planned(decision("eligible", fingerprint=name)), "Flag").resource for name in "ab"
        )
        assert basis_of(today) == basis_of(tomorrow) != ""


class TestProvenance:
    def test_it_names_every_record_the_verdict_rests_on_with_its_version(self) -> None:
        evidence = (
            source("Observation/a", "2"),
            source("Condition/b", "1"),
            source("Observation/a", "2", "component[0]"),
        )
        provenance = change_of(planned(decision("eligible", evidence=evidence)), "Provenance").resource
        assert [entity["what"]["reference"] for entity in provenance["entity"]] == [
            "Condition/b/_history/1",
            "Observation/a/_history/2",
        ]
        extension = provenance["entity"][1]["what"]["extension"][0]
        parts = {part["url"]: part["valueString"] for part in extension["extension"]}
        assert (parts["version"], parts["path"]) == ("2", "component[0]")

    def test_a_computed_value_brings_what_it_was_computed_from(self) -> None:
        """eGFR is derived from a creatinine; the creatinine is the evidence a reviewer wants to open."""
        computed = replace(
            used(source("Observation/egfr", "1")), derived_from=(source("Observation/creatinine", "4"),)
        )
        plain = decision("eligible")
        criteria = (replace(plain.criteria[0], evidence=(computed,)), plain.criteria[1])
        provenance = change_of(planned(replace(plain, criteria=criteria)), "Provenance").resource
        references = [entity["what"]["reference"] for entity in provenance["entity"]]
        assert "Observation/creatinine/_history/4" in references

    def test_what_was_ignored_is_no_evidence(self) -> None:
        ignored = replace(used(source("Observation/old", "1")), role="ignored", why="SUPERSEDED")
        plain = decision("eligible")
        criteria = (
            replace(plain.criteria[0], evidence=(*plain.criteria[0].evidence, ignored)),
            plain.criteria[1],
        )
        plan = planned(replace(plain, criteria=criteria))
        assert "Observation/old" not in str(change_of(plan, "Provenance").resource)

    def test_it_points_at_what_was_written_without_a_version(self) -> None:
        plan = planned(decision("eligible"))
        provenance = change_of(plan, "Provenance").resource
        written_here = [change.reference for change in plan.changes[:2]]
        assert [target["reference"] for target in provenance["target"]] == written_here
        assert provenance["recorded"] == "2026-03-02T09:30:00+00:00"

    def test_an_answer_given_on_our_pages_is_named_and_not_linked(self) -> None:
        """Only we hold it: HAPI refuses Provenance with a reference to what it does not have (HAPI-1094)."""
        answer = "QuestionnaireResponse/attested-3f0e5b0c-6a53-4d52-9d0e-6d8a1f3a9b11"
        given = (source(answer, "1"), source("QuestionnaireResponse/of-the-hospital", "2"))
        provenance = change_of(planned(decision("eligible", evidence=given)), "Provenance").resource
        ours, theirs = (entity["what"] for entity in provenance["entity"])
        assert (ours["identifier"], "reference" in ours) == ({"value": answer}, False)
        assert ours["extension"][0]["extension"][0] == {"url": "version", "valueString": "1"}
        assert theirs["reference"] == "QuestionnaireResponse/of-the-hospital/_history/2"

    def test_a_timestamp_for_a_version_is_kept_but_makes_no_history_link(self) -> None:
        dated = source("Observation/a", "2026-02-20T08:00:00+08:00")
        provenance = change_of(planned(decision("eligible", evidence=(dated,))), "Provenance").resource
        what = provenance["entity"][0]["what"]
        assert what["reference"] == "Observation/a"
        assert what["extension"][0]["extension"][0]["valueString"] == "2026-02-20T08:00:00+08:00"


class TestRefusals:
    def plan(self, *verdicts: Decision, **held: Any) -> Plan:
        return plan_writeback(verdicts, CurrentState(**held), Memory(), STUDY, NOW)

    def test_no_verdict_without_evidence(self) -> None:
        bare = decision("eligible")
        criteria = tuple(type(c)(c.id, c.kind, c.verdict, c.reason) for c in bare.criteria)
        assert self.plan(replace(bare, criteria=criteria)).subjects[0].reason == "NO_EVIDENCE"

    def test_two_decisions_about_one_subject(self) -> None:
        plan = self.plan(decision("eligible"), decision("undetermined"))
        assert [one.reason for one in plan.subjects] == ["SEVERAL_DECISIONS"] * 2

    def test_two_subjects_on_the_server_for_one_patient(self) -> None:
        subject, _ = _standing("candidate", "us")
        plan = planned(decision("eligible"), subject, {**subject, "id": "other"})
        assert plan.reason == "DUPLICATE_ON_SERVER"

    def test_a_status_that_is_no_code(self) -> None:
        subject, _ = _standing("candidate", "us")
        assert planned(decision("eligible"), {**subject, "status": "banana"}).reason == "UNKNOWN_STATUS"

    def test_a_server_without_versions_cannot_be_updated_safely(self) -> None:
        subject, _ = _standing("candidate", "us")
        assert planned(decision("eligible"), {**subject, "meta": {}}).reason == "NO_VERSION"

    def test_one_refusal_stops_nobody_else(self) -> None:
        plan = self.plan(decision("eligible", "p1", fingerprint="x"), decision("eligible", "p2"))
        assert plan.counts() == {"created": 2}
        assert [row["subject"] for row in plan.describe()] == ["p1", "p2"]

    def test_the_study_and_the_device_are_made_only_if_something_is_written(self) -> None:
        assert [c.resource["resourceType"] for c in self.plan(decision("eligible")).shared] == [
            "ResearchStudy",
            "Device",
        ]
        assert self.plan(decision("ineligible")).shared == ()


def test_the_order_of_the_decisions_does_not_show() -> None:
    verdicts = [decision("eligible", f"p{n}") for n in range(5)]
    forward = plan_writeback(verdicts, CurrentState(), Memory(), STUDY, NOW)
    assert forward == plan_writeback(verdicts[::-1], CurrentState(), Memory(), STUDY, NOW)


def test_no_value_and_no_text_of_the_record_is_written() -> None:
    """The evidence says 9 g/24h; codes, references and versions are all that may leave."""
    text = str(planned(decision("eligible", review=True)).changes)
    assert "9 g" not in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("verdict", "moved_to", "flagged"),
    [
        ("undetermined", "pending-on-study", True),
        ("eligible", "on-study-intervention", True),  # past eligible
        ("eligible", "off-study", True),
        ("eligible", "screening", False),
        ("eligible", "eligible", False),
        ("eligible", "withdrawn", False),
    ],
)
def test_a_persons_move_past_the_table_is_left_alone_and_flagged(
    verdict: str, moved_to: str, flagged: bool
) -> None:
    held, memory = written(planned(decision(verdict)))
    subject = next(one for one in held if one["resourceType"] == "ResearchSubject")
    others = [one for one in held if one is not subject]
    moved = on_server(subject, "2", status=moved_to)
    plan = planned(decision(verdict), moved, *others, memory=memory)
    flags = {
        c.resource["code"]["coding"][0]["code"]: c.resource for c in plan.changes if "Flag/" in c.reference
    }
    raised = "contradiction" in flags and flags["contradiction"]["status"] == "active"
    assert (raised, plan.after, plan.reason == "OUTSIDE_TABLE") == (flagged, moved_to, flagged)
    if not flagged:
        return
    # the ledger forgets whose status it was before; the Flag remembers until the person moves on
    flag = on_server(flags["contradiction"], "1")
    after = planned(decision(verdict), on_server(moved, "3"), flag, memory=Memory())
    assert not any(c.reference == reference_of(flag) for c in after.changes)
    gone_on = on_server(moved, "4", status="screening")
    closed = change_of(planned(decision(verdict), gone_on, flag, memory=Memory()), "Flag/flag-contradiction")
    assert closed.resource["status"] == "inactive"
