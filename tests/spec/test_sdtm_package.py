"""The files of an export: the same rows in each, readable by others, byte-identical, without a person."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pandas
import pyreadstat
import pytest

from adapter.errors import ExportError
from adapter.exports.dataset import Cell
from adapter.exports.dataset_json import read_dataset_json
from adapter.exports.package import ExportReport
from adapter.exports.sdtm import export_sdtm
from adapter.exports.study import Criterion
from adapter.model.decision import Verdict
from adapter.model.facts import Facts
from adapter.model.quantity import number_text
from tests.spec.sdtm_case import (
    KEY,
    SNAPSHOT,
    SPECS,
    Case,
    consent,
    dataset,
    decision,
    diagnosis,
    drug,
    enrolment,
    lab,
    of,
    on,
    person,
    study,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden/sdtm"


def hospital() -> Case:
    """Three people: enrolled and treated, screen failure, and one who was only looked at."""
    rows: list[Any] = [
        person("CANARY-p1"),
        person("CANARY-p2", "1975-01-31", sex="female", merged=("CANARY-p2-old",)),
    ]
    rows += [
        person("CANARY-p3", "1980-03-03"),
        consent("CANARY-p1", "2019-05-20"),
        consent("CANARY-p2", "2019-05-22"),
    ]
    rows += [enrolment("CANARY-p1", "2019-06-03", "on-study-intervention", "TACPRED")]
    for subject in ("CANARY-p1", "CANARY-p2", "CANARY-p3"):
        rows += [
            diagnosis(subject, "membranous_nephropathy", "2018-11", recorded=on("2019-01-05")),
            lab(
                subject,
                "urine_protein_24h",
                "8.5",
                "g/d",
                "2019-05-27T07:00:00+08:00",
                end="2019-05-28T07:00:00+08:00",
                original="8500",
                original_unit="mg/24h",
                laboratory="Organization/CANARY-lab",
                specimen="urine",
                specimen_id="CANARY-specimen",
                limits=(None, "0.15"),
            ),
            lab(
                subject,
                "albumin",
                "24.9",
                "g/L",
                "2019-05-28T08:10:00+08:00",
                original="2.49",
                original_unit="g/dL",
                specimen="serum",
            ),
            lab(subject, "albumin", "20", "g/L", "2019-05-29", comparator="<", original="＜20"),
            lab(
                subject,
                "egfr",
                "71.345678",
                "mL/min/{1.73_m2}",
                "2019-05-28",
                method="CKD-EPI 2009",
                category="derived",
            ),
            lab(subject, "pla2r_antibody", "150", "{RU}/mL", "2019-05-28", original_unit="RU/mL"),
            lab(subject, "systolic_bp", "128", "mm[Hg]", "2019-05-28", category="vital-signs"),
            lab(subject, "", None, "", "2019-05-28", original="CANARY text 张三", excluded="UNMAPPED"),
            lab(
                subject,
                "creatinine",
                None,
                "",
                "2019-05-28",
                original="CANARY 标本溶血",
                original_unit="CANARY",
                excluded="UNPARSED_TEXT",
                method="CANARY method",
                interpretation="CANARY",
                absent_reason="CANARY",
            ),
            drug(
                subject,
                "valsartan",
                "statement",
                "2019-03",
                "",
                "80",
                ongoing=True,
                frequency="qd",
                route="CANARY route",
                form="CANARY form",
                classes=("raas_blocker",),
            ),
        ]
    rows += [
        lab("CANARY-p1", "tacrolimus_trough", "6.5", "ng/mL", "2019-07-01T07:45:00+08:00"),
        drug(
            "CANARY-p1",
            "tacrolimus",
            "dispense",
            "2019-06-03",
            "2019-06-30",
            "1",
            frequency="bid",
            route="oral",
        ),
        drug(
            "CANARY-p1",
            "tacrolimus",
            "dispense",
            "2019-07-01",
            "2019-12-31",
            "1.5",
            frequency="bid",
            route="oral",
        ),
        drug(
            "CANARY-p1",
            "prednisone",
            "dispense",
            "2019-06-03",
            "2019-12-31",
            "30",
            frequency="qd",
            route="oral",
        ),
    ]
    decisions = (
        decision(
            "CANARY-p2", "2019-05-30", EXCL06=("exclusion", Verdict.MET), INCL01=("inclusion", Verdict.MET)
        ),
        decision("CANARY-p3", "2019-05-30", EXCL06=("exclusion", Verdict.MET)),
    )
    return Case(of(*rows), decisions)


def export(target: Path, case: Case | None = None, **changes: Any) -> ExportReport:
    case = case or hospital()
    keywords = {"study": case.study, "specs": SPECS, "key": KEY, "snapshot_time": SNAPSHOT} | changes
    return export_sdtm(case.facts, case.decisions, target=target, **keywords)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_format_holds_the_same_rows(tmp_path: Path) -> None:
    report = export(tmp_path / "out")
    built = hospital().build()
    assert report.rows == {
        "CM": 2,
        "DM": 2,
        "EX": 3,
        "IE": 1,
        "IS": 2,
        "LB": 8,
        "MH": 2,
        "PC": 1,
        "VS": 2,
        # two consents, a randomisation, a screen failure; screening of both and a treatment that still runs
        "DS": 4,
        "SE": 3,
        # two visits of p1 before the last contact on day 212 and four missed; the screening of p2
        "SV": 7,
        # each interval was made of one dispense
        "EC": 3,
        "RELREC": 6,
        "SUPPLB": 8,
        "SUPPIS": 2,
        "SUPPPC": 1,
        "SUPPVS": 0,
        "AE": 0,
        "PR": 0,
        "MI": 0,
        "RS": 0,
        # the plan: 2 arms of 3 elements, 4 elements, 4 criteria, 12 parameters and NARMS, 8 visits
        "TA": 6,
        "TE": 4,
        "TI": 4,
        "TS": 13,
        "TV": 8,
    }
    for name in report.rows:
        wanted = dataset(built, name)
        path = tmp_path / "out/xpt" / f"{name.lower()}.xpt"
        frame, meta = pyreadstat.read_xport(path, disable_datetime_conversion=True)
        # pandas does not read a file without a row
        other = pandas.read_sas(path, format="xport", encoding="ascii") if wanted.rows else frame
        again = read_dataset_json(tmp_path / "out/dataset-json" / f"{name.lower()}.json")
        assert list(frame.columns) == [column.name for column in wanted.columns] == list(other.columns)
        assert meta.column_labels == [column.label for column in wanted.columns]
        assert meta.file_label == wanted.label
        assert again.columns == wanted.columns
        for index, row in enumerate(wanted.rows):
            for column, cell in zip(wanted.columns, row, strict=True):
                read, pandas_read = frame[column.name][index], other[column.name][index]
                from_json = again.rows[index][list(frame.columns).index(column.name)]
                if column.is_numeric and cell is None:
                    assert math.isnan(read)
                    assert math.isnan(pandas_read)
                    assert from_json is None
                elif column.is_numeric:
                    # pandas 3 reads the eight zero bytes of 0 as the smallest IBM float
                    pandas_read = 0.0 if pandas_read == 16.0**-65 else pandas_read
                    assert read == pandas_read == float(from_json) == float(cell)  # type: ignore[arg-type]
                else:
                    text = "" if pandas.isna(pandas_read) else pandas_read
                    assert read == text == from_json == (cell or "")


def _shown(cell: Cell) -> str:
    return number_text(cell) if isinstance(cell, Fraction) else "" if cell is None else str(cell)


def test_golden() -> None:
    """The datasets as a reviewer reads them; the cells of these tables were checked by hand."""
    for name in ("DM", "EX", "LB", "IE"):
        built = dataset(hospital().build(), name)
        lines = ["|".join(column.name for column in built.columns)]
        lines += ["|".join(_shown(cell) for cell in row) for row in built.rows]
        path = GOLDEN / f"{name.lower()}.txt"
        assert "\n".join(lines) + "\n" == path.read_text(encoding="utf-8"), f"compare with {path}"


def test_the_manifest_names_every_file_and_no_clock(tmp_path: Path) -> None:
    report = export(tmp_path / "out")
    data = (tmp_path / "out/manifest.json").read_bytes()
    manifest = json.loads(data)
    assert report.manifest_sha256 == hashlib.sha256(data).hexdigest()
    named = {path: file for one in manifest["datasets"] for path, file in one["files"].items()}
    named |= manifest["documents"]
    written = {path: body for path, body in contents(tmp_path / "out").items() if path != "manifest.json"}
    assert {path: file["sha256"] for path, file in named.items()} == {
        path: hashlib.sha256(body).hexdigest() for path, body in written.items()
    }
    assert {one["name"]: one["rows"] for one in manifest["datasets"]} == report.rows
    assert manifest["snapshotTime"] == "2020-07-01T12:00:00+00:00"
    assert manifest["standards"] == {"SDTM CT": "2025-03-28", "SDTMIG": "3.4"}
    assert manifest["versions"]["protocol"] == "NCT03864250 2019-06-25"
    assert manifest["versions"]["terminology"] == "test"
    assert manifest["withheld"]["subjects NO_CONSENT"] == 1
    assert manifest["withheld"]["LB NO_RESULT"] == 2


def test_no_person_and_no_fhir_id_in_any_byte(tmp_path: Path) -> None:
    """CANARY stands in every id, display, free text, laboratory and specimen of the test hospital."""
    report = export(tmp_path / "out")
    assert set(report.subjects) == {"CANARY-p1", "CANARY-p2"}  # for the site's log, not for the files
    for path, body in contents(tmp_path / "out").items():
        assert b"CANARY" not in body, path
        assert "张三".encode() not in body, path
        assert b"1970-06" not in body, path  # a birth date
        assert b"1975-01" not in body, path


def test_bytes_do_not_depend_on_order_hash_seed_zone_or_locale(tmp_path: Path) -> None:
    first = export(tmp_path / "first")
    case = hospital()
    shuffled = random.Random(7)  # noqa: S311 - an order, not a secret
    parts = {
        name: list(getattr(case.facts, name)) for name in ("subjects", "findings", "events", "interventions")
    }
    for part in parts.values():
        shuffled.shuffle(part)
    facts = Facts(**{name: tuple(part) for name, part in parts.items()})
    second = export(tmp_path / "second", Case(facts, case.decisions[::-1]))
    assert first.manifest_sha256 == second.manifest_sha256
    script = (
        "import sys; from pathlib import Path; from tests.spec.test_sdtm_package import export;"
        "export(Path(sys.argv[1]))"
    )
    for seed, zone in (("1", "America/New_York"), ("2", "Asia/Shanghai")):
        target = tmp_path / f"seed-{seed}"
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        root = Path(__file__).resolve().parents[2]
        subprocess.run([sys.executable, "-c", script, str(target)], check=True, cwd=root, env=environment)
        assert contents(target) == contents(tmp_path / "first")
    assert contents(tmp_path / "second") == contents(tmp_path / "first")


def test_a_failed_export_leaves_the_former_one_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "out"
    export(target)
    before = contents(target)
    case = hospital()
    long = study(criteria=(Criterion("EXCL06", "x" * 201, "EXCLUSION"),))
    with pytest.raises(ExportError, match="201 bytes"):
        export(target, Case(case.facts, case.decisions, long))
    assert contents(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    export(target, Case(of()))
    assert len(pyreadstat.read_xport(target / "xpt/dm.xpt")[0]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_closed_codelist_is_closed(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"TERM_UNKNOWN DM\.RACE \(2,"):
        export(tmp_path / "out", Case(hospital().facts, (), study(race="HAN")))


def test_a_required_variable_is_never_empty(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"REQUIRED_EMPTY DM\.SITEID \(2,"):
        export(tmp_path / "out", Case(hospital().facts, (), study(site_id="")))


def test_the_snapshot_time_needs_a_zone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zone"):
        export(tmp_path / "out", snapshot_time=datetime(2020, 7, 1))  # noqa: DTZ001 - the point of the test


def test_another_key_gives_other_hashes_and_the_same_numbers(tmp_path: Path) -> None:
    export(tmp_path / "a")
    export(tmp_path / "b", key=KEY[::-1])
    first, second = (pyreadstat.read_xport(tmp_path / name / "xpt/lb.xpt")[0] for name in ("a", "b"))
    assert list(first["USUBJID"]) == list(second["USUBJID"])
    protein = first["LBTESTCD"] == "PROTEXR"
    assert set(first["LBREFID"][protein]) != set(second["LBREFID"][protein])
    assert all(len(token) == 16 for token in first["LBREFID"][protein])


def test_a_value_outside_an_extensible_list_is_shown_in_the_manifest(tmp_path: Path) -> None:
    case = Case(
        of(
            person("CANARY-p1"),
            consent("CANARY-p1", "2019-05-20"),
            lab(
                "CANARY-p1",
                "albumin",
                None,
                "",
                "2019-05-28",
                original="30",
                original_unit="kU/L",
                excluded="UNIT_UNKNOWN",
            ),
        )
    )
    report = export(tmp_path / "out", case)
    assert report.extensions == {
        "LB.LBORRESU": ("kU/L",),
        "TS.TSVCDREF": ("ClinicalTrials.gov", "ISO 8601"),
    }
    assert msgspec.json.decode((tmp_path / "out/manifest.json").read_bytes())["codelistExtensions"] == {
        "LB.LBORRESU": ["kU/L"],
        "TS.TSVCDREF": ["ClinicalTrials.gov", "ISO 8601"],
    }
