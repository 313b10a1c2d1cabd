"""Research datasets: dates moved together, ages capped, other names; no planted identifier in any output."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapter import pipeline
from adapter.demo import hospital
from adapter.errors import ExportError
from adapter.exports.dataset import Column, Dataset
from adapter.exports.dataset_json import read_dataset_json
from adapter.exports.profile import LARGEST_SHIFT, Disguise, disguised, disguises, shifted
from adapter.exports.pseudonym import Pseudonymiser
from adapter.pipeline import Workspace

AS_OF = date(2019, 6, 3)
KEY = b"a key for tests only, 32 bytes .."
CANARY = "CANARY-EXPORT"
SCHEMA = Path(__file__).resolve().parents[3] / "shared/data/cdisc/schemas/define/2.1/define2-1-0.xsd"
PSEUDONYMS = Pseudonymiser("NCT03864250", "SITE01", KEY)
DATES = st.dates(date(1950, 1, 2), date(2049, 12, 30))
SHIFTS = st.integers(-LARGEST_SHIFT, LARGEST_SHIFT)


# --- what moves, and how ---


@pytest.mark.parametrize(
    ("text", "days", "ends", "wanted"),
    [
        ("2019-06-03", 10, False, "2019-06-13"),
        ("2019-12-25", 10, False, "2020-01-04"),
        ("2020-02-28", 1, False, "2020-02-29"),
        ("2019-06-03T08:15", -3, False, "2019-05-31T08:15"),
        ("2019-06-03T08:15:30", 180, False, "2019-11-30T08:15:30"),
        ("2019-06", 20, False, "2019-06"),  # 1 June and 20 days
        ("2019-06", 20, True, "2019-07"),  # 30 June and 20 days
        ("2019-06", -20, False, "2019-05"),
        ("2019", 100, False, "2019"),
        ("2019", 100, True, "2020"),
        ("2019", -100, False, "2018"),
    ],
)
def test_dates_move_and_keep_their_precision(text: str, days: int, ends: bool, wanted: str) -> None:
    assert shifted(text, days, ends=ends) == wanted


def test_what_is_no_date_is_refused_rather_than_left_as_it_is() -> None:
    with pytest.raises(ExportError, match="cannot be moved"):
        shifted("last summer", 10)


@given(DATES, DATES, SHIFTS)
def test_intervals_stay(first: date, second: date, days: int) -> None:
    moved = [date.fromisoformat(shifted(one.isoformat(), days)) for one in (first, second)]
    assert moved[1] - moved[0] == second - first


@given(DATES, DATES, SHIFTS, st.sampled_from((4, 7, 10)), st.sampled_from((4, 7, 10)))
def test_what_ended_after_it_started_still_does(
    one: date, two: date, days: int, left: int, right: int
) -> None:
    """At every pair of precisions, as far as the texts can be compared."""
    first, last = sorted((one, two))
    start = shifted(first.isoformat()[:left], days)
    end = shifted(last.isoformat()[:right], days, ends=True)
    shared = min(len(start), len(end))
    assert start[:shared] <= end[:shared]


def test_the_shift_is_of_the_person_the_site_and_the_study() -> None:
    people = {f"p{number}": f"001-{number:03}" for number in range(400)}
    here = disguises(PSEUDONYMS, people)
    assert here == disguises(PSEUDONYMS, dict(reversed(people.items())))
    days = [one.days for one in here.values()]
    assert all(1 <= abs(one) <= LARGEST_SHIFT for one in days)
    assert len(set(days)) > 150
    for other in (
        Pseudonymiser("NCT03864250", "SITE02", KEY),
        Pseudonymiser("NCT01180036", "SITE01", KEY),
        Pseudonymiser("NCT03864250", "SITE01", KEY[::-1]),
    ):
        there = disguises(other, people)
        assert sum(a.days == b.days for a, b in zip(here.values(), there.values(), strict=True)) < 20
        assert not {one.subjid for one in here.values()} & {one.subjid for one in there.values()}
    # a number that changes in the enrolment log moves nobody's dates
    renumbered = disguises(PSEUDONYMS, {person: f"X{number}" for person, number in people.items()})
    assert [one.days for one in renumbered.values()] == days


def test_each_kind_of_cell() -> None:
    columns = (
        Column("USUBJID", "Unique Subject Identifier", "text", 40, 1),
        Column("SUBJID", "Subject Identifier for the Study", "text", 11),
        Column("AGE", "Age", "integer"),
        Column("LBDTC", "Date/Time of Specimen Collection", "datetime", 19),
        Column("LBENDTC", "End Date/Time of Specimen Collection", "datetime", 19),
        Column("RANDDT", "Date of Randomization", "integer", format="E8601DA."),
        Column("CMENTPT", "End Reference Time Point", "text", 20),
        Column("LBREFID", "Specimen ID", "text", 16),
        Column("LBORRES", "Result", "text", 40),
        Column("LBSTRESN", "Result", "float"),
    )
    token = PSEUDONYMS.token("specimen", "s1")
    row = ("S-1", "1", 93, "2019-06", "2019-06", 21338, "2019-06-03", token, "2019", Fraction(5, 2))
    plain = (None, *row[1:2], 89, "", None, None, "ONGOING", "", "<2", None)
    people = {"S-1": Disguise("R-1", "R1", 20), "S-2": Disguise("R-2", "R2", -5)}
    dataset = Dataset("LB", "Laboratory", columns, (row, ("S-2", *plain[1:])))
    (found,) = disguised([dataset], people, PSEUDONYMS)
    assert found.rows == (
        ("R-1", "R1", 90, "2019-06", "2019-07", 21358, "2019-06-23",
         PSEUDONYMS.token("research", token), "2019", Fraction(5, 2)),
        ("R-2", "R2", 89, "", None, None, "ONGOING", "", "<2", None),
    )  # fmt: skip


def test_the_plan_of_the_trial_is_not_moved() -> None:
    plan = Dataset("TS", "Trial Summary", (Column("TSVAL", "Value", "text", 20),), (("2019-06-03",),))
    assert disguised([plan], {}, PSEUDONYMS) == (plan,)


# --- the whole line, with an identifier in every field that holds text ---


class Line(NamedTuple):
    workspace: Workspace
    patients: frozenset[str]
    births: frozenset[str]
    planted: int


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root: Path = tmp_path_factory.mktemp("profiles")
    made = hospital.generate(root / "hospital" / "fhir", patients=92, gzip=False)
    planted, patients, births = 0, set(), set()
    for path in sorted(made.folder.glob("*.ndjson")):
        lines = []
        for text in path.read_text(encoding="utf-8").split("\n"):
            try:
                resource = json.loads(text)
            except ValueError:  # the demo holds lines that are cut off
                lines.append(text)
                continue
            if resource.get("resourceType") == "Patient":
                patients.add(resource["id"])
                births.add(resource.get("birthDate", "no birth date"))
            planted += plant(resource)
            lines.append(json.dumps(resource, ensure_ascii=False))
        path.write_text("\n".join(lines), encoding="utf-8")
    workspace, trial = Workspace(root / "work"), pipeline.open_trial()
    pipeline.land(made.folder, workspace, now=datetime(2019, 6, 3, tzinfo=UTC))
    pipeline.screen(trial, workspace, as_of=AS_OF)
    for profile in ("sponsor", "research"):
        pipeline.export(trial, workspace, key=KEY, profile=profile)  # type: ignore[arg-type]
    return Line(workspace, frozenset(patients), frozenset(one for one in births if len(one) == 10), planted)


def plant(resource: dict[str, Any]) -> int:
    """A canary in every free text and identifier that a resource has, and in some that it has not."""
    before = str(resource).count(CANARY)
    kind = resource.get("resourceType")
    resource["text"] = {"status": "generated", "div": f"<div>{CANARY}-div</div>"}
    resource.setdefault("identifier", [])
    if isinstance(resource["identifier"], list):
        resource["identifier"].append({"system": "urn:x", "value": f"{CANARY}-id"})
    if kind in {"Observation", "Condition", "Procedure", "MedicationRequest", "AllergyIntolerance"}:
        resource.setdefault("note", []).append({"text": f"{CANARY}-note"})
    if kind == "Patient":
        resource.setdefault("name", []).append({"family": f"{CANARY}-name", "text": f"{CANARY}-name"})
        resource.setdefault("telecom", []).append({"system": "phone", "value": f"{CANARY}-phone"})
        resource.setdefault("address", []).append({"text": f"{CANARY}-address"})
        resource.setdefault("contact", []).append({"name": {"text": f"{CANARY}-contact"}})
    _deep(resource)
    return str(resource).count(CANARY) - before


def _deep(node: Any) -> None:
    """Displays of codings and references, texts of concepts and dosages; meaning stays with the codes."""
    if isinstance(node, list):
        for one in node:
            _deep(one)
    elif isinstance(node, dict):
        if "reference" in node:
            node["display"] = f"{CANARY}-display"
        if "coding" in node and isinstance(node["coding"], list) and "text" in node:
            node["text"] = f"{node['text']} {CANARY}-concept"
        if "dosageInstruction" in node:
            for one in node["dosageInstruction"]:
                one["patientInstruction"] = f"{CANARY}-instruction"
        for name, one in list(node.items()):
            if name != "contained":
                _deep(one)


def outputs(line: Line) -> Iterator[tuple[str, bytes]]:
    """Every file under exports; Parquet is compressed, so its cells and metadata are read out."""
    folder = line.workspace.root / "exports"
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        body = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            body = str(table.to_pylist()).encode() + str(table.schema.metadata).encode()
        yield path.relative_to(folder).as_posix(), body


def test_the_canary_was_planted_and_reached_the_landing(line: Line) -> None:
    assert line.planted > 10_000
    landed = [path for path in line.workspace.landing.rglob("*") if path.is_file()]
    assert any(CANARY.encode() in _unpacked(path) for path in landed)


def _unpacked(path: Path) -> bytes:
    body = path.read_bytes()
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        return body


def test_no_planted_identifier_no_fhir_id_and_no_birth_date_in_any_output(line: Line) -> None:
    own_id = re.compile(rb"(?<![A-Za-z0-9])p\d{5}m?(?![A-Za-z0-9])")
    seen = set()
    for name, body in outputs(line):
        assert b"CANARY" not in body, name
        assert not [one for one in own_id.findall(body) if one.decode() in line.patients], name
        if name.endswith((".json", ".csv")):
            text = body.decode()
            assert not [one for one in re.findall(r"\d{4}-\d{2}-\d{2}", text) if one in line.births], name
        seen.add(name.split("/")[-2])
    assert {"csv", "parquet", "xpt", "dataset-json"} <= seen


def _rows(line: Line, profile: str, standard: str, name: str) -> list[dict[str, Any]]:
    folder = line.workspace.exports(profile, standard) / "dataset-json"
    return read_dataset_json(folder / f"{name}.json").records()


def test_research_is_the_sponsors_rows_moved(line: Line) -> None:
    """Subject by subject: one shift for all dates of all datasets, everything else as it was."""
    own = Pseudonymiser("NCT03864250", "DEMO", KEY)
    log = json.loads((line.workspace.root / "enrolment-log.json").read_text(encoding="utf-8"))
    people = disguises(own, log)
    compared = 0
    for standard, name in (
        ("sdtm", "lb"),
        ("sdtm", "ex"),
        ("sdtm", "dm"),
        ("adam", "adlb"),
        ("adam", "adtte"),
    ):
        moved = defaultdict(list)
        for row in _rows(line, "research", standard, name):
            moved[row["USUBJID"]].append(row)
        for row in _rows(line, "sponsor", standard, name):
            one = people[str(row["USUBJID"])]
            sequence = next((key for key in ("LBSEQ", "EXSEQ", "ASEQ") if key in row), None)
            other = next(
                found for found in moved[one.usubjid] if sequence is None or found[sequence] == row[sequence]
            )
            for key, cell in row.items():
                if key.endswith("DTC") and len(str(cell)) >= 10:
                    assert other[key] == shifted(str(cell), one.days)
                    compared += 1
                elif key in ("ADT", "STARTDT") and cell is not None:
                    assert other[key] == cell + one.days
                elif key in ("LBDY", "EPOCH", "VISIT", "AVAL", "CHG", "ADY", "AVISIT", "SRCSEQ", "CNSR"):
                    assert other[key] == cell
    assert compared > 1000


def test_the_manifest_tells_the_profile_and_never_a_shift(line: Line) -> None:
    for standard in ("sdtm", "adam"):
        manifest = json.loads((line.workspace.exports("research", standard) / "manifest.json").read_text())
        assert manifest["pseudonymisation"]["profile"] == "research"
        assert "seasons" in manifest["pseudonymisation"]["note"]
        sponsor = json.loads((line.workspace.exports("sponsor", standard) / "manifest.json").read_text())
        assert sponsor["pseudonymisation"]["profile"] == "sponsor"


def test_define_xml_of_the_analysis_names_every_variable_and_its_method(line: Line) -> None:
    root = etree.parse(str(line.workspace.exports("sponsor", "adam") / "define.xml")).getroot()
    space = {"odm": "http://www.cdisc.org/ns/odm/v1.3"}
    groups = {one.get("Name"): one for one in root.iterfind(".//odm:ItemGroupDef", space)}
    assert set(groups) == {"ADSL", "ADLB", "ADRS", "ADTTE"}
    assert {one.get("Purpose") for one in groups.values()} == {"Analysis"}
    methods = {one.get("OID"): "".join(one.itertext()) for one in root.iterfind(".//odm:MethodDef", space)}
    change = next(
        one
        for one in groups["ADLB"].iterfind("odm:ItemRef", space)
        if one.get("ItemOID").endswith("ADLB.PCHG")
    )
    assert "100 * (AVAL - BASE) / BASE" in methods[change.get("MethodOID")]
    if not SCHEMA.exists():
        pytest.skip("the XSD of Define-XML 2.1 is not on this machine")
    schema = etree.XMLSchema(etree.parse(str(SCHEMA)))
    assert schema.validate(root), schema.error_log


def test_research_numbers_do_not_enter_the_enrolment_log(line: Line) -> None:
    log = json.loads((line.workspace.root / "enrolment-log.json").read_text(encoding="utf-8"))
    sponsors = {str(row["SUBJID"]) for row in _rows(line, "sponsor", "sdtm", "dm")}
    research = {str(row["SUBJID"]) for row in _rows(line, "research", "sdtm", "dm")}
    assert set(log.values()) == sponsors
    assert not sponsors & research
    assert len(sponsors) == len(research)


def test_the_same_screening_gives_the_same_bytes_in_both_profiles(line: Line) -> None:
    before = dict(outputs(line))
    trial = pipeline.open_trial()
    for profile in ("research", "sponsor"):
        pipeline.export(trial, line.workspace, key=KEY, profile=profile)  # type: ignore[arg-type]
    assert dict(outputs(line)) == before
