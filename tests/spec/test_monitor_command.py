"""``adapter monitor`` and what ``adapter writeback`` makes of it, on the synthetic hospital."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from adapter import monitoring, pipeline, protocol
from adapter.cli.app import app
from adapter.demo import hospital
from adapter.errors import ConfigError
from adapter.model.decision import Verdict
from adapter.monitoring import run
from adapter.pipeline import Trial, Workspace
from adapter.protocol.ladder_load import load_ladders
from adapter.screening import people
from adapter.web.app import own_endpoint
from adapter.writeback.send import WriteReport

AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, Workspace, list[dict[str, Any]]]:
    root: Path = tmp_path_factory.mktemp("followed")
    made = hospital.generate(root / "hospital" / "fhir", patients=92)
    workspace, trial = Workspace(root / "work"), pipeline.open_trial()
    pipeline.land(made.folder, workspace, now=NOW)
    pipeline.screen(trial, workspace, as_of=AS_OF)
    monitoring.monitor(trial, workspace, as_of=AS_OF)
    truths = map(json.loads, made.truth.read_text(encoding="utf-8").splitlines())
    return trial, workspace, [truth for truth in truths if truth.get("enrolled")]


def test_everyone_on_the_study_and_nobody_else_is_followed(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]],
) -> None:
    _, workspace, truths = followed
    report = monitoring.read_monitoring(workspace)
    assert report is not None
    assert [row.subject for row in report.rows] == sorted(truth["patient"] for truth in truths)


def test_however_many_share_the_work_the_bytes_are_the_same(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, workspace, _ = followed
    before = _written(workspace)
    for workers, size in ((1, 1), (1, 100), (2, 3)):
        monkeypatch.setattr(run, "_PEOPLE_A_STEP", size)
        monitoring.monitor(trial, workspace, as_of=AS_OF, workers=workers, full=True)
        assert _written(workspace) == before


def test_people_are_read_alone_as_they_are_among_all(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]],
) -> None:
    trial, workspace, truths = followed
    everyone = pipeline.read_screening(workspace).facts.by_subject()
    wanted = people.enrolled(workspace, trial.protocol.id, AS_OF)
    assert wanted.keys() == {truth["patient"] for truth in truths}
    for size in (1, 4, 100):
        read = [own for part in people.stretches(workspace, wanted, size) for own in people.read(part)]
        assert [own.subjects[0].id for own in read] == sorted(wanted)
        for own in read:
            whole = everyone[own.subjects[0].id]
            assert own == msgspec.structs.replace(whole, issues=())


def test_what_the_screening_decided_need_not_be_judged_again(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]],
) -> None:
    """On days on which all is known that the screening knew, whoever was eligible on the day before entry is
    known; the same is said with it and without. A day before some of the facts is judged by itself."""
    trial, workspace, truths = followed
    zone, ladders = trial.site.zone, load_ladders(trial.folder, trial.vocabulary, trial.protocol)
    wanted = people.enrolled(workspace, trial.protocol.id, AS_OF)
    persons = [
        one for part in people.stretches(workspace, wanted, 5, decisions=True) for one in people.persons(part)
    ]
    assert len(persons) == len(truths)
    believed = Counter[date]()
    for day in (AS_OF, AS_OF + timedelta(days=100), AS_OF - timedelta(days=40)):
        for one in persons:
            made = one.decision()
            assert made is not None
            other = msgspec.structs.replace(
                made,
                criteria=tuple(
                    msgspec.structs.replace(top, verdict=Verdict.UNKNOWN, evidence=())
                    for top in made.criteria
                ),
            )
            said = [
                protocol.monitor(
                    trial.protocol, one.facts(), as_of=day, zone=zone, ladders=ladders, assessment=known
                )
                for known in (None, made, other)
            ]
            assert said[0] == said[1]
            believed[day] += said[2] != said[0]
    assert believed[AS_OF] == believed[AS_OF + timedelta(days=100)] == len(truths)
    assert believed[AS_OF - timedelta(days=40)] < len(truths)


def test_decisions_by_other_rules_are_not_believed(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]],
) -> None:
    trial, workspace, _ = followed
    screened = people.read_summary(workspace)
    assert run._by_these_rules(trial, screened)
    for name in ("protocol", "protocol_sha256", "mappings_sha256", "software_sha256"):
        other = msgspec.structs.replace(screened, versions={**screened.versions, name: "another"})
        assert not run._by_these_rules(trial, other)


def test_the_same_day_leaves_the_same_bytes_and_no_draft(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]],
) -> None:
    trial, workspace, _ = followed
    before = _written(workspace)
    report = monitoring.monitor(trial, workspace, as_of=AS_OF)
    assert _written(workspace) == before
    assert set(before) == {"basis.ndjson", "monitoring.ndjson", "results.json"}
    assert not list(workspace.root.glob(".monitoring*"))
    assert monitoring.read_monitoring(workspace) == report


def _written(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(workspace.monitoring.iterdir())}


def test_on_the_first_day_one_person_is_followed(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]], tmp_path: Path
) -> None:
    trial, workspace, truths = followed
    first = min(truth["enrolled"]["randomised"] for truth in truths)
    apart = Workspace(tmp_path)
    shutil.copytree(workspace.screening, apart.screening)
    report = monitoring.monitor(trial, apart, as_of=date.fromisoformat(first))
    assert [row.randomised.isoformat() for row in report.rows if row.randomised] == [first]


def test_without_a_screening_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no screening here"):
        monitoring.monitor(pipeline.open_trial(), Workspace(tmp_path), as_of=AS_OF)


def test_the_command_prints_the_table_and_names_people_by_id_only(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]],
) -> None:
    _, workspace, truths = followed
    words = ["monitor", "--workspace", str(workspace.root), "--as-of", AS_OF.isoformat()]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "5 of 8  62.50  24.49 to 91.48" in shown.output  # complete remission, each arm
    assert "CANARY" not in shown.output
    table = json.loads((workspace.monitoring / "results.json").read_bytes())
    outcomes = {one["id"]: one for one in table["outcomes"]}
    complete = {t["patient"] for t in truths if t["enrolled"]["week48_response"] == "CR"}
    assert {one["subject"] for one in outcomes["O1"]["subjects"] if one["standing"] == "met"} == complete


def test_write_back_flags_and_moves_nobody_on_the_study(
    followed: tuple[Trial, Workspace, list[dict[str, Any]]], tmp_path: Path
) -> None:
    trial, workspace, truths = followed
    enrolled = {truth["patient"] for truth in truths}
    transport = httpx.ASGITransport(own_endpoint(tmp_path / "fhir.sqlite"))

    def write() -> WriteReport:
        return asyncio.run(
            monitoring.write_back(trial, workspace, "http://127.0.0.1/fhir", now=NOW, transport=transport)
        )

    first = write()
    rows = {row["subject"]: row for row in first.rows if row["subject"] in enrolled}
    assert set(rows) == enrolled
    assert not any("ResearchSubject" in row["writes"] for row in rows.values())
    assert all(row["before"] == row["after"] for row in rows.values())
    assert sum(first.outcomes.values()) == len(first.rows)
    again = write()
    assert again.resources_written == 0
