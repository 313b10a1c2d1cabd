"""The outbox: states and who moves them, approval bound to content, one writer per subject."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adapter.errors import ConfigError, NotFound
from adapter.store import audit, outbox_state
from adapter.store.database import reading
from adapter.store.lease import SECONDS, Holder, Leases, this_process
from adapter.store.outbox import Draft, Outbox, move
from adapter.store.outbox_state import FINAL, MOVES, NEW, STATES, may

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "write-back.md").read_text(encoding="utf-8")
SERVER = "https://hospital.example/fhir"


@pytest.fixture
def engine(database: Engine) -> Engine:
    """On SQLite and on PostgreSQL."""
    return database


def draft(content: str = "a", subject: str = "p1", rung: str = "List") -> Draft:
    return Draft("NCT1", "screening", subject, rung, content * 64, "f" * 64, "eligible", "candidate", b"[]")


class TestStates:
    def test_the_page_shows_the_table_as_it_is(self) -> None:
        assert f"```mermaid\n{outbox_state.diagram()}\n```" in PAGE
        assert outbox_state.table() in PAGE

    def test_what_is_final_stays_and_everything_else_can_end(self) -> None:
        assert {move.source for move in MOVES} & FINAL == set()
        ends = set(FINAL)
        for _ in STATES:
            ends |= {move.source for move in MOVES if move.target in ends}
        assert ends == {*STATES, NEW}

    def test_nothing_arrives_that_was_not_on_its_way(self) -> None:
        assert {move.source for move in MOVES if move.target == "done"} == {"sending", "unknown"}

    def test_only_people_allow_and_refuse(self) -> None:
        assert {m.who for m in MOVES if m.target in ("approved", "rejected")} == {"person"}
        asked = [m for m in MOVES if m.who == "person" and m.source != "unknown"]
        assert {m.target for m in asked} == {"approved", "rejected"}

    def test_what_may_be_on_its_way_is_never_simply_dropped(self) -> None:
        assert not may("system", "sending", "superseded")
        assert not may("person", "sending", "rejected")


class TestRows:
    def test_the_same_content_is_the_same_row(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        first = outbox.plan([draft()], NOW)["p1"]
        again = outbox.plan([draft()], NOW + timedelta(days=1))["p1"]
        assert (first.number, first.state, again) == (1, "planned", first)

    def test_other_content_supersedes_what_was_planned(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        outbox.plan([draft("a")], NOW)
        outbox.plan([draft("b")], NOW)
        outbox.plan([draft("c", rung="Basic"), draft("c", "p2")], NOW)
        states = [(row.subject, row.rung, row.state) for row in outbox.rows()]
        assert states == [
            ("p1", "List", "superseded"),
            ("p1", "List", "planned"),
            ("p1", "Basic", "planned"),
            ("p2", "List", "planned"),
        ]

    def test_a_row_left_in_sending_is_looked_at_and_closed(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        for subject, done, expected in (("p1", True, "done"), ("p2", False, "superseded")):
            row = outbox.plan([draft(subject=subject)], NOW)[subject]
            with engine.begin() as connection:
                move(connection, row, "sending", NOW)
            outbox.settle(subject, "NCT1", "screening", "List", NOW, done=done)
            assert outbox.row(row.number).state == expected

    def test_a_move_outside_the_table_is_a_defect(self, engine: Engine) -> None:
        row = Outbox(engine, SERVER).plan([draft()], NOW)["p1"]
        with engine.begin() as connection, pytest.raises(ValueError, match="no move from planned to done"):
            move(connection, row, "done", NOW)

    def test_each_move_has_its_row_in_the_audit(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        outbox.plan([draft()], NOW)
        outbox.decide(1, "approved", "dr-li", "seen", NOW)
        outbox.plan([draft("b")], NOW)
        with reading(engine) as connection:
            links = list(audit.links(connection))
        assert [(link.action, link.what) for link in links] == [
            ("plan", '["outbox/1"]'),
            ("approved", '["outbox/1"]'),
            ("plan", '["outbox/1","outbox/2"]'),
        ]
        assert links[1].actor == "dr-li"
        assert audit.verify(engine, ()).sound


class TestApproval:
    def test_who_when_why_and_for_what(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        outbox.plan([draft()], NOW)
        row = outbox.decide(1, "approved", "dr-li", "seen", NOW)
        (word,) = outbox.approvals(1)
        assert (row.state, row.approval) == ("approved", word.number)
        assert (word.who, word.reason, word.at) == ("dr-li", "seen", NOW.isoformat())
        assert word.content_sha256 == "a" * 64

    def test_changed_content_asks_again(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        outbox.plan([draft("a")], NOW)
        outbox.decide(1, "approved", "dr-li", "seen", NOW)
        changed = outbox.plan([draft("b")], NOW, approval=True)["p1"]
        back = outbox.plan([draft("a")], NOW, approval=True)["p1"]
        assert [(row.state, row.approval) for row in (changed, back)] == [("planned", 0), ("planned", 0)]

    def test_a_rejection_can_be_thought_over(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        outbox.plan([draft()], NOW)
        outbox.decide(1, "rejected", "dr-li", "not now", NOW)
        assert outbox.plan([draft()], NOW, approval=True)["p1"].state == "rejected"
        assert outbox.decide(1, "approved", "dr-li", "now", NOW).state == "approved"
        assert [word.verdict for word in outbox.approvals(1)] == ["rejected", "approved"]

    def test_what_was_sent_without_leave_is_asked_when_a_site_starts_to_want_it(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        row = outbox.plan([draft()], NOW)["p1"]
        with engine.begin() as connection:
            move(connection, move(connection, row, "sending", NOW), "refused", NOW)
        assert outbox.plan([draft()], NOW)["p1"].number == 1
        assert (outbox.plan([draft()], NOW, approval=True)["p1"].number) == 2

    def test_nobody_allows_what_is_done_or_not_there(self, engine: Engine) -> None:
        outbox = Outbox(engine, SERVER)
        row = outbox.plan([draft()], NOW)["p1"]
        with engine.begin() as connection:
            move(connection, move(connection, row, "sending", NOW), "done", NOW)
        with pytest.raises(ConfigError, match="done cannot be approved"):
            outbox.decide(1, "approved", "dr-li", "seen", NOW)
        with pytest.raises(NotFound):
            outbox.decide(7, "approved", "dr-li", "seen", NOW)


class Time:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class TestLease:
    def leases(self, engine: Engine, holder: Holder, clock: Time) -> Leases:
        return Leases(engine, SERVER, "NCT1", holder, clock)

    def test_one_writer_per_subject(self, engine: Engine) -> None:
        clock, elsewhere = Time(), Holder("another-machine", 1, "x")
        theirs, ours = self.leases(engine, elsewhere, clock), self.leases(engine, this_process(), clock)
        assert theirs.take(["p1"]) == {"p1"}
        assert ours.take(["p1", "p2"]) == {"p2"}
        theirs.give_back()
        assert ours.take(["p1"]) == {"p1"}

    def test_a_lease_ends_and_its_old_holder_finds_out(self, engine: Engine) -> None:
        clock = Time()
        slow, quick = (self.leases(engine, Holder(f"machine-{n}", 1, "x"), clock) for n in range(2))
        slow.take(["p1"])
        clock.now += timedelta(seconds=SECONDS - 1)
        assert quick.take(["p1"]) == frozenset()
        clock.now += timedelta(seconds=2)
        assert quick.take(["p1"]) == {"p1"}
        with engine.begin() as connection:
            assert not slow.still_hold(connection, "p1")
            assert quick.still_hold(connection, "p1")

    def test_showing_the_lease_renews_it(self, engine: Engine) -> None:
        clock = Time()
        one, other = (self.leases(engine, Holder(f"machine-{n}", 1, "x"), clock) for n in range(2))
        one.take(["p1"])
        clock.now += timedelta(seconds=SECONDS - 1)
        with engine.begin() as connection:
            assert one.still_hold(connection, "p1")
        clock.now += timedelta(seconds=SECONDS - 1)
        assert other.take(["p1"]) == frozenset()

    def test_a_token_never_comes_twice(self, engine: Engine) -> None:
        """A holder that gave back, and one that took over, each make the old token worthless."""
        clock = Time()
        one = self.leases(engine, Holder("machine", 1, "x"), clock)
        one.take(["p1"])
        one.give_back()
        other = self.leases(engine, Holder("machine-2", 1, "y"), clock)
        other.take(["p1"])
        other.give_back()
        with engine.begin() as connection:
            assert not one.still_hold(connection, "p1")
            assert not other.still_hold(connection, "p1")

    def test_a_dead_process_of_this_machine_loses_its_leases_at_once(self, engine: Engine) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        here, clock = this_process(), Time()
        dead = Holder(here.machine, ended.pid, "x")
        assert self.leases(engine, dead, clock).take(["p1"]) == {"p1"}
        alive = Holder(here.machine, os.getppid(), "y")
        assert self.leases(engine, alive, clock).take(["p2"]) == {"p2"}
        assert self.leases(engine, here, clock).take(["p1", "p2"]) == {"p1"}
