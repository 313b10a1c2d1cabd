"""Screening after a change gives the same folder, byte for byte, as screening everyone anew.

The hospital is the synthetic one, a few of its planted people; the changes are drawn at random: results
corrected or deleted, records merged and parted, people new and gone, medications renamed, coverage lost and
won, another day. After each, the folder left by reuse is compared with one left by ``full``.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter import screening
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.model.coverage import Coverage
from adapter.source.crawl import BY_PATIENT
from adapter.source.landing import LandingWriter
from adapter.trial import Workspace, open_trial

TRIAL = open_trial()
AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
ENCODER = msgspec.json.Encoder(decimal_format="number")
PEOPLE = 9
Chart = list[dict[str, Any]]


def charts() -> Iterator[Chart]:
    found = (chart for chart, truth in everyone(20190603, PLANTED) if truth)
    for chart in islice(found, 0, None, PLANTED // PEOPLE):
        yield [msgspec.json.decode(ENCODER.encode(row)) for row in (*chart.rows, *chart.late)]


CHARTS = list(islice(charts(), PEOPLE))
DRUGS: Chart = [msgspec.json.decode(ENCODER.encode(one)) for one in formulary()]


def patient_of(chart: Chart) -> str:
    return next(str(row["id"]) for row in chart if row["resourceType"] == "Patient")


class Hospital:
    """What the server would hand over: charts by person, drugs, and coverage."""

    def __init__(self) -> None:
        self.charts = {patient_of(chart): copy.deepcopy(chart) for chart in CHARTS[:-2]}
        self.waiting = [copy.deepcopy(chart) for chart in CHARTS[-2:]]
        self.drugs = copy.deepcopy(DRUGS)
        self.lost: set[tuple[str, str]] = set()
        self.as_of = AS_OF

    def land(self, workspace: Workspace) -> None:
        with LandingWriter(workspace.landing) as writer:
            for row in (*self.drugs, *(row for _, chart in sorted(self.charts.items()) for row in chart)):
                writer.write(str(row["resourceType"]), json.dumps(row, ensure_ascii=False).encode())
            rows = [
                Coverage(kind, (kind, patient) not in self.lost, patient, reason="searched")
                for kind in BY_PATIENT
                for patient in sorted(self.charts)
            ]
            writer.finish(now=NOW, asked={}, coverage=rows)

    def change(self, draw: st.DrawFn) -> None:
        kinds = ["correct", "delete", "merge", "part", "arrive", "leave", "rename", "day"]
        kinds += ["coverage", "coverage"]
        getattr(self, f"_{draw(st.sampled_from(kinds))}")(draw)

    def _chart(self, draw: st.DrawFn) -> Chart:
        return self.charts[draw(st.sampled_from(sorted(self.charts)))]

    def _row(self, draw: st.DrawFn, kind: str = "") -> dict[str, Any] | None:
        rows = [
            row
            for row in self._chart(draw)
            if row["resourceType"] != "Patient" and kind in ("", row["resourceType"])
        ]
        return draw(st.sampled_from(rows)) if rows else None

    def _correct(self, draw: st.DrawFn) -> None:
        if row := self._row(draw, "Observation"):
            row.setdefault("meta", {})["versionId"] = str(draw(st.integers(2, 9)))
            if "valueQuantity" in row:
                row["valueQuantity"]["value"] = draw(st.integers(1, 2000)) / 10
            row["status"] = draw(st.sampled_from(["corrected", "final", "entered-in-error"]))

    def _delete(self, draw: st.DrawFn) -> None:
        chart = self._chart(draw)
        if len(chart) > 1:
            chart.pop(draw(st.integers(1, len(chart) - 1)))

    def _merge(self, draw: st.DrawFn) -> None:
        if len(self.charts) > 1:
            kept, given_up = draw(st.permutations(sorted(self.charts)))[:2]
            row = next(row for row in self.charts[given_up] if row["resourceType"] == "Patient")
            row["link"] = [{"type": "replaced-by", "other": {"reference": f"Patient/{kept}"}}]

    def _part(self, draw: st.DrawFn) -> None:
        for row in self._chart(draw):
            row.pop("link", None)

    def _arrive(self, draw: st.DrawFn) -> None:
        if self.waiting:
            chart = self.waiting.pop()
            self.charts[patient_of(chart)] = chart

    def _leave(self, draw: st.DrawFn) -> None:
        if len(self.charts) > 2:
            self.waiting.append(self.charts.pop(draw(st.sampled_from(sorted(self.charts)))))

    def _rename(self, draw: st.DrawFn) -> None:
        drug, other = draw(st.sampled_from(self.drugs)), draw(st.sampled_from(self.drugs))
        drug["code"] = copy.deepcopy(other["code"])

    def _coverage(self, draw: st.DrawFn) -> None:
        kinds = draw(st.sampled_from([tuple(BY_PATIENT), *((kind,) for kind in BY_PATIENT)]))
        patient = draw(st.sampled_from(sorted(self.charts)))
        self.lost ^= {(kind, patient) for kind in kinds}

    def _day(self, draw: st.DrawFn) -> None:
        self.as_of += timedelta(days=draw(st.integers(-40, 40)))


def folder(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_reuse_leaves_the_bytes_of_a_full_run(data: st.DataObject) -> None:
    hospital = Hospital()
    with TemporaryDirectory() as name:
        kept, anew = Workspace(Path(name) / "kept"), Workspace(Path(name) / "anew")
        hospital.land(kept)
        screening.screen(TRIAL, kept, as_of=hospital.as_of)
        for _ in range(data.draw(st.integers(1, 4))):
            hospital.change(data.draw)
            hospital.land(kept)
            shutil.rmtree(anew.landing, ignore_errors=True)
            shutil.copytree(kept.landing, anew.landing)
            screening.screen(TRIAL, kept, as_of=hospital.as_of)
            full = screening.screen(TRIAL, anew, as_of=hospital.as_of, full=True)
            assert full.reused == 0
            assert folder(kept.screening) == folder(anew.screening)


def test_only_those_a_change_touches_are_judged_anew(tmp_path: Path) -> None:
    hospital, workspace = Hospital(), Workspace(tmp_path)
    hospital.land(workspace)
    first = screening.screen(TRIAL, workspace, as_of=AS_OF)
    everyone_judged = len((workspace.screening / "basis.ndjson").read_bytes().splitlines())
    assert first.reused == 0
    assert len(first.decisions) >= 3
    again = screening.screen(TRIAL, workspace, as_of=AS_OF)
    assert again.reused == everyone_judged
    observed = [row for row in hospital.charts[first.decisions[0].subject] if row.get("valueQuantity")]
    observed[-1]["valueQuantity"]["value"] = 77.7
    hospital.land(workspace)
    assert screening.screen(TRIAL, workspace, as_of=AS_OF).reused == everyone_judged - 1
    assert screening.screen(TRIAL, workspace, as_of=AS_OF + timedelta(days=1)).reused == 0
    assert screening.screen(TRIAL, workspace, as_of=AS_OF + timedelta(days=1), full=True).reused == 0


def test_a_former_decision_that_was_tampered_with_is_not_reused(tmp_path: Path) -> None:
    hospital, workspace = Hospital(), Workspace(tmp_path)
    hospital.land(workspace)
    first = screening.screen(TRIAL, workspace, as_of=AS_OF)
    right = folder(workspace.screening)
    rows = workspace.screening / "decisions.ndjson"
    rows.write_bytes(rows.read_bytes().replace(b'"verdict":"unknown"', b'"verdict":"met"', 1))
    again = screening.screen(TRIAL, workspace, as_of=AS_OF)
    assert again.decisions == first.decisions
    assert folder(workspace.screening) == right
