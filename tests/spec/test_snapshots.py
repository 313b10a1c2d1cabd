"""Snapshots of a small hospital: kept once, found again byte for byte, traced to the source, compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapter import pipeline
from adapter.demo import hospital
from adapter.errors import ExportError, NotFound
from adapter.exports import snapshots
from adapter.exports.dataset_json import read_dataset_json
from adapter.exports.difference import Difference, difference
from adapter.exports.lineage import CellLineage, Trace, cell_lineage, read_traces
from adapter.trial import Workspace
from tests.spec.test_cli import run
from tests.spec.test_sdtm_package import contents

KEY = b"0123456789abcdef0123456789abcdef"
NOW = datetime(2019, 12, 2, 8, tzinfo=UTC)
CORRECTED = 31.5  # g/L, in place of an albumin of 20 to 60


class Made(NamedTuple):
    """A workspace with two snapshots: one, and one after an albumin result was corrected at the source."""

    workspace: Workspace
    first: snapshots.Snapshot
    second: snapshots.Snapshot
    trace: Trace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("snapshots")
    hospital.generate(folder / "bulk", patients=120)
    workspace = Workspace(folder / "workspace")
    first = exported(folder / "bulk", workspace)
    trace = next(
        one
        for one in read_traces(workspace.lineage_of(first.id))
        if one.dataset == "LB"
        and one.concept == "albumin"
        and one.original_unit == "g/L"
        and not one.source.path
    )
    correct(folder / "bulk", trace.source.reference)
    return Made(workspace, first, exported(folder / "bulk", workspace), trace)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The same, with an albumin of somebody who is on the study and so in ADLB."""
    folder = tmp_path_factory.mktemp("followed")
    hospital.generate(folder / "bulk", patients=120)
    workspace = Workspace(folder / "workspace")
    first = exported(folder / "bulk", workspace)
    rows = read_dataset_json(first.folder / first.paths["ADLB"]).records()
    analysed = {
        (row["USUBJID"], row["SRCSEQ"]) for row in rows if row["SRCDOM"] == "LB" and row["PARAMCD"] == "ALB"
    }
    trace = next(
        one
        for one in read_traces(workspace.lineage_of(first.id))
        if one.dataset == "LB" and (one.usubjid, one.number) in analysed and one.original_unit == "g/L"
    )
    correct(folder / "bulk", trace.source.reference)
    return Made(workspace, first, exported(folder / "bulk", workspace), trace)


def exported(source: Path, workspace: Workspace) -> snapshots.Snapshot:
    trial = pipeline.open_trial()
    pipeline.land(source, workspace, now=NOW)
    pipeline.screen(trial, workspace, as_of=date(2019, 12, 2))
    report = pipeline.export_sdtm(trial, workspace, key=KEY)
    return snapshots.named(workspace.snapshots, report.snapshot)


def correct(folder: Path, reference: str) -> None:
    """What a laboratory does: another value, status corrected, the next version."""
    kind, name = reference.split("/")
    for path in folder.glob("*.ndjson"):
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines):
            if line.startswith(f'{{"resourceType":"{kind}","id":"{name}",'.encode()):
                resource: dict[str, Any] = json.loads(line)
                resource["valueQuantity"]["value"] = CORRECTED
                resource["status"] = "corrected"
                resource.setdefault("meta", {})["versionId"] = "7"
                lines[number] = json.dumps(resource, ensure_ascii=False).encode()
        path.write_bytes(b"\n".join(lines))


def cell(made: Made, variable: str, snapshot: snapshots.Snapshot) -> CellLineage:
    traces = read_traces(made.workspace.lineage_of(snapshot.id))
    one = made.trace
    return cell_lineage(snapshot.folder, traces, one.dataset, one.usubjid, one.number, variable)


def compared(made: Made) -> Difference:
    first, second = (read_traces(made.workspace.lineage_of(one.id)) for one in (made.first, made.second))
    return difference(made.first, made.second, (first, second))


def test_the_same_screening_is_the_same_snapshot(made: Made) -> None:
    """Exported again from nothing but the screening: the same id, and every byte as it was."""
    before = contents(made.workspace.snapshots)
    lineage = made.workspace.lineage_of(made.second.id).read_bytes()
    report = pipeline.export_sdtm(pipeline.open_trial(), made.workspace, key=KEY)
    assert report.snapshot == made.second.id
    assert contents(made.workspace.snapshots) == before
    assert made.workspace.lineage_of(made.second.id).read_bytes() == lineage


def test_a_corrected_source_is_another_snapshot_and_the_first_stays(made: Made) -> None:
    assert made.first.id != made.second.id
    assert {one.id for one in snapshots.listed(made.workspace.snapshots)} == {made.first.id, made.second.id}
    snapshots.verify(made.first.folder)
    snapshots.verify(made.second.folder)


def test_the_manifest_names_versions_terminology_and_checks(made: Made) -> None:
    manifest = json.loads((made.first.folder / "manifest.json").read_bytes())
    assert {
        "protocol_sha256",
        "mappings_sha256",
        "software_sha256",
        "landing_sha256",
    } <= made.first.versions.keys()
    assert manifest["standards"] == {
        "ADaM CT": "2025-03-28",
        "ADaMIG": "1.3",
        "SDTM CT": "2025-03-28",
        "SDTMIG": "3.4",
    }
    assert manifest["checks"]
    assert (
        made.first.rows["LB"] == len(read_dataset_json(made.first.folder / "dataset-json/lb.json").rows) > 0
    )
    described = {"define.xml", "define.html", "define2-1.xsl"}
    assert set(manifest["documents"]) == {
        *described,
        "odm.xml",
        "sources.csv",
        *(f"adam/{name}" for name in described),
        "adam/manifest.json",
    }
    assert made.first.rows["ADLB"] == len(
        read_dataset_json(made.first.folder / made.first.paths["ADLB"]).rows
    )


@pytest.mark.parametrize("harm", ["changed", "gone", "added"])
def test_a_snapshot_that_somebody_touched_is_found_out(made: Made, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / made.first.id
    shutil.copytree(made.first.folder, folder)
    path = folder / "csv/lb.csv"
    if harm == "changed":
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"ALB", b"ALP", 1))
    elif harm == "gone":
        path.unlink()
    else:
        (folder / "notes.txt").write_text("added by hand")
    with pytest.raises(ExportError, match="manifest"):
        snapshots.verify(folder)


def test_an_unknown_or_unclear_id_is_refused(made: Made) -> None:
    with pytest.raises(NotFound, match="no snapshot"):
        snapshots.named(made.workspace.snapshots, "19990101")
    with pytest.raises(NotFound, match="2 snapshots"):
        snapshots.named(made.workspace.snapshots, "20191202")


def test_a_cell_leads_to_resource_version_text_and_transformations(made: Made) -> None:
    """Against the source file itself: the result is what the laboratory's line says."""
    found = cell(made, "LBSTRESN", made.second)
    assert (found.value, found.origin) == ("31.5", "Derived")
    (trace,) = found.traces
    assert trace.source.reference == made.trace.source.reference
    assert trace.source.version == "7"
    assert (trace.original, trace.original_unit) == ("31.5", "g/L")
    first, *_, last = found.steps(trace)
    assert (first.result, last.result) == ("31.5 g/L", "31.5")
    assert "the number of --STRESC" in found.method
    assert cell(made, "LBSTRESN", made.first).value == made.trace.value != "31.5"


def test_every_numbered_row_of_a_finding_has_a_source(made: Made) -> None:
    traced = {
        (one.dataset, one.usubjid, one.number)
        for one in read_traces(made.workspace.lineage_of(made.first.id))
    }
    for name in ("LB", "VS", "IS", "PC", "EX", "CM", "MH"):
        rows = read_dataset_json(made.first.folder / f"dataset-json/{name.lower()}.json").records()
        assert {(name, row["USUBJID"], row[f"{name}SEQ"]) for row in rows} <= traced, name


def test_two_values_computed_from_one_reading_keep_their_own_way(made: Made) -> None:
    """CKD-EPI 2009 and 2021 come from the same creatinine; each row shows the value of its own equation."""
    traces = {
        (one.usubjid, one.number): one
        for one in read_traces(made.workspace.lineage_of(made.first.id))
        if (one.dataset, one.concept) == ("LB", "egfr")
    }
    rows = read_dataset_json(made.first.folder / "dataset-json/lb.json").records()
    equations = {
        "CKD-EPI 2009": "CKD-EPI CREATININE FORMULA",
        "CKD-EPI 2021": "CKD-EPI CREATININE 2021 FORMULA",
    }
    seen = set()
    for row in rows:
        trace = traces.get((str(row["USUBJID"]), int(str(row["LBSEQ"]))))
        if trace and trace.method in equations and row["LBDRVFL"] == "Y":
            assert row["LBANMETH"] == equations[trace.method]
            assert abs(Fraction(trace.value.strip("~")) - Fraction(str(row["LBSTRESN"]))) <= Fraction(1, 200)
            seen.add(trace.method)
    assert seen == set(equations)


def test_outside_there_are_keyed_names_only(made: Made) -> None:
    """No FHIR id of any traced source is in any byte of the snapshot, but its token is in sources.csv."""
    traces = read_traces(made.workspace.lineage_of(made.first.id))
    ids = {one.source.reference.split("/")[1].encode() for one in traces}
    assert len(ids) > 100
    tokens = (made.first.folder / "sources.csv").read_text().splitlines()
    assert f"LB,{made.trace.usubjid},{made.trace.number},{made.trace.token}" in tokens
    for path, data in contents(made.first.folder).items():
        if path.endswith((".json", ".ndjson", ".csv", ".xml")):
            words = set(data.replace(b'"', b",").replace(b"/", b",").replace(b"\r\n", b",").split(b","))
            assert not words & ids, path
    assert made.workspace.lineage_of("x").parent.name not in {one.name for one in made.first.folder.iterdir()}
    assert made.workspace.lineage_of(made.first.id).stat().st_mode & 0o077 == 0


def test_the_difference_names_subject_record_cells_and_the_correction(made: Made) -> None:
    found = compared(made)
    assert found.subjects == (made.trace.usubjid,)
    (change,) = [one for one in found.records if (one.dataset, one.number) == ("LB", made.trace.number)]
    assert change.kind == "changed"
    assert change.cells["LBORRES"] == (made.trace.original, "31.5")
    assert change.cells["LBSTRESN"] == (made.trace.value, "31.5")
    (cause,) = change.causes
    assert (cause.reference, cause.version) == (made.trace.source.reference, "7")
    assert cause.former_version == made.trace.source.version
    assert set(found.versions) == {"landing_sha256", "coverage_sha256"} & set(found.versions) | {
        "landing_sha256"
    }
    for one in found.records:
        assert one.causes or one.through, one


def analysed(made: Made, snapshot: snapshots.Snapshot) -> tuple[int, Mapping[str, object]]:
    """A record of ADLB that was made of a corrected record of LB, by its number."""
    traces = read_traces(made.workspace.lineage_of(snapshot.id))
    corrected = {
        (one.usubjid, one.number) for one in traces if one.dataset == "LB" and one.source.version == "7"
    }
    rows = read_dataset_json(snapshot.folder / "adam/dataset-json/adlb.json").records()
    (row,) = [
        one
        for one in rows
        if one["SRCDOM"] == "LB" and (one["USUBJID"], one["SRCSEQ"]) in corrected and not one["DTYPE"]
    ]
    return int(str(row["ASEQ"])), row


def test_a_cell_of_analysis_leads_through_sdtm_to_the_resource(followed: Made) -> None:
    made, traces = followed, read_traces(followed.workspace.lineage_of(followed.second.id))
    number, row = analysed(made, made.second)
    found = cell_lineage(made.second.folder, traces, "ADLB", str(row["USUBJID"]), number, "AVAL")
    assert (found.value, found.traces) == ("31.5", ())
    sdtm = found.through
    assert sdtm is not None
    assert (sdtm.dataset, sdtm.number, sdtm.variable, sdtm.value) == ("LB", row["SRCSEQ"], "LBSTRESN", "31.5")
    (trace,) = sdtm.traces
    assert (trace.source.reference, trace.source.version) == (made.trace.source.reference, "7")
    assert (trace.original, trace.original_unit) == ("31.5", "g/L")


def test_a_predecessor_leads_to_the_cell_it_copies(followed: Made) -> None:
    """ADLB.TRTP is ADSL.TRT01P; ADSL.SEX is DM.SEX, whose sources are Patient, consent and enrolment."""
    made, traces = followed, read_traces(followed.workspace.lineage_of(followed.second.id))
    number, row = analysed(made, made.second)
    planned = cell_lineage(made.second.folder, traces, "ADLB", str(row["USUBJID"]), number, "TRTP").through
    assert planned is not None
    assert (planned.dataset, planned.variable, planned.value) == ("ADSL", "TRT01P", row["TRTP"])
    sex = cell_lineage(made.second.folder, traces, "ADSL", str(row["USUBJID"]), 0, "SEX").through
    assert sex is not None
    assert (sex.dataset, sex.variable) == ("DM", "SEX")
    assert "Patient" in {one.source.reference.split("/")[0] for one in sex.traces}


def test_a_corrected_result_is_the_cause_of_what_changed_in_analysis(followed: Made) -> None:
    found = [one for one in compared(followed).records if one.dataset == "ADLB"]
    number, _ = analysed(followed, followed.second)
    (change,) = [one for one in found if one.number == number and "AVAL" in one.cells]
    assert change.kind == "changed"
    assert change.cells["AVAL"] == (followed.trace.value, "31.5")
    assert [one.reference for one in change.causes] == [followed.trace.source.reference]
    assert {one.usubjid for one in found} == {followed.trace.usubjid}


def test_the_latest_of_a_day_is_the_one_exported_last(made: Made, tmp_path: Path) -> None:
    """Whatever their hashes: kept in both orders, and the first again after the second."""
    for name, kept in (("there", (made.first, made.second)), ("back", (made.second, made.first))):
        for one in kept:
            snapshots.keep(one.folder, tmp_path / name)
        assert snapshots.named(tmp_path / name, "latest").id == kept[-1].id
        assert [one.id for one in snapshots.listed(tmp_path / name)] == [one.id for one in kept]
    snapshots.keep(made.first.folder, tmp_path / "there")
    assert snapshots.named(tmp_path / "there", "latest").id == made.first.id
    before = contents(tmp_path / "there")
    snapshots.keep(made.first.folder, tmp_path / "there")
    assert contents(tmp_path / "there") == before


def test_research_has_snapshots_and_lineage_of_its_own(made: Made) -> None:
    done = pipeline.export(pipeline.open_trial(), made.workspace, key=KEY, profile="research").sdtm
    kept = snapshots.named(made.workspace.snapshots, "latest", "research")
    assert (kept.id, kept.profile) == (done.snapshot, "research")
    assert snapshots.named(made.workspace.snapshots, "latest").profile == "sponsor"
    traces = read_traces(made.workspace.lineage_of(kept.id))
    own = {one.source.reference: one for one in traces if one.dataset == "LB"}
    trace = own[made.trace.source.reference]
    assert trace.usubjid != made.trace.usubjid
    found = cell_lineage(kept.folder, traces, "LB", trace.usubjid, trace.number, "LBSTRESN")
    assert (found.value, found.traces[0].original) == ("31.5", "31.5")
    tokens = {row["QVAL"] for row in read_dataset_json(kept.folder / kept.paths["SUPPLB"]).records()}
    assert trace.token in tokens
    assert not {one.usubjid for one in traces} & {
        one.usubjid for one in read_traces(made.workspace.lineage_of(made.second.id))
    }
    shutil.rmtree(kept.folder)
    (made.workspace.root / "lineage" / f"{kept.id}.ndjson").unlink()


def test_nothing_differs_from_itself(made: Made) -> None:
    traces = read_traces(made.workspace.lineage_of(made.first.id))
    found = difference(made.first, made.first, (traces, traces))
    assert (found.records, found.subjects, found.versions) == ((), (), {})


def test_the_commands(made: Made) -> None:
    where = ("-w", str(made.workspace.root))
    listed = run("snapshots", "--verify", "--json", *where)
    assert [one["id"] for one in json.loads(listed.stdout)] == [made.first.id, made.second.id]
    subject = made.trace.usubjid.split("-", 2)[2]
    shown = run(
        "lineage", "LB", subject, str(made.trace.number), "LBSTRESN", "--snapshot", made.second.id, *where
    )
    assert shown.returncode == 0, shown.stderr
    assert f"{made.trace.source.reference}/_history/7" in shown.stdout
    assert "31.5 g/L" in shown.stdout
    told = run("diff", made.first.id, made.second.id, *where)
    assert told.returncode == 0, told.stderr
    assert f"because of {made.trace.source.reference}" in told.stdout
    missing = run("lineage", "LB", "nobody", "1", "LBSTRESN", "--snapshot", made.first.id, *where)
    assert (missing.returncode, "Traceback" in missing.stderr) == (65, False)
