"""``adapter outbox``: what a coordinator sees and says before anything is sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapter.cli.app import app
from adapter.errors import ConfigError, NotFound
from adapter.trial import Workspace
from adapter.writeback.send import Ladder, WriteReport, write_back
from tests.double import BASE, EVERYTHING, Double
from tests.writeback_cases import NOW, STUDY, decision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tell(tmp_path)
    return tmp_path


def tell(folder: Path, server: Double | None = None) -> WriteReport:
    return asyncio.run(
        write_back(
            BASE,
            [decision("eligible"), decision("undetermined", "p2")],
            study=STUDY,
            database=Workspace(folder, embedded=True).root / "adapter.sqlite",
            now=NOW,
            transport=server or Double(f"List {EVERYTHING}"),
            ladder=Ladder((), approval=True, folder=folder),
        )
    )


def ran(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["outbox", *words, "-w", str(folder)])


def test_list_show_approve_reject_send(folder: Path) -> None:
    rows = [
        json.loads(line) for line in ran(folder, "list", "--state", "planned", "--json").stdout.splitlines()
    ]
    assert [(row["number"], row["subject"], row["rung"], row["proposed"]) for row in rows] == [
        (1, "p1", "List", "candidate"),
        (2, "p2", "List", "potential-candidate"),
    ]
    shown = json.loads(ran(folder, "show", "1").stdout)
    (change,) = shown["content"]["changes"]
    assert (change["resource"]["resourceType"], shown["approvals"]) == ("List", [])
    assert "1 approved by dr-li" in ran(folder, "approve", "1", "--by", "dr-li", "--reason", "seen").stdout
    assert "1 rejected by dr-li" in ran(folder, "reject", "--all", "--by", "dr-li", "--reason", "no").stdout
    server = Double(f"List {EVERYTHING}")
    assert tell(folder, server).outcomes == {"created": 1, "rejected": 1}
    (sent,) = server.of("List")
    assert {key: sent[key] for key in ("note", "code", "subject")} == {
        key: change["resource"][key] for key in ("note", "code", "subject")
    }
    assert "dr-li" in json.loads(ran(folder, "show", "1").stdout)["approvals"][0]["who"]
    assert "done" in ran(folder, "list", "--subject", "p1").stdout


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("approve", "1"), ConfigError),
        (("approve", "--reason", "x"), ConfigError),
        (("approve", "1", "--all", "--reason", "x"), ConfigError),
        (("approve", "9", "--reason", "x"), NotFound),
        (("list", "--state", "gone"), ConfigError),
        (("show", "9"), NotFound),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, words: tuple[str, ...], fault: type[Exception]
) -> None:
    assert isinstance(ran(folder, *words).exception, fault)
    assert ran(folder, "list", "--state", "approved", "--json").stdout == ""


def test_a_look_makes_no_database(tmp_path: Path) -> None:
    assert isinstance(ran(tmp_path, "list").exception, ConfigError)
    assert list(tmp_path.iterdir()) == []
