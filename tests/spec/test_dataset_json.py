"""Dataset-JSON 1.1 against the official schema and the official examples."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from adapter.errors import ExportError
from adapter.exports.dataset import Column, Dataset
from adapter.exports.dataset_json import (
    Provenance,
    read_dataset_json,
    write_dataset_json,
    write_dataset_ndjson,
)
from tests.spec.sdtm_case import ROOT, enrolled, lab

CDISC = ROOT.parent / "shared/data/cdisc"
NDJSON = sorted((CDISC / "examples/dataset-json-1.1").glob("*.ndjson"))
needs_cdisc = pytest.mark.skipif(not CDISC.is_dir(), reason="the CDISC schemas are not beside this checkout")
PROVENANCE = Provenance(
    "NCT03864250.SITE01",
    "MDV.NCT03864250",
    "Site SITE01",
    "trial-fhir-adapter",
    "0",
    datetime(2020, 7, 1, tzinfo=UTC),
)
DATASET = Dataset(
    "LB",
    "Laboratory Test Results",
    (
        Column("USUBJID", "Unique Subject Identifier", "text", 40, 1),
        Column("LBSEQ", "Sequence Number", "integer"),
        Column("LBSTRESC", "Character Result/Finding in Std Format", "text", 60),
        Column("LBSTRESN", "Numeric Result/Finding in Standard Units", "float"),
        Column("LBDTC", "Date/Time of Specimen Collection", "datetime", 19),
    ),
    (
        ("A", 1, "<0.15", None, "2019-06"),
        ("A", 2, "24.9", Decimal("24.9"), "2019-06-01T07:00:00"),
        ("A", 3, None, Fraction(1, 3), ""),
    ),
)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((CDISC / "schemas/dataset-json-1.1/dataset.schema.json").read_text())
    return content


def write(dataset: Dataset, path: Path) -> dict[str, Any]:
    write_dataset_json(dataset, path, PROVENANCE)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_missing_numbers_are_null_and_missing_text_is_empty(tmp_path: Path) -> None:
    content = write(DATASET, tmp_path / "lb.json")
    assert content["rows"] == [
        ["A", 1, "<0.15", None, "2019-06"],
        ["A", 2, "24.9", 24.9, "2019-06-01T07:00:00"],
        ["A", 3, "", 1 / 3, ""],
    ]
    assert content["records"] == 3
    assert content["columns"][0] == {
        "itemOID": "IT.LB.USUBJID",
        "name": "USUBJID",
        "label": "Unique Subject Identifier",
        "dataType": "string",
        "length": 40,
        "keySequence": 1,
    }
    assert [column["dataType"] for column in content["columns"]] == [
        "string",
        "integer",
        "string",
        "float",
        "datetime",
    ]


def test_the_order_of_attributes_is_the_standards(tmp_path: Path) -> None:
    assert list(write(DATASET, tmp_path / "lb.json")) == [
        "datasetJSONCreationDateTime",
        "datasetJSONVersion",
        "fileOID",
        "dbLastModifiedDateTime",
        "originator",
        "sourceSystem",
        "studyOID",
        "metaDataVersionOID",
        "itemGroupOID",
        "records",
        "name",
        "label",
        "columns",
        "rows",
    ]


@needs_cdisc
def test_what_is_written_is_valid(schema: dict[str, Any], tmp_path: Path) -> None:
    jsonschema.validate(write(DATASET, tmp_path / "lb.json"), schema)
    for dataset in enrolled(lab("CANARY-p1", "albumin", "30", "g/L", "2019-06-01")).build().datasets:
        jsonschema.validate(write(dataset, tmp_path / f"{dataset.name}.json"), schema)


@needs_cdisc
def test_the_schema_would_notice(schema: dict[str, Any], tmp_path: Path) -> None:
    content = write(DATASET, tmp_path / "lb.json")
    content["columns"][0]["dataType"] = "text"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


@needs_cdisc
@pytest.mark.parametrize(
    "name", ["dm", "ds", "ie", "relrec", "se", "suppdm", "sv", "ta", "te", "ti", "ts", "tv"]
)
def test_official_examples_survive_reading_and_writing(name: str, tmp_path: Path) -> None:
    official = CDISC / f"examples/dataset-json-1.1/sdtm_{name}.json"
    theirs = json.loads(official.read_text(encoding="utf-8"))
    ours = write(read_dataset_json(official), tmp_path / "x.json")
    assert ours["rows"] == theirs["rows"]
    assert ours["columns"] == theirs["columns"]
    assert (ours["name"], ours["label"], ours["records"]) == (
        theirs["name"],
        theirs["label"],
        theirs["records"],
    )


@needs_cdisc
@pytest.mark.parametrize("official", NDJSON, ids=[path.stem for path in NDJSON])
def test_official_ndjson_is_the_official_json_and_survives_too(official: Path, tmp_path: Path) -> None:
    """All thirteen, among them ADSL with its numeric dates."""
    read = read_dataset_json(official)
    whole = read_dataset_json(official.with_suffix(".json"))
    assert (read.name, read.columns, read.records()) == (whole.name, whole.columns, whole.records())
    write_dataset_ndjson(read, tmp_path / "x.ndjson", PROVENANCE)
    head, *rows = (json.loads(line) for line in (tmp_path / "x.ndjson").read_text().splitlines())
    theirs, *their_rows = (json.loads(line) for line in official.read_text(encoding="utf-8").splitlines())
    assert rows == their_rows
    assert [head[key] for key in ("columns", "name", "label", "records")] == [
        theirs[key] for key in ("columns", "name", "label", "records")
    ]


def test_all_thirteen_examples_are_there() -> None:
    assert not CDISC.is_dir() or len(NDJSON) == 13


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"name":"A","label":"A","datasetJSONVersion":"1.1","records":2,"columns":[],"rows":[[]]}',
    ],
)
def test_what_is_no_dataset_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ExportError):
        read_dataset_json(path)
