"""Down the ladder: servers that take little, refuse by type, break in the middle, and lose answers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from sqlalchemy import text

from adapter.errors import ConfigError, WriteRefused
from adapter.model.decision import CriterionResult, Decision, Evidence, Verdict
from adapter.model.monitoring import Monitoring
from adapter.store import audit
from adapter.store.database import open_database, reading
from adapter.store.lease import Holder
from adapter.store.ledger import Ledger
from adapter.store.outbox import Outbox
from adapter.web.app import own_endpoint
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.send import OWN_BASE, Ladder, WriteReport, write_back, write_flags
from adapter.writeback.settle import settle
from tests.double import BASE, EVERYTHING, Double
from tests.spec.test_rungs import TYPES
from tests.writeback_cases import LATER, NOW, STUDY, decision, source

NOTES = ("List", "Task", "Basic", "Communication", "DocumentReference")
ALL = "\n".join(f"{kind} {EVERYTHING}" for kind in TYPES.split())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def at_once(_seconds: float) -> None:
        return None

    monkeypatch.setattr(asyncio, "sleep", at_once)
    stamina.set_testing(True, attempts=2)
    yield
    stamina.set_testing(False)


class Site:
    """One hospital and one workspace."""

    def __init__(self, server: Double, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.database = folder / "adapter.sqlite"

    async def write(self, *decisions: Decision, rungs: tuple[str, ...] = (), **more: Any) -> WriteReport:
        ladder = Ladder(
            rungs, more.pop("approval", False), folder=self.folder / "writeback", **more.pop("ladder", {})
        )
        now = more.pop("now", NOW)
        return await write_back(
            BASE,
            decisions,
            study=STUDY,
            database=self.database,
            now=now,
            transport=self.server,
            ladder=ladder,
            **more,
        )

    def states(self) -> list[tuple[str, str]]:
        engine = open_database(self.database)
        rows = [(row.rung, row.state) for row in Outbox(engine).rows()]
        assert audit.verify(engine, ()).sound
        engine.dispose()
        return rows

    def receipts(self, rung: str = "") -> list[Any]:
        with Ledger(self.database, f"{BASE} {rung}".strip()) as ledger:
            return list(ledger.receipts())


def only(rung: str, interactions: str = EVERYTHING, **more: Any) -> Double:
    return Double(f"{rung} {interactions}", **more)


def part(resource: dict[str, Any], name: str) -> list[Any]:
    parts = resource["extension"][0]["extension"]
    return [next(v for k, v in one.items() if k.startswith("value")) for one in parts if one["url"] == name]


def words(resource: dict[str, Any]) -> str:
    if resource["resourceType"] == "DocumentReference":
        return base64.b64decode(resource["content"][0]["attachment"]["data"]).decode()
    return json.dumps(resource, ensure_ascii=False)


class TestNotes:
    @pytest.mark.parametrize("client_ids", [True, False])
    @pytest.mark.parametrize("rung", NOTES)
    async def test_told_once_and_with_all_it_rests_on(
        self, rung: str, client_ids: bool, tmp_path: Path
    ) -> None:
        site = Site(only(rung, client_ids=client_ids), tmp_path)
        report = await site.write(decision("undetermined"), decision("ineligible", "p2"))
        assert (report.outcomes, report.rungs, report.resources_written) == (
            {"created": 1, "not_needed": 1},
            {rung: 2},
            1,
        )
        (note,) = site.server.of(rung)
        assert part(note, "study") == ["NCT03864250"]
        assert part(note, "proposedStatus") == ["potential-candidate"]
        assert [part(note, name) for name in ("met", "notMet", "unknown")] == [[0], [1], [1]]
        assert part(note, "evidence") == ["Observation/protein/_history/1"]
        said = words(note)
        assert "not the decision of a person" in said
        assert "Observation/protein version 1" in said
        assert "Unknown: INCL03A" in said
        again = await site.write(decision("undetermined"), now=LATER)
        assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)
        (receipt,) = site.receipts()
        assert (receipt.reference, receipt.version, receipt.rung) == (f"{rung}/{note['id']}", "1", rung)
        assert (receipt.fingerprint, receipt.outbox) == (decision("undetermined").fingerprint, 1)

    async def test_another_day_alone_is_no_news(self, tmp_path: Path) -> None:
        site = Site(only("Communication", "create search-type"), tmp_path)
        await site.write(decision("eligible"))
        report = await site.write(decision("eligible", as_of=date(2026, 3, 2)), now=LATER)
        assert (report.outcomes, len(site.server.of("Communication"))) == ({"unchanged": 1}, 1)

    @pytest.mark.parametrize("rung", ["List", "Task", "Basic"])
    async def test_news_goes_into_the_note_we_wrote(self, rung: str, tmp_path: Path) -> None:
        site = Site(only(rung, client_ids=False), tmp_path)
        await site.write(decision("eligible"))
        report = await site.write(decision("ineligible"), now=LATER)
        (note,) = site.server.of(rung)
        assert (report.outcomes, note["meta"]["versionId"]) == ({"updated": 1}, "2")
        assert part(note, "proposedStatus") == ["ineligible"]
        assert (await site.write(decision("ineligible"), now=LATER)).resources_written == 0

    @pytest.mark.parametrize("rung", ["Communication", "DocumentReference"])
    async def test_what_was_said_stays_and_the_news_names_it(self, rung: str, tmp_path: Path) -> None:
        site = Site(only(rung, client_ids=False), tmp_path)
        for verdict in ("eligible", "ineligible", "eligible"):  # there and back again
            await site.write(decision(verdict))
        first, second, third = site.server.of(rung)
        assert {one["meta"]["versionId"] for one in (first, second, third)} == {"1"}
        names = [one["identifier"][0]["value"] for one in (first, second, third)]
        assert [part(one, "supersedes") for one in (first, second, third)] == [[], [names[0]], [names[1]]]
        if rung == "DocumentReference":
            assert third["relatesTo"] == [
                {"code": "replaces", "target": {"reference": f"{rung}/{second['id']}"}}
            ]
        assert (await site.write(decision("eligible"))).resources_written == 0

    async def test_what_a_person_touched_is_left_and_the_news_stands_beside(self, tmp_path: Path) -> None:
        site = Site(only("Task"), tmp_path)
        await site.write(decision("eligible"))
        (task,) = site.server.of("Task")
        site.server.put({**task, "status": "accepted"})
        await site.write(decision("ineligible"), now=LATER)
        by_status = {one["status"]: one for one in site.server.of("Task")}
        assert set(by_status) == {"accepted", "requested"}
        assert part(by_status["accepted"], "proposedStatus") == ["candidate"]
        assert part(by_status["requested"], "supersedes") == [task["id"]]

    async def test_what_a_person_took_back_is_not_said_again_until_there_is_news(
        self, tmp_path: Path
    ) -> None:
        site = Site(only("List"), tmp_path)
        await site.write(decision("eligible"))
        (note,) = site.server.of("List")
        site.server.put({**note, "status": "entered-in-error"})
        report = await site.write(decision("eligible"), now=LATER)
        assert (report.outcomes, report.rows[0]["reason"]) == ({"respected_human": 1}, "CLOSED_BY_PERSON")
        await site.write(decision("undetermined"), now=LATER)
        assert sorted(one["status"] for one in site.server.of("List")) == ["current", "entered-in-error"]

    async def test_who_is_on_the_study_is_not_told_of_as_a_candidate(self, tmp_path: Path) -> None:
        offers = "Basic create search-type\nResearchStudy read search-type\nResearchSubject read search-type"
        site = Site(Double(offers), tmp_path)
        site.server.put({"resourceType": "ResearchStudy", "id": "s", "identifier": [{"value": STUDY.id}]})
        subject = {"resourceType": "ResearchSubject", "id": "r", "study": {"reference": "ResearchStudy/s"}}
        site.server.put({**subject, "status": "on-study", "individual": {"reference": "Patient/p1"}})
        report = await site.write(decision("eligible"))
        assert (report.outcomes, report.rows[0]["reason"]) == ({"respected_human": 1}, "SCREENING_OVER")
        assert site.server.of("Basic") == []

    async def test_two_of_ours_are_told_and_the_later_one_taken_back(self, tmp_path: Path) -> None:
        site = Site(only("List", client_ids=False), tmp_path)

        def twice(what: str) -> None:
            if what == "POST List" and len(site.server.of("List")) == 1:
                (one,) = site.server.of("List")
                site.server.put({**one, "id": "s2"})

        site.server.after = twice
        report = await site.write(decision("eligible"))
        assert len(report.duplicates) == 1
        assert [one["status"] for one in site.server.of("List")] == ["current", "entered-in-error"]
        assert (await site.write(decision("eligible"), now=LATER)).resources_written == 0

    async def test_what_was_told_of_a_merged_record_is_known_under_the_survivor(self, tmp_path: Path) -> None:
        site = Site(only("Communication", "create search-type"), tmp_path)
        await site.write(decision("eligible", "old"))
        merged = {"old": "kept"}
        report = await site.write(decision("ineligible", "kept"), now=LATER, aliases=merged)
        first, second = site.server.of("Communication")
        assert report.outcomes == {"updated": 1}
        assert part(second, "supersedes") == [first["identifier"][0]["value"]]
        again = await site.write(decision("ineligible", "kept"), now=LATER, aliases=merged)
        assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)

    async def test_nobody_could_look_for_duplicates_and_what_was_written_is_told(
        self, tmp_path: Path
    ) -> None:
        site = Site(only("Task", "create search-type"), tmp_path)
        usual = site.server._read

        def down(path: str, parameters: httpx.QueryParams) -> httpx.Response:
            if site.server.writes and path != "metadata":
                raise httpx.ReadTimeout("down")
            return usual(path, parameters)

        site.server._read = down  # type: ignore[method-assign]
        report = await site.write(decision("eligible"))
        assert (report.outcomes, report.resources_written) == ({"created": 1}, 1)
        assert report.unchecked == ("Task: Task no answer (ReadTimeout)",)
        fault = report.fault()
        assert fault is not None
        assert (fault.exit_code, site.states()) == (75, [("Task", "done")])

    async def test_a_duplicate_with_a_persons_hand_on_it_is_only_told(self, tmp_path: Path) -> None:
        site = Site(only("List", client_ids=False), tmp_path)

        def annotated(what: str) -> None:
            (one, *_) = site.server.of("List")
            site.server.put({**one, "id": "s2", "title": "called the patient"})

        site.server.after = annotated
        report = await site.write(decision("eligible"))
        assert len(report.duplicates) == 1
        assert {one["status"] for one in site.server.of("List")} == {"current"}


async def test_alerts_about_people_on_the_study_go_the_same_ways(tmp_path: Path) -> None:
    server = only("Communication", "create search-type", client_ids=False)

    async def tell(verdict: str) -> WriteReport:
        evidence = (Evidence(source("Observation/trough", "3"), "used"),)
        rule = CriterionResult("TROUGH", "safety", Verdict(verdict), "planted", (), evidence)
        exits = CriterionResult("X11", "exit", Verdict(verdict), "planted", (), evidence)
        row = Monitoring(
            "p1",
            STUDY.id,
            "1.0.0",
            NOW.date(),
            randomised=NOW.date(),
            safety=(rule,),
            exits=(exits,),
            fingerprint=verdict,
        )
        lines = {
            "TROUGH": ProtocolLine("Trough above 10 ng/mL"),
            "X11": ProtocolLine("Pregnancy", severity="high"),
        }
        return await write_flags(
            BASE,
            [row],
            lines,
            study=STUDY,
            database=tmp_path / "a.sqlite",
            now=NOW,
            transport=server,
            ladder=Ladder(()),
        )

    assert (await tell("unknown")).outcomes == {"not_needed": 1}
    assert (await tell("met")).outcomes == {"created": 1}
    (note,) = server.of("Communication")
    assert part(note, "safety") == ["TROUGH", "X11"]
    text = note["payload"][0]["contentString"]
    assert "Safety, medium: TROUGH, Trough above 10 ng/mL." in text
    assert "A person may set the status off-study." in text
    assert (await tell("met")).resources_written == 0
    assert (await tell("not_met")).outcomes == {"updated": 1}
    assert (
        "No safety rule and no exit criterion" in server.of("Communication")[1]["payload"][0]["contentString"]
    )


async def test_our_own_endpoint_takes_what_the_hospital_does_not(tmp_path: Path) -> None:
    """ResearchSubject, Flag and Provenance on our own FHIR endpoint, and nothing at the hospital."""
    site = Site(Double("Patient read search-type"), tmp_path)
    engine = open_database(site.database)
    own = {"own": httpx.ASGITransport(own_endpoint(engine))}
    report = await site.write(decision("eligible"), rungs=("own", "file"), ladder=own)
    assert (report.outcomes, report.rungs, site.server.writes) == ({"created": 1}, {"own": 1}, [])
    with Ledger(engine, f"{BASE} own") as ledger:
        written = {one.reference.partition("/")[0] for one in ledger.receipts()}
    assert written >= {"ResearchSubject", "Flag", "Provenance"}
    async with httpx.AsyncClient(transport=own["own"], base_url=OWN_BASE) as http:
        (entry,) = (await http.get(f"{OWN_BASE}/ResearchSubject")).json()["entry"]
    assert (entry["resource"]["status"], entry["resource"]["individual"]["reference"][-10:]) == (
        "candidate",
        "Patient/p1",
    )
    again = await site.write(decision("eligible"), rungs=("own", "file"), ladder=own, now=LATER)
    assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)
    engine.dispose()


class TestRefusals:
    @pytest.mark.parametrize("status", [403, 404, 405, 422])
    async def test_who_is_refused_is_told_by_the_next_rung(self, status: int, tmp_path: Path) -> None:
        site = Site(Double(ALL, "transaction"), tmp_path)
        site.server.refusals = {"ResearchSubject": status, "List": status}
        site.server.put({"resourceType": "ResearchStudy", "id": "s", "identifier": [{"value": STUDY.id}]})
        report = await site.write(decision("eligible"))
        assert (report.outcomes, report.rungs) == ({"created": 1}, {"Task": 1})
        assert (len(site.server.of("Task")), site.server.of("Basic")) == (1, [])
        assert site.states() == [("ResearchSubject", "refused"), ("List", "refused"), ("Task", "done")]
        assert {r.rung for r in site.receipts() if r.subject} == {"Task"}
        again = await site.write(decision("eligible"), now=LATER)
        assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)
        assert "Zhang" not in json.dumps(report.rows)

    async def test_who_was_told_below_and_is_no_candidate_any_more_is_told_below(
        self, tmp_path: Path
    ) -> None:
        """The first rung has nothing to say of somebody ineligible whom it never held; the List had."""
        site = Site(Double(ALL, "transaction"), tmp_path)
        site.server.refusals = {"ResearchSubject": 403}
        await site.write(decision("eligible"))
        report = await site.write(decision("ineligible"), decision("ineligible", "p2"), now=LATER)
        assert report.outcomes == {"updated": 1, "not_needed": 1}
        (told,) = site.server.of("List")
        assert '"ineligible"' in json.dumps(told)
        assert (await site.write(decision("ineligible"), now=LATER)).resources_written == 0

    async def test_a_refused_study_closes_the_rung_for_all(self, tmp_path: Path) -> None:
        site = Site(Double(ALL, "transaction"), tmp_path)
        site.server.refusals = {"ResearchStudy": 405}
        report = await site.write(decision("eligible"), decision("undetermined", "p2"))
        assert report.rungs == {"List": 2}
        told = [("List", "done"), ("List", "done")]
        assert site.states() == [("ResearchSubject", "refused"), ("ResearchSubject", "refused"), *told]
        await site.write(decision("eligible"), decision("undetermined", "p2"), now=LATER)
        assert len(site.states()) == 4, "asked again, and no new rows for it"

    async def test_the_last_rung_is_a_file_that_says_where_it_lies(self, tmp_path: Path) -> None:
        site = Site(Double("Patient read search-type"), tmp_path)
        report = await site.write(decision("eligible"))
        (path,) = report.files
        bundle = json.loads(Path(path).read_bytes())
        assert (bundle["type"], report.rungs, report.outcomes) == ("transaction", {"file": 1}, {"created": 1})
        kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
        assert kinds == ["ResearchStudy", "Device", "ResearchSubject", "Flag", "Provenance"]
        again = await site.write(decision("eligible"), now=LATER)
        assert (again.outcomes, again.files, again.resources_written) == ({"unchanged": 1}, (), 0)
        changed = await site.write(decision("ineligible"), now=LATER)
        (path,) = changed.files
        told = json.loads(Path(path).read_bytes())
        assert (told["type"], changed.outcomes) == ("collection", {"updated": 1})
        assert told["entry"][0]["resource"]["status"] == "ineligible"
        assert site.server.writes == []
        assert {r.rung for r in site.receipts("file")} == {"file"}

    async def test_no_rung_left_is_said(self, tmp_path: Path) -> None:
        site = Site(only("List"), tmp_path)
        site.server.refusals = {"List": 403}
        report = await site.write(decision("eligible"), rungs=("List",))
        assert (report.outcomes, report.rows[0]["reason"]) == ({"refused": 1}, "403 refused (forbidden)")
        with pytest.raises(WriteRefused, match="no rung"):
            await write_back(
                BASE,
                [],
                study=STUDY,
                database=site.database,
                now=NOW,
                transport=Double(""),
                ladder=Ladder(()),
            )

    async def test_a_bad_request_is_ours_to_mend_and_goes_no_further(self, tmp_path: Path) -> None:
        site = Site(Double(ALL), tmp_path)
        site.server.refusals = {"List": 400}
        report = await site.write(decision("eligible"), rungs=("List", "Task"))
        assert (report.outcomes, site.server.of("Task")) == ({"refused": 1}, [])


def lose(server: Double, what: str, times: int = 1) -> None:
    left = [times]

    def lost(done: str) -> None:
        if done.startswith(what) and left[0]:
            left[0] -= 1
            raise httpx.ReadTimeout("lost")

    server.after = lost


def _timeout(_what: str) -> None:
    raise httpx.ReadTimeout("lost")


class TestLost:
    @pytest.mark.parametrize("client_ids", [True, False])
    @pytest.mark.parametrize("rung", NOTES)
    async def test_a_lost_answer_is_looked_up_not_repeated(
        self, rung: str, client_ids: bool, tmp_path: Path
    ) -> None:
        site = Site(only(rung, client_ids=client_ids), tmp_path)
        lose(site.server, "")
        report = await site.write(decision("eligible"))
        assert (report.outcomes, len(site.server.of(rung)), len(site.server.writes)) == ({"created": 1}, 1, 1)
        assert site.states() == [(rung, "done")]
        (receipt,) = site.receipts()
        assert receipt.reference == f"{rung}/{site.server.of(rung)[0]['id']}"
        news = await site.write(decision("ineligible"), now=LATER)  # still known to be ours
        assert news.outcomes == {"updated": 1}

    async def test_where_nothing_can_be_looked_up_nothing_is_repeated(self, tmp_path: Path) -> None:
        site = Site(only("Communication", "create", client_ids=False), tmp_path)
        lose(site.server, "", times=9)
        report = await site.write(decision("eligible"), rungs=("Communication",))
        assert (report.outcomes, len(site.server.of("Communication"))) == ({"unknown": 1}, 1)
        again = await site.write(decision("eligible"), rungs=("Communication",), now=LATER)
        assert (again.outcomes, len(site.server.of("Communication"))) == ({"unknown": 1}, 1)

    async def test_nor_is_news_sent_beside_what_nobody_can_look_up(self, tmp_path: Path) -> None:
        """The lost note may be there: a second one would say the opposite and replace nothing."""
        site = Site(only("Communication", "create", client_ids=False), tmp_path)
        lose(site.server, "")
        await site.write(decision("eligible"), rungs=("Communication",))
        report = await site.write(decision("ineligible"), rungs=("Communication",), now=LATER)
        assert (report.outcomes, len(site.server.of("Communication"))) == ({"unknown": 1}, 1)
        assert report.rows[0]["reason"] == "NO_WAY_TO_LOOK"

    @pytest.mark.parametrize("arrived", [True, False])
    async def test_a_person_says_what_became_of_it(self, arrived: bool, tmp_path: Path) -> None:
        site = Site(only("Communication", "create read", client_ids=False), tmp_path)
        if arrived:
            lose(site.server, "")
        else:
            site.server.before = _timeout
        await site.write(decision("eligible"), rungs=("Communication",))
        site.server.before = lambda what: None
        engine = open_database(site.database)
        more: dict[str, Any] = {"who": "Dr. L.", "reason": "looked", "now": NOW}
        there = "Communication/s1" if arrived else ""
        assert settle(engine, 1, there=there, dry_run=True, **more).state == "unknown"
        with pytest.raises(ConfigError, match="cannot be what row 1 sent"):
            settle(engine, 1, there="Task/s1", **more)
        assert settle(engine, 1, there=there, **more).state == ("done" if arrived else "superseded")
        with pytest.raises(ConfigError, match="needs nobody to look"):
            settle(engine, 1, there=there, **more)
        with reading(engine) as connection:
            told = {tuple(one) for one in connection.execute(text("SELECT actor, action FROM audit"))}
        assert ("Dr. L.", "settle") in told
        assert audit.verify(engine, ()).sound
        engine.dispose()
        report = await site.write(decision("ineligible"), rungs=("Communication",), now=LATER)
        after = "updated" if arrived else "not_needed"
        assert (report.outcomes, len(site.server.of("Communication"))) == ({after: 1}, 2 if arrived else 0)
        assert {one.reference for one in site.receipts()} >= ({there} if arrived else set())

    async def test_one_by_one_a_fault_in_the_middle_leaves_parts_and_the_rest_follows(
        self, tmp_path: Path
    ) -> None:
        site = Site(Double(ALL), tmp_path)
        down = [httpx.Response(500)]

        def fail(what: str) -> None:
            if what.startswith("PUT Flag") and down:
                down.pop()
                raise httpx.ConnectError("down")

        site.server.before = fail
        report = await site.write(decision("eligible"))
        assert report.outcomes == {"updated": 1}  # the Flag followed in the second round
        assert [len(site.server.of(kind)) for kind in ("ResearchSubject", "Flag", "Provenance")] == [1, 1, 2]
        explained = {t["reference"] for one in site.server.of("Provenance") for t in one["target"]}
        assert {one.split("/")[0] for one in explained} == {"ResearchSubject", "Flag"}
        again = await site.write(decision("eligible"), now=LATER)
        assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)

    async def test_the_explanation_that_was_lost_is_sent_after(self, tmp_path: Path) -> None:
        site = Site(Double(ALL), tmp_path)

        def fail(what: str) -> None:
            if what.startswith("PUT Provenance"):
                raise httpx.ConnectError("down")

        site.server.before = fail
        assert (await site.write(decision("eligible"))).outcomes == {"unknown": 1}
        site.server.before = lambda what: None
        report = await site.write(decision("eligible"), now=LATER)
        assert (report.outcomes, report.resources_written) == ({"updated": 1}, 1)
        (provenance,) = site.server.of("Provenance")
        assert len(provenance["target"]) == 2
        assert (await site.write(decision("eligible"), now=LATER)).resources_written == 0

    @pytest.mark.parametrize("status", [409, 412])
    async def test_a_conflict_on_a_note_is_read_again_and_never_forced(
        self, status: int, tmp_path: Path
    ) -> None:
        site = Site(only("List"), tmp_path)
        await site.write(decision("eligible"))
        (note,) = site.server.of("List")

        def nurse(what: str) -> None:
            site.server.before = lambda what: None
            site.server.put({**note, "title": "called the patient"})

        site.server.before = nurse
        report = await site.write(decision("ineligible"), now=LATER)
        assert report.outcomes == {"updated": 1}
        titles = [one["title"] for one in site.server.of("List")]
        assert titles.count("called the patient") == 1
        assert len(titles) == 2


class TestApproval:
    async def test_nothing_is_sent_that_nobody_allowed(self, tmp_path: Path) -> None:
        site = Site(Double(ALL, "transaction"), tmp_path)
        report = await site.write(decision("eligible"), decision("undetermined", "p2"), approval=True)
        assert (report.outcomes, site.server.writes) == ({"awaiting_approval": 2}, [])
        assert report.fault() is None
        outbox = Outbox(open_database(site.database))
        outbox.decide(1, "approved", "dr-li", "seen", NOW)
        outbox.decide(2, "rejected", "dr-li", "moved away", NOW)
        report = await site.write(decision("eligible"), decision("undetermined", "p2"), approval=True)
        assert report.outcomes == {"created": 1, "rejected": 1}
        assert [one["individual"]["reference"] for one in site.server.of("ResearchSubject")] == ["Patient/p1"]
        links = {(r.outbox, r.approval) for r in site.receipts() if r.subject}
        assert links == {(1, 1)}

    async def test_leave_for_other_content_is_no_leave(self, tmp_path: Path) -> None:
        site = Site(only("Basic"), tmp_path)
        await site.write(decision("eligible"), approval=True)
        Outbox(open_database(site.database)).decide(1, "approved", "dr-li", "seen", NOW)
        report = await site.write(decision("undetermined"), approval=True)
        assert (report.outcomes, site.server.writes) == ({"awaiting_approval": 1}, [])
        assert [state for _, state in site.states()] == ["superseded", "planned"]

    async def test_leave_does_not_pass_to_another_rung(self, tmp_path: Path) -> None:
        site = Site(Double(ALL), tmp_path)
        site.server.refusals = {"List": 403}
        await site.write(decision("eligible"), rungs=("List", "Basic"), approval=True)
        Outbox(open_database(site.database)).decide(1, "approved", "dr-li", "seen", NOW)
        report = await site.write(decision("eligible"), rungs=("List", "Basic"), approval=True)
        assert (report.outcomes, report.rungs) == ({"awaiting_approval": 1}, {"Basic": 1})


class TestTwoAtOnce:
    async def test_the_second_leaves_alone_whom_the_first_holds(self, tmp_path: Path) -> None:
        site = Site(Double(ALL, "transaction"), tmp_path)
        inner: list[WriteReport] = []
        elsewhere = {"holder": Holder("another-machine", 1, "x")}

        def meanwhile(step: str) -> None:
            if step == "planned" and not inner:
                inner.append(WriteReport({}, ()))
                run = site.write(decision("eligible"), decision("eligible", "p2"), ladder=elsewhere)
                inner.append(_now(run))

        report = await site.write(decision("eligible"), ladder={"at": meanwhile})
        assert report.outcomes == {"created": 1}
        assert inner[1].outcomes == {"held": 1, "created": 1}
        assert inner[1].fault() is not None
        assert len(site.server.of("ResearchSubject")) == 2

    async def test_who_slept_past_the_lease_sends_nothing(self, tmp_path: Path) -> None:
        site = Site(only("List"), tmp_path)

        def taken_over(step: str) -> None:
            if step == "planned":
                engine = open_database(site.database)
                with engine.begin() as connection:
                    connection.exec_driver_sql("UPDATE lease SET holder = 'other 1 y', token = token + 1")
                engine.dispose()

        report = await site.write(decision("eligible"), ladder={"at": taken_over})
        assert (report.outcomes, site.server.writes) == ({"held": 1}, [])


def _now(run: Any) -> Any:
    """Run a coroutine to its end from within a callback."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run).result()
